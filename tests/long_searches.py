"""A process that searches until it is interrupted, and then searches again."""

import math
import signal

import torch

from topreg import (
    CubicalFiltration,
    FlagFiltration,
    RipsFiltration,
    pairwise_distances,
    rtd,
    warm_up,
)

SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
TREE, LOOP = [[0, 1], [0, 3], [1, 2]], [[0, 2]]  # death edges of the square


def sphere(n, d):
    """Points without structure."""
    return torch.nn.functional.normalize(torch.randn(n, d), dim=1)


def matrix(n):
    """Distances without structure."""
    weights = torch.rand(n, n)
    return weights.add_(weights.T.clone()).fill_diagonal_(0)


def graph(n, part):
    """Some of all edges."""
    ends = torch.triu_indices(n, n, 1)
    return ends[:, torch.rand(ends.shape[1]) < part]


def of_points(points, dimension=0, **options):
    """A search in points and one in the square."""
    filtration = RipsFiltration(**options)
    return (
        lambda: filtration.pairs(points, dimension),
        lambda: filtration.pairs(SQUARE.to(points.dtype), min(dimension, 1)).death_edges,
    )


def of_matrix(n, check_values):
    """A search in a matrix and one in that of the square."""
    distances = matrix(n)
    filtration = RipsFiltration(metric="precomputed", engine="prim", check_values=check_values)
    own = pairwise_distances(SQUARE)
    return (
        lambda: filtration.pairs(distances),
        lambda: filtration.pairs(own).death_edges,
    )


def of_batch(clouds):
    """A search in clouds and one in two squares."""
    filtration = RipsFiltration()
    return (
        lambda: filtration.pairs(clouds, 1),
        lambda: filtration.pairs([SQUARE, SQUARE], 1).death_edges,
    )


def of_graph(n, part):
    """A search in a graph and one in that of the square without one diagonal."""
    edges = graph(n, part)
    large, weights = FlagFiltration(edges, n), torch.rand(edges.shape[1])
    small = FlagFiltration(torch.tensor([[0, 1, 2, 0, 0], [1, 2, 3, 3, 2]]), 4)
    lengths = torch.tensor([1.0, 1.0, 1.0, 1.0, math.sqrt(2)])
    return lambda: large.pairs(weights, 1), lambda: small.pairs(lengths, 1).death_edges


def between_clouds():
    """Distances between two clouds and those within the square."""
    x, y = sphere(8000, 512), sphere(8000, 512)
    return (
        lambda: pairwise_distances(x, y, metric="manhattan"),
        lambda: pairwise_distances(SQUARE, SQUARE.flip(0), metric="manhattan"),
    )


def of_images(*shape):
    """A search in an image or volume without structure and one in a row of pixels."""
    large, filtration = torch.rand(*shape), CubicalFiltration(ndim=len(shape))
    row = torch.tensor([1.0, 5.0, 2.0]).view(*[1] * (len(shape) - 1), 3)
    return (
        lambda: filtration.all_pairs(large, 3 - len(shape)),
        lambda: filtration.diagram(filtration.pairs(row), row),
    )


def of_losses():
    """A loss of many points and one of three on a line."""
    x, y = sphere(1500, 64), sphere(1500, 64)
    a, b = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [3.0], [1.0]])
    return lambda: rtd(x, y), lambda: rtd(a, b)


SEARCHES = {  # what makes both searches, and what the second one gives
    "prim": (lambda: of_matrix(6000, False), TREE),
    "checks of a matrix": (lambda: of_matrix(6000, True), TREE),
    "boruvka": (lambda: of_points(sphere(3000, 16), engine="boruvka"), TREE),
    "tiled": (lambda: of_points(sphere(60_000, 64), engine="tiled"), TREE),
    "manhattan": (lambda: of_points(sphere(8000, 512), metric="manhattan"), TREE),
    "few coordinates": (lambda: of_points(sphere(9000, 8)), TREE),
    "products that rounding decides": (lambda: of_points(1 + 1e-6 * sphere(4500, 512)), TREE),
    "between clouds": (
        between_clouds,
        [[1.0, 2.0, 1.0, 0.0], [2.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 1.0]],
    ),
    "dimension 1": (lambda: of_points(sphere(2600, 512), 1), LOOP),
    "dimension 1, short": (lambda: of_points(sphere(250, 64), 1), LOOP),
    "dimension 1, double": (lambda: of_points(sphere(2600, 512).double(), 1), LOOP),
    "dimension 1, batch": (lambda: of_batch([sphere(1500, 512)] * 6), [[0, 2], [4, 6]]),
    "dimension 1, short batch": (lambda: of_batch([sphere(100, 64)] * 20), [[0, 2], [4, 6]]),
    "sparse graph": (lambda: of_graph(4000, 0.04), LOOP),
    "dense graph": (lambda: of_graph(2000, 0.8), LOOP),
    "rtd": (of_losses, 1.0),
    "image": (lambda: of_images(6000, 6000), [[2.0, 5.0]]),
    "volume": (lambda: of_images(250, 250, 250), [[2.0, 5.0]]),
    "giotto-ph": (lambda: of_points(sphere(150, 512), 2), LOOP),
    "gudhi": (lambda: of_points(sphere(300, 64), 2, engine="gudhi"), LOOP),
}


def serve(pipe):
    """Answer each name of a search; in between wait to be interrupted."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
    torch.manual_seed(0)
    torch.set_num_threads(2)
    warm_up()  # a signal is lost while LLVM loads code
    while True:
        long, short = SEARCHES[pipe.recv()][0]()
        before = short().tolist()
        answer = "not interrupted"
        try:
            pipe.send("begun")
            while True:
                long()
        except BaseException as error:
            answer = type(error).__name__
        pipe.send((answer, before, short().tolist()))
