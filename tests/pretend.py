"""A pretended accelerator: tensors that say so hold their values on the CPU.

``pytest -p pretend -m gpu`` runs the tests of accelerators on it. They then take the library's
paths for other devices, with values and gradients, and an operation on tensors of two devices is an
error. With ``PRETEND=single`` in the environment the device has no double precision. What a real
device rounds otherwise, or does not offer, this cannot show.
"""

import os
from unittest import mock

import pytest
import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "pretend"
ATEN = torch.ops.aten
COPIES = (ATEN._to_copy.default, ATEN.copy_.default)
INDEXING = (ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default)

BODIES = {}  # of the library's operators, which see the device of their arguments


def recorded(library, name, function, key, *args, define=torch.library.Library.impl, **kwargs):
    if key == "CompositeExplicitAutograd":
        BODIES[name] = function
    return define(library, name, function, key, *args, **kwargs)


with mock.patch.object(torch.library.Library, "impl", recorded):
    from topreg._safe import SINGLE_ONLY

if os.environ.get("PRETEND") == "single":
    SINGLE_ONLY.add(NAME)


class Backend(backend_registration._DummyBackendModule):
    """What torch asks of a device type."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


# torch has no way back from this, so a process with it does nothing else
backend_registration._setup_privateuseone_for_python_backend(NAME, Backend())
torch.accelerator.synchronize = lambda device=None: None  # nothing runs behind the caller's back


class There(torch.Tensor):
    """A tensor of the pretended device."""

    @staticmethod
    def __new__(cls, values):
        if values.dtype == torch.float64 and NAME in SINGLE_ONLY:
            raise TypeError("the pretended device has no double precision")
        return torch.Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
        )

    def __init__(self, values):
        self.values_here = values

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self):
        return self.values_here.tolist()

    def __repr__(self):
        return f"There({self.values_here})"

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        with Pretended():
            return operator(*args, **(kwargs or {}))


class Pretended(TorchDispatchMode):
    """Runs operations on tensors of the pretended device, and makes such tensors."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        there = [x for x in tensors if isinstance(x, There)]
        if there and operator.namespace == "topreg":
            with self:
                return BODIES[operator._opname](*args, **kwargs)
        indices = args[1] if operator in INDEXING and isinstance(args[0], There) else []
        here = {id(x) for x in tensors if not isinstance(x, There) and x.ndim}
        if there and here - {id(x) for x in indices} and operator not in COPIES:
            raise RuntimeError(f"{operator}: tensors on two devices")
        moves = bool(there)
        if operator is ATEN.copy_.default:
            moves = isinstance(args[0], There)
        elif kwargs.get("device") is not None:
            moves = torch.device(kwargs["device"]).type == NAME
            kwargs["device"] = torch.device("cpu")
        args, kwargs = tree_map_only(There, lambda x: x.values_here, (args, kwargs))
        result = operator(*args, **kwargs)
        if not moves:
            return result
        known = {id(x.values_here): x for x in there}  # in-place operations return their argument
        return tree_map_only(
            torch.Tensor, lambda x: known[id(x)] if id(x) in known else There(x), result
        )


@pytest.fixture(autouse=True)
def pretended():
    with Pretended():
        yield
