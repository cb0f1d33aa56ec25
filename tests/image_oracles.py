"""Slow twins of what is computed on images: cells, boundary matrices and their reduction."""

import itertools

import numpy as np


def cells(image, construction):
    """Return {cell: value}: cells are points of a doubled grid, odd coordinates are open."""
    image = np.asarray(image, dtype=float)
    found = {}
    if construction == "V":  # pixels are vertices; a cell comes with its last vertex
        for cell in itertools.product(*(range(2 * n - 1) for n in image.shape)):
            ends = [{c // 2, (c + 1) // 2} for c in cell]
            found[cell] = max(image[pixel] for pixel in itertools.product(*ends))
        return found
    for cell in itertools.product(*(range(2 * n + 1) for n in image.shape)):  # squares are odd
        sides = [
            [p for p in {(c - 1) // 2, c // 2} if 0 <= p < n]
            for c, n in zip(cell, image.shape, strict=True)
        ]
        found[cell] = min(image[pixel] for pixel in itertools.product(*sides))
    return found


def dimension_of(cell):
    return sum(c % 2 for c in cell)


def boundary(cell):
    for axis, c in enumerate(cell):
        if c % 2:
            for other in (c - 1, c + 1):
                yield (*cell[:axis], other, *cell[axis + 1 :])


def reduced(values, births):
    """Reduce the boundary matrix, columns in the order of ``values``, rows in that of ``births``.

    Return {birth cell: death cell} and the cells whose column vanishes.
    """
    rows = sorted(births, key=lambda cell: (births[cell], dimension_of(cell), cell))
    columns = sorted(values, key=lambda cell: (values[cell], dimension_of(cell), cell))
    place = {cell: number for number, cell in enumerate(rows)}
    pivots, zero = {}, []
    for cell in columns:
        column = {place[face] for face in boundary(cell)}
        while column and max(column) in pivots:
            column ^= pivots[max(column)][1]
        if column:
            pivots[max(column)] = (cell, column)
        else:
            zero.append(cell)
    return {rows[low]: cell for low, (cell, _) in pivots.items()}, zero


def diagrams(image, construction, top=1):
    """Return one sorted list of (birth, death) per dimension, and the births that stay."""
    values = cells(image, construction)
    pairs, zero = reduced(values, values)
    found = [[] for _ in range(top + 1)]
    for birth, death in pairs.items():
        if values[birth] < values[death] and dimension_of(birth) <= top:
            found[dimension_of(birth)].append((values[birth], values[death]))
    stays = [values[cell] for cell in zero if cell not in pairs]
    return [sorted(bars) for bars in found], stays


def betti_matching(one, other, construction):
    """Return per dimension the sorted matched bars (b, d, b', d'), and those of each image alone.

    The bars of the image of one in the minimum: pivots of the boundary matrix whose columns have
    the order of the minimum and whose rows have that of the image. For images without ties.
    """
    both = cells(np.minimum(one, other), construction)
    births_of, deaths_of, own = [], [], []
    for image in (one, other):
        values = cells(image, construction)
        pairs, _ = reduced(values, values)
        in_both, _ = reduced(both, values)
        deaths_of.append(
            {d: b for b, d in in_both.items() if values[b] < both[d]}  # not empty
        )
        births_of.append(values)
        own.append(pairs)
    found = []
    for dimension in (0, 1):
        matched, taken = [], (set(), set())
        for death in deaths_of[0].keys() & deaths_of[1].keys():
            ends = [deaths_of[k][death] for k in (0, 1)]
            if dimension_of(ends[0]) != dimension:
                continue
            bar = []
            for k in (0, 1):
                taken[k].add(ends[k])
                bar += [births_of[k][ends[k]], births_of[k][own[k][ends[k]]]]
            matched.append(tuple(bar))
        alone = [
            sorted(
                (births_of[k][b], births_of[k][d])
                for b, d in own[k].items()
                if dimension_of(b) == dimension
                and births_of[k][b] < births_of[k][d]
                and b not in taken[k]
            )
            for k in (0, 1)
        ]
        found.append((sorted(matched), *alone))
    return found
