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
from topreg.persistence.images import _pixel_kernels as search


@compiled
def _firsts(values, earlier, other, other_earlier, parent, table, up, width):
    """Return for each component's root of one image the first minimum of another image in it.

    It is -1 if there is none. The frame belongs to both images.
    """
    flip, steps = np.uint8(0 if up else 255), search.steps_of(table, width)
    firsts = np.full(values.size, -1, np.int32)
    firsts[0] = 0
    height = values.size // width
    for y in range(1, height - 1):
        for pixel in range(y * width + 1, (y + 1) * width - 1):
            if steps[other_earlier[pixel] ^ flip] == 0:
                root = search.root_of(parent, earlier, flip, steps, pixel)
                if firsts[root] < 0 or search.is_later(other, up, firsts[root], pixel):
                    firsts[root] = pixel
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
def _match_components(f, g, c, bytes_f, bytes_g, bytes_c, parent, saddles, table, width, halt):
    """Return for each minimum of f the minimum of g whose bar matches, -1 if none does."""
    first_f = _firsts(c, bytes_c, f, bytes_f, parent, table, True, width)
    first_g = _firsts(c, bytes_c, g, bytes_g, parent, table, True, width)
    mergers = search.walk(c, bytes_c, parent, saddles, table, True, width, True, halt)
    partner = np.full(c.size, -1, np.int32)
    for k in range(mergers.shape[1]):
        saddle, younger, elder = mergers[0, k], mergers[1, k], mergers[2, k]
        a = _dying(f, first_f, True, younger, elder)
        b = _dying(g, first_g, True, younger, elder)
        if a >= 0 and b >= 0 and f[a] < c[saddle] and g[b] < c[saddle]:
            partner[a] = b
    return partner


@compiled
def _name_holes(f, c, bytes_f, bytes_c, parent, saddles, table, width, halt):
    """Return the mergers of the holes of f, and for each the hole of c that dies, -1 for none."""
    firsts = _firsts(f, bytes_f, c, bytes_c, parent, table, False, width)
    mergers = search.walk(f, bytes_f, parent, saddles, table, False, width, True, halt)
    holes = np.full(mergers.shape[1], -1, np.int32)
    for k in range(holes.size):
        hole = _dying(c, firsts, False, mergers[1, k], mergers[2, k])
        if hole > 0 and f[mergers[0, k]] < c[hole]:
            holes[k] = hole
    return mergers, holes


@compiled
def _compare_components(f, g, c, width, height, bytes_f, bytes_g, saddles, table, halt):
    """Return bars of dimension 0 and their partners, see :func:`compare_images`, as framed pixels.

    ``c`` holds the pixelwise minimum, its bytes and its saddles; ``saddles`` those of f and of g.
    """
    parent = np.empty(f.size, np.int32)
    search.clear_links(parent, height, width - 2)
    in_f = search.walk(f, bytes_f, parent, saddles[0], table, True, width, False, halt)
    search.clear_links(parent, height, width - 2)
    in_g = search.walk(g, bytes_g, parent, saddles[1], table, True, width, False, halt)
    search.clear_links(parent, height, width - 2)
    partner = _match_components(
        f, g, c[0], bytes_f, bytes_g, c[1], parent, c[2], table, width, halt
    )
    death_in_g, taken = np.full(f.size, -1, np.int32), np.zeros(f.size, np.bool_)
    for k in range(in_g.shape[1]):
        death_in_g[in_g[1, k]] = in_g[0, k]
    bars, m = np.full((4, in_f.shape[1] + in_g.shape[1]), -1, np.int32), in_f.shape[1]
    for k in range(m):
        bars[0, k], bars[1, k] = in_f[1, k], in_f[0, k]
        other = partner[in_f[1, k]]
        if other >= 0:
            bars[2, k], bars[3, k], taken[other] = other, death_in_g[other], True
    for k in range(in_g.shape[1]):
        if not taken[in_g[1, k]]:
            bars[2, m], bars[3, m] = in_g[1, k], in_g[0, k]
            m += 1
    return bars[:, :m]


