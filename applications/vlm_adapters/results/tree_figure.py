"""The minimum spanning tree of a batch, and the same edges in the space that an adapter tunes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..adapters import Adapter
from .drawing import figure_file
from .tree_view import TreeView, project, tree_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = ["save_tree_figure"]

MOST_CLASSES = 12
TUNED = {"taskres": "class texts", "zero_shot": "class texts", "linear_probe": "class weights",
         "clip_adapter": "adapted images"}  # fmt: skip


def save_tree_figure(
    path: Path,
    adapter: Adapter,
    features: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    *,
    before: Adapter | None = None,
    title: str = "",
) -> None:
    """Images and what is tuned, each in two dimensions, joined by the images' spanning tree.

    The colour of an edge is the cosine between its two tracks. Grey edges have none: their images
    share one class, and so one text. Each view is projected onto its two principal directions;
    before and after training share those of both. Numbers stand at the mean of each class.

    Args:
        path: PNG file.
        adapter: The trained adapter.
        features: Image features of unit length of one batch; some dozens are readable.
        labels: Their classes.
        class_names: By label; shown where the batch has at most 12 classes.
        before: The same adapter before training, for a row above.
        title: Heading of the figure.

    Raises:
        ValueError: If there are fewer than two images, or labels and features differ in number.
        ModuleNotFoundError: If matplotlib is not installed.

    Shape:
        - features: (n, d). labels: (n,), int64.
    """
    if len(features) < 2 or len(features) != len(labels):
        raise ValueError(
            "`features` should have two rows or more, and `labels` as many. "
            f"Got {len(features)} and {len(labels)}."
        )
    adapters = {"before": before, "after": adapter} if before is not None else {"": adapter}
    rows = {name: tree_view(one, features, labels) for name, one in adapters.items() if one}
    images, *tuned = project(features), *project(*(view.tuned for view in rows.values()))
    classes = labels.unique().tolist() if len(labels.unique()) <= MOST_CLASSES else []
    named = [f"{number} {class_names[label]}" for number, label in enumerate(classes, 1)]
    key = "   ".join(name.replace(" ", "\N{NO-BREAK SPACE}") for name in named)
    with figure_file(path, 1.7 * len(rows) + 0.6 + len(key) / 500) as figure:
        grid = figure.subplots(len(rows), 2, squeeze=False)
        for (name, view), axes, points in zip(rows.items(), grid, tuned, strict=True):
            _draw(axes[0], images[0], view, labels, classes)
            _draw(axes[1], points, view, labels, classes)
            axes[0].set_ylabel(f"{name}\ntrack coincidence {view.coincidence:.2f}".strip())
        grid[0, 0].set_title("images")
        grid[0, 1].set_title(TUNED.get(adapter.options.kind, "affinities"))
        figure.suptitle(title)
        _add_scale(figure, grid)
        figure.supxlabel(textwrap.fill(key, 60), fontsize=6)


def _draw(
    axes: Axes, points: Tensor, view: TreeView, labels: Tensor, classes: Sequence[int]
) -> None:
    """One panel: edges, points, and a number for each class."""
    from matplotlib.collections import LineCollection

    segments, known = points[view.edges].numpy(), ~view.cosines.isnan().numpy()
    axes.add_collection(LineCollection(segments[~known], colors="#bbbbbb", linewidths=0.6))
    lines = LineCollection(segments[known], cmap=_colours(), linewidths=1.1)
    lines.set_array(view.cosines.numpy()[known])
    lines.set_clim(-1, 1)
    axes.add_collection(lines)
    x, y = points.T.numpy()
    axes.scatter(x, y, s=4, color="black", zorder=3, linewidths=0)
    for number, label in enumerate(classes, 1):
        x, y = points[labels == label].mean(0).tolist()
        axes.annotate(
            str(number), (x, y), fontsize=6.5, fontweight="bold", xytext=(3, 3),
            textcoords="offset points", zorder=4, path_effects=_outline(),
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.margins(0.08)


def _add_scale(figure: Any, grid: Any) -> None:
    """The colour scale, below."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(
        ScalarMappable(Normalize(-1, 1), _colours()), ax=grid, location="bottom", aspect=40,
        shrink=0.8, pad=0.03, ticks=[-1, -0.5, 0, 0.5, 1],
    )  # fmt: skip
    bar.set_label("cosine between the two tracks of an edge")
    bar.outline.set_visible(False)


def _colours() -> Colormap:
    """Plasma without its brightest end, which is lost on white."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    plasma = matplotlib.colormaps["plasma"]
    shades = [plasma(0.85 - 0.85 * step / 63) for step in range(64)]
    return LinearSegmentedColormap.from_list("tracks", shades)


def _outline() -> list[Any]:
    """White around letters."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=1.5, foreground="white")]
