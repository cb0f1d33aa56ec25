"""Whether torch differentiates in levels, which hide each other's ``requires_grad``."""

from __future__ import annotations

import torch

# Torch has no public name for it; without one the answer is that of the general path.
_TRANSFORMS = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)


def within_transforms() -> bool:
    """Whether this is called within ``torch.func``; traced programs too."""
    return bool(_TRANSFORMS())
