"""Every example in the documentation of the library runs and prints what it says."""

import doctest
import importlib
import pathlib

import pytest
from asserts import HAS_TORCH_TOPOLOGICAL, NO_TORCH_TOPOLOGICAL

import topreg

PACKAGE = pathlib.Path(topreg.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
WITH_EXAMPLES = {
    "topreg.gradients._balanced",
    "topreg._pairs",
    "topreg.features._proxies",
    "topreg._tracks",
    "topreg.filtrations._rips",
    "topreg.losses.deviating_perturbation",
    "topreg.losses.homology_consistency",
    "topreg.losses.track_coincidence",
    "topreg.metrics._pairwise",
    "topreg.persistence._spanning_tree",
    "topreg.plot.barcode",
    "topreg.plot.critical_pixels",
    "topreg.plot.diagram",
    "topreg.plot.merge_tree",
    "topreg.plot.spanning_tree",
    "topreg.plot.tracks",
}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    if name == "topreg.interop" and not HAS_TORCH_TOPOLOGICAL:
        pytest.skip(NO_TORCH_TOPOLOGICAL)
    result = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert result.failed == 0
    assert name not in WITH_EXAMPLES or result.attempted > 0


def test_no_module_with_examples_has_gone():
    assert set(MODULES) >= WITH_EXAMPLES
