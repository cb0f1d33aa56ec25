"""The comparison on TopoMortar, on walls that are drawn here; and its page beside its results."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

ROOT = Path(__file__).parents[1]
MODULES = ("topomortar", "topomortar_page")
RESULTS = ROOT / "benchmarks" / "results" / "topomortar.json"
ndimage = pytest.importorskip("scipy.ndimage")
image_files = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def scripts():
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        modules = [importlib.import_module(name) for name in MODULES]
        patch.setattr(modules[0], "BATCH", 2)
        patch.setattr(modules[0], "PROBES", 1)
        patch.setattr(modules[0], "CLOSER", 1)
        yield modules
    torch.set_flush_denormal(False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def mortar(scripts):
    return scripts[0]


@pytest.fixture(scope="module")
def page(scripts):
    return scripts[1]


def wall(seed, side=144):
    """Bricks with mortar of four pixels between them: image (3, h, w) and mask (1, h, w)."""
    random = np.random.default_rng(seed)
    mask = np.zeros((side, side), bool)
    for row, y in enumerate(range(random.integers(8), side, 20)):
        mask[y : y + 4] = True
        for x in range(random.integers(8) + 20 * (row % 2), side, 40):
            mask[y : y + 20, x : x + 4] = True
    grey = 120 + 60 * mask + random.normal(0, 20, (3, side, side))
    return torch.from_numpy(grey.clip(0, 255)).byte(), torch.from_numpy(255 * mask).byte()[None]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder as that of the benchmark, with three, two and two images."""
    root = tmp_path_factory.mktemp("dataset")
    parts = {"train": ["001", "002", "003"], "val": ["004", "005"], "test": ["006", "007"]}
    lines = ["1:"]
    for part, names in sorted(parts.items()):
        lines += [f"  {part}:", *(f"  - dataset/{part}/images/{name}.png" for name in names)]
        for name in names:
            image, mask = wall(int(name))
            for folder, picture in (
                ("images", image),
                ("accurate", mask),
                ("noisy", mask),
                ("pseudo", mask),
            ):
                (root / part / folder).mkdir(parents=True, exist_ok=True)
                array = picture.movedim(0, -1).squeeze(-1).numpy()
                image_files.fromarray(array).save(root / part / folder / f"{name}.png")
    for file in ("splits.yaml", "splits_small.yaml"):
        (root / file).write_text("\n".join(lines) + "\n")
    holes = ndimage.label(wall(6)[1][0].numpy() == 0, np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]))
    inside = set(np.unique(holes[0][1:-1, 1:-1])) - set(
        np.unique(np.concatenate([holes[0][[0, -1]].ravel(), holes[0][:, [0, -1]].ravel()]))
    )
    components = ndimage.label(wall(6)[1][0].numpy(), np.ones((3, 3)))[1]
    (root / "betti_numbers.csv").write_text(
        f"ID,Betti0,Betti1,Betti2\n006,{components},{len(inside - {0})},0\n007,9,999,0\n"
    )
    return root


def test_the_parts_are_those_of_the_file(mortar, data):
    assert mortar.identifiers(data / "splits.yaml", "val") == ["004", "005"]
    images, masks = mortar.load(data, "splits.yaml", "train", "accurate")
    assert masks.unique().tolist() == [0, 1]
    assert_close(masks[2], (wall(3)[1] > 0).float())
    assert_close(images.mean((2, 3)), torch.zeros(3, 3), atol=1e-5, rtol=0)
    assert_close(images.std((2, 3)), torch.ones(3, 3))


def test_crops_depend_on_seed_and_step_alone(mortar, data):
    part = mortar.load(data, "splits.yaml", "train", "accurate")
    first, again, later = (mortar.batch(part, 1, step) for step in (3, 3, 4))
    assert first.images.shape == (mortar.BATCH, 3, mortar.SIDE, mortar.SIDE)
    assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first.images, later.images)
    bright = (first.images.mean(1, keepdim=True) - first.images.mean((1, 2, 3), keepdim=True)) > 0
    assert (bright.float() == first.masks).float().mean() > 0.8  # masks turn with their images


def test_the_skeleton_is_that_of_slow_filters(mortar):
    image = np.random.default_rng(0).random((17, 23))
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])

    def erode(x):
        return ndimage.minimum_filter(x, footprint=cross, mode="constant", cval=np.inf)

    def rest(x):
        return np.maximum(x - ndimage.maximum_filter(erode(x), 3, mode="constant", cval=-np.inf), 0)

    expected = rest(image)
    for _ in range(3):
        image = erode(image)
        expected = expected + np.maximum(rest(image) - expected * rest(image), 0)
    image = np.random.default_rng(0).random((17, 23))
    assert_close(mortar.skeleton(torch.from_numpy(image)[None, None])[0, 0].numpy(), expected)


