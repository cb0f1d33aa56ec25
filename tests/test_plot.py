"""Drawings: what the artists hold, what is left alone, and what is refused."""

import ast
import functools
import importlib
import inspect
import math
import pathlib
import sys
import traceback
from collections import Counter

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import torch
from asserts import refused
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgba
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from strategies import SEEDS, distinct_clouds, fewer_examples, gaussian, integer_clouds

import topreg.plot
from topreg import CubicalFiltration, FlagFiltration, PersistencePairs, RipsFiltration
from topreg.plot import barcode, critical_pixels, diagram, merge_tree, spanning_tree, tracks
from topreg.plot._drawing import ENDS, GREY

RIPS = RipsFiltration()
INF, NAN = math.inf, math.nan

points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 0.0], [4.0, 2.0]])
pairs = RIPS.pairs(points)  # edges (0, 2), (1, 3), (1, 2) of lengths 1, 2, 3
deaths = RIPS.diagram(pairs, points)
loops = torch.tensor([[1.0, 3.0], [0.5, 2.0], [1.0, 1.0]])
labels = torch.tensor([0, 1, 0, 7])
picture = torch.tensor([[1.0, 5.0, 2.0], [4.0, 4.5, 6.0]])
CUBICAL = CubicalFiltration(construction="V")
of_picture = CUBICAL.pairs(picture)  # born at (0, 2), dead at (0, 1)

CALLS = {  # one of each; `x` makes any tensor into what shall be drawn alike
    "barcode": lambda x, ax: barcode({"loops": x(loops)}, essential={"loops": x(ends)}, ax=ax),
    "critical_pixels": lambda x, ax: critical_pixels(x(picture), x(of_picture), ax=ax),
    "diagram": lambda x, ax: diagram({"loops": x(loops)}, essential={"loops": x(ends)}, ax=ax),
    "merge_tree": lambda x, ax: merge_tree(x(pairs), x(deaths), labels="abcd", ax=ax),
    "spanning_tree": lambda x, ax: spanning_tree(
        x(points), x(pairs), values=x(loops[:, 1]), labels=x(labels), ax=ax
    ),
    "tracks": lambda x, ax: tracks(
        x(points), x(-points), x(pairs), axes=None if ax is None else ax.figure.subplots(1, 2)
    )[1],
}
ends = torch.tensor([0.25, 0.5])
each = pytest.mark.parametrize("name", CALLS)


def as_is(tensor):
    return tensor


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    pyplot.close("all")


def offsets(ax, number=0):
    """Points of a collection."""
    return np.asarray(ax.collections[number].get_offsets())


def segments(ax, number=0):
    """Lines of a collection."""
    return np.array(ax.collections[number].get_segments())


def names_below(ax):
    """What stands below the leaves, from left to right."""
    return [label.get_text() for label in ax.get_xticklabels()]


def legend_of(ax):
    """Texts of the legend; None without one."""
    legend = ax.get_legend()
    return legend and [text.get_text() for text in legend.get_texts()]


def state(ax):
    """All numbers and colours that an axis holds."""
    parts = [np.concatenate([*ax.get_xlim(), *ax.get_ylim()], axis=None)]
    for artist in ax.collections:
        parts += [np.ravel(artist.get_offsets()), artist.get_facecolor(), artist.get_edgecolor()]
        parts += [np.ravel(path.vertices) for path in artist.get_paths()]
        parts += [np.ravel(np.ma.filled(a, NAN)) for a in [artist.get_array()] if a is not None]
    parts += [np.ravel(np.asarray(line.get_xydata(), dtype=float)) for line in ax.lines]
    return np.concatenate([np.ravel(part) for part in parts])


