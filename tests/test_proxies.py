"""Proxy spaces."""

import math

import pytest
import torch
from asserts import gradients_are_right
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, gaussian
from torch.testing import assert_close

from topreg import (
    TrackCoincidence,
    exponential_affinity,
    label_indicators,
)


def unit(seed, n, d):
    """Rows of length one."""
    return torch.nn.functional.normalize(gaussian(seed, n, d), dim=1)


@given(SEEDS, st.integers(0, 6), st.integers(0, 6), st.floats(0, 10))
def test_affinities_equal_the_literal_loop(seed, n, c, sharpness):
    points, keys = unit(seed, n, 4), unit(seed + 1, c, 4)
    rows = [
        [
            math.exp(-sharpness * (1 - sum(a * b for a, b in zip(x, f, strict=True))))
            for f in keys.tolist()
        ]
        for x in points.tolist()
    ]
    expected = torch.tensor(rows, dtype=torch.float64).reshape(n, c)
    affinity = exponential_affinity(points, keys, sharpness=sharpness)
    assert_close(affinity, expected, rtol=1e-12, atol=1e-12)


def test_a_point_has_affinity_one_with_itself():
    points = unit(0, 5, 8)
    assert_close(
        exponential_affinity(points, points, sharpness=3.0).diagonal(),
        torch.ones(5, dtype=torch.float64),
    )


def test_affinity_gradients():
    gradients_are_right(
        lambda x, f: exponential_affinity(x, f, sharpness=2.0), unit(0, 4, 3), unit(1, 5, 3)
    )


@given(st.lists(st.integers(-2, 3), max_size=6), st.lists(st.integers(-2, 3), max_size=6))
def test_indicators_equal_the_literal_loop(labels, cached):
    expected = [[float(y == z) for z in cached] for y in labels]
    actual = label_indicators(
        torch.tensor(labels, dtype=torch.int64), torch.tensor(cached, dtype=torch.int64)
    )
    assert_close(actual, torch.tensor(expected).reshape(len(labels), len(cached)))


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.float64])
def test_indicators_have_the_asked_dtype(dtype):
    labels = torch.tensor([0, 1])
    expected = torch.eye(2, dtype=dtype or torch.get_default_dtype())
    assert_close(label_indicators(labels, labels, dtype=dtype), expected)


def test_proxy_spaces_replace_the_points_once_pairs_are_found():
    images, keys = unit(0, 8, 6), unit(1, 5, 6)
    labels, cached = torch.arange(8) % 3, torch.arange(5) % 3
    proxy = exponential_affinity(images, keys, sharpness=1.0)
    indicators = label_indicators(labels, cached, dtype=torch.float64)
    loss = TrackCoincidence()(proxy, indicators, geometry=images)
    assert 0 < float(loss) < 2


def test_batches_and_sequences_give_the_rows_of_all_clouds():
    clouds, keys = unit(0, 6, 4).view(2, 3, 4), unit(1, 5, 4)
    expected = exponential_affinity(clouds.flatten(0, 1), keys, sharpness=2.0)
    for views in (clouds, list(clouds)):
        assert_close(exponential_affinity(views, keys, sharpness=2.0), expected)
    labels, cached = torch.arange(6).view(2, 3) % 4, torch.arange(5)
    for views in (labels, list(labels)):
        expected = label_indicators(labels.flatten(), cached)
        assert_close(label_indicators(views, cached), expected)
    affinity = exponential_affinity(clouds, keys, sharpness=2.0).view(2, 3, 5)
    indicators = label_indicators(labels, cached, dtype=torch.float64).view(2, 3, 5)
    loss = TrackCoincidence(reduction="none")(affinity, indicators, geometry=clouds)
    each = [
        TrackCoincidence()(*views, geometry=cloud)
        for *views, cloud in zip(affinity, indicators, clouds, strict=True)
    ]
    assert_close(loss, torch.stack(each))
