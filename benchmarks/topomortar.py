"""Train a small U-Net on TopoMortar with and without a topological term; compare the masks.

Run ``python benchmarks/topomortar.py --root DIR`` with the folder ``dataset`` of the TopoMortar
data, then ``python benchmarks/topomortar_page.py``. Each finished run is a file under ``--runs``:
after an interruption the same command goes on. Runs share the beginning of their baseline, which
has cross-entropy plus Dice alone; a term acts from its start to the last step.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from topreg import (
    CubicalFiltration,
    betti_matching_loss,
    betti_prior_loss,
    diagram_matching_loss,
)
from topreg.image_metrics import BettiError, BettiMatchingError, BettiNumbers

CASES = {  # labels of the training and validation images, file of the splits
    "accurate-50": ("accurate", "splits.yaml"),
    "accurate-10": ("accurate", "splits_small.yaml"),
    "noisy-50": ("noisy", "splits.yaml"),
    "pseudo-50": ("pseudo", "splits.yaml"),
}
WEIGHTS = {  # candidates: their gradients are about 0.7, 2 and 7 times that of the pixel loss
    "clDice": (0.6, 2.0, 6.0),
    "diagram matching": (0.03, 0.1, 0.3),
    "Betti matching": (0.015, 0.05, 0.15),
    "Betti prior": (0.015, 0.05, 0.15),
}
BASELINE = "CE + Dice"
STARTS = (0.5, 0.75)  # candidates, as shares of the steps
CHOOSING = 0  # the seed of the runs on which weights and starts are chosen
PROBING, PROBES = 99_999, 2  # the seed and the number of the batches on which the terms are watched
CLOSER, LEVELS = 16, (0.3, 0.5, 0.7)  # batches and probabilities of the closer count
DICE_LOST = 0.01  # that a choice may cost on the validation images
BATCH, SIDE, RATE = 8, 128, 2e-3
MEASURES = ("dice", "error 0", "error 1", "unmatched 0", "unmatched 1")
RESULTS = Path(__file__).parent / "results"

# The bricks that a crop cuts are closed outside it
CROP = CubicalFiltration(superlevel=True, outside="foreground", check_values=False)


class UNet(nn.Module):
    """A U-Net on half the resolution, whose last layer gives four pixels per position."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        inputs = (12, *widths[:-1])
        self.down = nn.ModuleList(block(a, b) for a, b in zip(inputs, widths, strict=True))
        pairs = itertools.pairwise(widths)
        self.up = nn.ModuleList(block(a + b, a) for a, b in pairs)
        self.head = nn.Conv2d(widths[0], 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (b, 1, h, w) of images (b, 3, h, w), h and w multiples of 16."""
        x, skips = functional.pixel_unshuffle(images, 2), []
        for level, layers in enumerate(self.down):
            x = layers(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for layers, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            x = layers(torch.cat([skip, functional.interpolate(x, scale_factor=2)], 1))
        return functional.pixel_shuffle(self.head(x), 2)


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, each with batch normalisation."""
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Part(NamedTuple):
    """Images (n, 3, h, w), each channel with mean 0 and deviation 1, and masks (n, 1, h, w)."""

    images: Tensor
    masks: Tensor


def identifiers(file: Path, part: str) -> list[str]:
    """The names of the images of a part, in the order of the file of splits."""
    found, inside = [], False
    for line in file.read_text().splitlines():
        if line.strip().startswith("- "):
            if inside:
                found.append(Path(line.strip()[2:]).stem)
        else:
            inside = line.strip() == f"{part}:"
    return found


def pixels(file: Path, mode: str) -> Tensor:
    """The pixels (c, h, w) of an image file."""
    from PIL import Image

    with Image.open(file) as image:
        array = np.array(image.convert(mode), ndmin=3)
    return torch.from_numpy(array if mode == "L" else array.transpose(2, 0, 1).copy())


@functools.lru_cache(maxsize=3)
def load(root: Path, splits: str, part: str, labels: str) -> Part:
    """One part of the data; of the test images those in distribution, the only ones needed."""
    names = [
        name
        for name in identifiers(root / splits, part)
        if (root / part / "images" / f"{name}.png").exists()
    ]
    images, masks = (
        torch.stack([pixels(root / part / folder / f"{name}.png", mode) for name in names])
        for folder, mode in (("images", "RGB"), (labels, "L"))
    )
    deviation, mean = torch.std_mean(images.float(), (2, 3), keepdim=True)
    return Part((images - mean) / deviation, (masks > 0).float())


def batch(part: Part, seed: int, step: int) -> Part:
    """Random crops of one step, flipped and with other colours: the same for every loss."""
    random = np.random.default_rng((seed, step))
    images, masks = [], []
    for _ in range(BATCH):
        at = random.integers(len(part.images))
        y, x = random.integers(part.images.shape[2] - SIDE + 1, size=2)
        flips = [axis for axis in (1, 2) if random.random() < 0.5]
        window = (at, slice(None), slice(y, y + SIDE), slice(x, x + SIDE))
        gain = torch.from_numpy(random.uniform(0.75, 1.25, (3, 1, 1))).float()
        shift = torch.from_numpy(random.uniform(-0.25, 0.25, (3, 1, 1))).float()
        image = part.images[window].flip(flips) * gain + shift
        noise = random.standard_normal(image.shape, dtype=np.float32)
        images.append(image + 0.1 * random.random() * torch.from_numpy(noise))
        masks.append(part.masks[window].flip(flips))
    return Part(torch.stack(images), torch.stack(masks))


def pixel_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy plus Dice."""
    entropy = functional.binary_cross_entropy_with_logits(logits, masks)
    found = logits.sigmoid()
    common, total = (found * masks).sum((1, 2, 3)), (found + masks).sum((1, 2, 3))
    return entropy + (1 - (2 * common + 1) / (total + 1)).mean()


def skeleton(images: Tensor, iterations: int = 3) -> Tensor:
    """The soft skeleton: what an opening removes, of the images eroded more and more."""
    found = torch.zeros_like(images)
    for level in range(iterations + 1):
        if level:
            images = eroded(images)
        opened = functional.max_pool2d(eroded(images), 3, 1, 1)
        rest = functional.relu(images - opened)
        found = found + functional.relu(rest - found * rest)
    return found


def eroded(images: Tensor) -> Tensor:
    """The least value of each pixel and its four neighbours."""
    down = -functional.max_pool2d(-images, (3, 1), 1, (1, 0))
    return torch.minimum(down, -functional.max_pool2d(-images, (1, 3), 1, (0, 1)))


def centreline_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Return clDice of Shit et al. (CVPR 2021), as a loss."""
    found = logits.sigmoid()
    own, true = skeleton(found), skeleton(masks)
    precision = ((own * masks).sum() + 1) / (own.sum() + 1)
    sensitivity = ((true * found).sum() + 1) / (true.sum() + 1)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def diagram_matching(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the loss of Hu et al., of crops whose loops are closed outside."""
    return diagram_matching_loss(logits, masks, logits=True, filtration=CROP)


def betti_matching(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the loss of Stucki et al., of crops whose loops are closed outside."""
    return betti_matching_loss(logits, masks, logits=True, filtration=CROP)


def betti_prior(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the loss of Clough et al.; of the mask it sees the two Betti numbers alone."""
    found = []
    for one, mask in zip(logits, masks, strict=True):
        bars = CROP.all_pairs(mask, 1)
        numbers = [len(pairs) + len(pairs.essential_edges) for pairs in bars]
        found.append(betti_prior_loss(one, betti_numbers=numbers, logits=True, filtration=CROP))
    return torch.stack(found).mean()


TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "clDice": centreline_dice,
    "diagram matching": diagram_matching,
    "Betti matching": betti_matching,
    "Betti prior": betti_prior,
}


class Run(NamedTuple):
    """What one file holds."""

    steps: int
    case: str
    seed: int
    loss: str = BASELINE
    weight: float = 0.0
    start: float = 0.0

    @property
    def file(self) -> str:
        """The file's name without ending."""
        parts = (self.steps, self.case, self.seed, self.loss, self.weight, self.start)
        return "_".join(str(part).replace(" ", "") for part in parts)


def optimise(
    net: nn.Module, optimizer: torch.optim.Optimizer, part: Part, run: Run, step: int
) -> Tensor:
    """Take one step; return its loss."""
    device = next(net.parameters()).device
    images, masks = (tensor.to(device) for tensor in batch(part, run.seed, step))
    for group in optimizer.param_groups:
        group["lr"] = RATE * (1 - step / run.steps) ** 0.9
    logits = net(images.contiguous(memory_format=torch.channels_last))
    loss = pixel_loss(logits, masks)
    if run.weight:
        loss = loss + run.weight * TERMS[run.loss](logits, masks)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def probe(net: nn.Module, part: Part) -> dict[str, float]:
    """Wrong bars in fixed crops of training images, in a frame that closes loops, and each term."""
    device = next(net.parameters()).device
    net.eval()
    error, terms = BettiMatchingError(), dict.fromkeys(TERMS, 0.0)
    for step in range(PROBES):
        images, masks = (tensor.to(device) for tensor in batch(part, PROBING, step))
        logits = net(images.contiguous(memory_format=torch.channels_last))
        error.update(framed(logits > 0), framed(masks))
        for name, term in TERMS.items():
            terms[name] += term(logits, masks).item() / PROBES
    net.train()
    found = {"wrong bars": error.compute().sum().item(), **terms}
    return {name: round(value, 5) for name, value in found.items()}


@torch.no_grad()
def evaluate(net: nn.Module, part: Part) -> tuple[list[list[float]], np.ndarray]:
    """The measures of each whole image, and the predicted masks as bits."""
    device = next(net.parameters()).device
    net.eval()
    rows, masks = [], []
    for image, mask in zip(*part, strict=True):
        one = image[None].to(device).contiguous(memory_format=torch.channels_last)
        found = (net(one)[0] > 0).float().cpu()
        rows.append(measures(found, mask))
        masks.append(np.packbits(found[0].numpy() > 0))
    net.train()
    return rows, np.stack(masks)


def measures(found: Tensor, mask: Tensor) -> list[float]:
    """Dice, errors of both Betti numbers, and unmatched components and holes."""
    dice = (2 * (found * mask).sum() / (found + mask).sum().clamp(min=1)).item()
    counts = []
    for metric in (BettiError(), BettiMatchingError()):
        metric.update(found, mask)
        counts += metric.compute().tolist()
    return [round(dice, 5), *counts]


def train(
    run: Run, part: Part, runs: Path, device: str, watch: Callable[[int, nn.Module], None]
) -> nn.Module:
    """Train from the start of a run, where the baseline left its state; watch before each step."""
    torch.manual_seed(run.seed)
    net = UNet().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    if run.start:
        state = torch.load(runs / state_of(run, run.start), device, weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
    marks = {} if run.start else {round(share * run.steps): share for share in STARTS}
    for step in range(round(run.start * run.steps), run.steps):
        if step in marks:
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, runs / state_of(run, marks[step]))
        watch(step, net)
        optimise(net, optimizer, part, run, step)
    watch(run.steps, net)
    return net


def execute(run: Run, root: Path, runs: Path, device: str) -> dict[str, Any]:
    """Return the record of a run, after training if there is none; ends with whole images."""
    file = runs / f"{run.file}.json"
    if file.exists():
        return json.loads(file.read_text())
    labels, splits = CASES[run.case]
    part = load(root, splits, "train", labels)
    if run.start:
        execute(Run(run.steps, run.case, run.seed), root, runs, device)
    begin, curve = time.process_time(), []

    def watch(step: int, net: nn.Module) -> None:
        if step % max(run.steps // 16, 1) == 0 or step == run.steps:
            curve.append({"step": step, **probe(net, part)})

    net = train(run, part, runs, device, watch)
    name = "val" if run.seed == CHOOSING else "test"
    seen = load(root, splits, name, labels if name == "val" else "accurate")
    rows, masks = evaluate(net, seen)
    seconds = time.process_time() - begin
    record = {"run": run._asdict(), "curve": curve, "seconds": seconds, "rows": rows}
    np.savez_compressed(file.with_suffix(".npz"), masks=masks)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(record))
    unfinished.replace(file)
    return record


def closer(run: Run, root: Path, runs: Path, device: str) -> list[float]:
    """Repeat a run; count wrong bars in more crops, above several probabilities."""
    file = runs / f"{run.file}.closer"
    if file.exists():
        return json.loads(file.read_text())
    labels, splits = CASES[run.case]
    part = load(root, splits, "train", labels)
    net = train(run, part, runs, device, lambda step, net: None).eval()
    errors = [BettiMatchingError() for _ in LEVELS]
    for step in range(CLOSER):
        images, masks = (tensor.to(device) for tensor in batch(part, PROBING, step))
        with torch.no_grad():
            found = net(images.contiguous(memory_format=torch.channels_last)).sigmoid()
        for level, error in zip(LEVELS, errors, strict=True):
            error.update(framed(found > level), framed(masks))
    counts = [error.compute().sum().item() for error in errors]
    file.write_text(json.dumps(counts))
    print(f"{run.file}: wrong bars in {BATCH * CLOSER} crops {counts}", flush=True)
    return counts


def framed(masks: Tensor) -> Tensor:
    """Masks in a frame of foreground, which closes the loops that a crop cuts."""
    return functional.pad(masks.float(), (1, 1, 1, 1), value=1.0)


def state_of(run: Run, start: float) -> str:
    """The file of the state in which a term finds the baseline."""
    return f"{Run(run.steps, run.case, run.seed).file}_at_{start}.pt"


def candidates(steps: int, case: str, loss: str) -> list[Run]:
    """The runs among which the weight and the start of a term are chosen."""
    return [
        Run(steps, case, CHOOSING, loss, weight, start)
        for weight in WEIGHTS[loss]
        for start in STARTS
    ]


def choose(steps: int, case: str, loss: str, read: Callable[[Run], dict[str, Any]]) -> Run:
    """The candidate with the fewest unmatched bars among those that cost almost no Dice."""
    least = mean(read(Run(steps, case, CHOOSING)))["dice"] - DICE_LOST
    found = {run: mean(read(run)) for run in candidates(steps, case, loss)}
    good = {run: row for run, row in found.items() if row["dice"] >= least}
    if not good:
        return max(found, key=lambda run: found[run]["dice"])
    return min(good, key=lambda run: good[run]["unmatched 0"] + good[run]["unmatched 1"])


def mean(record: dict[str, Any]) -> dict[str, float]:
    """Mean measures over images."""
    return dict(zip(MEASURES, np.mean(record["rows"], axis=0).tolist(), strict=True))


def work(runs: list[Run], root: Path, folder: Path, device: str) -> None:
    """Execute the runs of one case and seed with one thread; say how each ended."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for run in runs:
        record = execute(run, root, folder, device)
        row = ", ".join(f"{name} {value:.3f}" for name, value in mean(record).items())
        print(f"{run.file}: {row}; {record['seconds']:.0f} s of CPU", flush=True)


def phase(groups: list[list[Run]], given: argparse.Namespace, title: str) -> None:
    """Execute groups, shared over processes; show how many are done."""
    begin = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.workers, context) as pool:
        waiting = [pool.submit(work, g, given.root, given.runs, given.device) for g in groups]
        for done, future in enumerate(as_completed(waiting), 1):
            future.result()
            minutes = (time.perf_counter() - begin) / 60
            print(f"{title}: {done} of {len(groups)} groups, {minutes:.1f} minutes", flush=True)


def step_times(given: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds of a step with each loss, in turns on one state of a network; CPU time there."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    steps, case = given.steps, given.cases[0]
    part = load(given.root, CASES[case][1], "train", CASES[case][0])
    state = torch.load(
        given.runs / state_of(Run(steps, case, CHOOSING), STARTS[0]),
        given.device,
        weights_only=True,
    )
    net = UNet().to(given.device, memory_format=torch.channels_last)
    net.load_state_dict(state["net"])
    optimizer = torch.optim.Adam(net.parameters())
    runs = [Run(steps, case, CHOOSING), *(Run(steps, case, CHOOSING, n, 1e-3, 0.5) for n in TERMS)]

    clock = time.process_time if given.device == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {run.loss: [] for run in runs}
    end = time.perf_counter() + given.seconds
    while time.perf_counter() < end or len(times[BASELINE]) < 3:
        for run in runs:
            begin = clock()
            optimise(net, optimizer, part, run, steps - 1).item()  # waits for the device
            times[run.loss].append(1e3 * (clock() - begin))
    return {loss: kept[1:] for loss, kept in times.items()}  # the first compiles


def masks_against_themselves(root: Path) -> dict[str, Any]:
    """The measures of the test masks against themselves; Betti numbers beside those published."""
    import csv

    with (root / "betti_numbers.csv").open() as file:
        lines = list(csv.DictReader(file))
    equal, largest, told = 0, [0.0] * 4, []
    for line in lines:
        mask = (pixels(root / "test/accurate" / f"{line['ID']}.png", "L") > 0).float()
        largest = [max(pair) for pair in zip(largest, measures(mask, mask)[1:], strict=True)]
        numbers = BettiNumbers()
        numbers.update(mask)
        found = numbers.compute().int().tolist()
        stated = [int(line["Betti0"]), int(line["Betti1"])]
        equal += found == stated
        if found != stated:
            told.append(f"{line['ID']}: {found}, published {stated}")
    return {"masks": len(lines), "largest": largest, "equal": equal, "others": told}


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder `dataset` of the data")
    parser.add_argument("--runs", type=Path, help="folder of finished runs; ROOT/runs if left out")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=60.0, help="to measure times of steps")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    from topomortar_page import not_lower

    given.runs = given.runs or given.root / "runs"
    given.runs.mkdir(parents=True, exist_ok=True)

    def read(run: Run) -> dict[str, Any]:
        return json.loads((given.runs / f"{run.file}.json").read_text())

    steps = given.steps
    first = [
        [Run(steps, case, CHOOSING), *(r for loss in TERMS for r in candidates(steps, case, loss))]
        for case in given.cases
    ]
    phase(first, given, "choices")
    chosen = {case: [choose(steps, case, loss, read) for loss in TERMS] for case in given.cases}
    groups = [
        [Run(steps, case, seed), *(run._replace(seed=seed) for run in chosen[case])]
        for seed in range(1, given.seeds + 1)
        for case in given.cases
    ]
    phase(groups, given, "table")
    record = {
        "steps": steps,
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "workers": given.workers,
        "torch": torch.__version__,
        "batch": BATCH,
        "probes": BATCH * PROBES,
        "images": len(read(groups[0][0])["rows"]),
        "device": given.device,
        "choices": [
            {**run._asdict(), **mean(read(run)), "seconds": read(run)["seconds"]}
            for runs in first
            for run in runs
        ],
        "runs": [read(run) for runs in groups for run in runs],
        "step times": step_times(given),
        "masks": masks_against_themselves(given.root),
    }
    record["closer"] = {"crops": BATCH * CLOSER, "levels": LEVELS, "pairs": []}
    for case, loss in not_lower(record):
        (run,) = (run for run in chosen[case] if run.loss == loss)
        both = run._replace(loss=BASELINE, weight=0.0), run
        counts = [
            [closer(one._replace(seed=seed), given.root, given.runs, given.device) for one in both]
            for seed in range(1, given.seeds + 1)
        ]
        record["closer"]["pairs"].append({"case": case, "loss": loss, "counts": counts})
    (given.out / "topomortar.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main()