class TestEveryDrawing:
    @each
    def test_the_given_axis_is_returned_and_nothing_global_changes(self, name, ax):
        before = dict(matplotlib.rcParams), pyplot.get_fignums(), set(matplotlib.colormaps)
        drawn = CALLS[name](as_is, ax)
        assert drawn is (ax.figure.axes[2] if name == "tracks" else ax)
        after = dict(matplotlib.rcParams), pyplot.get_fignums(), set(matplotlib.colormaps)
        assert before == after
        ax.figure.draw_without_rendering()

    @each
    def test_without_an_axis_there_is_one_new_figure_that_is_not_shown(self, name, monkeypatch):
        monkeypatch.setattr(pyplot, "show", lambda *_: pytest.fail("shown"))
        before = dict(matplotlib.rcParams)
        drawn = CALLS[name](as_is, None)
        assert isinstance(drawn, Axes)
        assert pyplot.get_fignums() == [drawn.figure.number]
        assert dict(matplotlib.rcParams) == before
        drawn.figure.draw_without_rendering()

    @each
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("requires_grad", [False, True])
    def test_precision_and_gradient_make_no_difference(self, name, dtype, requires_grad):
        def other(x):
            if not isinstance(x, torch.Tensor) or not x.is_floating_point():
                return x
            return x.to(dtype).requires_grad_(requires_grad)

        results = [state(CALLS[name](x, Figure().subplots())) for x in (as_is, other)]
        assert_array_equal(*results)  # these numbers are exact in every precision

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
    @each
    def test_devices_make_no_difference(self, name):
        results = [
            state(CALLS[name](x, Figure().subplots())) for x in (as_is, lambda x: x.to("cuda"))
        ]
        assert_array_equal(*results)

    @each
    def test_inputs_stay(self, name, ax):
        given = [x.clone() for x in (points, deaths, loops, ends, labels)]
        CALLS[name](as_is, ax)
        for before, after in zip(given, (points, deaths, loops, ends, labels), strict=True):
            assert torch.equal(before, after)

    @each
    def test_colours_come_from_the_style_or_are_neither_black_nor_white(self, name):
        with matplotlib.rc_context({"axes.prop_cycle": matplotlib.cycler(color=["#12ab34"])}):
            drawn = CALLS[name](as_is, Figure().subplots())
        used = [c for artist in drawn.collections for c in artist.get_edgecolor()]
        used += [c for artist in drawn.collections for c in artist.get_facecolor()]
        used += [to_rgba(line.get_color()) for line in drawn.lines]
        for colour in used:
            assert 0.05 < np.mean(colour[:3]) < 0.95
        if name not in ("tracks", "spanning_tree"):
            cycle = [c for c in used if not same_color(c[:3], GREY)]
            assert all(same_color(c[:3], "#12ab34") for c in cycle)
            assert cycle

    def test_all_is_sorted_and_documented(self):
        assert topreg.plot.__all__ == sorted(CALLS)
        for name in topreg.plot.__all__:
            function = getattr(topreg.plot, name)
            text = inspect.getdoc(function)
            for section in ("Args:", "Returns:", "Raises:", "Shape:", "Note:", "Example:"):
                assert section in text, (name, section)
            signature = inspect.signature(function)
            assert signature.return_annotation is not inspect.Signature.empty
            for parameter in signature.parameters.values():
                assert f"{parameter.name}:" in text, (name, parameter)
                assert parameter.annotation is not inspect.Parameter.empty


@st.composite
def diagrams(draw):
    """Some diagrams by label, with equal rows and rows on the diagonal, and births beside them."""
    numbers = st.integers(0, 4).map(float)
    rows = st.lists(st.tuples(numbers, numbers), max_size=6)
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True))
    finite = {
        name: torch.tensor([(b, b + p) for b, p in draw(rows)]).reshape(-1, 2) for name in names
    }
    births = st.lists(numbers, max_size=3)
    endless = {name: torch.tensor(draw(births)) for name in names if draw(st.booleans())}
    return finite, endless


