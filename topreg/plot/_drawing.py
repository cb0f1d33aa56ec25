"""What all drawings share: checked arguments as arrays, axes, colours, and edges over points.

Colours are visible on a white and on a black page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from topreg import _checks
from topreg._diagrams import finite_part
from topreg._pairs import PersistencePairs, are_of_one_cloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Colormap, Normalize

Array = NDArray[np.float64]
ByLabel = Tensor | Mapping[str, Tensor]
GREY = "0.5"  # as far from white as from black, for what is neutral
ENDS = 0.27, 0.77  # of plasma: contrast of 2 and more with white and with near-black
NAMED = 20  # most labels for which a legend is drawn


def numbers(tensor: Tensor) -> Array:
    """Return a tensor as a NumPy array in double precision."""
    array: Array = tensor.detach().cpu().double().numpy()
    return array


def classes(diagrams: ByLabel, essential: ByLabel | None) -> dict[str, Array]:
    """Return births and deaths by label; ``inf`` for a class that never dies, "" for no label."""
    named = _by_label("diagrams", diagrams)
    stays = {} if essential is None else _by_label("essential", essential)
    if essential is not None and isinstance(essential, Tensor) != isinstance(diagrams, Tensor):
        form = "a tensor" if isinstance(diagrams, Tensor) else "a mapping"
        raise TypeError(
            f"`essential` should be {form}, like `diagrams`. Got {type(essential).__name__}."
        )
    unknown = [label for label in stays if label not in named]
    if unknown:
        raise ValueError(
            f"`essential` should only have labels of `diagrams`. Got {unknown[0]!r}. "
            "For a label with only essential classes, pass an empty diagram."
        )
    rows = {}
    for label, diagram in named.items():
        name = _name("diagrams", label)
        _checks.is_diagram(name, diagram)
        dying, births = finite_part(name, diagram.detach())
        rows[label] = np.concatenate([numbers(dying), _endless(births)])
    for label, births in stays.items():
        name = _name("essential", label)
        _checks.is_tensor(name, births)
        _checks.has_rank(name, births, "(e,)")
        _checks.are_finite(name, births.detach()[:, None])
        rows[label] = np.concatenate([rows[label], _endless(births)])
    return rows


def extent(rows: list[Array]) -> tuple[float, float]:
    """Return the least and the greatest finite number, made to differ."""
    flat = np.concatenate([np.empty(0), *(part.ravel() for part in rows)])
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return 0.0, 1.0
    low, high = float(flat.min()), float(flat.max())
    return low, high if high > low else low + 1.0


def as_embedding(name: str, embedding: Tensor, pairs: PersistencePairs) -> Array:
    """Return finite points of the plane, one per vertex of the pairs; raise for anything else."""
    _checks.is_point_cloud(name, embedding)
    if embedding.shape[1] != 2:
        wide = embedding.shape[1] > 2
        raise ValueError(
            f"`{name}` should have shape (n, 2). Got {_checks.shape(embedding)}."
            + (" Project the points first, for instance with `torch.pca_lowrank`." if wide else "")
        )
    _checks.are_finite(name, embedding.detach())
    are_of_one_cloud(pairs)
    _checks.indexes(len(embedding), pairs.cloud_sizes)
    return numbers(embedding)


def per_pair(name: str, values: Tensor, pairs: PersistencePairs) -> Array:
    """Return one number per pair; raise for anything else."""
    _checks.is_tensor(name, values)
    _checks.one_each(name, values, len(pairs), "pair")
    return numbers(values)


def _by_label(name: str, given: ByLabel) -> dict[str, Tensor]:
    """Return a mapping from labels to tensors; one tensor gets the label ""."""
    if isinstance(given, Tensor):
        return {"": given}
    if isinstance(given, Mapping):
        return {str(label): tensor for label, tensor in given.items()}
    raise TypeError(
        f"`{name}` should be a tensor or a mapping from labels to tensors. "
        f"Got {type(given).__name__}."
    )


def _name(argument: str, label: str) -> str:
    """Return the name of an entry in error messages."""
    return f'{argument}["{label}"]' if label else argument


def _endless(births: Tensor) -> Array:
    """Return births with infinite deaths, (e, 2)."""
    return np.stack([numbers(births), np.full(len(births), np.inf)], 1)


def axis(ax: Axes | None) -> Axes:
    """Return the given axis, or one on a new figure of pyplot."""
    return panels("ax", None if ax is None else [ax], 1)[0]


def panels(name: str, axes: Sequence[Axes] | None, count: int) -> list[Axes]:
    """Return the given axes, or new ones on a new figure of pyplot."""
    kind = _class_of_axes()
    if axes is None:
        return _new(count)
    given = list(axes) if isinstance(axes, Sequence | np.ndarray) else [axes]
    wrong = [type(one).__name__ for one in given if not isinstance(one, kind)]
    if wrong:
        raise TypeError(f"`{name}` should be Axes of matplotlib. Got {wrong[0]}.")
    if len(given) != count:
        raise ValueError(f"`{name}` should hold {count} Axes. Got {len(given)}.")
    return given


def _new(count: int) -> list[Axes]:
    """Return axes side by side on a new figure, wider than the default if there are several."""
    from matplotlib import pyplot, rcParams

    width, height = rcParams["figure.figsize"]
    size = (width * (1 + count) / 2, height)
    _, grid = pyplot.subplots(1, count, squeeze=False, figsize=size, layout="constrained")
    return list(grid[0])


def colour(place: int) -> Any:
    """Return a colour of the caller's colour cycle."""
    from matplotlib.colors import to_rgba

    return to_rgba(f"C{place}")


