"""Wasserstein distances of lengths at many scales, against exact rational arithmetic."""

import functools
import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from topreg import wasserstein_distance
from topreg.losses import _matching

ORDERS = (1, 2, 3, 5, 8, 16, 33, 50, 64)
RATIONAL_NORMS = (1.0, math.inf)


@st.composite
def spread_diagrams(draw, size=4):
    """Two diagrams over scales up to 1e16, with equal and almost equal points."""
    scales = draw(st.lists(st.integers(-16, 16), min_size=1, max_size=3))
    number = st.builds(
        lambda digits, scale: digits * 10.0**scale,
        st.one_of(st.integers(0, 4), st.floats(0.5, 2)),
        st.sampled_from([0, *scales]),
    )
    points = st.lists(st.tuples(number, number), max_size=size)
    first, second = draw(points), draw(points)
    for birth, length in first[: draw(st.integers(0, size))]:
        nearby = length * (1 + draw(st.sampled_from([0.0, 1e-12, 1e-6, 0.1])))
        second = [(birth, nearby), *second][:size]
    return tuple(
        torch.tensor([[b, b + length] for b, length in some], dtype=torch.float64).reshape(-1, 2)
        for some in (first, second)
    )


class Exact:
    """Costs of matchings as rational numbers."""

    def __init__(self, first, second, order, ground):
        x, y = ([[Fraction(v) for v in p] for p in d.tolist()] for d in (first, second))
        norm, half = (max, Fraction(1, 2)) if ground == math.inf else (sum, 1)
        self.between = [[norm([abs(p[0] - r[0]), abs(p[1] - r[1])]) ** order for r in y] for p in x]
        self.own, self.others = ([(half * (p[1] - p[0])) ** order for p in d] for d in (x, y))

    def cost(self, matched):
        """The total, where row i takes column ``matched[i]``, or none from their number on."""
        k = len(self.others)
        rows = [self.between[i][j] if j < k else self.own[i] for i, j in enumerate(matched)]
        return sum(rows) + sum(self.others[j] for j in range(k) if j not in matched)

    def all_costs(self):
        """Every matching and its cost."""
        m, k = len(self.own), len(self.others)
        for matched in itertools.product(range(k + 1), repeat=m):
            columns = [j for j in matched if j < k]
            if len(set(columns)) == len(columns):
                yield self.cost(matched), matched

    def least_cost(self):
        """The least total, column after column over sets of rows."""

        @functools.cache
        def least(j, free):
            if j == len(self.others):
                return sum(self.own[i] for i in free)
            choices = [self.between[i][j] + least(j + 1, free - {i}) for i in free]
            return min([self.others[j] + least(j + 1, free), *choices])

        return least(0, frozenset(range(len(self.own))))


def root(power, order):
    """The root of a rational number that may be far outside of the range of floats."""
    if power == 0:
        return 0.0
    exponent = power.numerator.bit_length() - power.denominator.bit_length()
    exponent -= exponent % order
    return math.ldexp(float(power / Fraction(2) ** exponent) ** (1 / order), exponent // order)


def nearly_least(found, least):
    """Whether a cost is the least, up to the rounding of lengths."""
    return found <= least * (1 + Fraction(1, 10**12))


@pytest.mark.parametrize("ground", RATIONAL_NORMS)
@settings(max_examples=300)
@given(two=spread_diagrams(), order=st.sampled_from(ORDERS))
def test_value_and_gradient_are_those_of_the_best_of_all_matchings(ground, two, order):
    exact = Exact(*two, order, ground)
    least, best = min(exact.all_costs())
    leaves = [diagram.clone().requires_grad_() for diagram in two]
    distance = wasserstein_distance(*leaves, order=float(order), ground=ground)
    assert float(distance.detach()) == pytest.approx(root(least, order), rel=1e-12, abs=0)
    found = _matching.matching(*two, float(order), ground).tolist()
    assert nearly_least(exact.cost(found), least)
    assume(all(not nearly_least(c, least) for c, other in exact.all_costs() if other != best))
    assert found == list(best)
    assert_close(
        torch.autograd.grad(distance, leaves),
        torch.autograd.grad(of_matching(*leaves, best, order, ground), leaves),
        rtol=1e-9,
        atol=1e-12,
    )


def of_matching(first, second, matched, order, ground):
    """The distance along a given matching, with 0 and infinite powers out of the way."""
    k = len(second)
    pairs = [first[i] - second[j] for i, j in enumerate(matched) if j < k]
    lengths = [v.abs().max() if ground == math.inf else v.abs().sum() for v in pairs]
    alone = [p for p, j in zip(first, matched, strict=True) if j == k]
    alone += [q for j, q in enumerate(second) if j not in matched]
    lengths += [(p[1] - p[0]) * (0.5 if ground == math.inf else 1.0) for p in alone]
    lengths = [length for length in lengths if float(length.detach()) > 0]
    if not lengths:
        return 0 * (first.sum() + second.sum())
    longest = max(float(length.detach()) for length in lengths)
    total = sum((length / longest) ** order for length in lengths) ** (1 / order)
    return longest * total + 0 * (first.sum() + second.sum())


@settings(max_examples=200)
@given(spread_diagrams(), st.sampled_from(ORDERS), st.sampled_from(RATIONAL_NORMS))
def test_single_precision_is_right_to_its_rounding(two, order, ground):
    two = [torch.stack([d[:, 0], d[:, 1].maximum(d[:, 0])], 1).float() for d in two]
    expected = root(Exact(*two, order, ground).least_cost(), order)
    found = wasserstein_distance(*two, order=float(order), ground=ground)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(expected, rel=2e-6, abs=0)


@pytest.mark.parametrize("always_exact", [False, True])
@settings(max_examples=60)
@given(two=spread_diagrams(size=8), order=st.sampled_from(ORDERS))
def test_larger_diagrams_are_matched_at_the_least_cost(always_exact, two, order):
    with pytest.MonkeyPatch.context() as patch:
        if always_exact:  # no rounded sum decides how ties and small costs are matched
            patch.setattr(_matching, "NEGLIGIBLE", 0.0)
        found = _matching.matching(*two, float(order), math.inf).tolist()
    exact = Exact(*two, order, math.inf)
    assert nearly_least(exact.cost(found), exact.least_cost())


@pytest.mark.parametrize("order", [1.0, 2.0, 64.0])
@given(two=spread_diagrams(size=8))
def test_every_sum_in_exact_arithmetic(order, two):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_matching, "NEGLIGIBLE", 0.0)
        patch.setattr(_matching, "SHRUNK", 0.0)  # units stay those of the longest length
        found = _matching.matching(*two, order, math.inf).tolist()
    exact = Exact(*two, int(order), math.inf)
    lost = len(found) * Fraction(2) ** -1000 * max([1, *exact.own, *exact.others])  # underflow
    assert exact.cost(found) <= exact.least_cost() * (1 + Fraction(1, 10**12)) + lost