class TestDiagram:
    def test_points_stand_at_birth_and_death(self, ax):
        diagram(loops, ax=ax)
        assert_array_equal(offsets(ax), loops)
        assert len(ax.collections) == 1
        assert legend_of(ax) is None
        assert ax.get_aspect() == 1
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("birth", "death")

    @given(diagrams())
    def test_every_class_is_drawn_once(self, drawn):
        finite, endless = drawn
        ax = diagram(finite, essential=endless, ax=Figure().subplots())
        dots = [c for c in ax.collections if len(c.get_paths()[0].vertices) > 6]
        triangles = [c for c in ax.collections if c not in dots]
        for collection, rows in zip(dots, finite.values(), strict=True):
            assert_array_equal(collection.get_offsets(), rows)
        births = [births for births in endless.values() if len(births)]
        assert len(triangles) == len(births)
        expected = torch.cat([*births, torch.empty(0)]).sort().values
        marks = np.concatenate([np.empty((0, 2)), *(c.get_offsets() for c in triangles)])
        assert_array_equal(np.sort(marks[:, 0]), expected)
        assert np.ptp(marks[:, 1]) == 0 if len(marks) else True
        assert legend_of(ax) == (list(finite) or None)
        assert ax.get_xlim() == pytest.approx(ax.get_ylim())
        low, high = ax.get_xlim()
        every = np.concatenate([marks, *(rows.numpy() for rows in finite.values())])
        assert ((low < every) & (every < high)).all()

    def test_the_diagonal_is_one(self, ax):
        diagram(loops, ax=ax)
        (line,) = ax.lines
        for x, y in (line.get_xy1(), line.get_xy2()):
            assert x == y
        assert line.get_xy1() != line.get_xy2()
        assert same_color(line.get_color(), GREY)

    def test_essential_classes_stand_on_the_line_at_infinity(self, ax):
        diagram(loops, essential=ends, ax=ax)
        assert_array_equal(offsets(ax, 1)[:, 0], ends)
        line = ax.lines[1].get_ydata()
        assert_allclose(offsets(ax, 1)[:, 1], line)
        assert line[0] > loops.max()
        (text,) = ax.texts
        assert text.get_text() == r"$\infty$"
        assert text.get_position()[1] == line[0]

    def test_infinite_deaths_are_essential(self):
        rows = torch.cat([loops, torch.stack([ends, torch.full((2,), INF)], 1)])
        for draw in (diagram, barcode):
            axes = (
                draw(rows, ax=Figure().subplots()),
                draw(loops, essential=ends, ax=Figure().subplots()),
            )
            assert_array_equal(*map(state, axes))

    @pytest.mark.parametrize("empty", [torch.empty(0, 2), {}, {"a": torch.empty(0, 2)}])
    def test_nothing_gives_an_empty_axis(self, empty):
        for draw in (diagram, barcode):
            ax = draw(empty, ax=Figure().subplots())
            assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
            ax.figure.draw_without_rendering()

    def test_one_point_on_the_diagonal(self, ax):
        diagram(torch.tensor([[2.0, 2.0]]), ax=ax)
        assert ax.get_xlim()[0] < 2 < ax.get_xlim()[1]

    def test_a_second_drawing_keeps_the_first_in_view(self, ax):
        diagram(loops, ax=ax)
        diagram(loops + 10, ax=ax)
        low, high = ax.get_xlim()
        assert low < 0.5
        assert high > 13
        assert ax.get_xlim() == pytest.approx(ax.get_ylim())

    def test_labels_need_not_be_text(self, ax):
        diagram({0: loops, 1: loops}, essential={0: ends}, ax=ax)
        assert legend_of(ax) == ["0", "1"]


class TestBarcode:
    def test_bars_are_sorted_and_reach_from_birth_to_death(self, ax):
        barcode(loops, ax=ax)
        assert_array_equal(segments(ax)[:, :, 0], [[0.5, 2.0], [1.0, 1.0], [1.0, 3.0]])
        assert_array_equal(segments(ax)[:, :, 1], [[0, 0], [1, 1], [2, 2]])
        assert ax.get_xlabel() == "scale"
        assert list(ax.get_yticks()) == []

    @given(diagrams())
    def test_every_class_has_a_bar_of_its_own(self, drawn):
        finite, endless = drawn
        ax = barcode(finite, essential=endless, ax=Figure().subplots())
        kinds = [c for c in ax.collections if hasattr(c, "get_segments")]
        first = 0
        for collection, (name, rows) in zip(kinds, finite.items(), strict=True):
            births = endless.get(name, torch.empty(0))
            bars = np.array(collection.get_segments()).reshape(-1, 2, 2)
            assert_array_equal(bars[:, :, 1].T, [range(first, first + len(bars))] * 2)
            first += len(bars)
            ended = [(*bar, 0) if bar[1] < 1e9 else bar for bar in bars[:, :, 0].tolist()]
            starts = sorted([*rows[:, 0].tolist(), *births.tolist()])
            assert bars[:, 0, 0].tolist() == starts
            assert len(ended) == len(rows) + len(births)
            rest = sorted(map(tuple, bars[:, :, 0].tolist()))
            for row in map(tuple, rows.tolist()):
                rest.remove(row)
            assert sorted(start for start, _ in rest) == sorted(births.tolist())
            assert len({end for _, end in rest}) <= 1
        assert legend_of(ax) == (list(finite) or None)

    def test_essential_bars_end_in_an_arrow_beyond_all_others(self, ax):
        barcode(loops, essential=ends, ax=ax)
        bars = segments(ax)
        long = bars[:, 1, 0] > 3
        assert_array_equal(bars[long, 0, 0], ends)
        assert_array_equal(offsets(ax, 1), bars[long, 1])
        assert ax.get_xlim()[1] > bars[:, :, 0].max()

    def test_many_bars_are_narrow(self):
        width = [
            barcode(torch.rand(m, 2), ax=Figure().subplots()).collections[0].get_linewidth()[0]
            for m in (3, 100, 2000)
        ]
        assert width == sorted(width, reverse=True)
        assert width[2] < 0.5
        assert width[0] == 3


