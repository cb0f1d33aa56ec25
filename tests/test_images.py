"""Cubical persistence against GUDHI, a matrix reduction, and what is known of images."""

import gudhi
import image_oracles as oracles
import numpy as np
import pytest
import torch
from asserts import refused, same_pairs
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import topreg
from topreg import CubicalFiltration
from topreg._compiled import NEVER
from topreg._scratch_kernels import with_scratch
from topreg.persistence.images import _pixel_kernels as kernels

constructions = pytest.mark.parametrize("construction", ["T", "V"])


@st.composite
def images(draw, most=12, ndim=2, dtypes=(torch.float32, torch.float64)):
    """Images of uniform, normal or few different values, one pixel wide ones among them."""
    shape = [draw(st.integers(1, most)) for _ in range(ndim)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = draw(
        st.sampled_from(
            [
                rng.random(shape),
                rng.normal(size=shape),
                rng.integers(-1, 3, shape) * 1.0,
                rng.integers(0, 2, shape) * -1.0,  # zeros of both signs
                np.full(shape, 0.5),
            ]
        )
    )
    return torch.tensor(values, dtype=draw(st.sampled_from(dtypes)))


def of_gudhi(image, construction):
    """Complex and persistence of an image in GUDHI."""
    name = "top_dimensional_cells" if construction == "T" else "vertices"
    found = gudhi.CubicalComplex(**{name: image.double().numpy()})
    found.compute_persistence(homology_coeff_field=2, min_persistence=0)
    return found


def bars_of_gudhi(image, construction, dimension):
    bars = of_gudhi(image, construction).persistence_intervals_in_dimension(dimension)
    bars = bars.reshape(-1, 2)
    return sorted(tuple(bar) for bar in bars.tolist() if bar[0] < bar[1] < np.inf)


def bars(diagram):
    return sorted(map(tuple, diagram.tolist()))


@constructions
@given(image=images(most=25))
def test_diagrams_are_those_of_gudhi(construction, image):
    filtration = CubicalFiltration(construction=construction)
    for dimension, pairs in enumerate(filtration.all_pairs(image, 1)):
        diagram = filtration.diagram(pairs, image).double()
        assert bars(diagram) == bars_of_gudhi(image, construction, dimension)
        assert pairs.dimension == dimension
    essential = filtration.pairs(image).essential_edges
    assert essential.tolist() == [[int(image.argmin())] * 2]
    assert len(filtration.pairs(image, 1).essential_edges) == 0


def test_many_images_in_one_batch_are_those_of_gudhi():
    torch.manual_seed(0)
    sizes = [(1 + k % 40, 1 + 7 * k % 40) for k in range(200)]
    batch = [torch.randint(0, 4 + k, size).float() for k, size in enumerate(sizes)]
    for construction in ("T", "V"):
        filtration = CubicalFiltration(construction=construction)
        for dimension, pairs in enumerate(filtration.all_pairs(batch, 1)):
            assert pairs.cloud_sizes == tuple(h * w for h, w in sizes)
            for part, image in zip(pairs.split(), batch, strict=True):
                found = bars(filtration.diagram(part, image))
                assert found == bars_of_gudhi(image, construction, dimension)


@constructions
def test_critical_pixels_are_those_of_gudhi(construction):
    for seed in range(20):
        torch.manual_seed(seed)
        image = torch.rand(9, 7, dtype=torch.float64)
        found = of_gudhi(image, construction)
        kind = "cofaces" if construction == "T" else "vertices"
        regular, _ = getattr(found, f"{kind}_of_persistence_pairs")()
        filtration = CubicalFiltration(construction=construction)
        for dimension, pairs in enumerate(filtration.all_pairs(image, 1)):
            # GUDHI counts pixels along columns
            expected = regular[dimension] if len(regular) > dimension else []
            expected = sorted((a % 9 * 7 + a // 9, b % 9 * 7 + b // 9) for a, b in expected)
            pixels = torch.stack([pairs.birth_edges[:, 0], pairs.death_edges[:, 0]], 1)
            same = sorted(map(tuple, pixels.tolist()))
            assert same == expected


@constructions
@given(image=images(most=5))
def test_diagrams_are_those_of_a_matrix_reduction(construction, image):
    filtration = CubicalFiltration(construction=construction)
    expected, _ = oracles.diagrams(image.numpy(), construction)
    for dimension, own in enumerate(expected):
        assert bars(filtration(image, dimension)) == own


@constructions
@given(image=images(most=4, ndim=3))
def test_volumes_are_those_of_gudhi(construction, image):
    filtration = CubicalFiltration(construction=construction, ndim=3)
    for dimension in (0, 2):
        own = bars(filtration(image, dimension).double())
        assert own == bars_of_gudhi(image, construction, dimension)
    assert filtration.pairs(image).essential_edges.tolist() == [[int(image.argmin())] * 2]
    assert len(filtration.pairs(image, 2).essential_edges) == 0


@constructions
@pytest.mark.parametrize("ndim", [2, 3])
@given(data=st.data())
def test_superlevel_pairs_are_those_of_the_negative(construction, ndim, data):
    image = data.draw(images(most=6, ndim=ndim))
    up = CubicalFiltration(construction=construction, ndim=ndim)
    down = CubicalFiltration(construction=construction, superlevel=True, ndim=ndim)
    for dimension in (0, ndim - 1):
        own, twin = down.pairs(image, dimension), up.pairs(-image, dimension)
        for name in ("birth_edges", "death_edges", "essential_edges"):
            assert_close(getattr(own, name), getattr(twin, name), rtol=0, atol=0)
        assert_close(down.diagram(own, image), up.diagram(twin, -image), rtol=0, atol=0)


@constructions
@pytest.mark.parametrize("ndim", [2, 3])
@given(data=st.data())
def test_a_frame_of_foreground_is_that_of_a_padded_image(construction, ndim, data):
    image = data.draw(images(most=6, ndim=ndim))
    padded = torch.nn.functional.pad(image, (1,) * (2 * ndim), value=-100.0)
    closed = CubicalFiltration(construction=construction, outside="foreground", ndim=ndim)
    open_ = CubicalFiltration(construction=construction, ndim=ndim)
    assert len(closed.pairs(image).essential_edges) == 0
    for dimension in (0, ndim - 1):
        expected = [bar for bar in bars(open_(padded, dimension)) if bar[0] > -100]
        assert bars(closed(image, dimension)) == expected


@constructions
@given(image=images(most=8))
def test_a_frame_of_background_changes_nothing(construction, image):
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), value=100.0)
    filtration = CubicalFiltration(construction=construction)
    for dimension in (0, 1):
        assert bars(filtration(padded, dimension)) == bars(filtration(image, dimension))


@constructions
def test_the_constructions_are_dual(construction):
    """Holes of one construction are components of the other of the negated, framed image."""
    torch.manual_seed(0)
    image = torch.rand(12, 15)
    other = CubicalFiltration(construction="V" if construction == "T" else "T")
    framed = torch.nn.functional.pad(-image, (1, 1, 1, 1), value=-2.0)
    expected = sorted((-death, -birth) for birth, death in bars(other(framed)))
    assert bars(CubicalFiltration(construction=construction)(image, 1)) == expected


def test_ties_are_broken_by_the_index():
    filtration = CubicalFiltration(construction="V")
    pairs = filtration.pairs(torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.0]]))
    assert pairs.birth_edges.tolist() == [[2, 2], [4, 4]]
    assert pairs.death_edges.tolist() == [[1, 1], [3, 3]]
    assert pairs.essential_edges.tolist() == [[0, 0]]
    zeros = torch.tensor([[0.0, 1.0, -0.0]])
    assert filtration.pairs(zeros).birth_edges.tolist() == [[2, 2]]


