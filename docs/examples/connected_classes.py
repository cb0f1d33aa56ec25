"""A classifier on few digits whose classes are kept together by the connectivity loss.

A small network learns from a few images of each digit. With the term, the features of each class in
a batch are drawn to merge at one scale (Hofer et al., Topologically densified distributions, ICML
2020). The weight is chosen on validation images of other seeds, 0 among the choices. Run
``python docs/examples/connected_classes.py``.
"""

from __future__ import annotations

import argparse

import torch
from _data import chosen_and_compared, digits
from torch import Tensor, nn

from topreg import ConnectivityLoss

WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
PER_CLASS = 10


def few_of_each(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of ``count`` images of each class to train on, as many to validate, the rest."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for label in range(10):
        members = (labels == label).nonzero()[:, 0]
        order = members[torch.randperm(len(members), generator=generator)]
        parts.append((order[:count], order[count : 2 * count], order[2 * count :]))
    training, validation, test = (torch.cat(part) for part in zip(*parts, strict=True))
    return training, validation, test


def accuracy(
    images: Tensor, labels: Tensor, training: Tensor, held_out: Tensor, weight: float, seed: int,
    steps: int,
) -> float:  # fmt: skip
    """Accuracy on held-out images, in percent, after training with a weight of the term."""
    torch.manual_seed(seed)
    features = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    head = nn.Linear(16, 10)
    parameters = [*features.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-2)
    connected = ConnectivityLoss(scale=1.0)
    for _ in range(steps):
        batch = training[torch.randperm(len(training))[:80]]
        points = features(images[batch])
        loss = nn.functional.cross_entropy(head(points), labels[batch])
        if weight:
            clouds = [points[labels[batch] == label] for label in labels[batch].unique()]
            loss = loss + weight * connected(clouds)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        guesses = head(features(images[held_out])).argmax(1)
    return 100 * float((guesses == labels[held_out]).double().mean())


def main() -> None:
    """Choose the weight, then print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    images, labels = digits()

    def score(weight: float, seed: int, on_test: bool) -> float:
        training, validation, test = few_of_each(labels, PER_CLASS, seed)
        held_out = test if on_test else validation
        return accuracy(images, labels, training, held_out, weight, seed, options.steps)

    head = [f"{PER_CLASS} images a digit", "test accuracy, %"]
    choosing = max(1, options.seeds // 2)
    print(chosen_and_compared(score, WEIGHTS, options.seeds, choosing, head))


if __name__ == "__main__":
    main()
