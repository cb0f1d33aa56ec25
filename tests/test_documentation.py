"""The Python blocks of README and docs/ run in order, as a reader copies them."""

import doctest
import inspect
import pathlib
import re
import runpy

import pytest
import torch
from asserts import HAS_TORCH_TOPOLOGICAL, NO_TORCH_TOPOLOGICAL

import topreg
from topreg import image_metrics, interop, plot

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *(page for part in (".", "guides", "project") for page in sorted((DOCS / part).glob("*.md"))),
]
BIBTEX = (DOCS / "references.bib").read_text()
SUBMODULES = [topreg.distributed, image_metrics, interop, plot]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

# torch-topological brings POT and giotto-ph, which warn when they are imported
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ImportWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # lightning
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*number of training batches"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_run_in_order(page):
    blocks = BLOCK.findall(page.read_text())
    peers = re.findall(r"\b(gph|torch_topological|to_persistence_information)\b", "".join(blocks))
    if peers and not HAS_TORCH_TOPOLOGICAL:
        pytest.skip(NO_TORCH_TOPOLOGICAL)
    torch.manual_seed(0)
    names = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    if page.stem == "quickstart":  # the regulariser works
        assert names["loop_share"](names["plain"]) < 0.1
        assert names["loop_share"](names["regularised"]) > 0.3
        assert min(names["plain_accuracy"], names["regularised_accuracy"]) > 0.95


def test_the_messages_that_troubleshooting_quotes_exist():
    source = "".join(path.read_text() for path in (ROOT / "topreg").rglob("*.py"))
    quoted = re.findall(
        r'^\*\*"`\w+`( and `\w+`)? (should .*?)\."', (DOCS / "troubleshooting.md").read_text(), re.M
    )
    assert len(quoted) >= 5
    for _, message in quoted:
        assert message.removeprefix("should be ") in source


def test_there_are_blocks_to_run():
    assert sum(len(BLOCK.findall(page.read_text())) for page in PAGES) >= 6


def test_the_loss_of_your_own_has_ten_lines():
    block = BLOCK.findall((DOCS / "guides" / "own_loss.md").read_text())[0]
    definition = block[block.index("def gap_loss") : block.index("points = torch.randn")]
    assert len(definition.strip().splitlines()) <= 10


def test_the_api_pages_list_every_public_name():
    """Pages are generated from this list; that each has an example: test_public_api.py."""
    pages = set((DOCS / "api").glob("*.rst")) - {DOCS / "api" / "index.rst"}
    text = "".join(page.read_text() for page in pages)
    listed = set(re.findall(r"^   ([A-Za-z_]+)$", text, re.M))
    assert listed == {name for module in (topreg, *SUBMODULES) for name in module.__all__}


@pytest.mark.parametrize("module", SUBMODULES, ids=lambda m: m.__name__)
def test_submodules_have_examples(module):
    for name in module.__all__:
        documented = inspect.getdoc(getattr(module, name))
        assert doctest.DocTestParser().get_examples(documented), name


@pytest.mark.parametrize("module", [topreg, *SUBMODULES])
def test_every_docstring_leads_to_the_glossary(module):
    for name in module.__all__:
        thing = getattr(module, name)
        parts = [thing, *vars(thing).values()] if inspect.isclass(thing) else [thing]
        texts = [str(part.__doc__) for part in parts if getattr(part, "__doc__", None)]
        assert any(":term:" in text for text in texts), name


def test_every_loss_can_be_cited():
    named = set(" ".join(re.findall(r"topreg = \{(.*?)\}", BIBTEX, re.S)).split())
    folders = "topreg.losses.", "topreg.features.persistence_"
    losses = {n for n in topreg.__all__ if getattr(topreg, n).__module__.startswith(folders)}
    assert losses - named == {"HomologyTerms"}
    assert named <= set(topreg.__all__)


def test_the_readmes_figure_is_drawn_by_its_script(tmp_path, monkeypatch):
    script = runpy.run_path(str(DOCS / "figures" / "overview.py"))
    monkeypatch.setitem(script["main"].__globals__, "FOLDER", tmp_path)
    script["main"]()
    for name in ("overview-light.svg", "overview-dark.svg"):
        assert (tmp_path / name).stat().st_size > 10_000
        assert f"docs/_static/{name}" in PAGES[0].read_text()
        assert (DOCS / "_static" / name).is_file()


def test_how_it_works_inside_names_files_that_exist():
    named = set(re.findall(r"`([\w/]+\.py)`", (DOCS / "project" / "inside.md").read_text()))
    assert len(named) > 15
    files = [*(ROOT / "topreg").rglob("*.py"), *(ROOT / "tests").glob("*.py")]
    missing = {name for name in named if not any(f"{file}".endswith(f"/{name}") for file in files)}
    assert missing == set()


def test_the_version_to_cite():
    assert f"version: {topreg.__version__}" in (ROOT / "CITATION.cff").read_text()
