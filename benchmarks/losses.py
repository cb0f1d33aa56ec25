"""Losses beside torch-topological's, RTD-Lite and RTD beside their searches; prints Markdown.

Run ``python benchmarks/losses.py`` on a quiet machine, with the ``tda`` extra installed. Columns of
a table take turns in one process, call by call; figures are medians with quartiles.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import statistics
import warnings
from collections.abc import Callable

import torch
from _clouds import cloud
from _timing import spread, turns

from topreg import RipsFiltration, pairwise_distances, rtd, rtd_lite, signature_loss


def timed(calls: list[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Milliseconds of calls that take turns; the first round compiles and is left out."""
    for call in calls:
        call()
    return turns(calls, seconds)


def signature(seconds: float) -> None:
    """Forward and backward of the signature loss at n = 256."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_topological.nn import SignatureLoss, VietorisRipsComplex
    print(
        "Signature loss, n = 256, forward and backward, milliseconds\n\n"
        "| cloud | coordinates | dimensions | topreg | torch-topological | times faster |\n"
        "| --- | --- | --- | ---: | ---: | ---: |"
    )
    for kind, latent in (("clusters", 32), ("clusters", 2), ("circle", 32), ("circle", 2)):
        source = cloud(kind, 256)
        width = source.shape[1]
        generator = torch.Generator().manual_seed(0)
        target = source @ torch.randn(width, latent, generator=generator)
        for dimensions in ((0,), (0, 1)):
            rips = VietorisRipsComplex(dim=max(dimensions))
            peer = SignatureLoss(p=2, normalise=True, dimensions=dimensions)
            leaf = target.clone().requires_grad_()

            own, other = timed(
                [
                    lambda x=source, z=leaf, d=dimensions: signature_loss(
                        x, z, dimensions=d, normalize=1.0
                    ).backward(),
                    lambda x=source, z=leaf, rips=rips, peer=peer: peer(
                        [x, rips(x)], [z, rips(z)]
                    ).backward(),
                ],
                seconds,
            )
            ratio = statistics.median(other) / statistics.median(own)
            listed = ", ".join(map(str, dimensions))
            print(
                f"| {kind} | {width} to {latent} | {listed} | {spread(own)} | {spread(other)} "
                f"| {ratio:.1f} |"
            )


def trees(seconds: float) -> None:
    """RTD-Lite beside one tree and the distances it needs."""
    print(
        "\nRTD-Lite, n = 1,024, without gradient, milliseconds\n\n"
        "| cloud | RTD-Lite | one tree from distances | distances of both | "
        "(RTD-Lite - distances) / tree |\n| --- | ---: | ---: | ---: | ---: |"
    )
    rips = RipsFiltration(metric="precomputed")
    for kind in ("clusters", "sphere"):
        x, y = cloud(kind, 1024), cloud(kind, 1024, seed=1)
        distances = pairwise_distances(x)
        loss, tree, both = timed(
            [
                lambda x=x, y=y: rtd_lite(x, y),
                lambda d=distances: rips.pairs(d),
                lambda x=x, y=y: (pairwise_distances(x), pairwise_distances(y)),
            ],
            seconds,
        )
        ratios = [(a - c) / b for a, b, c in zip(loss, tree, both, strict=True)]  # turn by turn
        print(
            f"| {kind} | {spread(loss)} | {spread(tree)} | {spread(both)} | {spread(ratios, 1)} |"
        )


def doubled_clouds(seconds: float) -> None:
    """RTD beside dimension 1 of a cloud of twice the points, for like and unlike spaces."""
    print(
        "\nRTD, without gradient, milliseconds\n\n"
        "| source to target | n | RTD | dimension 1 of 2n points of the source's kind |\n"
        "| --- | ---: | ---: | ---: |"
    )
    rips = RipsFiltration()
    for kind in ("sphere", "circle"):
        for n in (128, 256, 512):
            source, target, large = (
                cloud("sphere", n),
                cloud(kind, n, seed=1),
                cloud("sphere", 2 * n),
            )
            loss, search = timed(
                [
                    lambda x=source, y=target: rtd(x, y, normalize=1.0),
                    lambda x=large: rips.pairs(x, 1),
                ],
                seconds,
            )
            print(f"| sphere to {kind} | {n} | {spread(loss)} | {spread(search)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each row")
    seconds = parser.parse_args().seconds
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("topreg", "torch", "torch-topological", "giotto-ph")
    )
    print(f"{platform.machine()}, {torch.get_num_threads()} threads; {versions}\n")
    signature(seconds)
    trees(seconds)
    doubled_clouds(seconds)


if __name__ == "__main__":
    main()
