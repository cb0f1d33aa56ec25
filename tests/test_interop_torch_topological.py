"""torch-topological: distances agree where it is right, and its objects are exchanged."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from asserts import needs_torch_topological, refused, same_multisets
from strategies import distinct_clouds, gaussian
from torch.testing import assert_close

# torch-topological imports POT, which warns of back ends that it does not find, and giotto-ph,
# whose build of pybind11 predates the rules of newer Pythons
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ImportWarning"),
]

from hypothesis import given  # noqa: E402

from topreg import RipsFiltration, total_persistence  # noqa: E402
from topreg.interop import (  # noqa: E402
    from_persistence_information,
    numpy_diagram,
    to_persistence_information,
)


def deaths_of_torch_topological(points):
    from torch_topological.nn import VietorisRipsComplex

    (information,) = VietorisRipsComplex(dim=0)(points)
    return information.diagram[:, 1]


@needs_torch_topological
@given(distinct_clouds(dtype=torch.float32))
def test_death_distances_agree_on_distinct_points(points):
    filtration = RipsFiltration()
    deaths = filtration.diagram(filtration.pairs(points), points)[:, 1]
    same_multisets(deaths, deaths_of_torch_topological(points), rtol=1e-4, atol=1e-5)


@needs_torch_topological
def test_death_distances_agree_on_a_larger_cloud():
    points = gaussian(0, 100, 32, dtype=torch.float32)
    filtration = RipsFiltration()
    deaths = filtration.diagram(filtration.pairs(points), points)[:, 1]
    same_multisets(deaths, deaths_of_torch_topological(points), rtol=1e-4, atol=1e-5)


@needs_torch_topological
@pytest.mark.parametrize("dimension", [0, 1])
def test_persistence_information_both_ways(dimension):
    from torch_topological.nn import VietorisRipsComplex

    points = gaussian(0, 20, 3, dtype=torch.float32)
    rips = RipsFiltration()
    pairs = rips.pairs(points, dimension)
    ours = to_persistence_information(pairs, points)
    theirs = VietorisRipsComplex(dim=1)(points)[dimension]
    assert ours.dimension == theirs.dimension == dimension
    assert ours.pairing.shape == theirs.pairing.shape
    same_multisets(ours.diagram[:, 1], theirs.diagram[:, 1], rtol=1e-4, atol=1e-5)
    back = from_persistence_information(ours, 20)
    for name in ("birth_edges", "death_edges"):
        assert_close(getattr(back, name), getattr(pairs, name))
    given = from_persistence_information(theirs, 20)
    order = [sorted(map(tuple, p.death_edges.tolist())) for p in (given, pairs)]
    assert order[0] == order[1]


@needs_torch_topological
def test_their_losses_work_on_our_pairs_and_ours_on_theirs():
    from torch_topological.nn import SignatureLoss as Peer
    from torch_topological.nn import SummaryStatisticLoss, VietorisRipsComplex

    x, z = gaussian(0, 15, 3).float(), gaussian(1, 15, 2).float().requires_grad_()
    rips = RipsFiltration()
    ours = [
        [to_persistence_information(rips.pairs(points, p), points) for p in (0, 1)]
        for points in (x, z)
    ]
    peer = VietorisRipsComplex(dim=1)
    expected = Peer(dimensions=(0, 1))([x, peer(x)], [z, peer(z)])
    found = Peer(dimensions=(0, 1))([x, ours[0]], [z, ours[1]])
    assert_close(found, expected, rtol=1e-4, atol=1e-5)
    statistic = SummaryStatisticLoss("total_persistence", p=1)
    statistic([ours[1][0]]).backward()
    assert bool(z.grad.isfinite().all())
    given = [from_persistence_information(one, 15) for one in peer(x)]
    assert_close(
        total_persistence(x, pairs=given),
        total_persistence(x, dimensions=(0, 1)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_numpy_diagrams_have_a_filtration():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    pairs = RipsFiltration().pairs(points)
    assert numpy_diagram(pairs, points).tolist() == [[0, 5], [0, np.inf]]
    manhattan = RipsFiltration(metric="manhattan")
    assert numpy_diagram(pairs, points, manhattan).tolist() == [[0, 7], [0, np.inf]]


def test_numpy_diagrams_are_gudhis():
    points = gaussian(0, 15, 2)
    rips = RipsFiltration(max_edge_length=1.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gudhi

        tree = gudhi.RipsComplex(points=points.numpy(), max_edge_length=1.2)
        tree = tree.create_simplex_tree(max_dimension=2)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=-1)
    for dimension in (0, 1):
        found = numpy_diagram(rips.pairs(points, dimension), points, rips)
        expected = tree.persistence_intervals_in_dimension(dimension)
        expected = expected[expected[:, 0] < expected[:, 1]].reshape(-1, 2)
        assert found.dtype == np.float64
        np.testing.assert_allclose(
            found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], rtol=1e-9
        )
        finite = numpy_diagram(rips.pairs(points, dimension), points, rips, essential=False)
        assert np.isfinite(finite).all()


def test_messages(monkeypatch):
    points = torch.zeros(2, 3, 1)
    pairs = RipsFiltration().pairs(points)
    with refused(ValueError, "`pairs` should be of one cloud. Got 2. Use `pairs.split()`."):
        to_persistence_information(pairs, points)
    wrong = SimpleNamespace(pairing=torch.zeros(2, 4), diagram=None, dimension=0)
    text = "`information.pairing` should have shape (m, 3) in dimension 0. Got (2, 4)."
    with refused(ValueError, text):
        from_persistence_information(wrong, 9)
    wrong.dimension = None
    with refused(ValueError, "`information` should have a dimension. Got None."):
        from_persistence_information(wrong, 9)
    wrong = SimpleNamespace(pairing=torch.tensor([[0, 0, 9]]), diagram=None, dimension=0)
    with refused(ValueError, "`death_edges` should index 5 vertices. Got vertex 9."):
        from_persistence_information(wrong, 5)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = "`to_persistence_information` needs torch_topological. "
    with refused(ValueError, text + 'Run `pip install "topreg[tda]"` with Python 3.12 or older.'):
        to_persistence_information(pairs.split()[0], points[0])
