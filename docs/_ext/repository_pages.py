"""Pages that are files of the repository elsewhere, with their links led to pages of the site."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
PAGES = {
    "results/adapters": "applications/vlm_adapters/README.md",
    "results/caltech101": "benchmarks/results/caltech101_devise/README.md",
    "results/choices": "applications/vlm_adapters/CHOICES.md",
    "results/devise": "applications/vlm_adapters/assets/README.md",
}
LINKS = {
    "(assets/README.md)": "(devise.md)",
    "(../../../applications/vlm_adapters/assets/README.md)": "(devise.md)",
    "(CHOICES.md)": "(choices.md)",
    "(../../benchmarks/results/caltech101_devise/README.md)": "(caltech101.md)",
    "(../../../applications/vlm_adapters/README.md)": "(adapters.md)",
    "(../../benchmarks/results/adapters.md)": "(adapters_cost.md)",
    "(../../benchmarks/results/caltech101_devise/results.md)": "(reproduction.md)",
}


def read(app: Sphinx, page: str, source: list[str]) -> None:
    """Take the text of a page from the repository."""
    if page in PAGES:
        file = ROOT / PAGES[page]
        app.env.note_dependency(str(file))
        text = file.read_text(encoding="utf-8")
        for link, ours in LINKS.items():
            text = text.replace(link, ours)
        source[0] = text


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
