"""Working memory that is used again: `topreg/_scratch_kernels.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topreg import _scratch_kernels as scratch

KINDS = (np.uint8, np.int32, np.uint64, np.float64)


@pytest.fixture(autouse=True)
def _no_spare_blocks(monkeypatch):
    monkeypatch.setattr(scratch, "_spare", [])


@given(wanted=st.lists(st.tuples(st.integers(0, 40_000), st.sampled_from(KINDS)), max_size=5))
def test_arrays_have_the_size_and_kind_asked_for_and_do_not_overlap(wanted):
    def fill(block):
        arrays = [scratch.reserve(block, count, kind) for count, kind in wanted]
        for mark, array in enumerate(arrays):
            array[:] = mark + 1
        return [(len(a), a.dtype, np.array_equal(a, 0 * a + m + 1)) for m, a in enumerate(arrays)]

    expected = [(count, np.dtype(kind), True) for count, kind in wanted]
    assert scratch.with_scratch(fill) == expected
    assert scratch.with_scratch(fill) == expected  # now all lie in one block


def test_zeros_are_zero_in_a_block_that_was_used():
    def fill(block, count=1000):
        array = scratch.reserve_zeros(block, count, np.int64)
        was_zero = not array.any()
        array[:] = 7
        return was_zero

    assert scratch.with_scratch(fill)
    assert scratch.with_scratch(fill)


def test_the_next_block_has_room_for_what_was_asked_for():
    def ask(block):
        array = scratch.reserve(block, 50_000, np.int64)
        return np.shares_memory(array, block)

    assert not scratch.with_scratch(ask)
    assert scratch.with_scratch(ask)
    assert len(scratch._spare) == 1


def test_large_blocks_are_not_kept():
    scratch.with_scratch(lambda block: scratch.reserve(block, scratch.LARGEST, np.int64).size)
    assert scratch._spare[0][0].size == scratch.LARGEST


def test_a_block_is_not_used_again_after_an_exception():
    def fail(block):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scratch.with_scratch(fail)
    assert scratch._spare == []


def test_calls_at_the_same_time_have_different_blocks():
    assert not scratch.with_scratch(
        lambda outer: scratch.with_scratch(lambda inner: np.shares_memory(outer, inner))
    )
    assert len(scratch._spare) == 2
