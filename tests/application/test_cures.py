"""What error messages tell the reader to run: commands, options and extras that exist."""

import ast
import importlib
import importlib.metadata
import pathlib
import re
import sys

import pytest
import typer
import vlm_adapters
from vlm_adapters.cli import app

SOURCES = sorted(pathlib.Path(vlm_adapters.__file__).parent.rglob("*.py"))
PROJECT = (pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text()


def texts():
    """Every text of the application but docstrings."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in documents:
                yield text


def commands():
    """The name of each command, and its options."""
    found = {}

    def collect(group, name):
        for part, command in group.commands.items():
            if hasattr(command, "commands"):
                collect(command, f"{name}{part} ")
            else:
                found[name + part] = {opt for p in command.params for opt in p.opts}

    collect(typer.main.get_command(app), "")
    return found


def test_commands_that_messages_name_exist():
    command = re.compile(r"`vlm-adapters ((?:[a-z]+ ?)+)")
    named = {name.strip() for text in texts() for name in command.findall(text)}
    assert len(named) > 5
    assert named <= set(commands())


def test_options_that_messages_name_exist():
    named = {option for text in texts() for option in re.findall(r"`(--[a-z-]+)", text)}
    known = set().union(*commands().values()) | {"--datasets"}  # of the scripts of the tables
    assert len(named) > 5
    assert named <= known


def imported():
    """Other projects' modules that the application imports, and the extra that brings each."""
    for path in SOURCES:
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            names = [part.name for part in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            yield from ((name.split(".")[0], "vlm") for name in names)
        yield from ((name, "devise") for name in re.findall(r'_require\("(\w+)[.\w]*"\)', text))


@pytest.mark.parametrize(("module", "extra"), sorted(set(imported())))
def test_the_extra_to_install_brings_the_module(module, extra):
    """Itself, or with what it needs; topreg without an extra brings some."""
    if module in {*sys.stdlib_module_names, "topreg"}:
        return
    distributions = importlib.metadata.packages_distributions()
    if module not in distributions:
        pytest.skip(f"{module} is not installed")
    listed = "".join(
        re.search(rf"^{name} = \[$(.*?)^\]", PROJECT, re.MULTILINE | re.DOTALL)[1]
        for name in ("dependencies", extra)
    )
    brought = {canonical(name) for name in re.findall(r'^  "([\w-]+)', listed, re.MULTILINE)}
    for _ in range(3):
        for name in list(brought):
            brought |= {canonical(need) for need in needs(name)}
    assert brought & {canonical(name) for name in distributions[module]}


def canonical(name):
    """Name of a distribution as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(name):
    """Distributions without which one does not install."""
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [re.match(r"[\w.-]+", line)[0] for line in lines if "extra ==" not in line]
