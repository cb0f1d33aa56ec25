"""Persistence pairs of an image in both dimensions, compiled. Imported on first use (numba).

Pixels appear in the order (value, index). One byte per pixel says which of its eight neighbours
come earlier. Read around the ring they fall into pieces, and a table knows these for each byte:

- no piece: a component is born at this pixel, a minimum;
- one piece: the pixel joins it, and a step to any neighbour in it leads down to its minimum;
- several pieces: a saddle, where components merge or loops close.

Only saddles are sorted. Walking up through them gives dimension 0: all pieces of a saddle are led
down to their minima and united; of two components the one with the later minimum dies. Inverting
the bytes gives dimension 1: walking down, holes of the complement merge in the same way, with
4 neighbours in place of 8 and the other way round, and with the outside as the first hole.

For example, with 4 neighbours::

    1 5 2        5 between 1 and 2 has the earlier neighbours left and right: two pieces, a saddle.
    9 9 9        Its steps lead to the minima 1 and 2; 2 is later and dies at 5: pair (2, 5).

Images are copied into a frame of one pixel: infinite, so that it is never earlier, or minus
infinite. The frame's component has the root 0.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted

RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # (row, column)
MOST = 4  # pieces of a pixel
DIGIT = 11  # bits of a key that one pass of the sort reads
BATCH = 1 << 12  # saddles between two looks at `halt`


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


def _table(eight: bool) -> np.ndarray:
    """Return the number of pieces of each byte, then their places on the ring."""
    table = np.zeros((256, 1 + MOST), np.int64)
    for byte in range(256):
        places = _pieces(byte, eight)
        table[byte, : 1 + len(places)] = [len(places), *places]
    return table


TABLES = np.stack([_table(False), _table(True)])


@compiled
def frame_image(framed, image, negate, outside):
    """Copy an image (h, w) into its frame; not a number and infinity become the last value."""
    h, w = image.shape
    framed[0], framed[h + 1] = outside, outside
    most = np.finfo(framed.dtype).max
    for y in range(h):
        row = framed[y + 1]
        row[0], row[w + 1] = outside, outside
        for x in range(w):
            value = -image[y, x] if negate else image[y, x]
            value = value if value <= most else most
            row[x + 1] = (value if value >= -most else -most) + framed.dtype.type(0)  # no -0.0


@compiled
def compare_neighbours(framed, earlier):
    """Write for each pixel which neighbours come earlier, a bit per place on the ring."""
    one = np.uint8(1)
    for y in range(1, framed.shape[0] - 1):
        above, row, below, out = framed[y - 1], framed[y], framed[y + 1], earlier[y]
        for x in range(1, framed.shape[1] - 1):
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


@compiled
def is_later(values, up, a, b):
    """Whether pixel ``a`` comes after pixel ``b``, walking up or down."""
    after = values[a] > values[b] or (values[a] == values[b] and a > b)
    return after if up else (not after and a != b)


@compiled
def saddles_of(bits, earlier, kinds, halt):
    """Return the saddles in the order (value, index).

    ``kinds`` says how many pieces the neighbours of a byte have.
    """
    count = 0
    for pixel in range(earlier.size):
        count += kinds[earlier[pixel]] > 1
    saddles, count = np.empty(count, np.int32), 0
    for pixel in range(earlier.size):
        if kinds[earlier[pixel]] > 1:
            saddles[count] = pixel
            count += 1
    return in_order(bits, saddles, halt)


@compiled
def in_order(bits, pixels, halt):
    """Return pixels, given by their index, in the order (value, index): a radix sort of the bits.

    The bits of a float keep its order once those of negative values are inverted.
    """
    count, others = pixels.size, np.empty_like(pixels)
    keys, other_keys = np.empty(count, bits.dtype), np.empty(count, bits.dtype)
    one, sign = bits.dtype.type(1), bits.dtype.type(8 * bits.itemsize - 1)
    for k in range(count):
        key = bits[pixels[k]]
        keys[k] = ~key if key >> sign else key | one << sign
    places, low = np.empty(1 << DIGIT, np.int64), bits.dtype.type((1 << DIGIT) - 1)
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
            others[place], other_keys[place] = pixels[k], keys[k]
        pixels, others, keys, other_keys = others, pixels, other_keys, keys
    return pixels


@compiled
def steps_of(table, width):
    """Return for each byte the way to the first piece, 0 where there is none."""
    steps, ring = np.zeros(256, np.int32), ring_of(width)
    for byte in range(256):
        if table[byte, 0]:
            steps[byte] = ring[table[byte, 1]]
    return steps


@compiled
def ring_of(width):
    """Return the way to each neighbour in an array whose rows have this width."""
    ring = np.empty(8, np.int32)
    for place in range(8):
        ring[place] = RING[place][0] * width + RING[place][1]
    return ring


@compiled
def clear_links(parent, h, w):
    """Forget all links; the pixels of the frame belong to the root 0."""
    parent[:] = -1
    width = w + 2
    for x in range(width):
        parent[x], parent[(h + 1) * width + x] = 0, 0
    for y in range(1, h + 1):
        parent[y * width], parent[y * width + w + 1] = 0, 0


@compiled
def root_of(parent, earlier, flip, steps, pixel):
    """Lead a pixel down to the root of its component; write links and shorten them."""
    root = pixel
    while True:
        link = parent[root]
        if link < 0:
            link = root + steps[earlier[root] ^ flip]
            parent[root] = link
        if link == root:
            break
        root = link
    while parent[pixel] != root:
        parent[pixel], pixel = root, parent[pixel]
    return root


@compiled
def walk(values, earlier, parent, saddles, table, up, width, every, halt):
    """Unite the pieces of each saddle, walking up or down.

    Return the saddle, the root that dies and the root that stays of each merger, a row each, with
    ``every`` merger or only those of a root whose value is another than the saddle's.
    """
    flip, steps, ring = np.uint8(0 if up else 255), steps_of(table, width), ring_of(width)
    most = 0
    for saddle in saddles:
        most += table[earlier[saddle] ^ flip, 0] - 1
    mergers, count = np.empty((3, most), np.int32), 0
    for k in range(saddles.size):
        if k % BATCH == 0 and halted(halt):
            break
        saddle = saddles[k if up else saddles.size - 1 - k]
        pieces = table[earlier[saddle] ^ flip]
        elder = root_of(parent, earlier, flip, steps, saddle + ring[pieces[1]])
        for piece in range(2, pieces[0] + 1):
            younger = root_of(parent, earlier, flip, steps, saddle + ring[pieces[piece]])
            if younger == elder:
                continue
            if is_later(values, up, elder, younger):
                younger, elder = elder, younger
            parent[younger] = elder
            if every or values[younger] != values[saddle]:
                mergers[0, count], mergers[1, count], mergers[2, count] = saddle, younger, elder
                count += 1
    return mergers[:, :count]


@compiled
def search_images(pixels, bits, heights, widths, first, last, eight, negate, outside, dims, halt):
    """Return births, deaths and their numbers per image, of dimension 0 and of dimension 1.

    Then the pixel that comes first in each image, -1 in an image without one. Images ``first`` to
    ``last`` lie one after the other in ``pixels``; ``bits`` is an empty array of unsigned integers
    as wide as these. Pixels are numbered through all images. ``dims`` says which dimensions are
    wanted. Dimension 0 is in the order of deaths, dimension 1 in the order of births.
    """
    offset, most = 0, 0
    for image in range(last):
        size = (heights[image] + 2) * (widths[image] + 2)
        if image < first:
            offset += heights[image] * widths[image]
        else:
            most = max(most, size)
    values_of_all = np.empty(most, pixels.dtype)
    earlier_of_all, parent_of_all = np.zeros(most, np.uint8), np.empty(most, np.int32)
    buffer_0, buffer_1 = np.empty((2, 1 << 8), np.int64), np.empty((2, 1 << 8), np.int64)
    counts, total = np.zeros((2, last - first), np.int64), np.zeros(2, np.int64)
    least = np.full(last - first, -1, np.int64)
    for image in range(first, last):
        h, w = heights[image], widths[image]
        width, size = w + 2, (h + 2) * (w + 2)
        if h * w == 0 or halted(halt):
            continue
        values, earlier, parent = values_of_all[:size], earlier_of_all[:size], parent_of_all[:size]
        framed, bytes_ = values.reshape(h + 2, width), earlier.reshape(h + 2, width)
        frame_image(framed, pixels[offset : offset + h * w].reshape(h, w), negate, outside)
        clear_frame(bytes_)
        compare_neighbours(framed, bytes_)
        kinds = TABLES[int(eight), :, 0]
        saddles = saddles_of(values.view(bits.dtype), earlier, kinds, halt)
        for dimension in range(2):
            if not dims[dimension]:
                continue
            up = dimension == 0
            clear_links(parent, h, w)
            table = TABLES[1 if eight == up else 0]
            found = walk(values, earlier, parent, saddles, table, up, width, False, halt)
            n, done = found.shape[1], total[dimension]
            if up:
                buffer_0 = append_pixels(buffer_0, done, found[1::-1], offset, width)
            else:
                buffer_1 = append_pixels(buffer_1, done, found[:2, ::-1], offset, width)
            counts[dimension, image - first], total[dimension] = n, done + n
        least[image - first] = offset + first_pixel(framed)
        offset += h * w
    return buffer_0[:, : total[0]], buffer_1[:, : total[1]], counts, least


@compiled
def append_pixels(buffer, filled, pixels, offset, width):
    """Append columns of framed pixels, numbered through all images; -1 stays."""
    count = pixels.shape[1]
    if filled + count > buffer.shape[1]:
        larger = np.empty((buffer.shape[0], max(filled + count, 2 * buffer.shape[1])), np.int64)
        larger[:, :filled] = buffer[:, :filled]
        buffer = larger
    for row in range(pixels.shape[0]):
        for k in range(count):
            pixel = pixels[row, k]
            number = (pixel // width - 1) * (width - 2) + pixel % width - 1
            buffer[row, filled + k] = offset + number if pixel >= 0 else -1
    return buffer


@compiled
def clear_frame(earlier):
    """Make the bytes of the frame those of pixels that are not saddles."""
    earlier[0], earlier[earlier.shape[0] - 1] = 0, 0
    earlier[:, 0], earlier[:, earlier.shape[1] - 1] = 0, 0


@compiled
def first_pixel(framed):
    """Return the first pixel in the order (value, index), numbered without the frame."""
    h, w, best = framed.shape[0] - 2, framed.shape[1] - 2, 0
    least = framed[1, 1]
    for y in range(h):
        for x in range(w):
            if framed[y + 1, x + 1] < least:
                least, best = framed[y + 1, x + 1], y * w + x
    return best
