"""Helpers of the losses on images: probabilities, masks, channels, and births and deaths."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs, check_pairs
from topreg.filtrations import SUPERLEVEL, CubicalFiltration, Filtration
from topreg.losses import _common
from topreg.losses._common import Pairs
from topreg.metrics import at_least_single
from topreg.persistence.images._images import Images, have_one_shape


def is_cubical(name: str, filtration: object) -> None:
    """Raise if an option is not a cubical filtration."""
    _common.check_filtration(name, filtration)
    if not isinstance(filtration, CubicalFiltration):
        raise TypeError(f"`{name}` should be a CubicalFiltration. Got {type(filtration).__name__}.")


def have_dimensions(filtration: Filtration | None, dimensions: Sequence[int], **_: object) -> None:
    """Raise if a filtration lacks one of the dimensions."""
    for dimension in dimensions:
        cubical(filtration)._check_dimension(dimension, "dimensions")


FLAGS = dict.fromkeys(("logits", "include_background"), _checks.is_flag)
CHECKS = _common.CHECKS | FLAGS | {"filtration": is_cubical}


class ImageLoss(_common.Loss):
    """A loss on images."""

    logits: bool = False
    dimensions: Sequence[int] = (0, 1)


def cubical(filtration: Filtration | None) -> CubicalFiltration:
    """Return the filtration, already checked to be cubical, or the default."""
    return filtration if isinstance(filtration, CubicalFiltration) else SUPERLEVEL


def foreground(images: Clouds, include_background: bool, name: str) -> Clouds:
    """Return the images without their first channel, unless that is included."""
    if include_background:
        return images
    if not isinstance(images, Tensor) or images.ndim < 4 or images.shape[1] < 2:
        got = _checks.shape(images) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"`{name}` should have shape (b, c, ...) with two channels or more under "
            f"`include_background=False`. Got {got}."
        )
    return images[:, 1:]


def probabilities(images: Clouds, logits: bool, name: str) -> Clouds:
    """Return the images, after a sigmoid if they are logits."""
    if not logits:
        return images
    return _each(images, partial(_sigmoid, name))


def _sigmoid(name: str, image: Tensor) -> Tensor:
    """Return the sigmoid of logits, in at least single precision."""
    _checks.is_floating(name, image)
    return torch.sigmoid(at_least_single(image))


def _mask(dtype: torch.dtype, check_values: bool, mask: Tensor) -> Tensor:
    """Return a mask of any dtype as floating point; raise if it holds integers but 0 and 1."""
    if mask.is_complex() or mask.layout != torch.strided:
        return mask  # for later checks
    whole = not mask.is_floating_point() and mask.dtype != torch.bool
    if whole and check_values and not torch.compiler.is_compiling():
        _checks.is_readable("target", mask)
        others = mask[(mask != 0) & (mask != 1)]
        if len(others):
            raise ValueError(
                f"`target` should hold 0 and 1 if it holds integers. Got {int(others[0])}. Divide "
                "masks of 0 and 255 by 255. Turn class numbers into channels: "
                "`one_hot(target, c).movedim(-1, 1)`."
            )
    return mask.to(dtype)


def _each(images: Clouds, change: Callable[[Tensor], Tensor]) -> Clouds:
    """Change images, or each of a sequence; what is not a tensor is left for later checks."""
    if isinstance(images, Tensor):
        return change(images)
    if not isinstance(images, Sequence):
        return images
    return [change(image) if isinstance(image, Tensor) else image for image in images]


def both(
    source: Clouds,
    target: Clouds,
    logits: bool,
    include_background: bool,
    filtration: Filtration | None,
) -> tuple[Images, Images]:
    """Return the images of a prediction and of its target, checked and of the same shapes."""
    chosen = cubical(filtration)
    source = foreground(source, include_background, "source")
    target = foreground(target, include_background, "target")
    x = chosen._join(probabilities(source, logits, "source"), "source")
    target = _each(target, partial(_mask, x.pixels.dtype, chosen.check_values))
    y = chosen._join(target, "target")
    if isinstance(source, Tensor) and isinstance(target, Tensor):
        have_one_shape("source", source, "target", target, chosen.ndim)
    if x.shapes != y.shapes:
        different = [pair for pair in zip(x.shapes, y.shapes, strict=False) if pair[0] != pair[1]]
        got = different[0] if different else (f"{len(x.shapes)} images", len(y.shapes))
        raise ValueError(
            f"`source` and `target` should be images of the same shapes. Got {got[0]} and {got[1]}."
        )
    if x.pixels.device != y.pixels.device:
        _checks.on_one_device("source", x.pixels, "target", y.pixels.device)
    return x, y


def find(
    images: Images,
    pairs: Pairs | None,
    filtration: Filtration | None,
    dimensions: Sequence[int],
    name: str,
    pairs_name: str,
) -> list[PersistencePairs]:
    """Return the pairs of each dimension: the given ones, or those found in one pass."""
    if pairs is None:
        return cubical(filtration)._search(images, list(dimensions))
    given = _common.as_list(pairs, pairs_name)
    for part in given:
        check_pairs(part, images.pixels, images.sizes, name, pairs_name)
    return given


def bars_of(images: Images, pairs: PersistencePairs, superlevel: bool) -> Tensor:
    """Return births and deaths (m + e, 2), essential classes last.

    Essential classes die at the end of the range of probabilities: at 1, for superlevel sets at 0.
    """
    birth = torch.cat([pairs.birth_edges[:, 0], pairs.essential_edges[:, 0]])
    births = images.pixels.index_select(0, birth)
    deaths = images.pixels.index_select(0, pairs.death_edges[:, 0])
    end = deaths.new_full((len(pairs.essential_edges),), 0.0 if superlevel else 1.0)
    return torch.stack([births, torch.cat([deaths, end])], dim=1)


def clouds_of(pairs: PersistencePairs) -> Tensor:
    """Return the image (m + e,) of each bar of :func:`bars_of`."""
    return torch.cat([pairs.cloud(), pairs._cloud_of(pairs.essential_edges)])


def sum_per_image(values: Tensor, clouds: Tensor, images: Images) -> Tensor:
    """Return the sum of the values of each image, (b,)."""
    return values.new_zeros(len(images.shapes)).index_add(0, clouds, values)
