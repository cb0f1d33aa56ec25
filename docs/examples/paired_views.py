"""Two encoders aligned on paired views: left and right halves of digits.

A contrastive loss on a few pairs teaches two encoders which halves belong together. With the term,
the edges of the left halves' minimum spanning tree shall point the same way in the space of the
right halves. The weight is chosen on validation pairs of other seeds, 0 among the choices. There
are 256 validation pairs and 1,285 test pairs, among which the right one is harder to find. Run
``python docs/examples/paired_views.py``.
"""

from __future__ import annotations

import argparse

import torch
from _data import chosen_and_compared, digits, split
from torch import Tensor, nn

from topreg import TrackCoincidence

WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)
PAIRS = 256


def halves() -> tuple[Tensor, Tensor]:
    """The left and the right four columns of every digit."""
    images, _ = digits()
    columns = images.view(-1, 8, 8)
    return columns[:, :, :4].flatten(1), columns[:, :, 4:].flatten(1)


def encoder() -> nn.Module:
    """32 pixels to a point of 16 coordinates."""
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))


def retrieval(
    left: Tensor, right: Tensor, training: Tensor, held_out: Tensor, weight: float, seed: int,
    steps: int,
) -> float:  # fmt: skip
    """How often the right half of a held-out left half is among the ten nearest, in percent."""
    torch.manual_seed(seed)
    encode_left, encode_right = encoder(), encoder()
    parameters = [*encode_left.parameters(), *encode_right.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-2)
    coincidence = TrackCoincidence()
    for _ in range(steps):
        batch = training[torch.randperm(len(training))[:128]]
        a = nn.functional.normalize(encode_left(left[batch]), dim=1)
        b = nn.functional.normalize(encode_right(right[batch]), dim=1)
        similarity, target = a @ b.T / 0.1, torch.arange(len(batch))
        loss = nn.functional.cross_entropy(similarity, target)
        loss = (loss + nn.functional.cross_entropy(similarity.T, target)) / 2
        if weight:
            loss = loss + weight * coincidence(a, b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        a = nn.functional.normalize(encode_left(left[held_out]), dim=1)
        b = nn.functional.normalize(encode_right(right[held_out]), dim=1)
        nearest = (a @ b.T).topk(10, dim=1).indices
    hits = (nearest == torch.arange(len(held_out))[:, None]).any(1)
    return 100 * float(hits.double().mean())


def main() -> None:
    """Choose the weight, then print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    left, right = halves()

    def score(weight: float, seed: int, on_test: bool) -> float:
        training, validation, test = split(len(left), (PAIRS, PAIRS), seed)
        held_out = test if on_test else validation
        return retrieval(left, right, training, held_out, weight, seed, options.steps)

    head = [f"{PAIRS} training pairs", "test recall at 10, %"]
    choosing = max(1, options.seeds // 3)
    print(chosen_and_compared(score, WEIGHTS, options.seeds, choosing, head))


if __name__ == "__main__":
    main()