class TestMergeTree:
    def test_heights_and_places_of_an_example(self, ax):
        merge_tree(pairs, deaths, labels=["a", "b", "c", "d"], ax=ax)
        assert names_below(ax) == ["a", "c", "b", "d"]
        expected = [
            [[0, 0], [0, 1], [1, 1], [1, 0]],
            [[2, 0], [2, 2], [3, 2], [3, 0]],
            [[0.5, 1], [0.5, 3], [2.5, 3], [2.5, 2]],
        ]
        assert_array_equal(segments(ax), expected)
        ((stem,),) = [segments(ax, 1)]
        assert_allclose(stem, [[1.5, 3], [1.5, 3.15]])
        assert_allclose(offsets(ax, 2), [[1.5, 3.15]])

    def test_deaths_or_diagram(self):
        both = [merge_tree(pairs, d, ax=Figure().subplots()) for d in (deaths, deaths[:, 1])]
        assert_array_equal(*map(state, both))

    @given(distinct_clouds())
    def test_it_is_scipys_single_linkage(self, cloud):
        found = RIPS.pairs(cloud)
        n = len(cloud)
        ax = merge_tree(found, RIPS.diagram(found, cloud), labels=range(n), ax=Figure().subplots())
        tree = linkage(cloud.numpy(), "single")
        assert_allclose(segments(ax)[:, 1, 1], tree[:, 2], rtol=1e-5)
        order = list(map(int, names_below(ax)))
        assert sorted(order) == list(range(n))
        joined = squareform(cophenet(tree))[np.ix_(order, order)]
        gaps = np.diag(joined, 1)
        for i in range(n):  # leaves between two others join no later: each branch is a run
            for j in range(i + 1, n):
                assert joined[i, j] == gaps[i:j].max()

    @given(integer_clouds(), st.sampled_from([1.0, 2.0, INF]))
    def test_no_branch_crosses_another(self, cloud, threshold):
        found = RipsFiltration(max_edge_length=threshold).pairs(cloud)
        ax = merge_tree(found, RIPS.diagram(found, cloud), ax=Figure().subplots())
        brackets = segments(ax).reshape(-1, 4, 2)
        upright = np.concatenate([brackets[:, :2], brackets[:, 3:1:-1], segments(ax, 1)])
        for left, right in brackets[:, 1:3]:
            between = (left[0] < upright[:, 0, 0]) & (upright[:, 0, 0] < right[0])
            pierced = (upright[:, 0, 1] < left[1]) & (left[1] < upright[:, 1, 1])
            assert not (between & pierced).any()
        ways = np.concatenate([brackets[:, [0, 3]].reshape(-1, 2), segments(ax, 1)[:, 0]])
        merges = brackets[:, 1:3].mean(1)  # equal scales may put two of them into one place
        up = Counter(map(tuple, ways.round(6)))
        assert all(
            up[place] == many
            for place, many in Counter(map(tuple, merges.round(6))).items()
            if place[1] > 0
        )
        assert len(ways) == len(cloud) + len(brackets)  # every node has one way up

    @given(integer_clouds(min_size=2), SEEDS)
    def test_fewer_pairs_give_a_forest(self, cloud, seed):
        found = RIPS.pairs(cloud)
        kept = found.select(gaussian(seed, len(found)) > 0)
        ax = merge_tree(kept, RIPS.diagram(kept, cloud), ax=Figure().subplots())
        assert len(ax.collections[0].get_segments()) == len(kept)
        assert len(offsets(ax, 2)) == len(cloud) - len(kept)
        assert len({tuple(row) for row in offsets(ax, 2)}) == len(cloud) - len(kept)

    def test_essential_classes_of_a_threshold_are_roots(self, ax):
        cut = RipsFiltration(max_edge_length=2.5).pairs(points)
        merge_tree(cut, RIPS.diagram(cut, points), ax=ax)
        assert_allclose(offsets(ax, 2)[:, 0], [0.5, 2.5])
        assert len(offsets(ax, 2)) == len(cut.essential_edges)

    @pytest.mark.parametrize("n", [0, 1])
    def test_no_merge(self, n, ax):
        found = RIPS.pairs(torch.zeros(n, 2))
        merge_tree(found, RIPS.diagram(found, torch.zeros(n, 2)), labels="x" * n, ax=ax)
        assert len(offsets(ax, 2)) == n
        assert names_below(ax) == ["x"] * n
        ax.figure.draw_without_rendering()

    def test_births_of_vertices_are_where_leaves_stand(self, ax):
        filtration = FlagFiltration(
            torch.tensor([[0, 1], [1, 2]]), 3, vertex_births=torch.tensor([1.0, 0.5, 2.0])
        )
        weights = torch.tensor([3.0, 4.0])
        found = filtration.pairs(weights)
        merge_tree(found, filtration.diagram(found, weights), labels="abc", ax=ax)
        feet = {tuple(foot) for bracket in segments(ax) for foot in bracket[[0, 3]]}
        assert {(0.0, 1.0), (2.0, 2.0)} <= feet  # the elder, whose birth is not given, at the least
        assert (1.0, 1.0) in feet

    def test_other_lengths_reorder_the_merges(self, ax):
        merge_tree(pairs, torch.tensor([3.0, 1.0, 2.0]), labels="abcd", ax=ax)
        assert_array_equal(segments(ax)[:, 1, 1], [1, 2, 3])
        assert names_below(ax) == ["a", "b", "d", "c"]

    def test_a_thousand_points_in_a_chain(self, ax):
        line = torch.arange(1000.0).square()[:, None] / 1000
        found = RIPS.pairs(line)
        merge_tree(found, RIPS.diagram(found, line), labels=torch.arange(1000), ax=ax)
        assert names_below(ax)[:3] == ["0", "1", "2"]
        assert len(segments(ax)) == 999

    def test_long_names_stand_upright_and_many_are_small(self):
        def size_and_turn(names):
            count = len(names)
            cloud = torch.arange(float(count))[:, None]
            found = RIPS.pairs(cloud)
            ax = merge_tree(found, RIPS.diagram(found, cloud), labels=names, ax=Figure().subplots())
            label = ax.get_xticklabels()[0]
            return label.get_fontsize(), label.get_rotation()

        usual = Figure().subplots().get_xticklabels()[0].get_fontsize()
        assert size_and_turn("abcdef") == (usual, 0)
        assert size_and_turn(["a long name"] * 10) == (usual, 90)
        assert size_and_turn(list(range(100)))[0] < usual / 2


