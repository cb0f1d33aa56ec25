"""Table 1: ``vlm-adapters reproduce 1``."""

from . import reproduce

if __name__ == "__main__":
    reproduce("1")