@compiled
def _compare_holes(f, g, c, width, height, bytes_f, bytes_g, bytes_c, saddles, table, halt):
    """Return bars of dimension 1 as :func:`_compare_components` returns those of dimension 0."""
    parent = np.empty(f.size, np.int32)
    search.clear_links(parent, height, width - 2)
    in_f, holes_f = _name_holes(f, c, bytes_f, bytes_c, parent, saddles[0], table, width, halt)
    search.clear_links(parent, height, width - 2)
    in_g, holes_g = _name_holes(g, c, bytes_g, bytes_c, parent, saddles[1], table, width, halt)
    place, taken = np.full(f.size, -1, np.int32), np.zeros(holes_g.size, np.bool_)
    for k in range(holes_g.size):
        if holes_g[k] >= 0:
            place[holes_g[k]] = k
    bars, m = np.full((4, holes_f.size + holes_g.size), -1, np.int32), 0
    for k in range(holes_f.size):
        birth, death = in_f[0, k], in_f[1, k]
        if f[birth] == f[death]:
            continue
        bars[0, m], bars[1, m] = birth, death
        other = place[holes_f[k]] if holes_f[k] >= 0 else -1
        if other >= 0:
            bars[2, m], bars[3, m], taken[other] = in_g[0, other], in_g[1, other], True
        m += 1
    for k in range(holes_g.size):
        if not taken[k] and g[in_g[0, k]] != g[in_g[1, k]]:
            bars[2, m], bars[3, m] = in_g[0, k], in_g[1, k]
            m += 1
    return bars[:, :m]


@compiled
def _frame(values, image, negate, outside, earlier):
    """Frame an image and compare its neighbours."""
    search.frame_image(values, image, negate, outside)
    search.clear_frame(earlier)
    search.compare_neighbours(values, earlier)


@compiled
def compare_images(
    pixels, others, bits, heights, widths, first, last, eight, negate, outside, dims, halt
):
    """Return bars with their partners in dimensions 0 and 1, numbers per image, and first pixels.

    The rows of bars are birth and death in ``pixels``, and birth and death of the partner in
    ``others``; -1 stands for a missing bar. Numbers of columns are (dimension, image). First pixels
    are (image, one or other), -1 in an image without pixels. Arguments are those of
    ``search_images``, for two batches of images of the same sizes.
    """
    offset = 0
    for image in range(first):
        offset += heights[image] * widths[image]
    buffer_0, buffer_1 = np.empty((4, 1 << 8), np.int64), np.empty((4, 1 << 8), np.int64)
    counts, total = np.zeros((2, last - first), np.int64), np.zeros(2, np.int64)
    least = np.full((last - first, 2), -1, np.int64)
    table, dual = search.TABLES[int(eight)], search.TABLES[1 - int(eight)]
    for image in range(first, last):
        h, w = heights[image], widths[image]
        width, size, end = w + 2, (h + 2) * (w + 2), offset + h * w
        if h * w == 0 or halted(halt):
            continue
        values, earlier = np.empty((3, size), pixels.dtype), np.empty((3, size), np.uint8)
        framed, bytes_ = values.reshape(3, h + 2, width), earlier.reshape(3, h + 2, width)
        _frame(framed[0], pixels[offset:end].reshape(h, w), negate, outside, bytes_[0])
        _frame(framed[1], others[offset:end].reshape(h, w), negate, outside, bytes_[1])
        both = np.minimum(framed[0, 1 : h + 1, 1 : w + 1], framed[1, 1 : h + 1, 1 : w + 1])
        _frame(framed[2], both, False, outside, bytes_[2])
        kinds = table[:, 0]
        saddles = (
            search.saddles_of(values[0].view(bits.dtype), earlier[0], kinds, halt),
            search.saddles_of(values[1].view(bits.dtype), earlier[1], kinds, halt),
        )
        f, g, c = values[0], values[1], values[2]
        least[image - first, 0] = offset + search.first_pixel(framed[0])
        least[image - first, 1] = offset + search.first_pixel(framed[1])
        if dims[0]:
            minimum = c, earlier[2], search.saddles_of(c.view(bits.dtype), earlier[2], kinds, halt)
            bars = _compare_components(
                f, g, minimum, width, h, earlier[0], earlier[1], saddles, table, halt
            )
            buffer_0 = search.append_pixels(buffer_0, total[0], bars, offset, width)
            counts[0, image - first] = bars.shape[1]
        if dims[1]:
            bars = _compare_holes(
                f, g, c, width, h, earlier[0], earlier[1], earlier[2], saddles, dual, halt
            )
            buffer_1 = search.append_pixels(buffer_1, total[1], bars, offset, width)
            counts[1, image - first] = bars.shape[1]
        total += counts[:, image - first]
        offset = end
    return buffer_0[:, : total[0]], buffer_1[:, : total[1]], counts, least