@given(image=images(most=9, dtypes=(torch.float16, torch.bfloat16)))
def test_half_precision_is_searched_in_single(image):
    filtration = CubicalFiltration()
    for dimension in (0, 1):
        diagram = filtration(image, dimension)
        assert diagram.dtype == torch.float32
        assert_close(diagram, filtration(image.float(), dimension), rtol=0, atol=0)


def test_double_precision_is_exact():
    image = torch.tensor([[0.0, 1 + 1e-12, 1.0, 1 + 2e-12, 0.5]], dtype=torch.float64)
    expected = bars_of_gudhi(image, "V", 0)
    assert bars(CubicalFiltration(construction="V")(image)) == expected
    assert len(expected) == 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_channel_of_every_image_is_a_cloud(ndim):
    torch.manual_seed(0)
    batch = torch.rand(2, 3, *(3, 6, 5)[-ndim:])
    filtration = CubicalFiltration(ndim=ndim)
    for data in (batch, batch.flatten(0, 1), list(batch.flatten(0, 1))):
        pairs = filtration.pairs(data)
        assert pairs.cloud_sizes == (batch[0, 0].numel(),) * 6
        expected = [filtration(image) for image in batch.flatten(0, 1)]
        assert_close(filtration.diagram(pairs, data), torch.cat(expected), rtol=0, atol=0)


