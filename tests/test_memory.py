"""What autograd keeps for a loss: rows and pairs, never a matrix of distances."""

import pytest
import torch
from strategies import gaussian

from topreg import RipsFiltration, TrackCoincidence


def saved_bytes(call):
    """Bytes of the tensors that the graph of a call keeps, each storage once."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call()
    del result
    return sum(kept.values())


@pytest.mark.parametrize("d", [8, 64])
def test_a_loss_keeps_memory_linear_in_the_points(d):
    source, target = gaussian(0, 2, 4096, d, dtype=torch.float32)
    rips = RipsFiltration()

    def loss(n):
        x, y = (points[:n].clone().requires_grad_() for points in (source, target))
        pairs = rips.pairs(x)
        return TrackCoincidence()(x, y, pairs=pairs) + rips.diagram(pairs, x).sum()

    whole, quarter = (saved_bytes(lambda n=n: loss(n)) for n in (4096, 1024))
    assert 3.5 < whole / quarter < 4.5
    assert whole < 4096 * (d + 8) * 4 * 16  # a matrix of distances alone would be 67 MB


def test_a_matrix_would_be_noticed():
    x = gaussian(0, 100, 3).requires_grad_()
    assert saved_bytes(lambda: torch.cdist(x, x).square().sum()) >= 8 * 100 * 100
