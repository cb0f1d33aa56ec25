"""Dimensions 0 and 1 on the CPU: annotations, in the total order on edges."""

from __future__ import annotations

import functools
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from topreg._operators import is_plain, operator
from topreg._room import check_room, room_for
from topreg.persistence._bits import INFINITY, as_integers, limit_in_bits
from topreg.persistence._fake import fake_annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topreg._compiled import Halt
    from topreg._scratch_kernels import Block

MOST_VERTICES = 1 << 16  # a cloud must have fewer: two vertices must fit into half a record
OPERATIONS = 30  # per entry of a matrix
FILLED = 20  # bytes per edge: its record and a copy of it, and the next edge of its row
ALLOCATED = 46  # bytes per entry of a matrix; most of them are never touched
SMALL = 1 << 10  # a matrix of at most so many vertices needs no check of memory
SPARSE = 128  # lists of neighbours are faster from so many entries of the matrix per edge


@operator(fake_annotations)
def annotate(weights: Tensor, sizes: list[int], longest: float, connected: bool) -> list[Tensor]:
    """Find the pairs in dimensions 0 and 1 of complete weighted graphs, in one pass.

    Arguments are those of ``find_pairs``. Return birth, death and essential edges (m, 2) of
    dimension 0, then of dimension 1, on the device of the weights. Pairs are in the order (cloud,
    weight, i, j) of their deaths, essential edges in their own.
    """
    import numpy as np

    from topreg._compiled import over_clouds, stoppable
    from topreg._scratch_kernels import with_scratch
    from topreg.persistence.annotations._dense_kernels import reduce_clouds
    from topreg.persistence.annotations._edge_kernels import count_edges

    bits, top = as_integers(weights)
    limit, most = limit_in_bits(longest, weights.dtype, connected), max(sizes, default=0)
    with room_for(ALLOCATED * most**2, sizes):
        if len(sizes) == 1:  # without the loop over clouds, which takes seconds to compile
            if most > SMALL:
                count = partial(count_edges, bits.reshape(most, most), limit, top)
                check_room(FILLED * stoppable(count, most**2), sizes)
            _, arrays = _of_one(weights, most, longest, connected, check=False)
            return _concatenate([arrays], weights.device)
        clouds = np.asarray(sizes, dtype=np.int64)

        def work(first: int, last: int, halt: Halt) -> list[Any]:
            task = bits, clouds, first, last, limit, top
            return with_scratch(lambda block: reduce_clouds(*task, block, halt))

        runs = over_clouds(work, sizes, OPERATIONS)
        return _concatenate([arrays for run in runs for arrays in run], weights.device)


def annotate_clean(weights: Tensor, sizes: Sequence[int], longest: float) -> list[Tensor] | None:
    """Check one small matrix and annotate it in one call; None if it is large or not clean."""
    small = len(sizes) == 1 and sizes[0] <= SMALL and weights.dtype in INFINITY
    if not small or not is_plain(weights) or weights.device.type != "cpu":
        return None
    clean, arrays = _of_one(weights, sizes[0], longest, False, check=True)
    return _concatenate([arrays], weights.device) if clean else None


def _of_one(
    weights: Tensor, n: int, longest: float, connected: bool, *, check: bool
) -> tuple[bool, Sequence[Any]]:
    """Return whether one small matrix is clean, and its pairs as arrays."""
    stoppable, with_scratch, reduce_matrix = _modules()
    bits, top = as_integers(weights)
    infinity = INFINITY[weights.dtype] if check else type(top)(0)
    limit = limit_in_bits(longest, weights.dtype, connected)
    task, operations = (bits.reshape(n, n), infinity, limit, top, 0), OPERATIONS * n * n

    def search(block: Block) -> Any:
        return stoppable(lambda halt: reduce_matrix(*task, block, halt), operations)

    found: tuple[bool, Sequence[Any]] = with_scratch(search)
    return found


@functools.cache
def _modules() -> tuple[Any, ...]:
    """Import compiled functions on first use; an import per call takes long if caches are cold."""
    from topreg._compiled import stoppable
    from topreg._scratch_kernels import with_scratch
    from topreg.persistence.annotations._dense_kernels import reduce_matrix

    return stoppable, with_scratch, reduce_matrix


@operator(fake_annotations)
def annotate_edges(edges: Tensor, num_vertices: int, loops: bool) -> list[Tensor]:
    """Return what :func:`annotate` returns, for one graph with sorted edges, (i, j) or (j, i).

    Without ``loops`` dimension 1 is left empty, and time and memory are linear.

    Shape:
        - edges: (E, 2), int64.
    """
    import numpy as np

    from topreg._compiled import stoppable
    from topreg._scratch_kernels import with_scratch
    from topreg.persistence.annotations._annotation_kernels import by_ends

    ends = edges.detach().cpu().numpy().astype(np.uint64)
    sparse = num_vertices >= MOST_VERTICES or num_vertices**2 >= SPARSE * max(len(ends), 1 << 12)
    bits = np.uint64(32 if sparse or not loops else 16)
    packed = ends[:, 0] << bits | ends[:, 1]
    if not loops:
        from topreg.persistence.annotations._sparse_kernels import join_edges as reduce
    elif sparse:
        from topreg.persistence.annotations._sparse_kernels import reduce_edges as reduce
    else:
        from topreg.persistence.annotations._dense_kernels import reduce_edges_by_bits as reduce
    operations = len(ends) ** 2 // 64 if loops else 10 * len(ends)  # all edges may carry all loops

    def search(block: Block) -> Sequence[Any]:
        task = packed, num_vertices, block
        return stoppable(lambda halt: by_ends(0, bits, *reduce(*task, halt)), operations)

    return _concatenate([with_scratch(search)], edges.device)


def _concatenate(found: Sequence[Sequence[Any]], device: torch.device) -> list[Tensor]:
    """Concatenate the arrays of all clouds, and convert them to tensors."""
    import numpy as np

    if not found:  # a batch of no cloud
        none = np.empty((0, 2), np.int64)
        found = [[none] * 6]
    arrays = found[0] if len(found) == 1 else map(np.concatenate, zip(*found, strict=True))
    tensors = map(torch.from_numpy, arrays)
    return list(tensors) if device.type == "cpu" else [tensor.to(device) for tensor in tensors]
