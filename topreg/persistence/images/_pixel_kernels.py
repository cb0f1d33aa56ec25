"""Persistence pairs of an image in both dimensions, compiled. Imported on first use (numba).

Pixels appear in the order (value, index). One byte per pixel tells which of its eight neighbours
come earlier. Around the pixel these form pieces. A table lists the pieces of each byte:

- no piece: a component is born at this pixel, a minimum;
- one piece: the pixel joins it, and links to its first neighbour lead down to its minimum;
- several pieces: a saddle, where components merge or loops close.

Only saddles are sorted. In ascending order they give dimension 0: the pieces of a saddle are
followed down to their minima and united; of two components the one with the later minimum dies.
With inverted bytes and in descending order they give dimension 1. Then holes of the complement
merge in the same way, with 4 neighbours in place of 8 and 8 in place of 4. The outside is the first
hole.

A saddle of k pieces merges k - 1 times in all: a piece that it joins to a component closes a loop
unless it merges two components, and a loop that closes separates two holes. So what one dimension
has found is not sought in the other.

For example, with 4 neighbours::

    1 5 2        5 between 1 and 2 has the earlier neighbours left and right: two pieces, a saddle.
    9 9 9        Its steps lead to the minima 1 and 2; 2 is later and dies at 5: pair (2, 5).

Images are copied into a frame of one pixel. Its value is infinity, so that it is never earlier, or
minus infinity. The component of the frame has the root 0.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg._scratch_kernels import LINE, reserve
from topreg.persistence._component_kernels import root

RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # (row, column)
MOST = 4  # pieces of a pixel
DIGIT = 11  # bits of a key that one pass of the sort reads
AHEAD = 64  # saddles whose links are followed at the same time


def _pieces(byte: int, eight: bool) -> list[int]:
    """Return one place on the ring for each piece of the earlier neighbours."""
    left, found = {place for place in range(8) if byte >> place & 1}, []
    while left:
        seed = min(left)
        piece, todo = {seed}, [seed]
        while todo:
            place = todo.pop()
            near = [(place + 1) % 8, (place - 1) % 8]
            if eight and place % 2:  # left, right, above and below touch at a corner
                near += [(place + 2) % 8, (place - 2) % 8]
            new = [other for other in near if other in left and other not in piece]
            piece.update(new)
            todo += new
        left -= piece
        straight = [place for place in sorted(piece) if place % 2]
        if eight or straight:
            found.append((straight or sorted(piece))[0])
    return found


def _steps(eight: bool) -> np.ndarray:
    """Return rows and columns to one pixel per piece, for each byte: (2, 256, 1 + MOST).

    The first entry of the columns is the number of pieces.
    """
    steps = np.zeros((2, 256, 1 + MOST), np.int32)
    for byte in range(256):
        places = _pieces(byte, eight)
        steps[1, byte, 0] = len(places)
        for piece, place in enumerate(places):
            steps[:, byte, 1 + piece] = RING[place]
    return steps


STEPS = np.stack([_steps(False), _steps(True)])


@compiled
def frame_image(block, image, negate, closed):
    """Copy an image (h, w) into a frame; NaN and infinity become the largest finite value.

    Return it, and the number of pixels that are not finite.
    """
    (h, w), outside = image.shape, -np.inf if closed else np.inf
    framed, bad = reserve(block, (h + 2) * (w + 2), image.dtype).reshape(h + 2, w + 2), 0
    framed[0], framed[h + 1] = outside, outside
    most = np.finfo(framed.dtype).max
    for y in range(h):
        row = framed[y + 1]
        row[0], row[w + 1] = outside, outside
        for x in range(w):
            value = -image[y, x] if negate else image[y, x]
            bad += not (-most <= value <= most)
            value = value if value <= most else most
            row[x + 1] = (value if value >= -most else -most) + framed.dtype.type(0)  # no -0.0
    return framed, bad


@compiled
def compare_neighbours(block, framed):
    """Return which neighbours of each pixel come earlier, one bit per place on the ring."""
    one = np.uint8(1)
    height, width = framed.shape
    earlier = reserve(block, framed.size, np.uint8).reshape(height, width)
    earlier[0], earlier[height - 1] = 0, 0
    for y in range(1, height - 1):
        above, row, below, out = framed[y - 1], framed[y], framed[y + 1], earlier[y]
        out[0], out[width - 1] = 0, 0
        for x in range(1, width - 1):
            v = row[x]
            out[x] = (
                (one if above[x - 1] <= v else 0)
                | (2 if above[x] <= v else 0)
                | (4 if above[x + 1] <= v else 0)
                | (8 if row[x + 1] < v else 0)
                | (16 if below[x + 1] < v else 0)
                | (32 if below[x] < v else 0)
                | (64 if below[x - 1] < v else 0)
                | (128 if row[x - 1] <= v else 0)
            )
    return earlier


@compiled
def link_pixels(framed, links, eight, up):
    """Link each pixel to the first of its neighbours, or to itself if it comes before them.

    The order descends unless ``up``: then the image is read backwards, with the sign reversed. The
    frame is linked to the root 0.
    """
    width, values, box = np.int32(framed.shape[1]), framed.ravel(), links.reshape(framed.shape)
    right = np.int32(1 if up else -1)
    stride, begin, sign = right * width, width + 1, values.dtype.type(right)
    above, below = begin - stride, begin + stride
    a, b, c = values[above - right :], values[above:], values[above + right :]
    d, v, e = values[begin - right :], values[begin:], values[begin + right :]
    f, g, h = values[below - right :], values[below:], values[below + right :]
    out = links[begin:]
    for k in range(values.size - 2 * begin):  # neighbours before the pixel win ties
        least, way = sign * v[k], np.int32(0)
        if eight:
            least, way = _lesser(least, way, sign * h[k], stride + right, False)
        least, way = _lesser(least, way, sign * g[k], stride, False)
        if eight:
            least, way = _lesser(least, way, sign * f[k], stride - right, False)
        least, way = _lesser(least, way, sign * e[k], right, False)
        least, way = _lesser(least, way, sign * d[k], -right, True)
        if eight:
            least, way = _lesser(least, way, sign * c[k], right - stride, True)
        least, way = _lesser(least, way, sign * b[k], -stride, True)
        if eight:
            least, way = _lesser(least, way, sign * a[k], -stride - right, True)
        out[k] = np.int32(begin + k) + way
    box[0], box[-1], box[:, 0], box[:, -1] = 0, 0, 0, 0


@compiled
def _lesser(least, way, value, there, ties):
    """Return the lesser value with the way to it; ``ties`` tells whether ``value`` wins ties."""
    wins = value <= least if ties else value < least
    return (value if wins else least), (np.int32(there) if wins else way)


@compiled
def is_later(values, up, a, b):
    """Return whether pixel ``a`` comes after another, ``b``; the order descends unless ``up``."""
    one, other = values[np.uint32(a)], values[np.uint32(b)]
    after = (one > other) | ((one == other) & (a > b))
    return after == up


@compiled
def _flag_saddles(earlier, flags, eight):
    """Write a number for each byte that is not 0 if there are several pieces.

    Rotated by one place, the bits of straight neighbours are those of the corners next to them. A
    corner between two joins them if ``eight``; otherwise a corner without one does not count. A
    piece begins at each place of the ring whose predecessor does not come earlier.
    """
    for k in range(earlier.size):
        near = earlier[k]
        straight = near & 0xAA
        one, other = straight << 1 | straight >> 7, straight >> 1 | straight << 7
        near = near | (one & other) if eight else straight | (near & (one | other))
        near &= 0xFF
        begins = near & ~(near << 1 | near >> 7)
        flags[k] = begins & (begins - 1)


@compiled
def describe(block, framed, bits, eight, halt):
    """Return a framed image, its pixels, their bytes, the saddles in order, and their mergers.

    A saddle of k pieces merges k - 1 times, in one of the dimensions each time. ``bits`` is an
    empty array of unsigned integers as wide as the pixels.
    """
    values, earlier = framed.ravel(), compare_neighbours(block, framed).ravel()
    pieces = STEPS[int(eight), 1, :, 0]
    saddles, count = reserve(block, earlier.size, np.int32), 0
    flags = reserve(block, (earlier.size + 7) // 8 * 8, np.uint8)
    flags[earlier.size :] = 0
    _flag_saddles(earlier, flags, eight)
    words = flags.view(np.uint64)
    for word in range(words.size):  # 8 pixels, often without a saddle
        if words[word] != 0:
            for pixel in range(8 * word, min(8 * word + 8, earlier.size)):
                saddles[np.uint32(count)] = pixel
                count += flags[pixel] != 0
    saddles = in_order(block, values.view(bits.dtype), saddles[:count], halt)
    left = reserve(block, count, np.int8)
    for k in range(count):
        left[k] = pieces[earlier[saddles[k]]] - 1
    return framed, values, earlier, saddles, left


@compiled
def in_order(block, bits, pixels, halt):
    """Return pixels, given by their index, in the order (value, index): a radix sort of the bits.

    The bits of a float keep its order once those of negative values are inverted.
    """
    count, others = pixels.size, reserve(block, pixels.size, np.int32)
    keys, other_keys = reserve(block, count, bits.dtype), reserve(block, count, bits.dtype)
    one, sign = bits.dtype.type(1), bits.dtype.type(8 * bits.itemsize - 1)
    for k in range(count):
        key = bits[np.uint32(pixels[k])]
        keys[k] = ~key if key >> sign else key | one << sign
    places, low = reserve(block, 1 << DIGIT, np.int32), bits.dtype.type((1 << DIGIT) - 1)
    for first in range(0, 8 * bits.itemsize, DIGIT):
        if halted(halt):
            break
        shift = bits.dtype.type(first)
        places[:] = 0
        for k in range(count):
            places[keys[k] >> shift & low] += 1
        if count == 0 or places[keys[0] >> shift & low] == count:
            continue
        total = 0
        for digit in range(places.size):
            places[digit], total = total, total + places[digit]
        for k in range(count):
            place = places[keys[k] >> shift & low]
            places[keys[k] >> shift & low] += 1
            others[np.uint32(place)], other_keys[np.uint32(place)] = pixels[k], keys[k]
        pixels, others, keys, other_keys = others, pixels, other_keys, keys
    return pixels


@compiled
def _follow(links, pixel):
    """Return the pixel at the end of four links; longer paths are rare in images with noise."""
    for _ in range(4):
        pixel = links[np.uint32(pixel)]
    return pixel


@compiled
def walk(block, image, links, eight, up, every, halt):
    """Unite the pieces of each saddle, in ascending (``up``) or descending order.

    ``image`` is that of :func:`describe`, with the mergers that are left: the other dimension may
    have taken some. Return three rows: the saddle of each merger, the root that dies and the root
    that stays. Unless ``every``, leave out mergers whose dying root has the value of the saddle.

    Links of several saddles are followed before any is united. The processor then follows them at
    the same time, which takes about half as long. Unsigned indices need no test for negative ones.
    """
    (framed, values, earlier, saddles, left), flip = image, np.uint8(0 if up else 255)
    rows, columns = STEPS[int(eight)]
    steps, most, count = rows * np.int32(framed.shape[1]) + columns, left.sum(), 0
    mergers = reserve(block, 3 * (most + 1), np.int32).reshape(3, most + 1)
    places, ends = np.empty(AHEAD, np.int32), np.empty((AHEAD, 1 + MOST), np.int32)
    for first in range(0, saddles.size, AHEAD):
        if halted(halt):
            break
        waiting = 0
        for at in range(first, min(first + AHEAD, saddles.size)):
            k = at if up else saddles.size - 1 - at
            ways = steps[earlier[np.uint32(saddles[k])] ^ flip]
            places[waiting], ends[waiting, 0] = k, ways[0]
            ends[waiting, 1] = _follow(links, saddles[k] + ways[1])
            ends[waiting, 2] = _follow(links, saddles[k] + ways[2])
            for piece in range(3, ways[0] + 1):
                ends[waiting, piece] = _follow(links, saddles[k] + ways[piece])
            waiting += left[k] > 0
        for row in range(waiting):
            k, saddle = places[row], saddles[places[row]]
            elder = root(links, ends[row, 1])
            for piece in range(2, ends[row, 0] + 1):
                younger = root(links, ends[row, piece])
                if younger == elder:
                    continue
                swap = is_later(values, up, elder, younger)
                younger, elder = (elder if swap else younger), (younger if swap else elder)
                links[np.uint32(younger)] = elder
                left[k] -= 1
                mergers[0, count], mergers[1, count], mergers[2, count] = saddle, younger, elder
                count += every or values[np.uint32(younger)] != values[np.uint32(saddle)]
    return mergers[:, :count]


@compiled
def search_images(block, pixels, bits, sides, first, last, options, halt):
    """Return births, deaths and essential pixels of dimension 0, births and deaths of dimension 1.

    The numbers of images that have NaN or infinity follow. ``pixels`` holds the images one
    after the other, of which ``first`` to ``last - 1`` are searched; ``sides`` are their heights
    and widths. Pixels are numbered through all images. ``options`` tell whether components and
    holes are wanted, components have 8 neighbours, values are negated, and the frame comes first.
    Dimension 0 is in the order of deaths, dimension 1 in that of births.
    """
    components, holes, eight, negate, closed = options
    found_0, found_1 = np.empty((2, 0), np.int64), np.empty((2, 0), np.int64)
    essential, m, m_1, e = np.empty(last - first, np.int64), 0, 0, 0
    bad, bads = np.empty(last - first, np.int64), 0
    offset, most = (sides[:first, 0] * sides[:first, 1]).sum(), 0
    asked = block[:8].view(np.int64)
    for number in range(first, last):
        h, w = sides[number, 0], sides[number, 1]
        begin, offset = offset, offset + h * w
        if h * w == 0 or halted(halt):
            continue
        most, asked[0] = max(most, asked[0]), LINE  # the block is free again
        image = pixels[begin:offset].reshape(h, w)
        framed, infinite = frame_image(block, image, negate, closed)
        bad[bads] = number
        bads += infinite > 0
        described = describe(block, framed, bits, eight, halt)
        links = reserve(block, framed.size, np.int32)
        for up in (not eight, eight):  # first the dimension of 4 neighbours: it has more mergers
            if not (components if up else holes):
                continue
            link_pixels(framed, links, eight == up, up)
            mergers = walk(block, described, links, eight == up, up, False, halt)
            if up:
                found_0 = append_pixels(found_0, m, mergers[1::-1], begin, w)
                m += mergers.shape[1]
                essential[e] = begin + unframed(root(links, w + 3), w)
                e += not closed
            else:
                found_1 = append_pixels(found_1, m_1, mergers[:2, ::-1], begin, w)
                m_1 += mergers.shape[1]
    asked[0] = max(most, asked[0])
    found_0, found_1 = found_0[:, :m], found_1[:, :m_1]
    return found_0[0], found_0[1], essential[:e], found_1[0], found_1[1], bad[:bads]


@compiled
def append_pixels(buffer, filled, pixels, offset, width):
    """Append columns of pixels, converted from framed numbers to numbers through all images.

    ``width`` is that of the image without its frame. -1 stays.
    """
    count = pixels.shape[1]
    if filled + count > buffer.shape[1]:
        larger = np.empty((buffer.shape[0], max(filled + count, 2 * filled)), np.int64)
        larger[:, :filled] = buffer[:, :filled]
        buffer = larger
    for row in range(pixels.shape[0]):
        for k in range(count):
            pixel = pixels[row, k]
            buffer[row, filled + k] = offset + unframed(pixel, width) if pixel >= 0 else -1
    return buffer


@compiled
def unframed(pixel, width):
    """Return the number of a framed pixel in its image, whose rows have this width.

    The quotient of floats is never rounded up to the next row.
    """
    row = int((pixel + 0.5) * (1.0 / (width + 2)))
    return pixel - 2 * row - width - 1
