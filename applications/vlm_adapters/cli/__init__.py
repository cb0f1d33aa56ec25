"""The commands; what they do stands in the modules that they call."""

from __future__ import annotations

from ._app import app, run

# Importing a module of commands adds them to the app, in the order in which the help lists them.
from . import demo, data, features, train, tune, use, report, reproduce, weights  # noqa: F401  isort: skip

__all__ = ["app", "run"]
