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
def plots(monkeypatch):
    """The plots of the figures that are saved."""
    found, save = [], Figure.savefig

    def noted(figure, *args, **options):
        found.extend(figure.axes)
        return save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", noted)
    return found


def ticks(axes):
    return [text.get_text() for text in axes.get_xticklabels()]


@pytest.mark.parametrize("datasets", [("imagenet",), ("imagenet", "dtd")])
def test_accuracy(runs, datasets, tmp_path, plots):
    several = [run("zero_shot", 50, shots=16, dataset=name) for name in datasets]
    several += [one for name in datasets for one in moved(runs, name)]
    save_accuracy_figure(tmp_path / "a.png", several, "title")
    drawn(tmp_path / "a.png")
    assert all(ticks(axes) == ["1", "16"] for axes in plots[:3])
    starts = {bars[0].get_xdata()[0] for bars in plots[0].containers}
    assert len(starts) == len(plots[0].containers) == 5  # no error bars on others
    below = [bool(axes.get_xlabel()) for axes in plots]
    assert below == ([True] if len(datasets) == 1 else [False, True, True, False])
    assert [axes.axison for axes in plots[3:]] == [False] * len(plots[3:])


def moved(runs, dataset):
    return [replace(one, dataset=dataset) for one in runs]


def test_styles_differ_and_families_share_a_hue(runs):
    others = [run(preset, 1) for preset in ("zero_shot", "hc_taf", "tip_adapter_f")]
    look = styles(distinct([*runs, *others]))
    assert len({tuple(style.values()) for style in look.values()}) == len(look)
    assert look["TaskRes"]["linestyle"] == look["Tip-Adapter-F"]["linestyle"] == "--"
    for constrained in ("HC-TR", "HC-TAF", "HC-TR, coincidence only"):
        assert look[constrained]["linestyle"] == "-"
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
    others = [run("taskres_star", 1), run("hc_tr_star", 3), run("hc_tr", 9, seed=7, shots=1)]
    several = [*runs, *others, *seeds("taskres", (1,)), *seeds("hc_tr", (5,))]
    several[-2:] = [replace(one, dataset="dtd") for one in several[-2:]]
    found = term_gains(distinct(several)).query("terms == 'both'")[
        ["baseline", "shots", "accuracy"]
    ]
    of_seeds_with_all = [["TaskRes", 16, 3.5], ["TaskRes*", 16, 2.0]]
    assert found.to_numpy().tolist() == of_seeds_with_all


def test_factor(tmp_path, plots):
    several = [
        one
        for weight in (0.1, 0.2, 0.4)
        for preset in ("hc_tr", "hc_taf")
        for one in seeds(preset, (60, 61), f"constraint.weight={weight}")
    ]
    save_factor_figure(tmp_path / "f.png", several, "weight", "title")
    drawn(tmp_path / "f.png")
    assert list(map(ticks, plots)) == 2 * [["0.1", "0.2", "0.4"]]


def test_training(runs, tmp_path, plots):
    last = [one for one in runs if one.shots == 16] + [run("zero_shot", 50)]
    save_training_figure(tmp_path / "t.png", last, "title")
    drawn(tmp_path / "t.png")
    lines = {axes.get_title(): [line.get_label() for line in axes.lines] for axes in plots}
    assert lines["validation accuracy, %"] == ["TaskRes", *lines["track coincidence"]]
    two = [one for one in last if one.preset == "taskres"]
    curves = training_curves(distinct(two)["method"], two)
    assert list(curves["val_accuracy"]) == pytest.approx([61.5, 76.5, 81.5])
    curves = training_curves(distinct(two)["method"], [two[0], replace(two[1], log=two[1].log[:2])])
    assert list(curves["val_accuracy"].dropna()) == pytest.approx([61.5, 76.5])
    del plots[:]
    save_training_figure(tmp_path / "t.png", two, "no constraint, and little text")
    assert [len(axes.lines) for axes in plots] == [1, 1, 0, 0]
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
