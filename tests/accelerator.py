"""The device of the tests marked ``gpu``: any that torch has, also ``pretend``'s."""

import pytest
import torch

from topreg._safe import SINGLE_ONLY

DEVICE = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
needs_accelerator = pytest.mark.skipif(
    DEVICE is None, reason="needs an accelerator: torch.accelerator.is_available() is false"
)


def on_accelerator(test):
    """Mark a test that runs where there is an accelerator."""
    return pytest.mark.gpu(needs_accelerator(test))


def dtypes():
    """What the device computes in."""
    single_only = DEVICE is not None and DEVICE.type in SINGLE_ONLY
    return [torch.float32] if single_only else [torch.float32, torch.float64]
