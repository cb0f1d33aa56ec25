"""Add short names and BibTeX entries to the API's pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import topreg

ALIASES = {"Metric", "Progress", "Range"}  # short names in constructors, said in their text
BIBTEX = Path(__file__).parents[1] / "references.bib"
ENTRY = re.compile(r"^@\w+\{.*?^\}$", re.MULTILINE | re.DOTALL)
NAMES = re.compile(r"^  topreg\s*=\s*\{(.*?)\},?\n", re.MULTILINE | re.DOTALL)


def entries_by_name(text: str) -> dict[str, list[str]]:
    """Return entries of a BibTeX file by the public names in their field ``topreg``, without it.

    Args:
        text: The file's text.

    Returns:
        Entries by name.
    """
    found: dict[str, list[str]] = {}
    for entry in ENTRY.findall(text):
        names = NAMES.search(entry)
        for name in names[1].split() if names else ():
            found.setdefault(name, []).append(NAMES.sub("", entry))
    return found


def add_bibtex(
    app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]
) -> None:
    """Append the entries of an object to its docstring, collapsed."""
    for entry in app.bibtex.get(name.removeprefix("topreg."), ()):  # type: ignore[attr-defined]
        lines += ["", ".. dropdown:: BibTeX", "", "   .. code-block:: bibtex", ""]
        lines += [f"      {line}" for line in entry.splitlines()] + [""]


def resolve_by_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Turn a reference to an object's private module into one to its public name."""
    target = node.get("reftarget", "")
    if target == "Tensor":
        node["reftarget"] = "torch.Tensor"  # for intersphinx, which comes next
    if target in ALIASES:
        return content
    name = target.rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in topreg.__all__:
        return None
    if "." in target and not target.startswith("topreg."):
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", f"topreg.{name}", node, content
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.bibtex = entries_by_name(BIBTEX.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", add_bibtex)
    app.connect("missing-reference", resolve_by_public_name, priority=400)  # before intersphinx
    return {"parallel_read_safe": True, "parallel_write_safe": True}
