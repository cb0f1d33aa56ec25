"""Repeat a table or figure 3 of the paper: ``python -m vlm_adapters.reproduce 1``."""

import sys

from ..__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "reproduce")
    main()
