"""Figure 3: ``vlm-adapters reproduce figure3``."""

from . import reproduce

if __name__ == "__main__":
    reproduce("figure3")
