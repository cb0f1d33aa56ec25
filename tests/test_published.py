"""Published values as golden tests, and the measures and page of ``benchmarks/published``."""

import importlib
import itertools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from topreg import rtd, rtd_lite

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "benchmarks" / "published", ROOT / "benchmarks"]

minimum_spanning_tree = pytest.importorskip("scipy.sparse.csgraph").minimum_spanning_tree


@pytest.fixture(scope="module")
def load():
    """Import a script of ``benchmarks/published``."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in reversed(FOLDERS):
            patch.syspath_prepend(str(folder))
        before = set(sys.modules)
        yield importlib.import_module
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if Path(file).parent in FOLDERS:
                del sys.modules[name]


@pytest.fixture(scope="module")
def divergences(load):
    return load("divergences")


def test_rtd_of_the_readme_pair(divergences):
    assert divergences.readme_value() == pytest.approx(divergences.README, rel=1e-8)


@pytest.mark.parametrize(
    ("experiment", "measure"),
    [
        ("Rings", "RTD"),
        ("Rings", "RTD-Lite"),
        ("Rings", "CKA"),
        ("Clusters", "RTD"),
        ("Clusters", "RTD-Lite"),
        ("Clusters", "CKA"),
    ],
)
def test_kendalls_tau(divergences, experiment, measure):
    published = divergences.PUBLISHED[experiment, measure]
    assert divergences.kendall(experiment, measure) == pytest.approx(published, abs=5e-4)


def test_the_rings_are_as_large_as_published(divergences):
    radii = np.linalg.norm(divergences.rings(1), axis=1)[:: divergences.RING_POINTS]
    np.testing.assert_allclose(radii, [1, 1.25, 0.75, 1.5, 0.5])


def test_the_divergences_of_equal_clouds_vanish(divergences):
    points = torch.from_numpy(divergences.clusters(3))
    for measure in (rtd, rtd_lite, divergences.plain):
        torch.testing.assert_close(measure(points, points), torch.zeros((), dtype=torch.float64))


@pytest.fixture(scope="module")
def spheres(load):
    pytest.importorskip("sklearn")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such small networks gain nothing from more
    yield load("spheres")
    torch.set_num_threads(threads)


def test_pca_of_spheres_has_the_published_measures_to_each_digit(spheres):
    """So the seeds, the data, the split and the measures are those of the authors."""
    runs = [spheres.of_pca(spheres.framework_seed(seed)) for seed in spheres.SEEDS]
    published = zip(
        spheres.COLUMNS, spheres.PUBLISHED["PCA"], spheres.PUBLISHED_DIGITS, strict=True
    )
    for name, value, digits in published:
        assert round(np.mean([run[name] for run in runs]), digits) == value, name


def slow_trustworthiness(distances, latent, k):
    n, total = len(distances), 0
    for i in range(n):
        near = sorted(range(n), key=lambda j: latent[i, j])[1 : k + 1]
        order = sorted(range(n), key=lambda j: distances[i, j])
        total += sum(max(order.index(j) - k, 0) for j in near)
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * total


def slow_rank_error(one, other, k):
    n, total = len(one), 0.0
    for i in range(n):
        first, second = (sorted(range(n), key=lambda j: d[i, j]) for d in (one, other))
        for rank, j in enumerate(first[1 : k + 1], 1):
            total += abs(rank - second.index(j)) / rank
    return total / (n * sum(abs(2 * j - n - 1) / j for j in range(1, k + 1)))


def test_spheres_has_as_many_points_as_published(spheres):
    training, test, labels = spheres.data()
    assert training.shape == (spheres.TRAINING, 101)
    assert test.shape == (spheres.TEST, 101)
    assert set(labels) == set(range(11))
    np.testing.assert_allclose(training.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(training.std(0), 1, atol=1e-5)


def test_the_measures_equal_their_definitions(spheres):
    generator = np.random.default_rng(0)
    x, z = generator.normal(size=(14, 5)), generator.normal(size=(14, 2))
    a, b = (np.linalg.norm(y[:, None] - y, axis=2) for y in (x, z))
    found = spheres.measures(x, z, range(3, 5))
    trust, continuity, error = [], [], []
    for k in (3, 4):
        trust.append(slow_trustworthiness(a, b, k))
        continuity.append(slow_trustworthiness(b, a, k))
        error.append((slow_rank_error(a, b, k) + slow_rank_error(b, a, k)) / 2)
    assert found["trustworthiness"] == pytest.approx(np.mean(trust))
    assert found["continuity"] == pytest.approx(np.mean(continuity))
    assert found["MRRE"] == pytest.approx(np.mean(error))
    assert found["RMSE"] == pytest.approx(np.sqrt(np.mean((a - b) ** 2)))
    p, q = (np.exp(-((d / d.max()) ** 2) / 0.1).sum(1) for d in (a, b))
    p, q = p / p.sum(), q / q.sum()
    assert found["KL 0.1"] == pytest.approx((p * np.log(p / q)).sum())


def test_the_topological_term_counts_as_the_authors_code(spheres):
    torch.manual_seed(0)
    x, z = torch.randn(2, 9, 4), torch.randn(2, 9, 2)
    found = spheres.topological(x, z)
    for i in range(2):
        one, other = (torch.cdist(y[i], y[i]).double() for y in (x, z))
        total = 0.0
        for d in (one, other):
            tree = minimum_spanning_tree(d.numpy()).tocoo()
            edges = tree.row, tree.col
            total += float((one[edges] - other[edges]).square().sum())
        assert float(found[i]) == pytest.approx(total / 9, rel=1e-5)


def test_training_keeps_the_best_epoch(spheres, monkeypatch):
    points, calls = torch.from_numpy(spheres.data()[0][:300]), itertools.count()

    def rising(x, z):
        return torch.full((len(x),), float(next(calls)))

    def train(term, epochs):
        return spheres.train(points, spheres.TOPOLOGICAL, term, 0, epochs)

    monkeypatch.setattr(spheres, "PATIENCE", 2)
    best, last, ran, held_out = train(rising, 10)
    assert (ran, len(held_out)) == (3, 45)
    for model, epochs in ((best, 1), (last, 3)):
        assert not model.training
        torch.testing.assert_close(model.state_dict(), train(None, epochs)[1].state_dict())
    assert not torch.equal(best.decoder[0].weight, last.decoder[0].weight)
    monkeypatch.setattr(spheres, "PATIENCE", 0)
    assert train(None, 4)[2] == 0


def test_errors_as_published_leave_out_rows_beyond_whole_batches(spheres):
    model, points = spheres.Autoencoder().eval(), torch.randn(10, 101)
    with torch.no_grad():
        errors = (model.decoder(model.encoder(points)) - points).square().mean(1)
    assert spheres.mse(model, points) == pytest.approx(float(errors.mean()))
    assert spheres.mse(model, points, 4) == pytest.approx(float(errors[:8].sum()) / 10)


def test_a_folder_without_the_authors_configurations_is_told(load, spheres, tmp_path):
    authors = load("spheres_authors")
    with pytest.raises(SystemExit, match=r"should be a checkout .* with 5 files .* Got 0 in"):
        authors.configurations(tmp_path, "TopoAE")
    for repetition, seed in enumerate(spheres.SEEDS, 1):
        folder = tmp_path / f"experiments/train_model/repetitions/rep{repetition}/Spheres"
        folder.mkdir(parents=True)
        (folder / "Vanilla.json").write_text(json.dumps({"seed": seed}))
    found = authors.configurations(tmp_path, "AE")
    assert found == {seed: {"seed": seed} for seed in spheres.SEEDS}


@pytest.fixture(scope="module")
def pages(load, spheres):
    return load("pages")


@pytest.mark.parametrize("name", ["published.md", "does_it_help.md"])
def test_the_pages_are_those_of_the_result_files(pages, name):
    assert pages.PAGES[name]() == (pages.DOCS / name).read_text(encoding="utf-8")


def test_the_divergences_page_holds_the_published_values(pages):
    rows = pages.divergences.table(pages.Kept("divergences")).splitlines()[2:]
    assert len(rows) == 9
    for row in rows:
        _, published, ours, _ = row.strip("| ").split(" | ")
        if published != "not published":
            assert float(ours) == pytest.approx(float(published), rel=1e-8, abs=5e-4)


def test_topoae_repeats_the_published_row(pages):
    kept = pages.Kept("spheres")
    runs, other = (pages.spheres.by_seed(kept, name) for name in ("TopoAE", "other seeds"))
    assert (len(runs), len(other)) == (5, 10)
    for column, value in zip(pages.spheres.COLUMNS, pages.spheres.PUBLISHED["TopoAE"], strict=True):
        assert pages.mean_of(runs, column) == pytest.approx(value, rel=0.02), column
    away = pages.away([*runs.values(), *other.values()])
    assert max(map(abs, away.values())) <= 1


def test_the_authors_code_does_the_same(pages):
    kept = pages.Kept("spheres")
    for method in pages.spheres.RECIPES:
        runs = pages.spheres.by_seed(kept, f"{method}{pages.spheres.BY_AUTHORS}")
        assert list(runs) == list(pages.spheres.SEEDS)
        assert max(run["difference of measures"] for run in runs.values()) < 1e-5  # ties
    assert kept.values["difference of steps"]["value"]["losses"] < 1e-9
    theirs = pages.spheres.by_seed(kept, f"TopoAE{pages.spheres.BY_AUTHORS}")
    assert max(map(abs, pages.away(theirs.values()).values())) <= 1
    worst = [
        min(runs, key=lambda seed: runs[seed]["trustworthiness"])
        for runs in (theirs, pages.spheres.by_seed(kept, "TopoAE"))
    ]
    assert worst[0] == worst[1]


def test_distances_to_published_values_count_rounding(pages):
    columns, value = pages.spheres.COLUMNS, pages.published_value
    assert (value("KL 0.01"), value("RMSE")) == (0.085, 13.5)
    shifts = {"RMSE": 0.04, "trustworthiness": 0.0025, "data MSE as published": -0.00805}
    runs = [
        {column: value(column) + shifts.get(column, 0) + spread for column in columns}
        for spread in (-0.001, 0.001)
    ]
    deviation = 0.001 * 2**0.5
    expected = {"trustworthiness": 0.002, "data MSE as published": -0.008}
    found = pages.away(runs)
    assert found == pytest.approx({c: expected.get(c, 0) / deviation for c in columns})
    assert pages.spelled(found) == (
        "6 of 8 measures (beyond: trustworthiness at +1.4, data MSE as published at -5.7)"
    )


def test_a_bullet_is_an_item_of_a_list(pages):
    text = pages.bullet(30 * "two words\n   ")
    assert text.startswith("- two words two")
    assert all(re.match("  (two|words)", line) for line in text.splitlines()[1:])
    assert max(map(len, text.splitlines())) <= 100
    assert text.split()[1:] == 30 * ["two", "words"]


def test_the_pictures_codes_are_those_of_the_table(load, pages):
    pytest.importorskip("matplotlib")
    picture = load("spheres_picture")
    kept, runs = picture.Kept("spheres_codes"), pages.Kept("spheres").values
    _, test, _ = pages.spheres.data()
    assert list(kept.values) == ["AE", "TopoAE", "plain matching"]
    for method, part in kept.values.items():
        found = pages.spheres.measures(test, np.array(part["value"]), [10])
        run = runs[f"{method} {pages.spheres.SEEDS[0]}"]["value"]
        assert found["KL 0.1"] == pytest.approx(run["KL 0.1"], rel=1e-3), method
    figure = picture.drawn(kept)
    counts = [sum(len(c.get_offsets()) for c in ax.collections) for ax in figure.axes]
    assert counts == [1000] * 3


def test_topoaes_density_is_nearer_than_the_autoencoders(pages):
    assert pages.wins(pages.Kept("spheres"), "AE") == "5 of 5"


def test_caltechs_difference_is_that_of_the_applications_table(pages):
    text = (pages.OTHERS / "caltech101_devise" / "results.md").read_text(encoding="utf-8")
    found = {(part.term, part.baseline): part for part in pages.of_caltech()}
    for row, key in (
        ("HC-TR - TaskRes", "TaskRes"),
        ("HC-TAF - Tip-Adapter-F", "Tip-Adapter-F"),
        (r"HC\*-TR - TaskRes\*", r"TaskRes\*"),
        (r"HC\*-TAF - Tip-Adapter-F\*", r"Tip-Adapter-F\*"),
    ):
        line = next(line for line in text.splitlines() if line.startswith(f"| {row} |"))
        mean, low, high = pages.interval(found["homology consistency", key])
        assert line.split(" | ")[6] == f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


@pytest.mark.parametrize(
    ("with_term", "larger", "said"),
    [
        ([2.0, 3.1, 4.0], True, "better"),
        ([2.0, 3.1, 4.0], False, "worse"),
        ([0.0, 1.1, 1.9], True, "worse"),
        ([0.0, 1.1, 1.9], False, "better"),
        ([1.5, 1.5, 3.5], True, "no difference shown"),
        ([1.5, 1.5, 3.5], False, "no difference shown"),
    ],
)
def test_the_verdict_is_read_from_the_interval(pages, with_term, larger, said):
    words = "task", "term", "baseline", "measure"
    part = pages.Comparison(*words, larger, "validation", with_term, [1.0, 2.0, 3.0])
    assert pages.verdict(part) == said


def test_one_seed_shows_nothing(pages):
    words = "task", "term", "baseline", "measure"
    assert (
        pages.verdict(pages.Comparison(*words, True, "validation", [9.0], [1.0])) == pages.WORDS[0]
    )


def test_topomortar_is_read(pages, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "OTHERS", tmp_path)
    runs = [
        {"run": {"case": "noisy", "loss": loss, "seed": seed}, "rows": [[0, 0, 0, wrong, 1]] * 2}
        for loss, wrong in (("pixels", 5), ("betti", 3))
        for seed in (1, 2)
    ]
    record = {"runs": runs, "step times": {"pixels": [1.0, 2.0, 3.0], "betti": [3.0]}}
    (tmp_path / "topomortar.json").write_text(json.dumps(record))
    (part,) = pages.of_topomortar()
    assert (list(part.with_term), list(part.without)) == ([4, 4], [6, 6])
    assert part.cost == pytest.approx(50)


def test_every_comparison_of_the_gallery_is_read(load):
    comparisons = load("comparisons")
    scripts = {
        path.name
        for path in comparisons.GALLERY.glob("[!_]*.py")
        if re.search(
            r"from _data import .*\b(difference|comparison)\b", path.read_text(encoding="utf-8")
        )
    }
    assert scripts == set(comparisons.READERS)


def test_a_script_is_executed_and_read(load, tmp_path, monkeypatch):
    comparisons = load("comparisons")
    source = """
