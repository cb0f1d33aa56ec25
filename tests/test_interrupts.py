"""Ctrl-C ends every long search with a KeyboardInterrupt, after which others are right."""

import ctypes
import importlib.util
import multiprocessing
import os
import signal
import threading
import time

import numba
import numpy as np
import pytest
import torch
from long_searches import SEARCHES, serve
from numba import types
from numba.extending import intrinsic
from strategies import gaussian
from torch.testing import assert_close

from topreg import _compiled
from topreg._compiled import LONG, NEVER, halted, stoppable
from topreg._scratch_kernels import LINE, with_scratch
from topreg.metrics import _kernels
from topreg.persistence import _check_kernels
from topreg.persistence.annotations import _dense_kernels, _edge_kernels, _sparse_kernels
from topreg.persistence.dense import _prim_kernels
from topreg.persistence.images import _pixel_kernels, _voxel_kernels
from topreg.persistence.large import _neighbour_kernels

PATIENCE = 300  # seconds after which silence is a hang, also on a busy machine
STOP = np.ones(1, np.int64)


@pytest.fixture(autouse=True)
def interruptible():
    """Handle Ctrl-C also in the background of a shell, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Child:
    """A process that searches until it is interrupted; another one where it has died."""

    def __init__(self):
        self._process = None

    def interrupted(self, search, after=1.0):
        """What a search raises, and what a short one gives before and after it."""
        if self._process is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")
            self._pipe, end = context.Pipe()
            self._process = context.Process(target=serve, args=(end,), daemon=True)
            self._process.start()
            end.close()
        self._pipe.send(search)
        assert self._answer() == "begun"
        time.sleep(after)  # into the search; wherever it is the outcome must be the same
        os.kill(self._process.pid, signal.SIGINT)
        if not self._pipe.poll(PATIENCE / 10):  # Python ignores a signal in a weak reference's end
            os.kill(self._process.pid, signal.SIGINT)
        return self._answer()

    def stop(self):
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def _answer(self):
        if not self._pipe.poll(PATIENCE):
            self.stop()
            pytest.fail("the search hangs")
        return self._pipe.recv()


@pytest.fixture(scope="module")
def child():
    process = Child()
    yield process
    process.stop()


@pytest.mark.parametrize("search", SEARCHES)
def test_ctrl_c_raises_keyboard_interrupt_and_the_next_search_is_right(child, search):
    needed = {"gudhi": "gudhi", "giotto-ph": "gph"}.get(search)
    if needed is not None and importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}")
    expected = SEARCHES[search][1]
    moments = [0.1 + 0.013 * k for k in range(30)] if "short" in search else [1.0]
    for after in moments:  # of short searches few hand over their arrays at that moment
        assert child.interrupted(search, after) == ("KeyboardInterrupt", expected, expected)


# The parts


def test_the_flag_is_read_in_every_step_of_a_loop():
    """A compiler that read it once before the loop would never end."""

    @numba.njit(nogil=True)
    def spin(halt):
        steps = 0
        while not halted(halt):
            steps += 1
        return steps

    spin(STOP)
    halt, steps = np.zeros(1, np.int64), []
    thread = threading.Thread(target=lambda: steps.append(spin(halt)), daemon=True)
    thread.start()
    time.sleep(0.1)
    halt[0] = 1
    thread.join(PATIENCE)
    assert len(steps) == 1
    assert steps[0] > 0


def test_a_signal_sets_the_flag_and_waits_for_the_loop():
    ended = []

    def work(halt):
        signal.raise_signal(signal.SIGINT)  # handled in the main thread
        while not halt[0]:
            time.sleep(0.001)
        ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        stoppable(work, LONG)
    assert ended == [True]


def test_what_does_not_read_the_flag_is_left_behind():
    release, ended = threading.Event(), threading.Event()

    def library(_):
        signal.raise_signal(signal.SIGINT)
        release.wait(PATIENCE)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        stoppable(library, LONG)
    assert not ended.is_set()
    release.set()
    assert ended.wait(PATIENCE)


def test_all_threads_of_a_search_are_told_to_stop():
    ended, begun = [], threading.Barrier(torch.get_num_threads())

    def work(thread, threads, halt):
        begun.wait(PATIENCE)
        if thread == 0:
            signal.raise_signal(signal.SIGINT)
        while not halt[0]:
            time.sleep(0.001)
        ended.append(thread)

    with pytest.raises(KeyboardInterrupt):
        _compiled.in_threads(work)
    assert sorted(ended) == list(range(torch.get_num_threads()))


def test_short_work_and_other_threads_are_not_moved():
    here = threading.get_ident()
    assert stoppable(lambda halt: (threading.get_ident(), halt is NEVER), LONG - 1) == (here, True)
    assert stoppable(lambda _: threading.get_ident(), LONG) != here
    found = []

    def other():
        own = threading.get_ident()
        found.append(stoppable(lambda _: threading.get_ident(), LONG) == own)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(PATIENCE)
    assert found == [True]


def test_no_thread_outlives_a_search():
    before = threading.active_count()
    stoppable(lambda _: None, LONG)
    _compiled.over_rows(10, lambda begin, end, halt: None)
    assert threading.active_count() == before


@pytest.mark.parametrize("operations", [0, LONG])
def test_errors_of_the_work_are_raised(operations):
    def fail(_):
        raise MemoryError("too large")

    with pytest.raises(MemoryError, match="too large"):
        stoppable(fail, operations)


def test_a_signal_hidden_by_a_system_error_is_raised():
    def boxed(_):
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt("now")

    def boxed_twice(_):
        try:
            boxed(_)
        except SystemError as error:
            raise SystemError("returned a result with an exception set") from error

    def broken(_):
        raise SystemError("something else")

    for work in (boxed, boxed_twice):
        with pytest.raises(KeyboardInterrupt, match="now"):
            stoppable(work, 0)
    with pytest.raises(SystemError, match="something else"):
        stoppable(broken, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_a_callback_swallows_while_code_is_compiled_is_raised(tmp_path, monkeypatch):
    @intrinsic
    def zero(_):
        def generate(context, *_):
            ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))()
            return context.get_constant(types.int64, 0)

        return types.int64(), generate

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    loop = _compiled.compiled(lambda: zero())
    with pytest.raises(KeyboardInterrupt):
        loop()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert loop() == 0


def test_distances_stop_at_once_where_nobody_wants_them():
    x = gaussian(0, 40, 12, dtype=torch.float32).numpy()
    squares, bound, wide = (x * x).sum(1), np.float32(0), np.zeros((40, 40))
    rows = x, squares, x, squares
    for loop in (
        lambda out: _kernels.estimate_upper(out, x, bound, bound, False, STOP),
        lambda out: _kernels.measure_upper(out, x, False, False, STOP),
        lambda out: _kernels.measure_upper(out, x, True, False, STOP),
        lambda out: _kernels.measure_between(out, x, x, False, False, STOP),
        lambda out: _kernels.measure_between(out, x, x, True, False, STOP),
        lambda out: _kernels.estimate_rectangle(out, *rows, bound, bound, False, STOP),
        lambda out: _kernels.round_rows(out, wide, *rows, 0.1, 0.1, False, 0, 40, STOP),
        lambda out: _kernels.round_upper(out, wide, x, squares, 0.1, 0.1, False, 0, STOP),
        lambda out: _kernels.measure_listed(out, x, out[0], False, STOP),
        lambda out: _kernels.unit_rows(out, np.ones((40, 40), np.float32), 0, 40, STOP),
        lambda out: _kernels.mirror(out, STOP),
    ):
        out = np.full((40, 40), -7, np.float32)
        out[:, 32:] = out[32:] = 0  # the rest of no whole tile, which is few entries
        loop(out)
        assert (out[:32, :32] == -7).all()


def test_searches_stop_at_once_where_nobody_wants_them():
    n = 40
    weights = torch.cdist(*[gaussian(0, n, 3, dtype=torch.float32)] * 2).fill_diagonal_(0)
    bits, top = weights.numpy().view(np.int32), np.int32(2**31 - 1)
    deaths, births, elders = np.empty((3, n, 2), np.int64)
    counts, sizes = np.ones(1, np.int64), np.array([n])
    points = gaussian(0, n, 3, dtype=torch.float32).numpy()
    found = deaths, births, elders, counts, STOP
    for window in (0, 512):
        counts[0] = 1
        data = bits.ravel(), np.int32(0), points, False, np.int32(window), sizes, 0, 1
        _prim_kernels.forests(*data, top - 1, top, *found)
        assert counts[0] == 0
    counts[0] = 1
    limits = np.array([top - 1, top])
    _prim_kernels.forests_of_rows(points, True, False, False, sizes, 0, 1, limits, *found)
    assert counts[0] == 0
    bits[0, 0] = -1
    assert _check_kernels.are_clean(bits.ravel(), sizes, top, STOP)  # nothing was looked at
    assert not _check_kernels.are_clean(bits.ravel(), sizes, top, NEVER)
    bits[0, 0] = 0
    block = np.empty(1 << 20, np.uint8)
    block[:8].view(np.int64)[0] = LINE
    assert len(_edge_kernels.edges_in_order(bits, top - 1, top, block, STOP)) == 0
    edges = _edge_kernels.edges_in_order(bits, top - 1, top, block, NEVER).astype(np.uint64)
    assert len(edges) > n
    records, room = edges[::-1, 0] << np.uint64(32) | edges[::-1, 1], np.empty(6144, np.int32)
    unsorted = records.copy()
    _edge_kernels.sort_records(records, np.empty_like(records), room, STOP)
    np.testing.assert_array_equal(records, unsorted)
    for search, bits_of_end in (
        (_dense_kernels.reduce_edges_by_bits, np.uint64(16)),
        (_sparse_kernels.reduce_edges, np.uint64(32)),
        (_sparse_kernels.join_edges, np.uint64(32)),
    ):
        packed = edges[:, 0] << bits_of_end | edges[:, 1]
        _, merges, pairs, born, parent = search(packed, n, block, STOP)
        assert (merges.shape[1], pairs.shape[1], len(born)) == (0, 0, 0)
        assert parent.tolist() == list(range(n))
    with_stop = (bits.ravel(), sizes, 0, 1, top - 1, top, block, STOP)
    assert len(_dense_kernels.reduce_clouds(*with_stop)) == 0


def test_searches_in_images_stop_at_once_where_nobody_wants_them():
    values = gaussian(0, 50, 40, dtype=torch.float32).numpy()
    bits, pixels = values.ravel().view(np.uint32), np.arange(values.size, dtype=np.int32)

    def ordered(halt):
        task = bits, pixels.copy(), halt
        return with_scratch(lambda block: _pixel_kernels.in_order(block, *task).copy())

    np.testing.assert_array_equal(ordered(STOP), pixels)
    np.testing.assert_array_equal(ordered(NEVER), values.ravel().argsort(kind="stable"))
    parent, ways = np.full(values.size, -1), np.array([1, -1])
    found = _voxel_kernels.unite_voxels(values.ravel(), pixels, parent, ways, True, STOP)
    assert found.shape == (2, 0)
    task = values.ravel(), bits, np.array([[50, 40]]), 0, 1, (True, True, True, False, False), STOP
    found = with_scratch(lambda block: _pixel_kernels.search_images(block, *task))
    assert [len(part) for part in found] == [0] * 6


def test_lists_stop_at_once_where_nobody_wants_them():
    points = gaussian(0, 9, 3, dtype=torch.float32).numpy()
    rows, metric = np.arange(9), (False, False, np.float32(np.inf))
    weights, near = np.full((9, 4), -7, np.float32), np.full((9, 4), 1, np.int32)
    _neighbour_kernels.measure_lists(points, rows, near, weights, 0, 9, *metric, STOP)
    _neighbour_kernels.measure_all(points, rows, rows, weights, near, 0, 9, *metric, STOP)
    assert_close(torch.from_numpy(weights), torch.full((9, 4), -7.0))