@given(data=st.data())
def test_a_tensor_is_searched_like_the_list_of_its_images(data):
    """A tensor on the CPU is read where it lies, a list is joined first."""
    rows = [data.draw(images(most=9, dtypes=(torch.float32,))) for _ in range(2)]
    stacked = torch.stack([image[:1, :1].expand(4, 5) + k for k, image in enumerate(rows)])
    stacked = stacked + torch.randint(0, 3, (2, 4, 5))
    outside = data.draw(st.sampled_from(["open", "foreground"]))
    filtration = CubicalFiltration(superlevel=data.draw(st.booleans()), outside=outside)
    for batch in (stacked, stacked.transpose(1, 2), stacked.double().requires_grad_()):
        for one, other in zip(
            filtration.all_pairs(batch, 1), filtration.all_pairs(list(batch), 1), strict=True
        ):
            for name in ("birth_edges", "death_edges", "essential_edges"):
                assert torch.equal(getattr(one, name), getattr(other, name))
            assert one.cloud_sizes == other.cloud_sizes == (20, 20)


def test_a_later_search_does_not_change_earlier_pairs():
    """Working memory is used again; results do not lie in it."""
    torch.manual_seed(0)
    filtration, batches = CubicalFiltration(), torch.rand(4, 3, 40, 30)
    kept = [filtration.all_pairs(batch, 1) for batch in batches]
    for batch, pairs in zip(batches, kept, strict=True):
        for one, other in zip(pairs, filtration.all_pairs(batch.clone(), 1), strict=True):
            for name in ("birth_edges", "death_edges", "essential_edges"):
                assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("eight", [False, True])
def test_saddles_are_the_bytes_with_several_pieces(eight):
    flags = np.zeros(256, np.uint8)
    kernels._flag_saddles(np.arange(256, dtype=np.uint8), flags, eight)
    np.testing.assert_array_equal(flags != 0, kernels.STEPS[int(eight), 1, :, 0] > 1)


@constructions
@pytest.mark.parametrize("closed", [False, True])
@given(image=images(most=20))
def test_every_merger_of_a_saddle_belongs_to_one_dimension(construction, closed, image):
    eight = construction == "T"

    def search(block):
        framed, _ = kernels.frame_image(block, image.numpy(), False, closed)
        bits = np.empty(0, f"u{framed.itemsize}")
        described = kernels.describe(block, framed, bits, eight, NEVER)
        left, links, found = described[-1], np.empty(framed.size, np.int32), 0
        expected = int(left.sum())
        for up in (True, False):
            kernels.link_pixels(framed, links, eight == up, up)
            mergers = kernels.walk(block, described, links, eight == up, up, True, NEVER)
            found += mergers.shape[1]
        return expected, found, int(left.sum())

    expected, found, left = with_scratch(search)
    assert (found, left) == (expected, 0)


@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 0, 4), (2, 4, 0), (0, 0), (3, 0, 5, 5)])
def test_batches_without_an_image_or_pixels_are_empty(shape):
    data = torch.zeros(shape, requires_grad=True)
    filtration = CubicalFiltration()
    for pairs in filtration.all_pairs(data, 1):
        assert len(pairs) == len(pairs.essential_edges) == 0
        assert len(pairs.cloud_sizes) == (1 if len(shape) == 2 else np.prod(shape[:-2]))
        filtration.diagram(pairs, data).sum().backward()
    value = topreg.total_persistence(data, filtration=filtration)
    assert value == 0


