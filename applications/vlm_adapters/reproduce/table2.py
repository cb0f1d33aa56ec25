"""Table 2: ``vlm-adapters reproduce 2``."""

from . import reproduce

if __name__ == "__main__":
    reproduce("2")
