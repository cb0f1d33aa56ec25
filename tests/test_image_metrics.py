"""Metrics of segmentations against SciPy and GUDHI's Betti numbers, and their identities."""

import gudhi
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch.testing import assert_close

from topreg import CubicalFiltration, betti_matching_loss
from topreg.image_metrics import BettiError, BettiMatchingError, BettiNumbers


def masks(seed, ndim, most=7):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, most, ndim)
    return torch.tensor(rng.random((2, *shape)) < rng.random())


@pytest.mark.parametrize("construction", ["T", "V"])
@pytest.mark.parametrize("ndim", [2, 3])
@given(seed=st.integers(0, 2**32 - 1))
def test_betti_numbers_are_those_of_scipy_and_gudhi(construction, ndim, seed):
    mask = masks(seed, ndim)[0]
    metric = BettiNumbers(construction=construction, ndim=ndim)
    metric.update(mask)
    found = metric.compute().tolist()
    reach = ndim if construction == "T" else 1
    structure = ndimage.generate_binary_structure(ndim, reach)
    assert found[0] == ndimage.label(mask.numpy(), structure)[1]
    other = ndimage.generate_binary_structure(ndim, 1 if construction == "T" else ndim)
    background = ndimage.label(np.pad(~mask.numpy(), 1, constant_values=True), other)[1]
    assert found[-1] == background - 1
    name = "top_dimensional_cells" if construction == "T" else "vertices"
    complex_ = gudhi.CubicalComplex(**{name: 1.0 - mask.numpy()})
    complex_.compute_persistence(homology_coeff_field=2)
    expected = complex_.persistent_betti_numbers(0.5, 0.5) if mask.any() else []
    expected = [*expected, *[0] * ndim][:ndim]
    assert found == expected


@given(seed=st.integers(0, 2**32 - 1))
def test_identities(seed):
    x, y = masks(seed, 2, 9)
    number, error, matching = BettiNumbers(), BettiError(), BettiMatchingError()
    number.update(torch.stack([x, y]))
    for metric in (error, matching):
        metric.update(x.float(), y)
        other = type(metric)()
        other.update(y, x)
        assert metric.compute().tolist() == other.compute().tolist()
        same = type(metric)()
        same.update(x, x)
        assert same.compute().tolist() == [0, 0]
    assert (error.compute() <= matching.compute()).all()
    assert (matching.compute() <= 2 * number.compute()).all()
    if x.any() and y.any():
        loss = betti_matching_loss(x.double(), y, filtration=CubicalFiltration(superlevel=True))
        assert float(loss) == float(matching.compute().sum())


@pytest.mark.parametrize("shape", [(0, 4), (2, 0, 6), (0, 3, 4), (2, 0, 5, 5)])
def test_images_without_pixels_and_batches_without_images(shape):
    for metric in (BettiError(), BettiMatchingError()):
        found = metric(torch.zeros(shape), torch.zeros(shape))
        assert metric.count == np.prod(shape[:-2])
        expected = 0.0 if metric.count else torch.nan
        assert_close(found, torch.full((2,), expected).double(), equal_nan=True)


def test_states_and_messages():
    metric = BettiError()
    assert metric.compute().isnan().all()
    first = metric(torch.tensor([[0.9, 0.1, 0.8]]), torch.tensor([[1, 1, 1]]))
    assert first.tolist() == [1, 0]  # of this batch, as torchmetrics has it
    assert metric(torch.ones(3, 2, 4, 4), torch.ones(3, 2, 4, 4)).tolist() == [0, 0]
    assert metric.compute().tolist() == [1 / 7, 0]
    with pytest.raises(ValueError, match="shape"):
        metric(torch.ones(3, 2, 4, 4), torch.ones(3, 2, 4, 5))
    assert metric.compute().tolist() == [1 / 7, 0]  # a bad batch forgets nothing
    metric.reset()
    assert metric.compute().isnan().all()


@pytest.mark.parametrize("kind", [BettiError, BettiMatchingError])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.5, 1.5])
def test_the_threshold_is_that_of_predictions_alone(kind, threshold):
    ring = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    logits = threshold + ring - 0.5
    for target in (ring, ring.bool(), ring.byte(), ring.half(), ring.double()):
        metric = kind(threshold=threshold)
        metric.update(logits, target)
        metric.update(logits[None, None], target[None])
        assert metric.compute().tolist() == [0, 0]


def test_values_at_the_threshold_are_background():
    metric = BettiNumbers(threshold=0.25)
    metric.update(torch.tensor([[0.25, 0.5, 0.25, 0.75]]))
    assert metric.compute().tolist() == [2, 0]


def test_a_metric_prints_the_call_that_makes_it():
    for kind in (BettiNumbers, BettiError, BettiMatchingError):
        assert repr(kind()) == f"{kind.__name__}()"
        metric = kind(threshold=0.0, construction="V")
        assert repr(metric) == f"{kind.__name__}(threshold=0.0, construction='V')"
    assert repr(BettiError(ndim=3)) == "BettiError(ndim=3)"


def test_images_are_not_paired_with_those_of_other_channels():
    images = torch.rand(2, 3, 4, 5)
    for other in (images.transpose(0, 1), images.flatten(0, 1)):
        with pytest.raises(ValueError, match="should be images of the same shapes"):
            BettiError().update(images, other)
        with pytest.raises(ValueError, match="should be images of the same shapes"):
            betti_matching_loss(images, other)
    one = images[:, :1]
    assert betti_matching_loss(one, images[:, 0]) == 0
    assert betti_matching_loss(images[:1, :1], images[0, 0]) == 0


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.uint16, torch.int64, torch.bool])
def test_integers_but_zero_are_foreground(dtype):
    mask = torch.tensor([[255, 0, 255]], dtype=torch.int64).to(dtype)  # -1 in int8
    metric = BettiNumbers()
    metric.update(mask)
    assert metric.compute().tolist() == [2, 0]