class TestSpanningTree:
    @fewer_examples
    @given(distinct_clouds(), SEEDS)
    def test_edges_stand_in_the_embedding(self, cloud, seed):
        found, embedding = RIPS.pairs(cloud), gaussian(seed, len(cloud), 2)
        ax = spanning_tree(embedding, found, ax=Figure().subplots())
        assert_array_equal(segments(ax), embedding[found.death_edges])
        assert_array_equal(offsets(ax, 1), embedding)
        lengths = embedding[found.death_edges].diff(dim=1).norm(dim=2).squeeze(1)
        assert_allclose(ax.collections[0].get_array(), lengths)
        assert ax.get_aspect() == 1

    def test_values_colour_the_edges(self, ax):
        values = torch.tensor([5.0, NAN, -1.0])
        spanning_tree(points, pairs, values=values, ax=ax)
        lines = ax.collections[0]
        assert_array_equal(np.ma.filled(lines.get_array(), NAN), values)
        assert lines.get_clim() == (-1, 5)
        ax.figure.draw_without_rendering()
        first, none, last = lines.get_edgecolor()
        assert same_color(none, GREY)
        plasma = matplotlib.colormaps["plasma"]
        assert_allclose([last, first], [plasma(end) for end in ENDS], atol=0.02)

    def test_the_colours_do_not_vanish_on_white_or_black(self, ax):
        spanning_tree(points, pairs, ax=ax)
        rgb = ax.collections[0].get_cmap()(np.linspace(0, 1, 50))[:, :3]
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        luminance = linear @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(luminance) > 0).all()
        assert 1.05 / (luminance.max() + 0.05) > 2
        assert (luminance.min() + 0.05) / 0.057 > 2

    def test_one_narrow_colour_bar_that_follows_the_limits(self, ax):
        spanning_tree(points, pairs, ax=ax)
        _, bar = ax.figure.axes
        assert bar.get_ylabel() == "length"
        assert bar.get_ylim() == (1, 3)
        ax.collections[0].set_clim(0, 4)
        assert bar.get_ylim() == (0, 4)
        ax.figure.draw_without_rendering()
        assert bar.bbox.width < 0.05 * ax.bbox.width

    def test_labels_colour_the_points(self, ax):
        spanning_tree(points, pairs, labels=labels, ax=ax)
        assert legend_of(ax) == ["0", "1", "7"]
        for place, (number, artist) in enumerate(zip([0, 1, 7], ax.collections[1:], strict=True)):
            assert_array_equal(artist.get_offsets(), points[labels == number])
            assert same_color(artist.get_facecolor()[0], f"C{place}")

    def test_many_labels_go_without_a_legend(self, ax):
        cloud = gaussian(0, 30, 2)
        spanning_tree(cloud, RIPS.pairs(cloud), labels=torch.arange(30), ax=ax)
        assert legend_of(ax) is None

    def test_without_labels_points_are_grey(self, ax):
        spanning_tree(points, pairs, ax=ax)
        assert same_color(ax.collections[1].get_facecolor()[0], GREY)
        assert legend_of(ax) is None

    @pytest.mark.parametrize("n", [0, 1])
    def test_no_edge(self, n, ax):
        cloud = torch.zeros(n, 2)
        found = RIPS.pairs(cloud)
        spanning_tree(cloud, found, labels=torch.zeros(n, dtype=torch.int64), ax=ax)
        tracks(cloud, cloud, found)
        assert len(segments(ax)) == 0
        assert ax.figure.axes == [ax]  # no colour bar
        ax.figure.draw_without_rendering()

    def test_equal_values(self, ax):
        spanning_tree(points, pairs, values=torch.ones(3), ax=ax)
        ax.figure.draw_without_rendering()

    def test_loops_have_death_edges_too(self, ax):
        square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        found = RIPS.pairs(square, 1)
        spanning_tree(square, found, ax=ax)
        assert_array_equal(segments(ax), square[found.death_edges])