def test_losses_of_a_perfect_prediction_are_zero(mortar):
    mask = (wall(0)[1] > 0).float()[None]
    for loss in (mortar.pixel_loss, *mortar.TERMS.values()):
        assert_close(loss(60 * (mask - 0.5), mask), torch.zeros(()), atol=1e-4, rtol=0)


def test_a_gap_costs_and_its_gradient_closes_it(mortar):
    mask = (wall(0)[1] > 0).float()[None]
    logits = 6 * (mask - 0.5)
    rows = mask[0, 0].all(1).nonzero().flatten().tolist()
    y = next(a for a in rows if a - 1 not in rows and a > 20)
    logits[..., y : y + 4, 60:63] = -0.5  # both bricks become one
    logits = logits.requires_grad_()
    for name in ("diagram matching", "Betti matching", "Betti prior"):
        (gradient,) = torch.autograd.grad(mortar.TERMS[name](logits, mask), logits)
        assert gradient[..., y : y + 4, 60:63].min() < 0, name  # descent raises the gap


def test_the_network_keeps_the_size_of_images(mortar):
    net = mortar.UNet()
    assert net(torch.zeros(2, 3, 64, 96)).shape == (2, 1, 64, 96)
    assert 4e5 < sum(weight.numel() for weight in net.parameters()) < 6e5


def test_measures_count_components_holes_and_dice(mortar):
    mask = torch.zeros(1, 9, 9)
    mask[0, 1:6, 1:6] = 1
    mask[0, 3, 3] = 0
    found = torch.zeros(1, 9, 9)
    found[0, 8, 8] = 1
    assert mortar.measures(mask, mask) == [1, 0, 0, 0, 0]
    dice, *counts = mortar.measures(found, mask)
    assert (dice, counts) == (0, [0, 1, 0, 1])


def test_a_term_begins_where_the_baseline_was(mortar, data, tmp_path):
    base = mortar.execute(mortar.Run(4, "noisy-50", 1), data, tmp_path, "cpu")
    run = mortar.Run(4, "noisy-50", 1, "Betti matching", 0.05, 0.5)
    own = mortar.execute(run, data, tmp_path, "cpu")
    assert [row["step"] for row in own["curve"]] == [2, 3, 4]
    assert own["curve"][0] == base["curve"][2]
    assert own["curve"][-1] != base["curve"][-1]
    silent = mortar.Run(4, "noisy-50", 1, "clDice", 1e-30, 0.5)
    assert_close(
        torch.tensor(mortar.execute(silent, data, tmp_path, "cpu")["rows"]),
        torch.tensor(base["rows"]),
        rtol=0.02,
        atol=1,
    )
    for ending in (".json", ".npz"):
        (tmp_path / f"{run.file}{ending}").unlink()
    again = mortar.execute(run, data, tmp_path, "cpu")
    assert (again["rows"], again["curve"]) == (own["rows"], own["curve"])


def test_the_choice_has_the_fewest_wrong_features_but_keeps_dice(mortar):
    runs = mortar.candidates(400, "noisy-50", "clDice")
    assert len(runs) == 6
    rows = {run: [[0.9, 0, 0, 5, 5]] for run in runs}
    rows[mortar.Run(400, "noisy-50", mortar.CHOOSING)] = [[0.9, 0, 0, 9, 9]]
    rows[runs[1]], rows[runs[2]] = [[0.895, 0, 0, 3, 1]], [[0.8, 0, 0, 0, 0]]

    def read(run):
        return {"rows": rows[run]}

    assert mortar.choose(400, "noisy-50", "clDice", read) == runs[1]
    for run in runs:
        rows[run] = [[0.1, 0, 0, 0, 0]]
    rows[runs[4]] = [[0.2, 0, 0, 9, 9]]
    assert mortar.choose(400, "noisy-50", "clDice", read) == runs[4]


def test_the_interval_is_that_of_slow_draws(page):
    differences = np.random.default_rng(1).normal(1, 1, (5, 12))
    found = page.interval(differences)
    random, means = np.random.default_rng(2), []
    for _ in range(4000):
        seeds, images = random.integers(5, size=5), random.integers(12, size=12)
        means.append(differences[np.ix_(seeds, images)].mean())
    assert found.mean == pytest.approx(differences.mean())
    assert found[1:] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.06)
    assert (found.sign, page.interval(-differences).sign) == (1, -1)
    assert page.interval(differences - differences.mean()).sign == 0


@pytest.fixture(scope="module")
def record(mortar, page, data, tmp_path_factory):
    """The whole programme in this process, with four steps."""
    out = tmp_path_factory.mktemp("out")
    command = f"topomortar.py --root={data} --runs={out / 'runs'} --out={out} --steps=4"
    command += " --seeds=2 --cases accurate-10 --seconds=0"

    def phase(groups, given, title):
        for runs in groups:
            mortar.work(runs, given.root, given.runs, given.device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command.split())
        patch.setattr(mortar, "phase", phase)
        patch.setattr(mortar, "WEIGHTS", dict.fromkeys(mortar.TERMS, (0.05,)))
        patch.setattr(page, "not_lower", lambda record: [("accurate-10", "clDice")])
        mortar.main()
    page.draw_masks(
        json.loads((out / "topomortar.json").read_text()), data, out / "runs", out / "masks.png"
    )
    assert (out / "masks.png").stat().st_size > 1000
    return json.loads((out / "topomortar.json").read_text())


