"""
A spanning tree before and after an adapter's training
======================================================

TaskRes moves the texts of the classes of a vision-language model. Homology consistency should keep the
directions of the training images' minimum spanning tree when it is drawn between their texts. How well
are they kept before training, after training, and after training with the constraint?
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
import vlm_adapters
from matplotlib.collections import LineCollection
from torch import Tensor
from torch.nn.functional import cosine_similarity
from vlm_adapters.adapters import Adapter, build_adapter
from vlm_adapters.config import load_methods
from vlm_adapters.features.bundle import BundleSource
from vlm_adapters.training import train

from _data import Table, show
from _style import GREY, use_style
from topreg import RipsFiltration, edge_vectors

EPOCHS = 100
CLASSES = 8  # to draw, the first ones
SHOTS = 4

use_style()
torch.set_flush_denormal(True)

# %%
# Data
# ----
# The features of Caltech-101 come with the application: those of a convolutional network for the images,
# those of a sentence encoder for the class names, both in one space.

ASSETS = Path(vlm_adapters.__file__).parent / "assets"
task = BundleSource(ASSETS / "caltech101_devise.safetensors").task(SHOTS, 1)
shown = task.train_labels < CLASSES
images, labels = task.train.keys()[shown], task.train_labels[shown]

# %%
# Training
# --------
# Train TaskRes, and HC-TR, which is TaskRes with the constraint. The options, tuned on validation images,
# come with the application.

length = ("training.epochs", "training.epochs_from_8_shots")
methods = load_methods(
    ["taskres", "hc_tr"],
    dataset="caltech101",
    tuned="caltech101_devise.toml",
    overrides=[
        f"{name}.{key}={EPOCHS}" for name in ("taskres", "hc_tr") for key in length
    ],
)
adapters: dict[str, Adapter] = {
    "before": build_adapter(task, methods["taskres"].adapter)
}
adapters |= {
    method.title: train(task, method).adapter for method in methods.values()
}

# %%
# The tree in two spaces
# ----------------------
# The tree is found among the images. An edge between images of different classes has a track among the
# images and one among their texts. An edge between images of one class has no track among the texts,
# since the images share a text.

edges = RipsFiltration().pairs(images).death_edges
across = labels[edges[:, 0]] != labels[edges[:, 1]]


def cosines(adapter: Adapter) -> Tensor:
    """Return the cosine between the two tracks of each edge between classes."""
    with torch.no_grad():
        step = adapter.step(images)
        views = step.source, step.target(labels)
    tracks = (edge_vectors(view, edges[across]) for view in views)
    return cosine_similarity(*tracks, dim=1)


agreement = {name: cosines(adapter) for name, adapter in adapters.items()}
show(
    Table(
        ["texts", "mean cosine", "edges with a positive cosine"],
        [
            [
                name,
                f"{values.mean():.3f}",
                f"{int((values > 0).sum())} of {len(values)}",
            ]
            for name, values in agreement.items()
        ],
        "Track coincidence is one minus the mean cosine.",
    )
)

# %%
# The figure uses the two principal directions of the images and of all texts. The colour of an edge is
# its cosine; edges within a class are grey.


def plane(points: Tensor) -> Tensor:
    """Return the two principal directions of some points, as columns."""
    rows = (points - points.mean(0)).double()
    return torch.linalg.svd(rows, full_matrices=False).Vh[:2].T


with torch.no_grad():
    texts = {
        name: adapter.step(images).target(labels)
        for name, adapter in adapters.items()
    }
clouds = {"images": images.double() @ plane(images)}
axes_of_texts = plane(torch.cat(list(texts.values())))
clouds |= {
    f"texts, {name}": text.double() @ axes_of_texts for name, text in texts.items()
}

figure, axes = plt.subplots(1, len(clouds), figsize=(7.3, 2.5))
colours = [agreement["before"], *agreement.values()]
for ax, (name, points), values in zip(axes, clouds.items(), colours, strict=True):
    ax.add_collection(LineCollection(points[edges[~across]].tolist(), colors=GREY))
    lines = LineCollection(points[edges[across]].tolist(), cmap="plasma")
    lines.set_array(values.numpy())
    lines.set_clim(-1, 1)
    ax.add_collection(lines)
    ax.scatter(*points.T.tolist(), s=6, color=GREY, zorder=3)
    ax.set(title=name, xticks=[], yticks=[])
    ax.margins(0.08)
figure.colorbar(lines, ax=axes, label="cosine of the two tracks", shrink=0.8)
plt.show()

# %%
# The texts are those of these classes:

names = BundleSource(ASSETS / "caltech101_devise.safetensors").class_names[:CLASSES]
print(", ".join(names))
