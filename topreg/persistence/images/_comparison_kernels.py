"""Betti matching: bars of two images that map to the same bar of their minimum, compiled.

Imported on first use (numba). Let c be the pixelwise minimum of the images f and g, so that at each
value the sublevel sets of f and g lie in that of c. A bar of f maps to a bar of c, or vanishes, and
so does a bar of g. Two bars match if they map to the same bar of c. The bars of f that do not
vanish are those of the image of f in c: they are born with f and die with c. If the death is not
later than the birth, the bar is empty and matches nothing.

Dimension 0 is one ascending walk through c. Each component keeps its first minimum of f and of g.
When two components merge, the later minimum of f dies, and so does the later minimum of g. If
neither bar is empty, the two bars match.

Dimension 1 treats holes in reverse order: the complement of c lies in the complement of f. In a
descending walk through f each hole keeps its first hole of c. When two holes merge, a bar of f is
born; it dies in c with the hole of c that ends there. A descending walk through g does the same for
g. Bars of f and g with the same hole of c match.

For example, rows of pixels, dimension 0::

    f  1 9 2 9 9        bars [1, inf) and [2, 9)
    g  1 9 9 9 3        bars [1, inf) and [3, 9)
    c  1 9 2 9 3        [2, 9) and [3, 9) do not match: where 3 of g dies, no bar of f does
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg._scratch_kernels import LINE, reserve, reserve_zeros
from topreg.persistence._component_kernels import root
from topreg.persistence.images import _pixel_kernels as search


@compiled
def _firsts(block, links, image, eight, up):
    """Return for each root the first minimum of an image in its component, -1 if there is none.

    The frame belongs to all images.
    """
    framed, values, earlier = image[:3]
    flip = np.uint8(0 if up else 255)
    firsts, pieces = reserve(block, values.size, np.int32), search.STEPS[int(eight), 1, :, 0]
    firsts[:] = -1
    firsts[0] = 0
    height, width = framed.shape
    for y in range(1, height - 1):
        for pixel in range(y * width + 1, (y + 1) * width - 1):
            if pieces[earlier[pixel] ^ flip] == 0:
                elder = root(links, pixel)
                if firsts[elder] < 0 or search.is_later(values, up, firsts[elder], pixel):
                    firsts[elder] = pixel
    return firsts


@compiled
def _dying(values, firsts, up, younger, elder):
    """Return the minimum that dies when two roots merge, -1 if one has no minimum."""
    a, b = firsts[younger], firsts[elder]
    if a < 0 or b < 0:
        firsts[elder] = max(a, b)
        return np.int32(-1)
    if search.is_later(values, up, a, b):
        return a
    firsts[elder] = a
    return b


@compiled
def _bars(block, f, g, in_f, in_g, partner):
    """Return the bars of f with their partners in g, then the other bars of g, without empty ones.

    ``in_f`` and ``in_g`` are births above deaths, ``partner`` is the number in g of each bar of f's
    partner, or -1. The rows are those of :func:`compare_images`, as framed pixels.
    """
    most, count = in_f.shape[1] + in_g.shape[1], 0
    bars = reserve(block, 4 * most, np.int32).reshape(4, most)
    bars[:] = -1
    taken = reserve_zeros(block, in_g.shape[1], np.uint8)
    for k in range(in_f.shape[1]):
        if f[1][in_f[0, k]] != f[1][in_f[1, k]]:
            bars[0, count], bars[1, count] = in_f[0, k], in_f[1, k]
            if partner[k] >= 0:
                bars[2, count], bars[3, count] = in_g[0, partner[k]], in_g[1, partner[k]]
                taken[partner[k]] = 1
            count += 1
    for k in range(in_g.shape[1]):
        if not taken[k] and g[1][in_g[0, k]] != g[1][in_g[1, k]]:
            bars[2, count], bars[3, count] = in_g[0, k], in_g[1, k]
            count += 1
    return bars[:, :count]


@compiled
def _compare_components(block, f, g, c, links, eight, halt):
    """Return the :func:`_bars` of dimension 0, and the first pixels of f and of g.

    Images are those of ``describe``; c is the minimum.
    """
    search.link_pixels(f[0], links, eight, True)
    in_f = search.walk(block, f, links, eight, True, False, halt)
    first_f = root(links, f[0].shape[1] + 1)
    search.link_pixels(g[0], links, eight, True)
    in_g = search.walk(block, g, links, eight, True, False, halt)
    first_g = root(links, g[0].shape[1] + 1)
    place, partner = reserve(block, links.size, np.int32), reserve(block, links.size, np.int32)
    for k in range(in_f.shape[1]):
        partner[in_f[1, k]] = -1
    for k in range(in_g.shape[1]):
        place[in_g[1, k]] = k
    search.link_pixels(c[0], links, eight, True)
    firsts_f = _firsts(block, links, f, eight, True)
    firsts_g = _firsts(block, links, g, eight, True)
    merged = search.walk(block, c, links, eight, True, True, halt)
    for k in range(merged.shape[1]):
        a = _dying(f[1], firsts_f, True, merged[1, k], merged[2, k])
        b = _dying(g[1], firsts_g, True, merged[1, k], merged[2, k])
        if a >= 0 and b >= 0 and max(f[1][a], g[1][b]) < c[1][merged[0, k]]:
            partner[a] = place[b]
    bars = _bars(block, f, g, in_f[1::-1], in_g[1::-1], partner[in_f[1]])
    return bars, (first_f, first_g)


@compiled
def _name_holes(block, f, c, links, eight, halt):
    """Return the holes of f, births above deaths, and for each the hole of c that dies, or 0."""
    search.link_pixels(f[0], links, eight, False)
    firsts = _firsts(block, links, c, eight, False)
    merged = search.walk(block, f, links, eight, False, True, halt)
    holes = reserve(block, merged.shape[1], np.int32)
    for k in range(holes.size):
        hole = _dying(c[1], firsts, False, merged[1, k], merged[2, k])
        named = hole > 0 and f[1][merged[0, k]] < c[1][hole]
        holes[k] = hole if named else 0
    return merged[:2], holes


@compiled
def _compare_holes(block, f, g, c, links, eight, halt):
    """Return the :func:`_bars` of dimension 1."""
    in_f, holes_f = _name_holes(block, f, c, links, eight, halt)
    in_g, holes_g = _name_holes(block, g, c, links, eight, halt)
    place = reserve(block, links.size, np.int32)
    for hole in holes_f:
        place[hole] = -1
    for k in range(holes_g.size):
        place[holes_g[k]] = k
    place[0] = -1
    return _bars(block, f, g, in_f, in_g, place[holes_f])


@compiled
def compare_images(block, pixels, others, bits, sides, first, last, options, halt):
    """Return bars with their partners in dimensions 0 and 1, numbers per image, and first pixels.

    The rows of bars are birth and death in ``pixels``, and birth and death of the partner in
    ``others``; -1 stands for a missing bar. Numbers of columns are (dimension, image). First pixels
    are (one or other, image), -1 if the frame comes first or there are no pixels. Arguments are
    those of ``search_images``, for two batches of images of the same sizes.
    """
    components, holes, eight, negate, closed = options
    found_0, found_1 = np.empty((4, 0), np.int64), np.empty((4, 0), np.int64)
    counts, total = np.zeros((2, last - first), np.int64), np.zeros(2, np.int64)
    least = np.full((2, last - first), -1, np.int64)
    offset, most = (sides[:first, 0] * sides[:first, 1]).sum(), 0
    asked = block[:8].view(np.int64)
    for number in range(first, last):
        h, w = sides[number, 0], sides[number, 1]
        begin, offset, image = offset, offset + h * w, number - first
        if h * w == 0 or halted(halt):
            continue
        most, asked[0] = max(most, asked[0]), LINE  # the block is free again
        one, _ = search.frame_image(block, pixels[begin:offset].reshape(h, w), negate, closed)
        other, _ = search.frame_image(block, others[begin:offset].reshape(h, w), negate, closed)
        f = search.describe(block, one, bits, eight, halt)
        g = search.describe(block, other, bits, eight, halt)
        c = search.describe(block, np.minimum(one, other), bits, eight, halt)
        links = reserve(block, one.size, np.int32)
        if components:
            bars, firsts = _compare_components(block, f, g, c, links, eight, halt)
            found_0 = search.append_pixels(found_0, total[0], bars, begin, w)
            counts[0, image] = bars.shape[1]
            if not closed:
                for k in range(2):
                    least[k, image] = begin + search.unframed(firsts[k], w)
        if holes:
            bars = _compare_holes(block, f, g, c, links, not eight, halt)
            found_1 = search.append_pixels(found_1, total[1], bars, begin, w)
            counts[1, image] = bars.shape[1]
        total += counts[:, image]
    asked[0] = max(most, asked[0])
    return found_0[:, : total[0]], found_1[:, : total[1]], counts, least
