"""Table 5: ``vlm-adapters reproduce 5``."""

from . import reproduce

if __name__ == "__main__":
    reproduce("5")
