"""The public names, and what importing them costs."""

import ast
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
from topreg._module import FunctionModule

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
        assert inspect.getdoc(member), f"{name}.{method}"


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
        shapes = ("Shape:",) if "Tensor" in str(inspect.signature(thing)) else ()
        for section in ("Args:", "Raises:", *shapes, "Note:", "Source:", "Example:"):
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


# Every loss on data follows one convention

NAMES = 60
DATA = {  # tensors by position
    "BettiMatchingLoss": ("source", "target"),
    "BettiPriorLoss": ("data",),
    "ConnectivityLoss": ("points",),
    "DiagramMatchingLoss": ("source", "target"),
    "DeviatingPerturbation": ("source", "target", "labels"),
    "HomologyConsistency": ("source", "target", "labels"),
    "PersistenceEntropy": ("points",),
    "RTD": ("source", "target"),
    "RTDLite": ("source", "target"),
    "SignatureLoss": ("source", "target"),
    "TotalPersistence": ("points",),
    "TrackCoincidence": ("source", "target"),
}
NOT_ON_DATA = {"WassersteinDistance", "SlicedWassersteinDistance"}  # distances of diagrams
FEATURES = {"PersistenceImage", "PersistenceLandscape"}
WITH_GEOMETRY = {"TrackCoincidence", "DeviatingPerturbation", "HomologyConsistency"}
IMAGES = {"BettiMatchingLoss", "BettiPriorLoss", "DiagramMatchingLoss"}  # cubical filtrations
SEARCHES_BOTH = {"SignatureLoss", "RTD", "RTDLite"}
WITHOUT_PAIRS = {"RTD", "RTDLite", "BettiMatchingLoss"}  # their complexes are joint
WITHOUT_DIMENSIONS = {"RTDLite", "ConnectivityLoss"}
OTHER_DIMENSIONS = {"RTD": (1,)} | dict.fromkeys(IMAGES, (0, 1))
GONE = {"metric", "undirected", "unrelated", "check_values", "sum"}

every_loss = pytest.mark.parametrize("name", DATA)


def function_of(name):
    """The function of a module."""
    (found,) = (f for f in topreg.__all__ if f.islower() and f.replace("_", "") == name.lower())
    return getattr(topreg, found)


def parameters(call, kind):
    """Parameters of one kind with their defaults, in order, without ``self``."""
    found = inspect.signature(call).parameters.values()
    return {p.name: p.default for p in found if p.kind is kind and p.name != "self"}


def by_name(call):
    return parameters(call, inspect.Parameter.KEYWORD_ONLY)


def by_position(call):
    return parameters(call, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def of_a_call(name):
    """What is given by name to a call of the module: what belongs to the data."""
    found = () if name in WITHOUT_PAIRS else ("pairs",)
    if name in {*SEARCHES_BOTH, "DiagramMatchingLoss"} and found:
        found += ("target_pairs",)
    return found + (("geometry",) if name in WITH_GEOMETRY else ())


def first_options(name):
    """The options that all losses have, in order, with their defaults."""
    options = {"filtration": None}
    if name in SEARCHES_BOTH:
        options["target_filtration"] = None
    if name not in WITHOUT_DIMENSIONS:
        options["dimensions"] = OTHER_DIMENSIONS.get(name, (0,))
    return options


def test_the_public_names_are_few():
    assert len(topreg.__all__) <= NAMES


def test_the_table_holds_every_loss():
    losses = {
        name
        for name in topreg.__all__
        if inspect.isclass(getattr(topreg, name))
        and issubclass(getattr(topreg, name), FunctionModule)
    }
    assert losses - NOT_ON_DATA - FEATURES == set(DATA)


@every_loss
def test_data_are_positional_and_everything_else_is_by_name(name):
    module, function = getattr(topreg, name), function_of(name)
    empty = inspect.Parameter.empty
    for call in (function, module.forward):
        assert by_position(call) == dict.fromkeys(DATA[name], empty)
    assert by_position(module) == {}
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    assert kinds == {
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    }


@every_loss
def test_every_loss_has_the_options_that_all_have(name):
    own, found = by_name(getattr(topreg, name)), by_name(function_of(name))
    given = dict.fromkeys(of_a_call(name))
    assert by_name(getattr(topreg, name).forward) == given
    common = first_options(name)
    if name in IMAGES:  # what says how images are read comes first
        assert found == given | own
        assert [item for item in own.items() if item[0] in common] == list(common.items())
    else:
        assert list(found.items()) == [*given.items(), *own.items()]
        assert list(own.items())[: len(common)] == list(common.items())
    assert list(own.items())[-1] == ("reduction", "mean")
    assert not GONE & set(found)
    required = {option for option, default in own.items() if default is inspect.Parameter.empty}
    assert required == {
        "BettiPriorLoss": {"betti_numbers"},
        "ConnectivityLoss": {"scale"},
        "HomologyConsistency": {"perturbation_weight"},
    }.get(name, set())


@every_loss
def test_a_module_holds_its_options_and_checks_them_at_once(name):
    module = getattr(topreg, name)
    required = {
        option: (1, 0) if option == "betti_numbers" else 0.5
        for option, default in by_name(module).items()
        if default is inspect.Parameter.empty
    }
    held = module(**required)
    for option, default in by_name(module).items():
        expected = required.get(option, default)
        assert getattr(held, option) == expected
    assert issubclass(module, torch.nn.Module)
    for wrong in ({"filtration": "euclidean"}, {"reduction": "add"}):
        with pytest.raises((TypeError, ValueError), match=f"^`{next(iter(wrong))}` should be"):
            module(**required, **wrong)


def written(name):
    """Annotation and default of each field of a module, and of each option, as they are written."""
    module = getattr(topreg, name)
    classes = [c for c in module.__mro__ if FunctionModule in c.__mro__[1:]]
    bodies = [ast.parse(inspect.getsource(c)).body[0].body for c in reversed(classes)]
    fields = {
        node.target.id: (ast.unparse(node.annotation), node.value and ast.unparse(node.value))
        for body in bodies
        for node in body
        if isinstance(node, ast.AnnAssign)
    }
    given = ast.parse(inspect.getsource(function_of(name))).body[0].args
    options = {
        argument.arg: (ast.unparse(argument.annotation), value and ast.unparse(value))
        for argument, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)
        if argument.arg not in of_a_call(name)
    }
    return fields, options


