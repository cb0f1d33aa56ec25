"""One call of each library on one cloud, ready to be timed.

Dimension 1 means the dimensions 0 and 1 for every library: the others cannot leave 0 out.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import torch
from _clouds import cloud
from torch import Tensor

from topreg import RipsFiltration, pairwise_distances

Call = Callable[[], object]

MODULES = {
    "topreg": "topreg",
    "giotto-ph": "gph",
    "ripser.py": "ripser",
    "gudhi": "gudhi",
    "torch-topological": "torch_topological",
    "persist0": "persist0",
    "redzed": "redzed_tda",
    "scipy": "scipy",
}
PACKAGES = {  # where the package has another name than the library
    "ripser.py": "ripser",
    "persist0": "persist0-tda",
    "redzed": "redzed-tda",
}
WITH_GRADIENT = ("topreg", "torch-topological", "persist0")
DIMENSION_0 = ("persist0", "scipy")
DISTANCES_ONLY = ("persist0", "redzed", "scipy")


def unavailable(library: str, dimension: int, source: str, backward: bool) -> str:
    """Why a library has no figure for a row; empty if it has one."""
    if importlib.util.find_spec(MODULES[library]) is None:
        return "not installed"
    if library in DIMENSION_0 and dimension > 0:
        return "dimension 0 only"
    if library in DISTANCES_ONLY and source == "points":
        return "distances only"
    return "no gradient" if backward and library not in WITH_GRADIENT else ""


def prepare(library: str, kind: str, n: int, dimension: int, source: str, backward: bool) -> Call:
    """A call on a cloud, after a first one on few points: imports and compilation are done."""
    call_on(library, cloud(kind, 16), dimension, source, backward)()
    return call_on(library, cloud(kind, n), dimension, source, backward)


def call_of_matrices(library: str, matrices: Tensor) -> Call:
    """A call on a batch of distance matrices (b, n, n)."""
    return {"persist0": _persist0}[library](matrices, 0, True, False)


def call_on(library: str, points: Tensor, dimension: int, source: str, backward: bool) -> Call:
    """A call on these points, or on their distances."""
    x = points if source == "points" else pairwise_distances(points)
    make = {
        "topreg": _topreg,
        "giotto-ph": _giotto_ph,
        "ripser.py": _ripser,
        "gudhi": _gudhi,
        "torch-topological": _torch_topological,
        "persist0": _persist0,
        "redzed": _redzed,
        "scipy": _scipy,
    }[library]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries warn of at import
        return make(x, dimension, source == "distances", backward)


def _topreg(x: Tensor, dimension: int, distances: bool, backward: bool) -> Call:
    filtration = RipsFiltration(metric="precomputed" if distances else "euclidean")
    if not backward:
        return lambda: filtration.all_pairs(x, dimension)
    leaf = x.clone().requires_grad_()

    def step() -> None:
        leaf.grad = None
        found = filtration.all_pairs(leaf, dimension)
        torch.stack([filtration.diagram(pairs, leaf).sum() for pairs in found]).sum().backward()

    return step


def _torch_topological(x: Tensor, dimension: int, distances: bool, backward: bool) -> Call:
    from torch_topological.nn import VietorisRipsComplex

    layer = VietorisRipsComplex(dim=dimension, n_threads=torch.get_num_threads())
    if not backward:
        return lambda: layer(x, treat_as_distances=distances)
    leaf = x.clone().requires_grad_()

    def step() -> None:
        leaf.grad = None
        found = layer(leaf, treat_as_distances=distances)
        torch.stack([information.diagram.sum() for information in found]).sum().backward()

    return step


def _giotto_ph(x: Tensor, dimension: int, distances: bool, backward: bool) -> Call:
    from gph import ripser_parallel

    array, metric = x.numpy(), "precomputed" if distances else "euclidean"
    return lambda: ripser_parallel(
        array,
        metric=metric,
        maxdim=dimension,
        return_generators=True,
        n_threads=torch.get_num_threads(),
    )


def _ripser(x: Tensor, dimension: int, distances: bool, backward: bool) -> Call:
    from ripser import ripser

    array = x.numpy()

    def call() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "more columns than rows" of points
            return ripser(array, maxdim=dimension, distance_matrix=distances)

    return call


def _gudhi(x: Tensor, dimension: int, distances: bool, backward: bool) -> Call:
    import gudhi

    argument = {"distance_matrix" if distances else "points": x.double().numpy()}

    def call() -> object:
        tree = gudhi.RipsComplex(**argument).create_simplex_tree(max_dimension=dimension + 1)
        tree.compute_persistence(homology_coeff_field=2)
        return tree.flag_persistence_generators()

    return call


def _persist0(x: Tensor, dimension: int, distances: bool, backward: bool) -> Call:
    from persist0 import h0_persistence

    if not backward:
        batch = x[None] if x.ndim == 2 else x
        return lambda: h0_persistence(batch)
    leaf = x[None].clone().requires_grad_()

    def step() -> None:
        leaf.grad = None
        h0_persistence(leaf)[1].sum().backward()

    return step


def _redzed(x: Tensor, dimension: int, distances: bool, backward: bool) -> Call:
    from redzed_tda import rips

    array = x.double().numpy()
    return lambda: rips(array, maxdim=dimension, simplex_pairs=True)


def _scipy(x: Tensor, dimension: int, distances: bool, backward: bool) -> Call:
    from scipy.sparse.csgraph import minimum_spanning_tree

    array = x.double().numpy()
    return lambda: minimum_spanning_tree(array)
