"""Death distances agree with those of torch-topological, where that is right."""

import sys

import pytest
import torch
from asserts import same_multisets
from strategies import distinct_clouds, gaussian

# torch-topological imports POT, which warns of back ends that it does not find, and giotto-ph,
# whose build of pybind11 predates the rules of newer Pythons
pytestmark = [
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="giotto-ph has no wheels"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ImportWarning"),
]

from hypothesis import given  # noqa: E402

from topreg import RipsFiltration  # noqa: E402


def deaths_of_torch_topological(points):
    from torch_topological.nn import VietorisRipsComplex

    (information,) = VietorisRipsComplex(dim=0)(points)
    return information.diagram[:, 1]


@given(distinct_clouds(dtype=torch.float32))
def test_death_distances_agree_on_distinct_points(points):
    filtration = RipsFiltration()
    deaths = filtration.diagram(filtration.pairs(points), points)[:, 1]
    same_multisets(deaths, deaths_of_torch_topological(points), rtol=1e-4, atol=1e-5)


def test_death_distances_agree_on_a_larger_cloud():
    points = gaussian(0, 100, 32, dtype=torch.float32)
    filtration = RipsFiltration()
    deaths = filtration.diagram(filtration.pairs(points), points)[:, 1]
    same_multisets(deaths, deaths_of_torch_topological(points), rtol=1e-4, atol=1e-5)
