"""Table 4: ``vlm-adapters reproduce 4``."""

from . import reproduce

if __name__ == "__main__":
    reproduce("4")
