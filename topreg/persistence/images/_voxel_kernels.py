"""Components and holes of volumes, compiled. Imported on first use (numba).

Cavities are components of the complement, with the other neighbourhood; the outside is the first
of them. Persistence unites voxels in sorted order. Betti numbers of masks need no order: rows are
cut into runs of equal voxels, and runs of neighbouring rows are united. The number of tunnels
follows from the Euler characteristic, b0 - b1 + b2, which counts cells.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg.persistence._component_kernels import root
from topreg.persistence.images._pixel_kernels import is_later

BATCH = 1 << 12  # voxels between two checks of `halt`


@compiled
def unite_voxels(values, order, parent, ways, up, halt):
    """Let voxels appear in order; return births and deaths (2, m), in the order of mergers.

    For dimension 0 the order ascends: a component is born at its root and dies at the voxel that
    merges it. For dimension 2 the order descends: a cavity is born at that voxel and dies at its
    root. ``parent`` is -1 for all voxels, but 0 for those of a frame that takes part.
    """
    pairs, count = np.empty((2, order.size), np.int64), 0
    for k in range(order.size):
        if k % BATCH == 0 and halted(halt):
            break
        voxel = order[k]
        parent[voxel], elder = voxel, voxel
        for way in ways:
            if parent[voxel + way] < 0:
                continue
            younger = root(parent, voxel + way)
            if younger == elder:
                continue
            if is_later(values, up, elder, younger):
                younger, elder = elder, younger
            parent[younger] = elder
            if values[younger] != values[voxel]:
                pairs[0, count], pairs[1, count] = (younger, voxel) if up else (voxel, younger)
                count += 1
    return pairs[:, :count]


@compiled
def _runs(mask, wanted):
    """Return begin and end of each run of wanted voxels, and the first run of each row."""
    rows, w = mask.shape
    count = 0
    for row in range(rows):
        before = not wanted
        for x in range(w):
            count += mask[row, x] == wanted and before != wanted
            before = mask[row, x]
    ends, first, run = np.empty((2, count), np.int32), np.empty(rows + 1, np.int64), 0
    for row in range(rows):
        first[row] = run
        x = 0
        while x < w:
            if mask[row, x] == wanted:
                ends[0, run] = x
                while x < w and mask[row, x] == wanted:
                    x += 1
                ends[1, run] = x
                run += 1
            else:
                x += 1
    first[rows] = run
    return ends, first


@compiled
def _join_rows(parent, ends, first, row, other, touch):
    """Unite runs of two rows that overlap or, with ``touch`` 1, meet at an end; count mergers.

    Runs are numbered from 1; 0 is the outside.
    """
    a, b, mergers = first[row], first[other], 0
    while a < first[row + 1] and b < first[other + 1]:
        if ends[0, a] < ends[1, b] + touch and ends[0, b] < ends[1, a] + touch:
            one, two = root(parent, a + 1), root(parent, b + 1)
            if one != two:
                parent[max(one, two)] = min(one, two)
                mergers += 1
        if ends[1, a] < ends[1, b]:
            a += 1
        else:
            b += 1
    return mergers


@compiled
def count_components(mask, depth, corners, wanted, halt):
    """Return the number of components of voxels equal to ``wanted`` in a mask of depth * h rows.

    With ``wanted`` false these are components of the background; the one that contains the outside
    does not count. With ``corners`` voxels that share an edge or a corner are neighbours.
    """
    rows, w = mask.shape
    ends, first = _runs(mask, wanted)
    touch, h, runs = 1 if corners else 0, rows // max(depth, 1), ends.shape[1]
    parent, components = np.arange(runs + 1), runs
    for row in range(rows):
        if row % 64 == 0 and halted(halt):
            break
        y, z = row % h, row // h
        if y > 0:
            components -= _join_rows(parent, ends, first, row, row - 1, touch)
        if z > 0:
            components -= _join_rows(parent, ends, first, row, row - h, touch)
            if corners and y > 0:
                components -= _join_rows(parent, ends, first, row, row - h - 1, touch)
            if corners and y < h - 1:
                components -= _join_rows(parent, ends, first, row, row - h + 1, touch)
        if wanted:
            continue
        border = y == 0 or y == h - 1 or z == 0 or z == depth - 1
        for run in range(first[row], first[row + 1]):
            if border or ends[0, run] == 0 or ends[1, run] == w:
                piece = root(parent, run + 1)
                if piece != 0:
                    parent[piece] = 0
                    components -= 1
    return components


def _cells_of(window: int, closed: bool) -> int:
    """Return the signed number of cells that belong to the first corner of a window of 8 voxels.

    Closed voxels include their faces: a cell exists if one of the voxels around it does. Otherwise
    voxels are vertices, and a cell exists if all its corners do.
    """
    total = 0
    for cell in range(8):  # which axes a cell leaves out (closed) or spans
        corners = [k for k in range(8) if (k & cell) == (cell if closed else k)]
        has = [bool(window >> k & 1) for k in corners]
        if any(has) if closed else all(has):
            total += (-1) ** bin(cell).count("1")
    return total


CELLS = np.array([[_cells_of(window, closed) for window in range(256)] for closed in (False, True)])


@compiled
def euler_number(mask, closed):
    """Return the Euler characteristic of a mask (d, h, w) of closed voxels, or of vertices."""
    d, h, w = mask.shape
    cells, total = CELLS[1 if closed else 0], 0
    none = np.zeros(w, mask.dtype)
    for z in range(-1, d):
        for y in range(-1, h):
            a = mask[z, y] if z >= 0 and y >= 0 else none
            b = mask[z, y + 1] if z >= 0 and y + 1 < h else none
            c = mask[z + 1, y] if z + 1 < d and y >= 0 else none
            e = mask[z + 1, y + 1] if z + 1 < d and y + 1 < h else none
            window = 0
            for x in range(w):  # bits 1, 2 and 4 of a voxel: the next along x, y and z
                window = window >> 1 & 85 | a[x] << 1 | b[x] << 3 | c[x] << 5 | e[x] << 7
                total += cells[window]
            total += cells[window >> 1 & 85]
    return total