class TestCriticalPixels:
    @fewer_examples
    @given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1), SEEDS)
    def test_lines_lead_from_births_to_deaths(self, height, width, dimension, seed):
        image = gaussian(seed, height, width)
        found = CUBICAL.pairs(image, dimension)
        ax = critical_pixels(image, found, ax=Figure().subplots())
        assert_array_equal(ax.images[0].get_array(), image)
        columns, rows = segments(ax).reshape(-1, 2).astype(int).T
        assert_array_equal(image[rows, columns].reshape(-1, 2), CUBICAL.diagram(found, image))
        ax.figure.draw_without_rendering()

    def test_marks_and_their_names(self, ax):
        critical_pixels(picture, of_picture, ax=ax)
        assert legend_of(ax) == ["birth", "death", "never dies"]
        assert [offsets(ax, n).tolist() for n in (1, 2, 3)] == [[[2, 0]], [[1, 0]], [[0, 0]]]
        for place, artist in enumerate(ax.collections[1:]):
            assert same_color(artist.get_facecolor()[0], f"C{place}")

    def test_without_a_class_there_is_the_image_alone(self, ax):
        critical_pixels(torch.zeros(2, 2), CUBICAL.pairs(torch.zeros(2, 2), 1), ax=ax)
        assert legend_of(ax) is None
        assert len(ax.images) == 1


class TestTracks:
    def test_the_same_edges_in_both_embeddings_in_the_same_colours(self):
        axes = Figure().subplots(1, 2)
        values = torch.tensor([0.5, NAN, -1.0])
        other = gaussian(0, 4, 2)
        left, right = tracks(points, other, pairs, values=values, axes=axes)
        assert [left, right] == list(axes)
        assert_array_equal(segments(left), points[pairs.death_edges])
        assert_array_equal(segments(right), other[pairs.death_edges])
        left.figure.draw_without_rendering()
        colours = [ax.collections[0].get_edgecolor() for ax in axes]
        assert_array_equal(*colours)
        assert len(np.unique(colours[0], axis=0)) == 3
        assert len(left.figure.axes) == 3
        left.collections[0].norm.vmin = -2
        assert right.collections[0].get_clim() == (-2, 0.5)

    @fewer_examples
    @given(distinct_clouds(), SEEDS)
    def test_cosines_of_what_is_drawn_if_there_are_no_values(self, cloud, seed):
        source, target = gaussian(seed, len(cloud), 2), gaussian(seed + 1, len(cloud), 2)
        found = RIPS.pairs(cloud)
        left, right = tracks(source, target, found, axes=Figure().subplots(1, 2))
        vectors = [x[found.death_edges].diff(dim=1).squeeze(1) for x in (source, target)]
        expected = torch.cosine_similarity(*vectors)
        assert_allclose(left.collections[0].get_array(), expected)
        assert right.collections[0].get_clim() == (-1, 1)

    def test_edges_without_length_have_no_cosine(self):
        flat = torch.zeros(4, 2)
        left, _ = tracks(points, flat, pairs, axes=Figure().subplots(1, 2))
        assert np.ma.getmaskarray(left.collections[0].get_array()).all()

    def test_axes_of_two_figures(self):
        axes = Figure().subplots(), Figure().subplots()
        tracks(points, -points, pairs, axes=axes)
        assert [len(ax.figure.axes) for ax in axes] == [1, 2]

    def test_titles(self):
        axes = tracks(points, -points, pairs)
        assert [ax.get_title() for ax in axes] == ["source", "target"]


# What is refused

two = RIPS.pairs(torch.zeros(2, 3, 2))
of_loops = RIPS.pairs(points, 1)
ring = PersistencePairs(
    0, pairs.birth_edges, torch.tensor([[0, 1], [0, 1], [2, 3]]), pairs.essential_edges, (4,)
)
first, second = Figure().subplots(1, 2)
three_wide = torch.zeros(4, 3)

