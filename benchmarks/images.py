"""Pairs, losses and metrics of images beside other libraries; prints Markdown.

Run ``python benchmarks/images.py > benchmarks/results/images.md`` on a quiet machine. Peers that
are installed are measured, the others are named: gudhi, cripser, and topolosses with OpenCV. With
``--root DIR``, the folder ``dataset`` of the TopoMortar data, Betti numbers of its test masks are
compared with those that its authors publish. Columns of a table take turns in one process, call by
call; figures are medians in milliseconds.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import itertools
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from _timing import turns
from torch import Tensor

from topreg import CubicalFiltration, betti_matching_loss, diagram_matching_loss
from topreg.image_metrics import BettiError, BettiMatchingError, BettiNumbers

Call = Callable[[], object]
ABSENT = "not installed"


def noise(size: int, seed: int = 0) -> Tensor:
    """Independent uniform pixels."""
    return torch.rand(size, size, generator=torch.Generator().manual_seed(seed))


def smooth(size: int, seed: int = 0) -> Tensor:
    """A field that varies over sixteen pixels."""
    coarse = noise(size // 16, seed)[None, None]
    return torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")[0, 0].clamp(0, 1)


KINDS = {"noise": noise, "smooth": smooth}


def pairs_of_gudhi(image: Tensor) -> Call:
    """Pairs with critical pixels; their fast path gives values only."""
    from gudhi import CubicalComplex

    array = image.double().numpy()

    def call() -> object:
        complex_ = CubicalComplex(top_dimensional_cells=array)
        complex_.compute_persistence()
        return complex_.cofaces_of_persistence_pairs()

    return call


def pairs_of_cripser(image: Tensor) -> Call:
    """Pairs in its V-construction, which is its default."""
    import cripser

    array = image.double().numpy()
    return lambda: cripser.computePH(array, maxdim=1)


def topolosses(name: str, x: Tensor, y: Tensor) -> Call:
    """Forward and backward of one of the losses of topolosses, without its Dice term."""
    from topolosses import losses

    loss = getattr(losses, name)(use_base_loss=False, include_background=True, alpha=1.0)
    leaf, target = x[None, None].clone().requires_grad_(), y[None, None]
    return lambda: loss(leaf, target).backward()


def own(loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Call:
    """Forward and backward of one of our losses."""
    leaf = x.clone().requires_grad_()
    return lambda: loss(leaf, y).backward()


def row(title: str, makers: dict[str, Callable[[], Call] | None], seconds: float) -> None:
    """Print one row: medians, and for others how many times ours they take."""
    calls: dict[str, Call] = {}
    said: dict[str, str] = {}
    for name, make in makers.items():
        try:
            if make is None:
                said[name] = "-"
                continue
            calls[name] = make()
            calls[name]()  # compiles, and shows whether it works
        except ImportError:
            said[name] = ABSENT
            calls.pop(name, None)
    times = turns(list(calls.values()), seconds, least=3)
    found = dict(zip(calls, map(statistics.median, times), strict=True))
    first = next(iter(found.values()))
    cells = [
        said[name]
        if name in said
        else f"{found[name]:,.2f}" + (f" ({found[name] / first:,.1f} x)" if at else "")
        for at, name in enumerate(makers)
    ]
    print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


def head(title: str, columns: list[str]) -> None:
    """Print the head of a table."""
    print(f"\n## {title}\n\n| | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")


def kernels(seconds: float) -> None:
    """Pairs of both dimensions, with critical pixels; each peer takes turns with us alone."""
    search = CubicalFiltration()
    peers = {"gudhi": pairs_of_gudhi, "cripser": pairs_of_cripser}
    head(
        "Pairs with critical pixels, both dimensions",
        ["topreg", "topreg, each of a batch of 8", *peers],
    )
    for size, (kind, make) in itertools.product((64, 256, 512), KINDS.items()):
        batch = torch.stack([make(size, seed) for seed in range(8)])
        ours: list[float] = []
        cells: list[str] = []
        for peer in peers.values():
            try:
                other = [peer(batch[0])]
            except ImportError:
                other = []
            times = [beside(x, search, other, seconds) for x in (batch[:1], batch)]
            ours = ours or [time for time, _ in times]
            said = ", ".join(f"{theirs / time:,.1f} x" for time, theirs in times)
            cells.append(f"{times[0][1]:,.2f} ({said})" if other else ABSENT)
        found = [f"{time:,.3f}" if time < 0.1 else f"{time:,.2f}" for time in ours]
        print(f"| {size} x {size}, {kind} | {' | '.join(found + cells)} |", flush=True)


def beside(
    images: Tensor, search: CubicalFiltration, other: list[Call], seconds: float
) -> tuple[float, float]:
    """Return our time for each of some images, and the time of another call; 0 without one."""
    calls = [partial(search.all_pairs, images, 1), *other]
    for call in calls:
        call()
    ours, *theirs = map(statistics.median, turns(calls, seconds, least=3))
    return ours / len(images), sum(theirs)


def losses(seconds: float) -> None:
    """Forward and backward of a prediction and its mask."""
    peers = {
        "topolosses, Betti matching": "BettiMatchingLoss",
        "topolosses, Hu": "HutopoLoss",
        "topolosses, clDice": "CLDiceLoss",
    }
    mine = {
        "topreg, Betti matching": betti_matching_loss,
        "topreg, diagram matching": diagram_matching_loss,
    }
    head("Losses, forward and backward", [*mine, *peers])
    for size in (256, 512):
        for kind, amount in (("clean", 0.0), ("with noise", 0.1)):
            mask = (smooth(size) > 0.5).float()
            x = (0.8 * smooth(size, 0) + 0.2 * smooth(size, 1) + amount * noise(size)).clamp(0, 1)
            large = size == 512 and amount > 0  # one call of Hu takes minutes there
            makers: dict[str, Callable[[], Call] | None] = {
                **{name: partial(own, loss, x, mask) for name, loss in mine.items()},
                **{
                    name: None if large and "Hu" in name else partial(topolosses, loss, x, mask)
                    for name, loss in peers.items()
                },
            }
            row(f"{size} x {size}, {kind}", makers, seconds)


def metrics(seconds: float) -> None:
    """One update of each metric, and the Betti numbers of a volume."""
    head("Metrics", ["topreg"])
    x, y = smooth(512, 0) > 0.5, smooth(512, 1) > 0.5
    for metric in (BettiNumbers(), BettiError(), BettiMatchingError()):
        given = (x,) if isinstance(metric, BettiNumbers) else (x, y)
        title = f"{type(metric).__name__}, 512 x 512"
        row(title, {"topreg": lambda m=metric, g=given: partial(m.update, *g)}, seconds)
    coarse = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    volume = torch.nn.functional.interpolate(coarse, size=256, mode="trilinear")[0, 0] > 0.5
    row(
        "BettiNumbers, 256 x 256 x 256",
        {"topreg": lambda: partial(BettiNumbers(ndim=3).update, volume)},
        seconds,
    )


def masks(root: Path) -> None:
    """Betti numbers of the test masks beside those that the authors publish."""
    from torchvision.io import decode_image

    equal, told, start = 0, [], time.perf_counter()
    with (root / "betti_numbers.csv").open() as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        metric = BettiNumbers()
        metric.update(decode_image(str(root / "test/accurate" / f"{line['ID']}.png")))
        found = metric.compute().int().tolist()
        stated = [int(line["Betti0"]), int(line["Betti1"])]
        equal += found == stated
        if found != stated:
            told.append(f"{line['ID']}: {found}, published {stated}")
    print(
        f"\n## Masks of TopoMortar\n\nBetti numbers of {equal} of {len(lines)} masks are those "
        f"published; {time.perf_counter() - start:.1f} seconds with reading. "
        f"Others: {'; '.join(told) or 'none'}."
    )


def environment() -> str:
    """Versions and machine."""
    installed = {part.name: part.version for part in importlib.metadata.distributions()}
    names = ("torch", "numba", "gudhi", "cripser", "topolosses")
    found = [f"{name} {installed.get(name, ABSENT)}" for name in names]
    threads = torch.get_num_threads()
    return f"{', '.join(found)}; Python {platform.python_version()}, {threads} threads."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    parser.add_argument("--root", type=Path, help="folder `dataset` of the TopoMortar data")
    given = parser.parse_args()
    start = time.perf_counter()
    print(
        "# Images\n\nWritten by `python benchmarks/images.py`. Medians of calls that take turns, "
        "in milliseconds. In brackets how many times topreg's: for one image and for each of a "
        "batch, each of which takes turns with one library; in the table of losses, times its "
        f"Betti matching.\n\n{environment()}"
    )
    warnings.simplefilter("ignore")  # what other libraries warn of
    kernels(given.seconds)
    losses(given.seconds)
    metrics(given.seconds)
    if given.root is not None:
        masks(given.root)
    print(f"\nAll in {time.perf_counter() - start:.0f} seconds.")


if __name__ == "__main__":
    main()
