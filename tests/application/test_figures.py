"""Figures are whole PNG files of the right size, and draw what the runs say."""

from functools import partial

import pytest
import torch
from application.synthetic_runs import method, run, seeds
from matplotlib import rcParams
from matplotlib.image import imread
from vlm_adapters.adapters import build_adapter
from vlm_adapters.results import (
    save_accuracy_figure,
    save_factor_figure,
    save_terms_figure,
    save_training_figure,
    save_tree_figure,
)
from vlm_adapters.results.accuracy_figure import panels_of
from vlm_adapters.results.drawing import styles
from vlm_adapters.results.terms_figure import NO_TERMS, term_gains
from vlm_adapters.results.training_figure import mean_curve
from vlm_adapters.results.tree_view import project, tree_view

from topreg import RipsFiltration, track_coincidence


def drawn(path):
    """A PNG, 8 cm wide at 300 dpi, that is not blank; nothing else was left beside it."""
    pixels = imread(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert pixels.shape[1] == 944
    assert pixels.min() < 0.5 < pixels.max()
    return pixels


@pytest.fixture
def runs():
    return [
        one
        for shots in (1, 16)
        for place, preset in enumerate(("taskres", "hc_tr_tc", "hc_tr_dp", "hc_tr"))
        for one in seeds(preset, (60 + place + shots, 62 + place), shots=shots, epochs=3)
    ]


@pytest.mark.parametrize("datasets", [("imagenet",), ("imagenet", "dtd")])
def test_accuracy(runs, datasets, tmp_path):
    several = [run("zero_shot", 50, shots=16, dataset=name) for name in datasets]
    several += [one for name in datasets for one in moved(runs, name)]
    save_accuracy_figure(tmp_path / "a.png", several, "title")
    drawn(tmp_path / "a.png")
    names = {"imagenet", "dtd", "average of 2"} if len(datasets) > 1 else {""}
    assert set(panels_of(several)) == names


def moved(runs, dataset):
    return [type(one)(**{**one.as_record(), "dataset": dataset}) for one in runs]


def test_styles_differ_and_families_share_a_hue(runs):
    look = styles([*runs, run("zero_shot", 1), run("hc_taf", 1), run("tip_adapter_f", 1)])
    assert len(set(look.values())) == len(look)
    assert look["TaskRes"].linestyle == look["Tip-Adapter-F"].linestyle == "--"
    assert look["HC-TR"].linestyle == look["HC-TAF"].linestyle == "-"
    assert look["Tip-Adapter-F"].color == look["HC-TAF"].color
    assert look["Zero-shot"].linestyle == ":"


def test_terms(runs, tmp_path):
    save_terms_figure(tmp_path / "t.png", runs, "title")
    drawn(tmp_path / "t.png")
    found = term_gains(runs)
    assert found.keys() == {("TaskRes", (True, False)), ("TaskRes", (False, True)),
                            ("TaskRes", (True, True))}  # fmt: skip
    assert found["TaskRes", (True, True)] == {1: [3.0, 3.0], 16: [3.0, 3.0]}
    assert not any(NO_TERMS)


def test_factor(tmp_path):
    several = [one for weight in (0.1, 0.2, 0.4) for preset in ("hc_tr", "hc_taf")
               for one in seeds(preset, (60, 61), f"constraint.weight={weight}")]  # fmt: skip
    save_factor_figure(tmp_path / "f.png", several, "weight", "title")
    drawn(tmp_path / "f.png")


def test_training(runs, tmp_path):
    last = [one for one in runs if one.shots == 16] + [run("zero_shot", 50)]
    save_training_figure(tmp_path / "t.png", last, "title")
    drawn(tmp_path / "t.png")
    two = [one for one in last if one.preset == "taskres"]
    assert mean_curve(two, "val_accuracy") == pytest.approx([61.5, 76.5, 81.5])
    save_training_figure(tmp_path / "t.png", two, "no constraint, and little text")
    drawn(tmp_path / "t.png")


class TestTree:
    @pytest.fixture
    def batch(self, task):
        return task.train.keys(), task.train_labels

    @pytest.mark.parametrize("preset", ["taskres", "tip_adapter_f", "clip_adapter"])
    def test_before_and_after(self, preset, task, batch, bundle, tmp_path):
        before = build_adapter(task, method(preset).adapter)
        after = build_adapter(task, method(preset).adapter)
        with torch.no_grad():
            for parameter in after.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
        save = partial(save_tree_figure, tmp_path / "t.png", after, *batch, bundle.class_names)
        save(title="title", before=before)
        two = drawn(tmp_path / "t.png")
        save()
        assert len(drawn(tmp_path / "t.png")) < len(two)

    @pytest.mark.parametrize("preset", ["taskres", "tip_adapter_f"])
    def test_coincidence_is_topregs(self, preset, task, batch):
        adapter = build_adapter(task, method(preset).adapter)
        view = tree_view(adapter, *batch)
        views = adapter.views(*batch)
        pairs = RipsFiltration().pairs(views.geometry)
        expected = track_coincidence(views.source, views.target, pairs=pairs).item()
        assert view.coincidence == pytest.approx(expected, abs=1e-6)
        within = batch[1][view.edges[:, 0]] == batch[1][view.edges[:, 1]]
        assert torch.equal(view.cosines.isnan(), within)
        tuned = views.target if preset == "taskres" else views.source
        torch.testing.assert_close(view.tuned, tuned.detach())

    def test_one_class_has_no_coincidence(self, task, batch):
        rows = batch[1] == 0
        adapter = build_adapter(task, method("taskres").adapter)
        assert tree_view(adapter, batch[0][rows], batch[1][rows]).coincidence == 0.0

    def test_projection_keeps_what_lies_in_a_plane(self):
        flat = torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        basis = torch.linalg.qr(torch.randn(7, 2, dtype=torch.float64)).Q
        first, second = project(flat[:4] @ basis.T, flat[4:] @ basis.T)
        torch.testing.assert_close(torch.cdist(first, second), torch.cdist(flat[:4], flat[4:]))

    def test_projection_of_a_line(self):
        [points] = project(torch.tensor([[0.0], [1.0], [3.0]]))
        assert points.shape == (3, 2)

    def test_refusals(self, task, batch, tmp_path):
        adapter = build_adapter(task, method("taskres").adapter)
        text = r"`features` should have two rows or more, and `labels` as many\. Got {} and {}\."
        for rows, others in ((1, 1), (4, 3)):
            with pytest.raises(ValueError, match=text.format(rows, others)):
                save_tree_figure(
                    tmp_path / "t.png", adapter, batch[0][:rows], batch[1][:others], ["a"] * 5
                )
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("save", "runs", "text"),
    [
        (save_accuracy_figure, [], r"`runs` should hold a run\. Got none\."),
        (save_terms_figure, [run("hc_tr", 1)], r"trained with and without the constraint\. Got no"),
        (partial(save_factor_figure, factor="weight"), [run("hc_tr", 1)],
         r"`runs` should hold a method with several values of weight and all other options equal"),
        (save_training_figure, [run("zero_shot", 1)],
         r"`runs` should be trainings on one data set at one shot count\. Got no training\."),
        (save_training_figure, [run("taskres", 1, epochs=1), run("taskres", 1, shots=8, epochs=1)],
         r"Got imagenet at 16 shots, imagenet at 8 shots\."),
    ],
)  # fmt: skip
def test_refusals(save, runs, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        save(tmp_path / "f.png", runs, title="title")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_figure_keeps_the_old_file(tmp_path):
    (tmp_path / "a.png").write_text("old")
    broken = run("taskres", 1)
    broken.accuracies["last"] = "no number"
    with pytest.raises(TypeError, match="str"):
        save_accuracy_figure(tmp_path / "a.png", [broken], "title")
    assert (tmp_path / "a.png").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_settings_of_matplotlib_stay(tmp_path):
    before = dict(rcParams)
    save_accuracy_figure(tmp_path / "a.png", [run("taskres", 1)], "title")
    assert dict(rcParams) == before
