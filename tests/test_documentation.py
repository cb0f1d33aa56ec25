"""The Python blocks of README and docs/ run in order, as a reader copies them."""

import pathlib
import re

import pytest
import torch

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

# torch-topological brings POT and giotto-ph, which warn when they are imported
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ImportWarning"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_run_in_order(page):
    blocks = BLOCK.findall(page.read_text())
    torch.manual_seed(0)
    names = {"points": torch.randn(1200, 2)}  # what the scaling page does not repeat
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)


def test_there_are_blocks_to_run():
    assert sum(len(BLOCK.findall(page.read_text())) for page in PAGES) >= 6


def test_the_loss_of_your_own_has_ten_lines():
    block = BLOCK.findall((ROOT / "docs" / "own_loss.md").read_text())[0]
    definition = block[block.index("def gap_loss") : block.index("points = torch.randn")]
    assert len(definition.strip().splitlines()) <= 10
