"""Counts what a device would be asked to do; on fake tensors it need not exist."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ALLOCATIONS = ("empty", "new_empty", "empty_like", "detach")


class Launches(TorchDispatchMode):
    """The operators that were called, but for views and allocations, and the bytes they touch.

    An operator of the library counts as one. A tensor counts with what it stores, once for each
    operator that reads or writes it, however often it is repeated by ``expand``.
    """

    def __init__(self):
        super().__init__()
        self.names, self.bytes = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function._schema.name.split("::")[1]
        aliases = [a.alias_info for a in function._schema.arguments if a.alias_info]
        is_view = any(not alias.is_write for alias in aliases)
        if function.namespace != "prim" and name not in ALLOCATIONS and not is_view:
            self.names.append(name)
            only_written = name == "copy_" or "out" in (kwargs or {})  # not read, as by ``add_``
            touched = tree_leaves((args, kwargs, None if only_written else result))
            tensors = [x for x in touched if isinstance(x, torch.Tensor)]
            self.bytes += sum(
                min(x.numel() * x.itemsize, x.untyped_storage().nbytes()) for x in tensors
            )
        return result
