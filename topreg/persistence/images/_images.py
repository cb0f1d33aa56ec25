"""Images as one row of pixels, and the searches in them as operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, are_alike
from topreg._operators import is_plain, operator
from topreg._pairs import PersistencePairs, found_pairs
from topreg._room import SMALL, check_room
from topreg.metrics import at_least_single

if TYPE_CHECKING:
    from topreg._compiled import Halt

BYTES = 64  # per pixel of an image that is searched, results included
OPERATIONS = 30  # per pixel
MOST_PIXELS = 1 << 31
KINDS = (torch.float32, torch.float64)
Rules = tuple[bool, bool, bool]  # components have 8 or 26 neighbours; negate; frame is foreground
SHAPES = {2: "(h, w)", 3: "(d, h, w)"}
LEADING = {0: "", 1: "b, ", 2: "b, c, "}


@dataclass(frozen=True)
class Images:
    """Pixels (N,) of all images, one image after the other, and the shape of each image."""

    pixels: Tensor
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the pixels of each image."""
        return tuple([math.prod(shape) for shape in self.shapes])

    @property
    def sides(self) -> list[int]:
        """Return height and width of each image, in one list."""
        return [side for shape in self.shapes for side in shape]


def join_images(images: Clouds, ndim: int, name: str = "images") -> Images:
    """Return images given one by one or in a batch, in at least single precision."""
    if isinstance(images, Tensor):
        _checks.is_floating(name, images)
        axes = images.ndim - ndim
        if axes not in LEADING:
            letters = SHAPES[ndim][1:]
            cure = " For volumes use `CubicalFiltration(ndim=3)`, with `superlevel=True` for masks."
            raise ValueError(
                f"`{name}` should have shape ({letters}, (b, {letters} or (b, c, {letters}. "
                f"Got {_checks.shape(images)}.{cure if ndim == 2 and images.ndim == 5 else ''}"
            )
        shape = tuple(images.shape[axes:])
        pixels = at_least_single(images).resolve_neg().reshape(-1)
        return Images(pixels, (shape,) * math.prod(images.shape[:axes]))
    if not isinstance(images, Sequence):
        _checks.is_tensor(name, images)
    if len(images) == 0:
        raise ValueError(f"`{name}` should hold at least one image. Got an empty sequence.")
    for image in images:
        _checks.is_tensor(name, image)
        _checks.has_rank(name, image, SHAPES[ndim])
        _checks.is_floating(name, image)
    are_alike(name, "images", images)
    pixels = at_least_single(torch.cat([image.resolve_neg().reshape(-1) for image in images]))
    return Images(pixels, tuple(tuple(image.shape) for image in images))


def have_one_shape(name: str, x: Tensor, other: str, y: Tensor, ndim: int) -> None:
    """Raise if two batches of images differ in shape; axes of length 1 before an image are free."""
    shapes = [([n for n in z.shape[:-ndim] if n != 1], list(z.shape[-ndim:])) for z in (x, y)]
    if shapes[0] != shapes[1]:
        classes = x.ndim == ndim + 2 and y.shape == (*x.shape[:1], *x.shape[2:])
        cure = f" Turn class numbers into channels: `one_hot({other}, c).movedim(-1, 1)`."
        raise ValueError(
            f"`{name}` and `{other}` should be images of the same shapes. "
            f"Got {_checks.shape(x)} and {_checks.shape(y)}.{cure if classes else ''}"
        )


def check_images(images: Images, check_values: bool, name: str = "images") -> Images:
    """Return images; raise if they cannot be read, are too large, or are not finite."""
    pixels = images.pixels
    if torch.compiler.is_compiling():
        ndim, values = len(images.shapes[0]) if images.shapes else 1, pixels.detach()
        checked = pixels_in_graph(values, images.sides, ndim, check_values, name)
        return Images(pixels + (checked - values), images.shapes)  # which keeps the gradient
    _checks.is_readable(name, pixels)
    _check_pixels(pixels.detach(), images.shapes, check_values, name)
    return images


@operator(lambda pixels, *_: torch.empty_like(pixels))
def pixels_in_graph(
    pixels: Tensor, sides: list[int], ndim: int, check_values: bool, name: str
) -> Tensor:
    """Check pixels while a compiled program runs; return a copy."""
    shapes = list(zip(*[iter(sides)] * ndim, strict=True))
    _check_pixels(pixels, shapes, check_values, name)
    return pixels.clone()


def _check_pixels(
    pixels: Tensor, shapes: Sequence[tuple[int, ...]], check_values: bool, name: str
) -> None:
    """Raise if images are too large or have NaN or infinity."""
    sizes = [math.prod(shape) for shape in shapes]
    largest = max([math.prod([n + 2 for n in shape]) for shape in shapes], default=0)
    if largest >= MOST_PIXELS:
        raise ValueError(
            f"`{name}` should have fewer than 2^31 pixels each. Got {max(sizes):,}. Crop them."
        )
    threads = min(torch.get_num_threads(), len(sizes))
    check_room(BYTES * (largest * threads + sum(sizes)), sizes, name, of_images=True)
    if check_values and not _are_finite(pixels):
        bad = _checks.rows(~pixels.isfinite(), "entry", " with NaN or infinity", "entries")
        raise ValueError(f"`{name}` should be finite. Got {bad}.")