def shades() -> Colormap:
    """Return the colour map plasma without its ends; grey where there is no number."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    first, last = ENDS
    steps = [colormaps["plasma"](first + (last - first) * step / 63) for step in range(64)]
    return LinearSegmentedColormap.from_list("topreg", steps).with_extremes(bad=GREY)


def size_in_points(ax: Axes) -> tuple[float, float]:
    """Return the width and height of an axis in points, 1/72 of an inch."""
    return ax.bbox.width * 72 / ax.figure.dpi, ax.bbox.height * 72 / ax.figure.dpi


def _class_of_axes() -> type:
    """Return Matplotlib's ``Axes``; raise with advice if it is not installed."""
    try:
        from matplotlib.axes import Axes
    except ModuleNotFoundError as error:
        error.msg = (
            f"`topreg.plot` needs matplotlib. Got no module named `{error.name}`. "
            'Run `pip install "topreg[viz]"`.'
        )
        raise
    return Axes


def scale(values: Array) -> Normalize:
    """Return a colour scale from the least to the greatest finite number."""
    from matplotlib.colors import Normalize

    known = values[np.isfinite(values)]
    return Normalize(known.min(), known.max()) if len(known) else Normalize(0, 1)


def draw_edges(
    ax: Axes, points: Array, edges: Tensor, values: Array, norm: Normalize
) -> LineCollection:
    """Draw edges in the colours of their values, without ticks, with equal scales on both axes."""
    from matplotlib.collections import LineCollection

    segments = points[edges.cpu().numpy()]
    lines = LineCollection(list(segments), cmap=shades(), norm=norm, linewidths=1.2, zorder=1)
    lines.set_array(np.ma.masked_invalid(values))
    ax.add_collection(lines)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal", adjustable="datalim")
    return lines


def draw_points(ax: Axes, points: Array, labels: Array | None = None) -> None:
    """Draw points, grey or in the colours of their labels."""
    size = min(20.0, max(4.0, 4000 / (len(points) + 1)))
    if labels is None:
        x, y = points.T
        ax.scatter(x, y, s=size, color=GREY, linewidths=0, zorder=2)
        return
    known = np.unique(labels)
    for place, label in enumerate(known):
        x, y = points[labels == label].T
        ax.scatter(x, y, s=size, color=colour(place), linewidths=0, zorder=2, label=str(label))
    if 0 < len(known) <= NAMED:
        _draw_legend(ax, len(known))


def _draw_legend(ax: Axes, count: int) -> None:
    """Write the labels below an axis without ticks, in rows of equal length."""
    most = max(1, int(size_in_points(ax)[0] // 32))
    rows = -(-count // most)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        borderaxespad=0.2,
        ncols=-(-count // rows),
        frameon=False,
        handletextpad=0.0,
        columnspacing=0.6,
        markerscale=1.5,
    )


def draw_scale(axes: Sequence[Axes], lines: LineCollection, values: Array, label: str) -> None:
    """Draw a narrow colour bar next to the axes of one figure, if any edge has a number."""
    if not np.isfinite(values).any():
        return
    figure = axes[-1].figure
    neighbours = [ax for ax in axes if ax.figure is figure]
    bar = figure.colorbar(lines, ax=neighbours, aspect=35, shrink=0.8, fraction=0.06, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(label)