best, plain, term, weight = 0.0, [1.0, 2.0], [2.0, 4.0], 0.1
parts = [[0]]
def train(data, weight, seed):
    import time
    time.sleep(0.03 if weight else 0.01)
"""
    (tmp_path / "paired_views.py").write_text(source)
    monkeypatch.setattr(comparisons, "GALLERY", tmp_path)
    (found,) = comparisons.executed("paired_views.py")
    assert (found["with_term"], found["without"]) == ([2.0, 4.0], [1.0, 2.0])
    assert found["weight"] == "smallest; validation preferred 0"
    assert 100 < found["cost"] < 300


def test_values_are_kept_and_not_computed_twice(load, tmp_path):
    kept = load("_kept").Kept("some", folder=tmp_path)
    kept.compute("a", lambda: 1)
    other = load("_kept").Kept("some", folder=tmp_path)
    kept.compute("b", lambda: 2)
    other.compute("c", lambda: 3)  # as another process would
    again = load("_kept").Kept("some", folder=tmp_path)
    again.compute("a", lambda: pytest.fail("computed twice"))
    assert {name: part["value"] for name, part in again.values.items()} == {"a": 1, "b": 2, "c": 3}
    again.forget(["a", "c"])
    assert list(load("_kept").Kept("some", folder=tmp_path).values) == ["b"]
    again.compute("a", lambda: 4)
    assert again.values["a"]["value"] == 4