def test_the_gradient_goes_to_the_critical_pixels():
    image = torch.tensor([[1.0, 5.0, 2.0]], requires_grad=True)
    birth, death = CubicalFiltration()(image)[0]
    (gradient,) = torch.autograd.grad(death - 2 * birth, image)
    assert gradient.tolist() == [[0.0, 1.0, -2.0]]
    dark = CubicalFiltration(superlevel=True)(-image)[0]
    (gradient,) = torch.autograd.grad(dark[1] - 2 * dark[0], image)
    assert gradient.tolist() == [[0.0, 1.0, -2.0]]


def test_threads_do_not_change_the_pairs():
    torch.manual_seed(0)
    batch, filtration, threads = (
        torch.rand(6, 120, 90),
        CubicalFiltration(),
        torch.get_num_threads(),
    )
    try:
        torch.set_num_threads(1)
        alone = filtration.all_pairs(batch, 1)
        torch.set_num_threads(3)
        shared = filtration.all_pairs(batch, 1)
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(alone, shared, strict=True):
        for name in ("birth_edges", "death_edges", "essential_edges"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_what_is_made_for_diagrams_takes_those_of_images():
    torch.manual_seed(0)
    image = torch.rand(2, 16, 16, dtype=torch.float64, requires_grad=True)
    filtration = CubicalFiltration(superlevel=True)
    pairs = filtration.all_pairs(image, 1)
    options = {"filtration": filtration, "dimensions": (0, 1)}
    values = [
        topreg.total_persistence(image, **options),
        topreg.persistence_entropy(image, **options),
        topreg.connectivity_loss(image, filtration=filtration, scale=0.1),
        topreg.signature_loss(image, image.detach().flip(2), **options),
        topreg.wasserstein_distance(*(filtration(one, 1) for one in image)),
        topreg.sliced_wasserstein_distance(*(filtration(one) for one in image)),
        topreg.persistence_image(
            filtration(image), bandwidth=0.1, birth_range=(-1.0, 0.0), persistence_range=(0.0, 1.0)
        ),
        topreg.persistence_landscape(filtration(image), sample_range=(-1.0, 0.0)),
    ]
    for value in values:
        (gradient,) = torch.autograd.grad(value.square().sum(), image)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    diagram = filtration.diagram(pairs[0], image)
    assert topreg.most_persistent(diagram, 3, pairs[0].cloud()).sum() == 6
    again = topreg.PersistencePairs.from_tensors(pairs[1].to_tensors())
    assert torch.equal(again.death_edges, pairs[1].death_edges)


def test_dimensions_of_volumes_with_a_gap():
    torch.manual_seed(0)
    volume, filtration = torch.rand(5, 5, 5), CubicalFiltration(ndim=3)
    alone = [
        topreg.total_persistence(volume, filtration=filtration, dimensions=(p,)) for p in (0, 2)
    ]
    both = topreg.total_persistence(volume, filtration=filtration, dimensions=(0, 2))
    assert_close(both, alone[0] + alone[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite(bad):
    image = torch.rand(2, 4, 4)
    image[1, 0, 2] = bad
    with refused(
        ValueError,
        "`images` should be finite. Got 1 entry with NaN or infinity, first at entry 18.",
    ):
        CubicalFiltration().pairs(image)
    pairs = CubicalFiltration(check_values=False).pairs(image)  # undefined, but it ends
    assert pairs.cloud_sizes == (16, 16)


@pytest.mark.parametrize("superlevel", [False, True])
@pytest.mark.parametrize("construction", ["T", "V"])
def test_zeros_of_both_signs_are_equal(construction, superlevel):
    filtration = CubicalFiltration(construction=construction, superlevel=superlevel)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-1, 2, (20, 9, 10), generator=generator).float()
    signs = torch.randint(0, 2, images.shape, generator=generator) * 2.0 - 1
    signed = torch.where(images == 0, images * signs, images)
    for found, expected in zip(
        filtration.all_pairs(signed, 1), filtration.all_pairs(images, 1), strict=True
    ):
        same_pairs(found, expected)


@pytest.mark.parametrize(("ndim", "shape"), [(2, (8, 9)), (2, (2, 8, 9)), (3, (2, 4, 5, 6))])
def test_views_with_the_other_sign(ndim, shape):
    values = torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    view, filtration = values.conj().imag, CubicalFiltration(ndim=ndim)
    assert view.is_neg()
    expected = filtration.pairs(view.clone())
    same_pairs(filtration.pairs(view), expected)
    if len(shape) > ndim:
        same_pairs(filtration.pairs(list(view)), expected)