CASES = [
    (
        TypeError,
        "`diagrams` should be a tensor or a mapping from labels to tensors. Got list.",
        lambda: diagram([loops]),
    ),
    (
        TypeError,
        '`diagrams["a"]` should be a torch.Tensor. Got list. Convert it with `torch.as_tensor`.',
        lambda: diagram({"a": []}),
    ),
    (
        TypeError,
        "`diagrams` should be floating point. Got torch.int64. Use `.float()`.",
        lambda: barcode(loops.long()),
    ),
    (
        ValueError,
        '`diagrams["a"]` should have shape (m, 2). Got (2,).',
        lambda: barcode({"a": ends}),
    ),
    (
        ValueError,
        "`diagrams` should have shape (m, 2). Got (1, 3, 2).",
        lambda: diagram(loops[None]),
    ),
    (
        ValueError,
        "`diagrams` should be free of NaN. Got 1 row with NaN, first at row 0.",
        lambda: diagram(torch.tensor([[0.0, NAN]])),
    ),
    (
        ValueError,
        "`diagrams` should have finite births. Got 1 infinite birth, first at row 1.",
        lambda: diagram(torch.tensor([[0.0, 1.0], [-INF, 1.0]])),
    ),
    (
        ValueError,
        "`diagrams` should have deaths that are finite or +inf. "
        "Got 1 death of -inf, first at row 0.",
        lambda: diagram(torch.tensor([[0.0, -INF]])),
    ),
    (
        TypeError,
        "`essential` should be a mapping, like `diagrams`. Got Tensor.",
        lambda: diagram({"a": loops}, essential=ends),
    ),
    (
        TypeError,
        "`essential` should be a tensor, like `diagrams`. Got dict.",
        lambda: barcode(loops, essential={"a": ends}),
    ),
    (
        ValueError,
        "`essential` should only have labels of `diagrams`. Got 'b'. "
        "For a label with only essential classes, pass an empty diagram.",
        lambda: diagram({"a": loops}, essential={"b": ends}),
    ),
    (
        ValueError,
        "`essential` should have shape (e,). Got (3, 2).",
        lambda: diagram(loops, essential=loops),
    ),
    (
        ValueError,
        '`essential["a"]` should be finite. Got 1 row with NaN or infinity, first at row 1.',
        lambda: diagram({"a": loops}, essential={"a": torch.tensor([0.0, INF])}),
    ),
    (
        TypeError,
        "`pairs` should be one PersistencePairs. Got tuple. Pass one dimension at a time.",
        lambda: merge_tree((pairs,), deaths),
    ),
    (
        ValueError,
        "`pairs` should be of one cloud. Got 2. Use `pairs.split()`.",
        lambda: merge_tree(two, torch.zeros(4)),
    ),
    (
        TypeError,
        "`image` should be floating point. Got torch.int64. Use `.float()`.",
        lambda: critical_pixels(picture.long(), of_picture),
    ),
    (
        ValueError,
        "`image` should have shape (h, w). Got (1, 2, 3).",
        lambda: critical_pixels(picture[None], of_picture),
    ),
    (
        ValueError,
        "`image` should have at least one pixel. Got (0, 3).",
        lambda: critical_pixels(picture[:0], of_picture),
    ),
    (
        ValueError,
        "`image` should be finite. Got 2 rows with NaN or infinity, first at row 0.",
        lambda: critical_pixels(picture * NAN, of_picture),
    ),
    (
        ValueError,
        "`pairs` should be of one cloud. Got 2. Use `pairs.split()`.",
        lambda: critical_pixels(picture, CUBICAL.pairs(picture.expand(2, 2, 3))),
    ),
    (
        ValueError,
        "`pairs` should index 3 vertices. Got vertex 5. Were the pairs found on another batch?",
        lambda: critical_pixels(picture[:1], of_picture),
    ),
    (
        ValueError,
        "`pairs` should be of one cloud. Got 2. Use `pairs.split()`.",
        lambda: spanning_tree(torch.zeros(6, 2), two),
    ),
    (
        ValueError,
        "`pairs` should be of dimension 0. Got 1.",
        lambda: merge_tree(of_loops, torch.zeros(0)),
    ),
    (
        ValueError,
        "`pairs` should join different components. Got an edge (0, 1) within one.",
        lambda: merge_tree(ring, torch.zeros(3)),
    ),
    (
        TypeError,
        "`deaths` should be a torch.Tensor. Got list. Convert it with `torch.as_tensor`.",
        lambda: merge_tree(pairs, [1.0, 2.0, 3.0]),
    ),
    (
        TypeError,
        "`deaths` should be floating point. Got torch.int64. Use `.float()`.",
        lambda: merge_tree(pairs, torch.arange(3)),
    ),
    (
        ValueError,
        "`deaths` should have shape (3,) or (3, 2), one row per pair. Got (2,).",
        lambda: merge_tree(pairs, torch.zeros(2)),
    ),
    (
        ValueError,
        "`deaths` should be finite. Got 1 row with NaN or infinity, first at row 2.",
        lambda: merge_tree(pairs, torch.tensor([1.0, 2.0, INF])),
    ),
    (
        ValueError,
        "`labels` should have one entry per vertex, 4. Got 3.",
        lambda: merge_tree(pairs, deaths, labels="abc"),
    ),
    (
        ValueError,
        "`embedding` should have shape (n, 2). Got (4, 3). "
        "Project the points first, for instance with `torch.pca_lowrank`.",
        lambda: spanning_tree(three_wide, pairs),
    ),
    (
        ValueError,
        "`embedding` should be finite. Got 4 rows with NaN or infinity, first at row 0.",
        lambda: spanning_tree(points * NAN, pairs),
    ),
    (
        TypeError,
        "`embedding` should be a torch.Tensor. Got ndarray. Convert it with `torch.as_tensor`.",
        lambda: spanning_tree(points.numpy(), pairs),
    ),
    (
        ValueError,
        "`pairs` should index 3 vertices. Got vertex 3. Were the pairs found on another batch?",
        lambda: spanning_tree(points[:3], pairs),
    ),
    (
        ValueError,
        "`values` should have one entry per pair, shape (3,). Got (4,).",
        lambda: spanning_tree(points, pairs, values=torch.zeros(4)),
    ),
    (
        TypeError,
        "`values` should be a torch.Tensor. Got list. Convert it with `torch.as_tensor`.",
        lambda: tracks(points, points, pairs, values=[1.0, 2.0, 3.0]),
    ),
    (
        TypeError,
        "`labels` should be integers. Got torch.float32.",
        lambda: spanning_tree(points, pairs, labels=torch.zeros(4)),
    ),
    (
        ValueError,
        "`labels` should have one entry per vertex, shape (4,). Got (3,).",
        lambda: spanning_tree(points, pairs, labels=labels[:3]),
    ),
    (
        ValueError,
        "`target` should have shape (n, 2). Got (4, 3). "
        "Project the points first, for instance with `torch.pca_lowrank`.",
        lambda: tracks(points, three_wide, pairs),
    ),
    (
        TypeError,
        "`ax` should be Axes of matplotlib. Got Figure.",
        lambda: diagram(loops, ax=first.figure),
    ),
    (
        TypeError,
        "`ax` should be Axes of matplotlib. Got ndarray.",
        lambda: diagram(loops, ax=np.array([first, second])),
    ),
    (
        ValueError,
        "`axes` should hold 2 Axes. Got 1.",
        lambda: tracks(points, points, pairs, axes=first),
    ),
    (
        TypeError,
        "`axes` should be Axes of matplotlib. Got ndarray.",
        lambda: tracks(points, points, pairs, axes=np.array([[first, second]])),
    ),
]


