"""A topological autoencoder on digits: does the signature loss keep the shape of the data?

An autoencoder with a code of two numbers, with and without the signature loss between inputs and
codes, beside PCA. Trustworthiness and continuity (10 neighbours) are better when larger, the error
of distances when smaller. Run ``python docs/examples/topological_autoencoder.py``; 5 seeds.
"""

from __future__ import annotations

import argparse

import torch
from _data import difference, digits, mean_and_spread, table
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from torch import Tensor, nn

from topreg import SignatureLoss, pairwise_distances

NEIGHBOURS = 10


class Autoencoder(nn.Module):
    """64 pixels, a code of two numbers, 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.decode = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64))


def train(images: Tensor, weight: float, seed: int, epochs: int) -> Tensor:
    """Codes of all images after training with a weight of the signature loss."""
    torch.manual_seed(seed)
    model = Autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    signature = SignatureLoss(normalize=True)
    for _ in range(epochs):
        for batch in images[torch.randperm(len(images))].split(128):
            codes = model.encode(batch)
            loss = nn.functional.mse_loss(model.decode(codes), batch)
            if weight:
                loss = loss + weight * signature(batch, codes) / len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return model.encode(images)


def quality(images: Tensor, codes: Tensor) -> dict[str, float]:
    """Trustworthiness and continuity, and how far distances are off, as parts of the largest."""
    one, other = (pairwise_distances(points) for points in (images, codes))
    gaps = one / one.max() - other / other.max()
    return {
        "trustworthiness": trustworthiness(images, codes, n_neighbors=NEIGHBOURS),
        "continuity": trustworthiness(codes, images, n_neighbors=NEIGHBOURS),
        "distance RMSE": float(gaps.square().mean().sqrt()),
    }


def main() -> None:
    """Print a table: codes by quality."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.1, 1.0])
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    images, _ = digits()
    pca = quality(images, torch.from_numpy(PCA(2).fit_transform(images.numpy())).float())
    runs = {
        weight: [
            quality(images, train(images, weight, seed, options.epochs))
            for seed in range(options.seeds)
        ]
        for weight in (0.0, *options.weights)
    }
    measures = list(pca)
    rows = [["PCA", *(f"{pca[measure]:.3f}" for measure in measures)]]
    for weight, found in runs.items():
        values = [[run[measure] for run in found] for measure in measures]
        rows.append([f"autoencoder, weight {weight:g}", *map(mean_and_spread, values)])
        if weight:
            plain = [[run[measure] for run in runs[0.0]] for measure in measures]
            changes = [difference(*both) for both in zip(values, plain, strict=True)]
            rows.append(["difference by seed", *changes])
    print(table(["codes", *measures], rows))


if __name__ == "__main__":
    main()