def test_the_whole_programme(mortar, page, record, tmp_path):
    assert len(record["choices"]) == 9
    losses = [mortar.BASELINE, *mortar.TERMS]
    assert [run["run"]["loss"] for run in record["runs"]] == 2 * losses
    assert list(record["step times"]) == losses
    assert record["masks"]["largest"] == [0, 0, 0, 0]
    assert (record["masks"]["masks"], record["masks"]["equal"]) == (2, 1)
    assert record["masks"]["others"][0].startswith("007: ")
    page.draw_curves(record, tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text().count("<path") > 10
    assert all(f"| {loss} |" in page.page(record) for loss in losses)


def test_a_closer_count_repeats_the_run(mortar, record):
    (pair,) = record["closer"]["pairs"]
    assert record["closer"]["levels"] == list(mortar.LEVELS)
    for seed, counts in enumerate(pair["counts"], 1):
        for loss, levels in zip((mortar.BASELINE, "clDice"), counts, strict=True):
            (last,) = (
                run["curve"][-1]["wrong bars"]
                for run in record["runs"]
                if (run["run"]["loss"], run["run"]["seed"]) == (loss, seed)
            )
            assert levels[mortar.LEVELS.index(0.5)] == pytest.approx(last, abs=1e-5)


def test_the_words_on_closer_counts_follow_the_numbers(page, record):
    found = json.loads(json.dumps(record))
    found["closer"]["pairs"][0]["counts"] = 2 * [[[3, 3, 3], [1, 3, 5]]]
    text = page.closer(found)
    words = "fewer above 0.3, not clearly fewer or more above 0.5, more above 0.7"
    assert f"the wrong bars of clDice with accurate labels, 10 images are {words}" in text
    assert text.count("\n| clDice with") == 3
    bars = len(page.not_lower(found))
    assert f"do in {4 - bars}; in a closer count, below, in {4 - bars}." in page.lowered(found)
    found["closer"]["pairs"][0]["counts"][0][1][1] = 2
    assert f"in a closer count, below, in {5 - bars}." in page.lowered(found)
    found["closer"]["pairs"] = []
    assert page.closer(found) == ""
    assert page.lowered(found).endswith(f"do in {4 - bars}.")


def test_the_curves_say_what_is_not_lower(page, record):
    found = json.loads(json.dumps(record))
    for run in found["runs"]:
        shift = {"clDice": 0, "Betti prior": 2}.get(run["run"]["loss"], -2)
        base = next(r for r in record["runs"] if r["run"]["loss"] == page.BASELINE)["curve"]
        run["curve"] = [row | {"wrong bars": 5 + shift} for row in base]
        if run["run"]["loss"] == page.BASELINE:
            run["curve"] = [row | {"wrong bars": 5} for row in base]
    assert page.not_lower(found) == [("accurate-10", "clDice"), ("accurate-10", "Betti prior")]


def test_the_words_follow_the_numbers(page, record):
    better = json.loads(json.dumps(record))
    for run in better["runs"]:
        shift = {"clDice": -3, "Betti matching": 3}.get(run["run"]["loss"], 0)
        base = page.rows_of(record, "accurate-10", page.BASELINE)[run["run"]["seed"] - 1]
        run["rows"] = [[*row[:3], row[3] + shift, row[4]] for row in base.tolist()]
    total, _, *lines = page.verdicts(better).splitlines()
    words = [re.search(r"(Fewer|More|No clear)", line)[0] for line in lines]
    assert words == ["Fewer", "No clear", "More", "No clear"]
    assert "1 have fewer wrong features than the baseline, 1 have more, and 2 show" in total
    assert page.change(better, "accurate-10", "Betti matching", "clDice") == (6, 6, 6)


def test_the_page_is_written_from_the_results(page):
    record = json.loads(RESULTS.read_text())
    assert page.PAGE.read_text() == page.page(record)


def test_the_results_bear_out_what_the_page_claims(page):
    """Each term ends lower than where it starts, and lower than it does without it."""
    record = json.loads(RESULTS.read_text())
    assert record["masks"]["largest"] == [0, 0, 0, 0]
    assert (record["masks"]["equal"], record["masks"]["masks"]) == (349, 350)
    assert page.not_lower(record, "") == []
    for loss in page.losses_of(record)[1:]:
        for case in page.cases_of(record):
            first, own = page.ends(record, case, loss, loss, loss)
            assert own < first, (loss, case)
