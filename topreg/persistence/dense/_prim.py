"""Dimension 0 on the CPU: Prim's algorithm on dense matrices, in the total order on edges."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topreg._operators import is_plain, operator
from topreg.persistence._bits import INFINITY, TOP, as_integers, limit_in_bits
from topreg.persistence._fake import fake_forests

# Estimates, with relative errors of 1e-5 in single and 1e-12 in double precision, do not order two
# weights that are at most so many floats apart: twice the error, and a margin.
WINDOW = {torch.float32: 512, torch.float64: 1 << 15}
INTEGERS = {torch.float32: 2.0**24, torch.float64: 2.0**53}  # all integers up to here are exact
Forests = tuple[Tensor, Tensor, Tensor]
NO_ROWS = {dtype: torch.empty((0, 0), dtype=dtype).numpy() for dtype in WINDOW}


@operator(fake_forests)
def prim(
    weights: Tensor,
    sizes: list[int],
    longest: float,
    connected: bool,
    points: Tensor | None = None,
    errors: Tensor | None = None,
    cosine: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find minimum spanning forests of complete weighted graphs, with the elder rule.

    Arguments are those of ``find_pairs``. If there are ``points``, the weights only estimate their
    distances (of the cosine between unit vectors, or Euclidean), with ``errors`` as those of
    ``estimated_weights``; edges that the estimates do not order are measured. Return birth edges
    (v, v) and death edges, both in the order (cloud, weight, i, j), and (v, v) for the smallest
    vertex v of each component, on the device of the weights.

    Shape:
        - points: (N, d), errors: (), on the CPU. Output: (m, 2), (m, 2) and (e, 2), int64.
    """
    bits, top = as_integers(weights)
    rows, window = NO_ROWS[weights.dtype], 0
    if points is not None and errors is not None:
        from topreg.metrics._kernels import has_exact_squares

        rows = points.contiguous().numpy()
        if cosine or not has_exact_squares(rows, INTEGERS[weights.dtype]):
            least = np.array([_modules()[1].least_positive(bits, top)]).view(rows.dtype)[0]
            window = _window(float(least), float(errors), weights.dtype, cosine)
    limit = limit_in_bits(longest, weights.dtype, connected)
    data = bits, type(top)(0), rows, cosine, type(top)(window)  # 0: without checks
    found = cast(Forests, _run(_modules()[1].forests, data, sizes, (limit, top), 1))
    if weights.device.type == "cpu":
        return found
    births, deaths, elders = (edges.to(weights.device) for edges in found)
    return births, deaths, elders


def _window(least: float, errors: float, dtype: torch.dtype, cosine: bool) -> int:
    """Return how many floats apart estimates may be that do not order two weights.

    The relative error of a weight is at most ``errors / least^2`` units of rounding; a float is at
    most two units from the next.
    """
    least = max(least, 1e-150)  # squares of smaller numbers vanish
    relative = errors / least if cosine else errors / least**2
    return int(min(WINDOW[dtype], 3 * relative + 8))  # NaN, if no weight is positive, is not less


def prim_of_clean(weights: Tensor, sizes: Sequence[int], longest: float) -> Forests | None:
    """Check matrices and find their forests in one call; None if one is not clean."""
    dtype = weights.dtype
    if dtype not in WINDOW or not is_plain(weights) or weights.device.type != "cpu":
        return None
    compiled, kernels = _modules()
    bits, infinity, top = as_integers(weights)[0], INFINITY[dtype], TOP[dtype]
    limit = limit_in_bits(longest, dtype, False)
    if len(sizes) > 1 or not sizes:
        data = bits, infinity, NO_ROWS[dtype], False, type(top)(0)
        return _run(kernels.forests, data, sizes, (limit, top), 1)
    n = sizes[0]
    found = np.empty((3, n, 2), np.int64)
    task = bits, infinity, limit, top, found
    pairs = compiled.stoppable(lambda halt: kernels.forest_of_clean(*task, halt), n * n)
    return None if pairs < 0 else _forests(found[0], found[1], found[2], pairs)


def prim_of_rows(
    points: Tensor, sizes: Sequence[int], metric: str, longest: float, check: bool
) -> Forests | None:
    """Measure points and find their forests in one call; None if one fails the check."""
    limits = limits_of(longest, points.dtype)
    data = points.contiguous().numpy(), check, metric == "manhattan", metric == "cosine"
    return _run(_modules()[1].forests_of_rows, data, sizes, (limits,), points.shape[1])


@functools.lru_cache(maxsize=64)
def limits_of(longest: float, dtype: torch.dtype) -> NDArray[Any]:
    """Return the bits of the largest weight of an edge between points, and the largest integer."""
    return np.array([limit_in_bits(longest, dtype, longest == math.inf), TOP[dtype]])


def _run(
    kernel: Callable[..., None],
    data: tuple[Any, ...],
    sizes: Sequence[int],
    limits: tuple[Any, ...],
    cost: int,
) -> Forests | None:
    """Run a kernel; return birth, death and essential edges, or None if a cloud is bad."""
    compiled, kernels = _modules()
    n, clouds = sum(sizes), np.array(sizes, np.int64)
    deaths, births, elders = np.empty((3, n, 2), np.int64)
    counts = np.zeros(len(sizes), np.int64)
    found = *limits, deaths, births, elders, counts

    def search(first: int, last: int, halt: Any) -> None:
        kernel(*data, clouds, first, last, *found, halt)

    compiled.over_clouds(search, sizes, cost)
    if len(sizes) == 1:
        pairs = int(counts[0])
    elif (counts < 0).any():
        pairs = -1
    else:
        pairs = kernels.compact(deaths, births, elders, clouds, counts)
    if pairs < 0:
        return None
    return _forests(births, deaths, elders, pairs)


def _forests(births: NDArray[Any], deaths: NDArray[Any], elders: NDArray[Any], m: int) -> Forests:
    """Return the rows that m pairs use: their births and deaths, and the elders of all trees."""
    numbers = torch.from_numpy
    return numbers(births[:m]), numbers(deaths[:m]), numbers(elders[: len(elders) - m])


@functools.cache
def _modules() -> tuple[Any, Any]:
    """Import what runs compiled functions, and those of this room, on first use: numba is heavy."""
    from topreg import _compiled
    from topreg.persistence.dense import _prim_kernels

    return _compiled, _prim_kernels
