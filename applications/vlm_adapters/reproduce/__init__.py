"""Scripts that repeat the paper's tables and figure; each calls ``vlm-adapters reproduce``."""

from __future__ import annotations

import sys

from ..__main__ import main


def reproduce(what: str) -> None:
    """Run ``vlm-adapters reproduce`` with the options of this process.

    Args:
        what: Number of a table, or ``"figure3"``.
    """
    sys.argv[1:1] = ["reproduce", what]
    main()
