"""Table 3: ``vlm-adapters reproduce 3``."""

from . import reproduce

if __name__ == "__main__":
    reproduce("3")
