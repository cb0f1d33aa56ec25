"""The one pass over matrices that says whether they need a closer look."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import gaussian

from topreg import pairwise_distances
from topreg.persistence import _weights

DTYPES = (torch.float32, torch.float64)


def clean(matrix):
    return _weights._is_clean(matrix.flatten(), [len(matrix)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 64, 1600])
def test_symmetric_matrices_are_clean(n, dtype):
    matrix = pairwise_distances(gaussian(n, n, 3, dtype=dtype))
    if n > 2:
        matrix[0, 1] = matrix[1, 0] = math.inf
    assert clean(matrix)


@given(st.integers(2, 40), st.integers(0, 1 << 20), st.sampled_from(DTYPES), st.integers(1, 9))
def test_any_last_bit_across_the_diagonal_is_seen(n, seed, dtype, entries):
    generator = np.random.default_rng(seed)
    matrix = pairwise_distances(gaussian(seed, n, 3, dtype=dtype)).numpy().copy()
    for _ in range(entries):  # distinct pairs of vertices, so that no change undoes another
        i, j = generator.choice(n, 2, replace=False)
        matrix[i, j] = np.nextafter(matrix[j, i], matrix.dtype.type(generator.choice([0, 99])))
    symmetric = bool((matrix == matrix.T).all())
    assert clean(torch.from_numpy(matrix)) == symmetric


@pytest.mark.parametrize("n", [5, 1600])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [math.nan, -math.nan, -0.0, -1.0, 1.0])
def test_bad_values_are_seen(value, dtype, n):
    matrix = pairwise_distances(gaussian(0, n, 3, dtype=dtype))
    if value == 1.0:
        matrix[n - 1, n - 1] = value
    else:
        matrix[2, n - 1] = matrix[n - 1, 2] = value
    assert not clean(matrix)


@pytest.mark.parametrize("dtype", DTYPES)
def test_swapped_rows_and_transposed_blocks_are_seen(dtype):
    matrix = pairwise_distances(gaussian(0, 1600, 3, dtype=dtype))
    assert not clean(matrix[torch.tensor([1, 0, *range(2, 1600)])])
    block = matrix.clone()
    block[:8, 8:16] = matrix[:8, 8:16].flip(0)
    assert not clean(block)
