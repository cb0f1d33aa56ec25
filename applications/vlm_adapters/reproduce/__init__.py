"""Scripts that repeat the paper's tables and figure; each calls ``vlm-adapters reproduce``."""

from __future__ import annotations

import sys

from ..__main__ import main


def reproduce(what: str) -> None:
    """Run ``vlm-adapters reproduce`` on a table or ``figure3``, with this process's options."""
    sys.argv[1:1] = ["reproduce", what]
    main()