def _are_finite(pixels: Tensor) -> bool:
    """Return whether the least and the largest pixel are finite.

    NumPy reads them in this thread. Torch's threads would go on spinning for a while, on the cores
    that the search is about to use.
    """
    if is_plain(pixels) and pixels.device.type == "cpu":
        values = pixels.numpy()
        ends = float(values.min(initial=0)), float(values.max(initial=0))
        return math.isfinite(ends[0]) and math.isfinite(ends[1])
    return bool(pixels.isfinite().all())


def pairs_of_plain(
    images: Clouds, dimensions: Sequence[int], rules: Rules, check: bool
) -> list[PersistencePairs] | None:
    """Check images and find their pairs in one call; None if a pixel fails the check.

    None also where more is to be done than to read the memory of a tensor: each operation of torch
    takes as long as the search of a small image.
    """
    if not isinstance(images, Tensor) or not 2 <= images.ndim <= 4 or not is_plain(images):
        return None
    if images.dtype not in KINDS or not images.is_cpu or images.layout != torch.strided:
        return None
    if images.is_neg():  # a view that only says that its numbers have the other sign
        return None
    shape = images.shape
    if 2 * BYTES * math.prod([n + 2 for n in shape]) >= SMALL:
        return None
    sizes, sides = (shape[-2] * shape[-1],) * math.prod(shape[:-2]), [*shape[-2:]]
    values = (images.detach() if images.requires_grad else images).numpy().reshape(-1)
    *rows, bad = _search([values], sides * len(sizes), _options(dimensions, rules))
    if check and len(bad):
        return None
    edges = [
        torch.from_numpy(np.ndarray((len(row), 2), row.dtype, row, 0, (row.itemsize, 0)))
        for row in (*rows, bad[:0])
    ]
    return _by_dimension(edges, dimensions, sizes)


def pairs_of_images(
    images: Images, dimensions: Sequence[int], rules: Rules
) -> list[PersistencePairs]:
    """Return the pairs of each dimension, found in one pass."""
    volumes = len(images.shapes) > 0 and len(images.shapes[0]) == 3
    search = _unite_voxels if volumes else _search_pixels
    found = search(images.pixels.detach(), images.sides, _options(dimensions, rules))
    edges = [pixels.unsqueeze(1).expand(-1, 2) for pixels in (*found, found[2][:0])]
    return _by_dimension(edges, dimensions, images.sizes)


def _options(dimensions: Sequence[int], rules: Rules) -> list[bool]:
    """Return whether dimension 0 and a higher one are wanted, and the rules."""
    return [0 in dimensions, max(dimensions) > 0, *rules]


def _by_dimension(
    edges: Sequence[Tensor], dimensions: Sequence[int], sizes: tuple[int, ...]
) -> list[PersistencePairs]:
    """Return pairs; ``edges`` are (v, v) for the results of ``_search_pixels``, then none."""
    births, deaths, essential, births_1, deaths_1, none = edges
    low, high = (births, deaths, essential), (births_1, deaths_1, none)
    return [found_pairs(p, *(high if p else low), sizes) for p in dimensions]


