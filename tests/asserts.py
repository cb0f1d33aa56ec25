"""One function for each theorem."""

import contextlib
import importlib.util
import math
import os
import re
import shutil

import pytest
import torch
from torch.testing import assert_close

import topreg

TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])
compiles_searches = pytest.mark.skipif(
    TORCH < (2, 10),
    reason="torch compiles operators with shapes that depend on values from 2.10 on",
)
compiles_to_machine_code = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None,
    reason="torch.compile's default backend needs a C++ compiler",
)
HAS_TORCH_TOPOLOGICAL = importlib.util.find_spec("torch_topological") is not None
NO_TORCH_TOPOLOGICAL = "torch_topological brings giotto-ph, which has no wheels for this Python"
needs_torch_topological = pytest.mark.skipif(not HAS_TORCH_TOPOLOGICAL, reason=NO_TORCH_TOPOLOGICAL)


def reads_bits_in_vmap():
    """Whether ``vmap`` can view floats as integers, which the scale of directions needs."""
    try:
        torch.func.vmap(lambda x: x.view(torch.int32))(torch.ones(2, 2))
    except RuntimeError:
        return False
    return True


def same_pairs(actual, expected):
    """Equal to the index, essential classes and numbering included."""
    assert actual.dimension == expected.dimension
    assert actual.cloud_sizes == expected.cloud_sizes
    for name in ("birth_edges", "death_edges", "essential_edges"):
        assert_close(getattr(actual, name), getattr(expected, name), rtol=0, atol=0)


def equal_kruskal(pairs, oracle):
    """Pairs of one cloud are those of the sorted edge list, in its order."""
    deaths, births, elders = oracle
    assert list(map(tuple, pairs.death_edges.tolist())) == deaths
    assert pairs.birth_edges.tolist() == [[v, v] for v in births]
    assert pairs.essential_edges.tolist() == [[v, v] for v in elders]


def listed(pairs):
    """Birth and death edges, and essential edges, as the oracles give them."""
    births, deaths, stays = (
        [tuple(edge) for edge in edges.tolist()]
        for edges in (pairs.birth_edges, pairs.death_edges, pairs.essential_edges)
    )
    return list(zip(births, deaths, strict=True)), stays


def same_edge_sets(edges, expected):
    """Equal as sets, and no edge twice."""
    listed = [tuple(edge) for edge in edges.tolist()]
    assert len(set(listed)) == len(listed)
    assert set(listed) == set(expected)


def same_multisets(values, expected, **tolerances):
    """Equal after sorting."""
    expected = torch.as_tensor(expected, dtype=values.dtype)
    assert_close(values.sort().values, expected.sort().values, **tolerances)


def spanning_tree(edges, n):
    """n - 1 edges, i < j, connected; hence without a cycle."""
    assert edges.shape == (max(n - 1, 0), 2)
    assert edges.dtype == torch.int64
    assert bool((edges[:, 0] < edges[:, 1]).all())
    reached = {0}
    for _ in range(n):
        reached |= {v for edge in edges.tolist() if reached & set(edge) for v in edge}
    assert reached == (set(range(n)) if n else {0})


def sorted_by_total_order(edges, weights):
    """Ascending in (weight, i, j)."""
    keys = [(float(weights[i, j]), i, j) for i, j in edges.tolist()]
    assert keys == sorted(keys)


def in_loss_range(loss):
    """In [0, 2] up to rounding."""
    assert float(loss.detach().min()) >= -1e-6
    assert float(loss.detach().max()) <= 2 + 1e-6


def gradients_are_right(function, *inputs, second=False):
    """Gradients, on request second ones too, agree with finite differences in float64."""
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(function, inputs)
    if second:
        assert torch.autograd.gradgradcheck(function, inputs)


def harmless(loss, *inputs, expected=0.0):
    """Finite and as expected; backward works and gives zeros."""
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    value = loss(*inputs)
    assert_close(value, torch.full_like(value, expected))
    value.sum().backward()
    for x in inputs:
        assert_close(x.grad, torch.zeros_like(x), rtol=0, atol=0)


def repr_round_trips(instance):
    """Evaluating the representation gives an instance of equal representation and options."""
    names = vars(topreg) | {"math": math, "torch": torch}
    again = eval(repr(instance), names)
    assert type(again) is type(instance)
    assert repr(again) == repr(instance)
    for name, value in _options(instance).items():
        other = _options(again)[name]
        assert other == value or repr(other) == repr(value), name


def _options(instance):
    own = vars(instance) | vars(instance).get("_modules", {})  # filtrations are modules
    return {k: v for k, v in own.items() if not k.startswith("_") and k != "training"}


@contextlib.contextmanager
def refused(kind, text):
    """Raises exactly this built-in class with exactly this text."""
    with pytest.raises(kind, match="^" + re.escape(text) + "$") as caught:
        yield
    assert type(caught.value) is kind


def rotation_invariant(loss, views, moved, tolerance=1e-8):
    """Equal before and after both views were moved."""
    assert_close(loss(*moved), loss(*views), rtol=tolerance, atol=tolerance)
