"""Births and deaths of classes, drawn on their image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from topreg import _checks
from topreg._pairs import PersistencePairs, are_of_one_cloud
from topreg.plot._drawing import GREY, axis, colour, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def critical_pixels(image: Tensor, pairs: PersistencePairs, *, ax: Axes | None = None) -> Axes:
    r"""Draw an image, with a line from the birth pixel to the death pixel of each class.

    Births are dots, deaths are crosses. A star is the birth of an :term:`essential class`.

    Args:
        image: An image with one channel.
        pairs: :term:`Persistence pairs <persistence pair>` of the image, in one dimension. To draw
            only the most persistent, pass ``pairs.select(mask)``.
        ax: Where to draw; a new figure of pyplot if left out.

    Returns:
        The axis, with a legend below.

    Raises:
        TypeError: If an argument is of another type or not floating point.
        ValueError: If the image is not a matrix, is empty or not finite, or ``pairs`` belong to
            several clouds or to another image.
        ModuleNotFoundError: If matplotlib is not installed.

    Shape:
        - image: :math:`(h, w)`.

    Note:
        The lines are one collection, ``ax.collections[0]``, in the order of the pairs. The image is
        ``ax.images[0]``, in grey levels; ``ax.images[0].set_cmap("viridis")`` changes them.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from topreg import CubicalFiltration
        >>> from topreg.plot import critical_pixels
        >>> row = torch.tensor([[1.0, 5.0, 2.0]])
        >>> ax = critical_pixels(row, CubicalFiltration().pairs(row), ax=Figure().subplots())
        >>> ax.collections[0].get_segments()  # from column 2 to column 1, in row 0
        [array([[2., 0.],
               [1., 0.]])]
    """
    _checks.is_tensor("image", image)
    _checks.has_rank("image", image, "(h, w)")
    _checks.is_floating("image", image)
    if image.numel() == 0:
        raise ValueError(f"`image` should have at least one pixel. Got {_checks.shape(image)}.")
    _checks.are_finite("image", image.detach())
    are_of_one_cloud(pairs)
    _checks.indexes(image.numel(), pairs.cloud_sizes)
    ax = axis(ax)
    from matplotlib.collections import LineCollection

    ax.imshow(numbers(image), cmap="gray", interpolation="nearest")
    parts = pairs.birth_edges, pairs.death_edges, pairs.essential_edges
    flat = [part[:, 0].cpu().numpy() for part in parts]
    pixels = [np.stack([index % image.shape[1], index // image.shape[1]], 1) for index in flat]
    ends = list(np.stack(pixels[:2], 1))
    ax.add_collection(LineCollection(ends, colors=GREY, linewidths=0.8, zorder=1))
    for place, label in enumerate(["birth", "death", "never dies"]):
        if len(flat[place]):
            x, y = pixels[place].T
            ax.scatter(x, y, s=25, marker="oX*"[place], color=colour(place), lw=0, label=label)
    ax.set(xticks=[], yticks=[])
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False)
    return ax