def _fake_search(pixels: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return empty numbers of pixels; their sizes depend on values."""
    m, e, m_1 = (torch.library.get_ctx().new_dynamic_size() for _ in range(3))
    a, b, c, d, f = (pixels.new_empty(n, dtype=torch.int64) for n in (m, m, e, m_1, m_1))
    return a, b, c, d, f


@operator(_fake_search)
def _search_pixels(
    pixels: Tensor, sides: list[int], options: list[bool]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return births, deaths and essential pixels of dimension 0, births and deaths of dimension 1.

    ``sides`` lists height and width of each image. ``options`` tell which dimensions to search, and
    the :data:`Rules`.
    """
    found = _search([pixels.cpu().numpy()], sides, options)
    a, b, c, d, e = (torch.from_numpy(row).to(pixels.device) for row in found[:5])
    return a, b, c, d, e


def _search(*task: Any) -> Any:
    """Return the arrays of ``search_images``; arguments are those of :func:`_in_images`."""
    from topreg.persistence.images._pixel_kernels import search_images

    return _in_images(search_images, *task)


def _fake_comparison(one: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return empty bars, numbers and pixels; their sizes depend on values."""
    m, m_1, images = (torch.library.get_ctx().new_dynamic_size() for _ in range(3))
    shapes = (4, m), (4, m_1), (2, images), (2, images)
    a, b, c, d = (one.new_empty(shape, dtype=torch.int64) for shape in shapes)
    return a, b, c, d


@operator(_fake_comparison)
def compare_pixels(
    one: Tensor, other: Tensor, sides: list[int], options: list[bool]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what ``compare_images`` does for two batches of images."""
    from topreg.persistence.images._comparison_kernels import compare_images

    found = _in_images(compare_images, [one.cpu().numpy(), other.cpu().numpy()], sides, options)
    arrays = [torch.from_numpy(np.ascontiguousarray(array)) for array in found]
    a, b, c, d = (array.to(one.device) for array in arrays)
    return a, b, c, d


def _in_images(kernel: Any, batches: list[Any], sides: list[int], options: list[bool]) -> Any:
    """Call a kernel on runs of images, spread over threads; join the arrays that it returns."""
    from topreg._compiled import over_clouds
    from topreg._scratch_kernels import with_scratch

    pixels = [np.ascontiguousarray(batch) for batch in batches]
    bits, flags = np.empty(0, f"u{pixels[0].itemsize}"), tuple(options)
    shapes = np.array(sides, np.int64).reshape(-1, 2)

    def work(first: int, last: int, halt: Halt) -> Any:
        task = *pixels, bits, shapes, first, last, flags, halt
        return with_scratch(lambda block: kernel(block, *task))

    lengths = [math.isqrt(h * w) for h, w in zip(sides[::2], sides[1::2], strict=True)]
    parts = over_clouds(work, lengths, OPERATIONS)
    if len(parts) == 1:
        return parts[0]
    return [np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)]


@operator(_fake_search)
def _unite_voxels(
    pixels: Tensor, sides: list[int], options: list[bool]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return what ``_search_pixels`` does, for volumes, in dimensions 0 and 2."""
    from topreg._compiled import stoppable

    *_, negate, closed = options
    values = pixels.cpu().contiguous().numpy()
    values = (-values if negate else values) + values.dtype.type(0)  # no -0.0
    none = np.empty((2, 0), np.int64)
    bars, essential, first = [[none], [none]], [none[0]], 0
    for shape in zip(sides[::3], sides[1::3], sides[2::3], strict=True):
        size = math.prod(shape)
        volume = values[first : first + size].reshape(shape)
        if size:
            search = partial(_search_volume, volume, options)
            for kept, found in zip(bars, stoppable(search, 200 * size), strict=True):
                kept.append(found + first)
        if size and not closed:
            essential.append(np.array([first + np.argmin(volume)]))
        first += size
    (births, deaths), (births_2, deaths_2) = (np.concatenate(part, axis=1) for part in bars)
    rows = (births, deaths, np.concatenate(essential), births_2, deaths_2)
    a, b, c, d, e = (torch.from_numpy(row.copy()).to(pixels.device) for row in rows)
    return a, b, c, d, e


def _search_volume(volume: Any, options: Sequence[bool], halt: Halt) -> list[Any]:
    """Return births and deaths (2, m) of one volume in dimensions 0 and 2, if they are wanted."""
    from topreg._scratch_kernels import with_scratch
    from topreg.persistence.images._pixel_kernels import in_order
    from topreg.persistence.images._voxel_kernels import unite_voxels

    *wanted, eight, _, closed = options
    framed = np.pad(volume, 1, constant_values=-np.inf if closed else np.inf)
    inside = np.pad(np.ones(volume.shape, bool), 1).ravel()
    numbers = np.cumsum(inside) - 1  # of voxels without the frame
    bits = framed.ravel().view(f"u{framed.itemsize}")
    voxels = np.flatnonzero(inside).astype(np.int32)
    order = with_scratch(lambda block: in_order(block, bits, voxels, halt).copy())
    found = [np.empty((2, 0), np.int64)] * 2
    for dimension in (0, 1):
        if wanted[dimension]:
            up = dimension == 0
            parent = np.full(framed.size, -1, np.int64)
            parent[~inside] = 0 if closed == up else -1
            ways, way = _ways(framed.shape, eight == up), order if up else order[::-1].copy()
            pairs = unite_voxels(framed.ravel(), way, parent, ways, up, halt)
            found[dimension] = numbers[pairs]
    return found


def _ways(shape: tuple[int, ...], corners: bool) -> Any:
    """Return the offset of each neighbour of a voxel in a flat array: 26 with corners, else 6."""
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    reach = np.abs(steps).sum(1)
    steps = steps[reach > 0] if corners else steps[reach == 1]
    return steps @ np.array([shape[1] * shape[2], shape[2], 1])


def betti_numbers(mask: Tensor, eight: bool) -> list[int]:
    """Return the Betti numbers of a mask (h, w) or (d, h, w).

    ``eight`` lets components touch at corners. A hole does not touch the border.
    """
    from topreg._compiled import stoppable
    from topreg.persistence.images import _voxel_kernels as kernels

    shape = mask.shape
    if mask.numel() == 0:
        return [0] * len(shape)
    voxels = mask.detach().cpu().numpy().reshape(-1, *shape[-2:]).view(np.uint8)
    rows = voxels.reshape(-1, shape[-1]).astype(np.bool_)
    volume, cost = len(shape) == 3, 20 * voxels.size
    count = partial(kernels.count_components, rows, len(voxels))
    b0 = stoppable(partial(count, eight, True), cost)
    b2 = stoppable(partial(count, not eight, False), cost) if volume else 0
    chi = stoppable(lambda halt: kernels.euler_number(voxels, eight), cost)
    return [b0, b0 + b2 - chi, b2][: len(shape)]
