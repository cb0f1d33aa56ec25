"""The public names, and what importing them costs."""

import doctest
import importlib
import inspect
import json
import pathlib
import subprocess
import sys

import pytest
import torch

import topreg

HEAVY = ("numba", "gudhi", "matplotlib", "torch_topological", "scipy", "gph", "sklearn")
CONTRACT = {
    "ConnectivityLoss",
    "DeviatingPerturbation",
    "Filtration",
    "HomologyConsistency",
    "PersistenceEntropy",
    "PersistencePairs",
    "RipsFiltration",
    "TotalPersistence",
    "TrackCoincidence",
    "balanced_backward",
    "connectivity_loss",
    "deviating_perturbation",
    "edge_vectors",
    "exponential_affinity",
    "homology_consistency",
    "label_indicators",
    "minimum_spanning_tree",
    "pairwise_distances",
    "persistence_entropy",
    "persistence_tracks",
    "total_persistence",
    "track_coincidence",
}

public = pytest.mark.parametrize("name", topreg.__all__)


def methods(thing):
    """Public functions and methods that a class defines itself."""
    for name, member in vars(thing).items():
        member = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if inspect.isfunction(member) and not name.startswith("_"):
            yield name, member


def examples(thing):
    """Doctest examples in a docstring."""
    return doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")


def test_all_is_sorted_and_holds_the_contract():
    assert topreg.__all__ == sorted(set(topreg.__all__))
    assert set(topreg.__all__) >= CONTRACT


@public
def test_every_name_can_be_imported_and_says_where_it_lives(name):
    thing = getattr(topreg, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith("topreg.")


def test_nothing_public_is_left_out():
    names = {
        name
        for name, thing in vars(topreg).items()
        if not name.startswith("_") and not inspect.ismodule(thing)
    }
    assert names == set(topreg.__all__)


@public
def test_every_object_is_documented_with_an_example(name):
    thing = getattr(topreg, name)
    assert len(inspect.getdoc(thing)) > 20
    if inspect.isabstract(thing):
        return  # nothing to call
    own = methods(thing) if inspect.isclass(thing) else ()
    assert examples(thing) or any(examples(member) for _, member in own)


@public
def test_every_method_is_documented(name):
    thing = getattr(topreg, name)
    for method, member in methods(thing) if inspect.isclass(thing) else ():
        assert member.__doc__, f"{name}.{method}"


@public
def test_docstrings_name_every_parameter(name):
    thing = getattr(topreg, name)
    if inspect.isabstract(thing):
        return
    described = inspect.getdoc(thing)
    for parameter in inspect.signature(thing).parameters:
        assert f"{parameter}:" in described, parameter


@public
def test_functions_state_shape_and_source(name):
    thing = getattr(topreg, name)
    if inspect.isfunction(thing):
        for section in ("Args:", "Raises:", "Shape:", "Note:", "Source:", "Example:"):
            assert section in inspect.getdoc(thing), section


@public
def test_everything_is_annotated(name):
    thing = getattr(topreg, name)
    functions = [m for _, m in methods(thing)] if inspect.isclass(thing) else [thing]
    for function in functions:
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty
        for parameter in list(signature.parameters.values()):
            if parameter.name not in ("self", "cls"):
                assert parameter.annotation is not inspect.Parameter.empty, parameter


def test_modules_have_the_options_of_their_functions():
    twins = {
        "TrackCoincidence": "track_coincidence",
        "DeviatingPerturbation": "deviating_perturbation",
        "HomologyConsistency": "homology_consistency",
        "TotalPersistence": "total_persistence",
        "PersistenceEntropy": "persistence_entropy",
        "ConnectivityLoss": "connectivity_loss",
    }
    stored = {"pairs", "filtration", "dimensions"}  # found by a call, or placed first in a module
    for module, function in twins.items():
        options = [
            {
                p.name: p.default
                for p in inspect.signature(getattr(topreg, name)).parameters.values()
                if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name not in stored
            }
            for name in (module, function)
        ]
        assert options[0] == options[1], module
        assert issubclass(getattr(topreg, module), torch.nn.Module)


def test_the_package_is_typed_and_has_a_version():
    assert (pathlib.Path(topreg.__file__).parent / "py.typed").exists()
    assert topreg.__version__.count(".") == 2


def loaded_after(*statements):
    """Top-level modules in a fresh interpreter that ran the statements."""
    code = "; ".join([*statements, "import sys, json", "print(json.dumps(sorted(sys.modules)))"])
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(run.stdout)}


def test_importing_loads_nothing_heavy():
    loaded = loaded_after("import topreg")
    assert {"torch", "topreg"} <= loaded
    assert loaded.isdisjoint(HEAVY)


def test_importing_adds_nothing_but_torch_and_numpy():
    standard = set(sys.stdlib_module_names)
    added = loaded_after("import topreg") - loaded_after("import torch, numpy") - standard
    assert {name for name in added if not name.startswith("_")} <= {"topreg"}


def test_importing_the_drawings_loads_no_matplotlib():
    loaded = loaded_after("import topreg.plot")
    assert loaded.isdisjoint(HEAVY)


def test_finding_pairs_loads_no_oracle():
    loaded = loaded_after(
        "import torch, topreg",
        "points = torch.eye(3)",
        "topreg.TrackCoincidence()(points, points)",
    )
    assert "numba" in loaded
    assert loaded.isdisjoint(set(HEAVY) - {"numba", "scipy"})  # numba may look for scipy


def test_kernels_compile_where_nothing_can_be_cached(monkeypatch):
    import numba

    from topreg import _compiled

    calls = []

    def njit(**options):
        calls.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert _compiled.compiled(len) is len
    assert [call.get("cache") for call in calls] == [True, None]
    assert all(call["nogil"] for call in calls)


def test_every_submodule_can_be_imported_first():
    package = pathlib.Path(topreg.__file__).parent
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        importlib.import_module(".".join(parts).removesuffix(".__init__"))