@pytest.mark.parametrize("name", sorted({*DATA, *NOT_ON_DATA, *FEATURES}))
def test_the_fields_that_editors_see_are_the_options_of_the_function(name):
    fields, options = written(name)
    assert fields == options


def test_unknown_and_missing_options_are_told_with_the_class():
    with pytest.raises(TypeError, match=r"^RTD\(\) got an unexpected keyword argument 'metric'$"):
        topreg.RTD(metric="cosine")
    with pytest.raises(TypeError, match=r"^ConnectivityLoss\(\) missing a required .* 'scale'$"):
        topreg.ConnectivityLoss()


@pytest.mark.parametrize("name", sorted(NOT_ON_DATA))
def test_distances_of_diagrams_take_diagrams(name):
    for call in (function_of(name), getattr(topreg, name).forward):
        assert [*by_position(call)] == ["first", "second"]
        assert not {"pairs", "filtration", "dimensions"} & set(by_name(call))


# What is private calls nothing that is public


MAY_BE_CALLED = {
    name
    for name in topreg.__all__
    if inspect.isclass(getattr(topreg, name)) and issubclass(getattr(topreg, name), tuple)
} | {"PersistencePairs"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def public_calls(node, aliases, private):
    """Calls of public names inside private functions, classes and modules, with their lines."""
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        inside = private or (named and is_private(child.name))
        if inside and isinstance(child, ast.Call):
            called = child.func
            if isinstance(called, ast.Name):
                name = aliases.get(called.id, "")
            else:  # of an object it is a method, of a module the same function
                owner = ast.unparse(called).rpartition(".")[0]
                name = called.attr if owner in aliases.get("modules", ()) else ""
            if name in set(topreg.__all__) - MAY_BE_CALLED:
                yield child.lineno, name
        yield from public_calls(child, aliases, inside)


def aliases_of(tree):
    """Names in a file that stand for imported or defined names, and the modules imported there."""
    aliases, modules = {name: name for name in topreg.__all__}, {"topreg"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("topreg"):
            aliases |= {alias.asname or alias.name: alias.name for alias in node.names}
            modules |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {a.asname or a.name for a in node.names if a.name.startswith("topreg")}
    return aliases | {"modules": modules - set(topreg.__all__)}


def test_private_code_calls_no_public_name():
    package = pathlib.Path(topreg.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        if path.name == "compilation.py":  # it runs searches as users do, to compile them
            continue
        parts = path.relative_to(package).with_suffix("").parts
        tree = ast.parse(path.read_text())
        private = any(is_private(part) for part in parts)
        found += [(str(path.name), *call) for call in public_calls(tree, aliases_of(tree), private)]
    assert found == []


def test_a_private_call_of_a_public_name_would_be_found():
    code = (
        "from topreg._tracks import edge_vectors as ends\nfrom topreg import losses\n"
        "def public(x): return ends(x)\n"
        "def _private(x): return ends(x), losses.rtd(x), x.rtd(), PersistencePairs(x)\n"
    )
    tree = ast.parse(code)
    assert [*public_calls(tree, aliases_of(tree), False)] == [(4, "edge_vectors"), (4, "rtd")]
    assert len([*public_calls(tree, aliases_of(tree), True)]) == 3


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


COUNT = """
import sys, torch, topreg

def calls(function):
    count = 0
    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"
    function()
    sys.setprofile(profile)
    function()
    sys.setprofile(None)
    return count - 1  # the function itself

x, y = torch.eye(8)[:, :3], torch.eye(8)[:, 2:5]
pairs, coincidence = topreg.RipsFiltration().pairs(x), topreg.TrackCoincidence()
signature = topreg.SignatureLoss()
print(calls(lambda: coincidence(x, y)), calls(lambda: coincidence(x, y, pairs=pairs)))
print(calls(lambda: signature(x, y)))
"""


def test_losses_run_few_python_functions():
    """Small clouds are trained on in many short steps, where Python takes most of the time."""
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    counts = [int(count) for count in done.stdout.split()]
    assert all(count <= most for count, most in zip(counts, (70, 40, 60), strict=True)), counts