@pytest.mark.parametrize(("kind", "text", "call"), CASES)
def test_refusals_leave_no_figure(kind, text, call):
    with refused(kind, text):
        call()
    assert pyplot.get_fignums() == []


def test_every_raise_has_a_case():
    package = pathlib.Path(topreg.plot.__file__).parent
    seen = set()
    for kind, _, call in CASES:
        with pytest.raises(kind) as caught:
            call()
        last = traceback.extract_tb(caught.value.__traceback__)[-1]
        seen.add((pathlib.Path(last.filename).name, last.lineno))
    for path in package.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                lines = range(node.lineno, node.end_lineno + 1)
                assert any((path.name, line) in seen for line in lines), (path.name, node.lineno)


class NotInstalled:
    """Finds no module of a name."""

    def __init__(self, name):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("missing", ["matplotlib", "matplotlib.axes"])
def test_without_matplotlib_every_drawing_says_what_to_install(missing, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(missing), *sys.meta_path])
    text = (
        f"`topreg.plot` needs matplotlib. Got no module named `{missing}`. "
        'Run `pip install "topreg[viz]"`.'
    )
    for call in CALLS.values():
        with refused(ModuleNotFoundError, text):
            call(as_is, None)


def test_modules_are_named_as_what_they_draw():
    for name in topreg.plot.__all__:
        module = importlib.import_module(f"topreg.plot.{name}")
        assert getattr(topreg.plot, name) is getattr(module, name)
        assert functools.reduce(getattr, [name], topreg.plot).__module__ == module.__name__
