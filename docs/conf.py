"""Configuration of the documentation: ``sphinx-build -n -W docs docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE / "gallery")]  # our extensions; the gallery's helpers

import importlib  # noqa: E402
import typing  # noqa: E402

import matplotlib.axes  # noqa: E402, F401
import numba  # noqa: E402, F401
import torch  # noqa: E402, F401
from inventories import written_inventories  # noqa: E402

# Names that only annotations use are imported, so that they resolve.
typing.TYPE_CHECKING = True
topreg = importlib.import_module("topreg")
importlib.import_module("topreg.plot")
importlib.import_module("topreg.interop")
typing.TYPE_CHECKING = False

project = "topreg"
author = "The topreg authors"
project_copyright = "2026, the topreg authors"
version = release = topreg.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx-mathjax-offline",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "repository_pages",
]
exclude_patterns = ["_build", "gallery"]
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]  # the gallery's order is a function

# Markdown
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Docstrings
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape", "Source"]
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autosummary_generate = True
doctest_test_doctest_blocks = "default"

# References, also without a network
nitpicky = True
intersphinx_mapping = written_inventories(HERE / "_inventories", HERE / "_build" / "inventories")
intersphinx_timeout = 1

# Mathematics, also without a network: MathJax from the package's copy
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": "/",
    "ignore_pattern": r"(^|/)_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1000,
    "backreferences_dir": None,
    "within_subsection_order": "gallery_order.Order",
}

# Pages
html_theme = "furo"
html_title = "topreg"
html_static_path = ["_static"]
html_css_files = ["topreg.css"]
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#2b5c8a",
        "color-brand-content": "#2b5c8a",
    },
    "dark_css_variables": {
        "color-brand-primary": "#8ab8e0",
        "color-brand-content": "#8ab8e0",
    },
}
