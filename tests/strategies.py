"""Families of point clouds, each with what is known about it."""

import math

import torch
from hypothesis import assume, settings
from hypothesis import strategies as st
from oracles import root

SEEDS = st.integers(0, 2**32 - 1)

# for tests that are slow, or that run once for each of several options
fewer_examples = settings(max_examples=settings().max_examples // 4)


def gaussian(seed, *shape, dtype=torch.float64):
    """Normal deviates that depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def rotation(seed, d, dtype=torch.float64):
    """An orthogonal matrix."""
    return torch.linalg.qr(gaussian(seed, d, d))[0].to(dtype)


def distances_by_differences(points):
    """Euclidean distances in float64, one difference after the other."""
    points = points.double()
    return root((points[:, None] - points[None]).square().sum(2))


@st.composite
def distinct_clouds(draw, min_size=2, max_size=14, max_width=12, dtype=torch.float64):
    """Clouds all of whose distances differ by more than rounding."""
    n = draw(st.integers(min_size, max_size))
    d = draw(st.integers(2, max_width))
    points = gaussian(draw(SEEDS), n, d, dtype=dtype)
    i, j = torch.triu_indices(n, n, 1)
    lengths = distances_by_differences(points)[i, j].sort().values
    assume(bool((lengths.diff() > 2e-5 * lengths[1:]).all()))
    return points


@st.composite
def integer_clouds(draw, min_size=1, max_size=12, max_width=3, top=3, dtype=torch.float64):
    """Points of a small grid: many equal distances, many coincident points."""
    n, d = draw(st.integers(min_size, max_size)), draw(st.integers(1, max_width))
    row = st.lists(st.integers(0, top), min_size=d, max_size=d)
    return torch.tensor(draw(st.lists(row, min_size=n, max_size=n)), dtype=dtype).reshape(n, d)


@st.composite
def tied_matrices(draw, max_size=10, top=3, missing=False):
    """Symmetric matrices of few values; with ``missing`` some entries are infinite."""
    n = draw(st.integers(0, max_size))
    values = [0.0, *map(float, range(1, top + 1)), *([math.inf] if missing else [])]
    size = n * (n - 1) // 2
    entries = draw(st.lists(st.sampled_from(values), min_size=size, max_size=size))
    matrix = torch.zeros(n, n, dtype=draw(st.sampled_from((torch.float32, torch.float64))))
    i, j = torch.triu_indices(n, n, 1)
    matrix[i, j] = torch.tensor(entries, dtype=matrix.dtype)
    return matrix + matrix.T


@st.composite
def wide_integer_clouds(draw, dtype=torch.float32):
    """Grid points with so many coordinates that distances come from products, off the origin."""
    points = draw(integer_clouds(min_size=2, dtype=dtype))
    zeros = points.new_zeros(len(points), draw(st.integers(9, 20)))
    shift = draw(st.sampled_from([0, 1, 100]))
    return torch.cat([points, zeros], dim=1) + shift


@st.composite
def repeated_clouds(draw, max_size=8, copies=3, max_width=12, dtype=torch.float64):
    """Every point of a cloud one or several times, shuffled; also how many different ones."""
    n, d = draw(st.integers(1, max_size)), draw(st.integers(1, max_width))
    seed = draw(SEEDS)
    times = draw(st.lists(st.integers(1, copies), min_size=n, max_size=n))
    points = gaussian(seed, n, d, dtype=dtype).repeat_interleave(torch.tensor(times), dim=0)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    return points[order], n


@st.composite
def collinear_clouds(draw, max_size=12, dtype=torch.float64):
    """Points on a line with distinct gaps: the tree joins neighbours. Also the sorted order."""
    n = draw(st.integers(2, max_size))
    seed = draw(SEEDS)
    generator = torch.Generator().manual_seed(seed)
    gaps = torch.arange(1, n, dtype=torch.float64)[torch.randperm(n - 1, generator=generator)]
    places = torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0)])
    order = torch.randperm(n, generator=generator)
    direction = gaussian(seed, draw(st.integers(1, 6)))
    direction = direction / direction.norm()
    return (places[order, None] * direction).to(dtype), order.argsort()


def two_clusters(seed, size=20, width=512, spread=1e-2, gap=10.0, dtype=torch.float32):
    """Two tight clusters far apart; the first ``size`` points are the first cluster."""
    points = spread * gaussian(seed, 2 * size, width)
    direction = gaussian(seed + 1, width)
    points[size:] += gap * direction / direction.norm()
    return points.to(dtype)


def regular_polygon(n, radius=1.0, dtype=torch.float64):
    """A regular n-gon: n - 1 of its n sides make the tree."""
    angles = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    return (radius * torch.stack([angles.cos(), angles.sin()], dim=1)).to(dtype)


@st.composite
def paired_views(draw, min_size=2, max_size=12):
    """``source, target, scale, rotation`` with ``target = scale * source @ rotation``."""
    source = draw(distinct_clouds(min_size=min_size, max_size=max_size))
    turn = rotation(draw(SEEDS), source.shape[1])
    scale = draw(st.floats(0.1, 10))
    return source, scale * source @ turn, scale, turn


@st.composite
def labelled_views(draw, min_size=2, max_size=10, classes=3):
    """Two unrelated views of the same vertices, with labels.

    No point of one view comes so close to one of the other, at its own length or at that of its
    counterpart, that the inner products of offsets would lose half of their digits.
    """
    n, d, seed = draw(st.integers(min_size, max_size)), draw(st.integers(1, 5)), draw(SEEDS)
    labels = torch.tensor(draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    source, target = gaussian(seed, 2, n, d)
    resized = source * target.norm(dim=1, keepdim=True) / source.norm(dim=1, keepdim=True)
    gaps = torch.cat([torch.cdist(source, target), torch.cdist(resized, target)])
    assume(d == 1 or float(gaps.min()) > 0.02)
    assume(float(gaps[:n].min()) > 0.02)
    return source, target, labels.reshape(n)


@st.composite
def ragged(draw, cloud, min_clouds=1, max_clouds=4):
    """Several clouds of one width."""
    first = draw(cloud)
    others = [draw(cloud) for _ in range(draw(st.integers(min_clouds, max_clouds)) - 1)]
    width = first.shape[1]
    fit = [torch.nn.functional.pad(c[:, :width], (0, max(0, width - c.shape[1]))) for c in others]
    return [first, *fit]
