"""Figures are whole PNG files of the right size, and draw what the runs say."""

from dataclasses import replace

import pytest
from application.synthetic_runs import run, seeds
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.image import imread
from vlm_adapters.results import distinct
from vlm_adapters.results.figures import (
    save_accuracy_figure,
    save_factor_figure,
    save_terms_figure,
    save_training_figure,
    styles,
    term_gains,
    training_curves,
)


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


@pytest.fixture
def ticks(monkeypatch):
    """Labels of the horizontal axis of each plot, as they were when the figure was saved."""
    found, save = [], Figure.savefig

    def noted(figure, *args, **options):
        found.extend([text.get_text() for text in a.get_xticklabels()] for a in figure.axes)
        return save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", noted)
    return found


@pytest.mark.parametrize("datasets", [("imagenet",), ("imagenet", "dtd")])
def test_accuracy(runs, datasets, tmp_path, ticks):
    several = [run("zero_shot", 50, shots=16, dataset=name) for name in datasets]
    several += [one for name in datasets for one in moved(runs, name)]
    save_accuracy_figure(tmp_path / "a.png", several, "title")
    drawn(tmp_path / "a.png")
    assert ["1", "16"] in ticks


def moved(runs, dataset):
    return [replace(one, dataset=dataset) for one in runs]


def test_styles_differ_and_families_share_a_hue(runs):
    others = [run(preset, 1) for preset in ("zero_shot", "hc_taf", "tip_adapter_f")]
    look = styles(distinct([*runs, *others]))
    assert len({tuple(style.values()) for style in look.values()}) == len(look)
    assert look["TaskRes"]["linestyle"] == look["Tip-Adapter-F"]["linestyle"] == "--"
    assert look["HC-TR"]["linestyle"] == look["HC-TAF"]["linestyle"] == "-"
    assert look["Tip-Adapter-F"]["color"] == look["HC-TAF"]["color"]
    assert look["Zero-shot"]["linestyle"] == ":"


def test_terms(runs, tmp_path):
    save_terms_figure(tmp_path / "t.png", runs, "title")
    drawn(tmp_path / "t.png")
    found = term_gains(distinct(runs)).groupby(["baseline", "terms", "shots"])["accuracy"].agg(list)
    assert set(found.index.droplevel("shots")) == {
        ("TaskRes", "track coincidence alone"),
        ("TaskRes", "perturbation alone"),
        ("TaskRes", "both"),
    }
    assert found["TaskRes", "both"].to_dict() == {1: [3.0, 3.0], 16: [3.0, 3.0]}


def test_factor(tmp_path, ticks):
    several = [
        one
        for weight in (0.1, 0.2, 0.4)
        for preset in ("hc_tr", "hc_taf")
        for one in seeds(preset, (60, 61), f"constraint.weight={weight}")
    ]
    save_factor_figure(tmp_path / "f.png", several, "weight", "title")
    drawn(tmp_path / "f.png")
    assert ticks == 2 * [["0.1", "0.2", "0.4"]]


def test_training(runs, tmp_path):
    last = [one for one in runs if one.shots == 16] + [run("zero_shot", 50)]
    save_training_figure(tmp_path / "t.png", last, "title")
    drawn(tmp_path / "t.png")
    two = [one for one in last if one.preset == "taskres"]
    curves = training_curves(distinct(two)["method"], two)
    assert list(curves["val_accuracy"]) == pytest.approx([61.5, 76.5, 81.5])
    save_training_figure(tmp_path / "t.png", two, "no constraint, and little text")
    drawn(tmp_path / "t.png")


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


def test_names_are_not_formulas(runs, tmp_path):
    several = moved(runs, "a$b_$c")
    several += [replace(one, method=r"x$\frac$") for one in several if one.preset == "hc_tr"]
    save_accuracy_figure(tmp_path / "a.png", several, "$_$")
    drawn(tmp_path / "a.png")
