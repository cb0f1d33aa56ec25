"""The commands; the modules that they call do the work. Each is imported when it is called."""

from __future__ import annotations

from ._app import app, run

__all__ = ["app", "run"]
