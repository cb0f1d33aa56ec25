"""
A topological autoencoder
=========================

An autoencoder squeezes images of digits into a code of two numbers. It is trained with and without
the signature loss between inputs and codes (Moor et al., Topological autoencoders, ICML 2020), and
compared with PCA and with a loss that matches all distances, without topology (Cheret et al., arXiv
2603.16568). Does the term keep the shape of the data?
"""

import statistics
from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from torch import Tensor, nn

from _data import Table, difference, digits, mean_and_spread, show
from _style import COLOURS, WIDTH, by_seed, use_style
from topreg import SignatureLoss, pairwise_distances

# sphinx_gallery_thumbnail_number = 2

SEEDS = 5
EPOCHS = 40
WEIGHTS = (0.0, 0.1, 1.0)
NEIGHBOURS = 10

use_style()
torch.set_flush_denormal(True)
torch.set_num_threads(1)  # such small networks gain nothing from more

# %%
# The loss
# --------
# The edges of the inputs' minimum spanning tree should have the same length between the codes, and the
# edges of the codes' tree the same length between the inputs. Lengths are parts of the largest distance
# in the batch.

signature = SignatureLoss(normalize=1.0)

# %%
# The plain alternative compares all distances instead of those of the trees. Twice their mean has
# about the size of the signature loss per image, so the same weights are tried.


def matching(images: Tensor, codes: Tensor) -> Tensor:
    """Mean square of the differences of all distances, as parts of the largest."""
    one, other = (pairwise_distances(points) for points in (images, codes))
    return 2 * (one / one.max() - other / other.max()).square().mean()


def per_image(images: Tensor, codes: Tensor) -> Tensor:
    """Signature loss per image."""
    return signature(images, codes) / len(images)


class Autoencoder(nn.Module):
    """An autoencoder: 64 pixels, a code of two numbers, 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.decode = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64))


# %%
# Training
# --------
# All images, in batches of 128.

images, labels = digits()


def train(
    weight: float, seed: int, term: Callable[[Tensor, Tensor], Tensor] = per_image
) -> tuple[Tensor, dict[str, list[float]]]:
    """Codes of all images after training, and both terms by epoch."""
    torch.manual_seed(seed)
    model = Autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    terms: dict[str, list[float]] = {"reconstruction": [], "signature": []}
    for _ in range(EPOCHS):
        values = []
        for batch in images[torch.randperm(len(images))].split(128):
            codes = model.encode(batch)
            loss = nn.functional.mse_loss(model.decode(codes), batch)
            values.append((loss.item(), 0.0))
            if weight:
                added = term(batch, codes)
                values[-1] = (loss.item(), added.item())
                loss = loss + weight * added
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for name, mean in zip(
            terms, map(statistics.mean, zip(*values, strict=True)), strict=True
        ):
            terms[name].append(mean)
    with torch.no_grad():
        return model.encode(images), terms


trained = {
    weight: [train(weight, seed) for seed in range(SEEDS)] for weight in WEIGHTS
}
matched = {
    weight: [train(weight, seed, matching) for seed in range(SEEDS)]
    for weight in WEIGHTS
    if weight
}

# %%
# The figure shows means over the batches of an epoch, for the first seed.

curves = {
    f"{name}, weight {weight:g}": values
    for weight in WEIGHTS
    for name, values in trained[weight][0][1].items()
    if weight or name == "reconstruction"
}
_, ax = plt.subplots()
for name, values in curves.items():
    ax.plot(values, label=name)
ax.legend(bbox_to_anchor=(1.02, 1), loc="upper left")
ax.set(xlabel="epoch", ylabel="loss", yscale="log")
plt.show()

# %%
# The codes
# ---------
# The codes of the first seed are coloured by digit. The networks have not seen the labels.

pca = torch.from_numpy(PCA(2).fit_transform(images.numpy())).float()
planes = {"PCA": pca} | {
    f"autoencoder, weight {weight:g}": trained[weight][0][0] for weight in WEIGHTS
}
figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.8))
for ax, (name, codes) in zip(axes.flat, planes.items(), strict=True):
    for digit, colour in enumerate(COLOURS):
        some = codes[labels == digit]
        ax.scatter(*some.T, s=5, linewidths=0, color=colour, label=digit)
    ax.set(title=name, aspect="equal", adjustable="datalim", xticks=[], yticks=[])
names = axes.flat[0].get_legend_handles_labels()
figure.legend(*names, loc="outside lower center", ncols=10, markerscale=3)
plt.show()

# %%
# How good they are
# -----------------
# Trustworthiness and continuity (10 neighbours) are better when larger: they measure whether neighbours
# in the code are neighbours in the data, and the other way round. The error of distances, as parts
# of the largest, is better when smaller.


def quality(codes: Tensor) -> dict[str, float]:
    """Return trustworthiness, continuity, and the error of distances."""
    one, other = (pairwise_distances(points) for points in (images, codes))
    gaps = one / one.max() - other / other.max()
    return {
        "trustworthiness": trustworthiness(images, codes, n_neighbors=NEIGHBOURS),
        "continuity": trustworthiness(codes, images, n_neighbors=NEIGHBOURS),
        "distance RMSE": float(gaps.square().mean().sqrt()),
    }


measured = {w: [quality(codes) for codes, _ in runs] for w, runs in trained.items()}
plainly = {w: [quality(codes) for codes, _ in runs] for w, runs in matched.items()}
by_measure, by_matching = (
    {
        name: {
            weight: [run[name] for run in runs] for weight, runs in found.items()
        }
        for name in measured[0.0][0]
    }
    for found in (measured, plainly)
)
of_pca = quality(pca)

# %%
# The table has means and standard deviations over the seeds; differences to weight 0 are paired by seed,
# with 95-percent intervals.

rows = [["PCA", *(f"{value:.3f}" for value in of_pca.values())]]
for weight in WEIGHTS:
    found = [values[weight] for values in by_measure.values()]
    plain = [values[0.0] for values in by_measure.values()]
    rows.append([f"weight {weight:g}", *map(mean_and_spread, found)])
    if weight:
        rows.append(["difference", *map(difference, found, plain)])
for weight in matched:
    found = [values[weight] for values in by_matching.values()]
    term = [values[weight] for values in by_measure.values()]
    rows.append([f"plain matching, {weight:g}", *map(mean_and_spread, found)])
    rows.append(["signature minus plain", *map(difference, term, found)])
show(Table(["codes", *by_measure], rows))

# %%
# A dot is a seed, a bar a mean, the dashed line PCA.

figure, axes = plt.subplots(1, 3)
for ax, (name, values) in zip(axes, by_measure.items(), strict=True):
    by_seed(ax, values, None)
    ax.axhline(of_pca[name], color="C4", linestyle="--", linewidth=1)
    better = "smaller" if name == "distance RMSE" else "larger"
    ax.set_title(f"{name}\n({better} is better)")
plt.show()

# %%
# What it shows
# -------------
# With the small weight the code keeps distances better than without the term, and neighbourhoods a little
# worse, though on average better than PCA. With the large weight distances gain little more, and
# neighbourhoods are the worst of all. The term keeps the scale of the data, not the neighbours. If a
# code is for finding neighbours, leave the term out. If it is for distances, match them: without
# topology all distances are kept better than by the signature loss at either weight, while
# neighbourhoods suffer a little more at the small weight and less at the large one.