def test_exact_sums_keep_the_last_bit_of_the_smallest_cost(monkeypatch):
    first = torch.tensor([[0.0, 2.0], [8.0, 8.5], [8.01, 8.51]], dtype=torch.float64)
    second = torch.tensor([[8.1, 8.6]], dtype=torch.float64)
    monkeypatch.setattr(_matching, "NEGLIGIBLE", 0.0)
    monkeypatch.setattr(_matching, "SHRUNK", 0.0)
    # the bar of length 2 costs 1 in these units, 0.1**60 and 0.09**60 are about 2**-200
    assert _matching.matching(first, second, 60.0, math.inf).tolist() == [1, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_powers_count_beside_a_long_bar(dtype):
    first = torch.tensor([[3, 6], [0, 11], [0, 3]], dtype=dtype, requires_grad=True)
    second = torch.tensor([[5, 8], [0, 11]], dtype=dtype)
    distance = wasserstein_distance(first, second, order=50.0)
    distance.backward()
    assert float(distance.detach()) == pytest.approx(1.5 * 3**0.02, rel=1e-6)
    part = 0.5 * 3 ** (0.02 - 1)  # of the way of each of three bars to the diagonal
    assert_close(first.grad, torch.tensor([[-part, part], [0, 0], [-part, part]], dtype=dtype))


@pytest.mark.parametrize("sentinel", [1e10, 1e16])
@pytest.mark.parametrize("order", [1.0, 2.0, 8.0, 50.0])
def test_a_large_death_in_place_of_infinity_leaves_the_rest_as_it_is(order, sentinel):
    generator = torch.Generator().manual_seed(0)
    some, others = (
        torch.rand(30, 2, dtype=torch.float64, generator=generator).sort(1).values for _ in "ab"
    )
    stays = torch.tensor([[0, sentinel]], dtype=torch.float64)
    first = torch.cat([stays, some]).requires_grad_()
    rest = some.clone().requires_grad_()
    expected = wasserstein_distance(rest, others, order=order)
    found = wasserstein_distance(first, torch.cat([others, stays]), order=order)
    assert_close(found, expected)
    found.backward()
    expected.backward()
    assert_close(first.grad, torch.cat([torch.zeros_like(stays), rest.grad]))


@pytest.mark.parametrize("order", [1, 2, 8, 64])
def test_bars_beside_an_unmatched_large_death_are_matched_as_without_it(order):
    generator = torch.Generator().manual_seed(1)
    some, others = (
        torch.rand(30, 2, dtype=torch.float64, generator=generator).sort(1).values for _ in "ab"
    )
    stays = torch.tensor([[0, 1e16]], dtype=torch.float64)
    alone = _matching.matching(some, others, float(order), math.inf).tolist()
    beside = _matching.matching(torch.cat([some, stays]), others, float(order), math.inf).tolist()
    exact = Exact(some, others, order, math.inf)
    assert beside.pop() == len(others)
    assert nearly_least(exact.cost(beside), exact.cost(alone))


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e30), (torch.float64, 1e200)])
@pytest.mark.parametrize("sign", [1, -1])
def test_euclidean_lengths_neither_overflow_nor_vanish(dtype, scale, sign):
    point = torch.tensor([[1.0, 9.0]], dtype=dtype) * scale**sign
    other = torch.tensor([[4.0, 13.0]], dtype=dtype) * scale**sign
    point.requires_grad_()
    distance = wasserstein_distance(point, other, ground=2.0, order=2.0)
    assert float(distance.detach()) == pytest.approx(5 * scale**sign, rel=1e-6)
    distance.backward()
    assert_close(point.grad, torch.tensor([[-0.6, -0.8]], dtype=dtype))


@pytest.mark.parametrize("order", [1e4, 1e12, 1e300])
def test_huge_orders_approach_the_bottleneck_distance(order):
    gudhi = pytest.importorskip("gudhi")
    generator = torch.Generator().manual_seed(2)
    first, second = (
        torch.rand(20, 2, dtype=torch.float64, generator=generator).sort(1).values for _ in "ab"
    )
    bottleneck = gudhi.bottleneck_distance(first.numpy(), second.numpy(), e=0)
    found = float(wasserstein_distance(first, second, order=order))
    assert bottleneck * (1 - 1e-12) <= found <= bottleneck * 40 ** (1 / order) * (1 + 1e-12)
