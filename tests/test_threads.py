"""Threads, forked workers, and batches spread over threads give the pairs of one thread."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from asserts import same_pairs
from strategies import gaussian
from torch.testing import assert_close
from torch.utils.data import DataLoader, Dataset

from topreg import RipsFiltration, TrackCoincidence, _compiled

RIPS = RipsFiltration()


@contextlib.contextmanager
def threads(count):
    """torch's number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("width", [3, 40])
def test_several_threads_at_once(width, dimension):
    clouds = [gaussian(k, 150 + k, width, dtype=torch.float32) for k in range(24)]
    expected = [RIPS.pairs(cloud, dimension) for cloud in clouds]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(RIPS.pairs, clouds, [dimension] * len(clouds)))
    for actual, pairs in zip(found, expected, strict=True):
        same_pairs(actual, pairs)


@pytest.mark.parametrize("dimension", [0, 1])
def test_batches_from_several_threads_at_once(dimension):
    batches = [gaussian(k, 30, 100, 12, dtype=torch.float32) for k in range(6)]
    with threads(2):
        expected = [RIPS.pairs(batch, dimension) for batch in batches]
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(RIPS.pairs, batches, [dimension] * len(batches)))
    for actual, pairs in zip(found, expected, strict=True):
        same_pairs(actual, pairs)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("width", [4, 24])
def test_a_batch_of_many_clouds_equals_the_loop(count, width, metric):
    sizes = [0, 300, 1, 5, 90, 640, 2, 200, 130, 0, 64, 17]
    assert sum(n * n for n in sizes) > _compiled.THREADING_THRESHOLD  # so that threads are used
    clouds = [gaussian(n, n, width, dtype=torch.float32) + n for n in sizes]
    filtration = RipsFiltration(metric=metric)
    for dimension in (0, 1):
        expected = [filtration.pairs(cloud, dimension) for cloud in clouds]
        with threads(count):
            parts = filtration.pairs(clouds, dimension).split()
        for part, alone in zip(parts, expected, strict=True):
            same_pairs(part, alone)


@pytest.mark.parametrize("count", [1, 2])
def test_one_cloud_does_not_depend_on_the_number_of_threads(count):
    points = gaussian(0, 700, 3)
    expected = RIPS.pairs(points)
    with threads(count):
        same_pairs(RIPS.pairs(points), expected)


@pytest.mark.parametrize(
    "sizes", [[5], [1, 1], [0, 0, 7], [7, 0, 0], [3] * 10, [100, 1, 1], [1, 1, 100], [0, 5, 5, 0]]
)
@pytest.mark.parametrize("shares", [1, 2, 3])
def test_shares_cover_every_cloud_once(sizes, shares):
    bounds = _compiled._equal_shares(sizes, shares)
    assert bounds[0] == 0
    assert bounds[-1] == len(sizes)
    assert bounds == sorted(set(bounds))
    assert len(bounds) <= shares + 1


def test_equal_clouds_are_shared_equally():
    assert _compiled._equal_shares([10] * 8, 2) == [0, 4, 8]
    assert _compiled._equal_shares([10] * 9, 3) == [0, 3, 6, 9]


class PairsOfClouds(Dataset):
    """Finds pairs in the worker."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        clouds = gaussian(index, 30, 100, 12, dtype=torch.float32)
        loss = TrackCoincidence(dimensions=(0, 1))(clouds, clouds.flip(2))
        return clouds, RIPS.pairs(clouds, 1), float(loss)


# Python 3.12 warns of any fork while threads run; torch's own do
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forked_workers_of_a_data_loader():
    dataset = PairsOfClouds()
    expected = [dataset[index] for index in range(len(dataset))]  # compiled, pools used
    loader = DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=120
    )
    found = list(loader)
    assert len(found) == len(expected)
    for (clouds, pairs, loss), (own, own_pairs, own_loss) in zip(found, expected, strict=True):
        assert_close(clouds, own, rtol=0, atol=0)
        same_pairs(pairs, own_pairs)
        assert loss == pytest.approx(own_loss, abs=1e-6)
