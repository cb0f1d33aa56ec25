"""Published values as golden tests, and the measures and page of ``benchmarks/published``."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from topreg import rtd, rtd_lite

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "benchmarks" / "published", ROOT / "benchmarks"]

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def load():
    """Import a script of ``benchmarks/published``."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in reversed(FOLDERS):
            patch.syspath_prepend(str(folder))
        before = set(sys.modules)
        yield importlib.import_module
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if Path(file).parent in FOLDERS:
                del sys.modules[name]


@pytest.fixture(scope="module")
def divergences(load):
    return load("divergences")


def test_rtd_of_the_readme_pair(divergences):
    assert divergences.readme_value() == pytest.approx(divergences.README, rel=1e-8)


@pytest.mark.parametrize(
    ("experiment", "measure"),
    [
        ("Rings", "RTD"),
        ("Rings", "RTD-Lite"),
        ("Rings", "CKA"),
        ("Clusters", "RTD"),
        ("Clusters", "RTD-Lite"),
        ("Clusters", "CKA"),
    ],
)
def test_kendalls_tau(divergences, experiment, measure):
    published = divergences.PUBLISHED[experiment, measure]
    assert divergences.kendall(experiment, measure) == pytest.approx(published, abs=5e-4)


def test_the_rings_are_as_large_as_published(divergences):
    radii = np.linalg.norm(divergences.rings(1), axis=1)[:: divergences.RING_POINTS]
    np.testing.assert_allclose(radii, [1, 1.25, 0.75, 1.5, 0.5])


def test_the_divergences_of_equal_clouds_vanish(divergences):
    points = torch.from_numpy(divergences.clusters(3))
    for measure in (rtd, rtd_lite, divergences.plain):
        torch.testing.assert_close(measure(points, points), torch.zeros((), dtype=torch.float64))
