"""Advice in error messages on how to turn a value into a tensor.

Advice is printed only if it works on the given value.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

_AS_GRAPH = (
    " Absent entries are not zero distances. With `graph = {graph}`, pass `{weights}` to "
    '`FlagFiltration({edges}, matrix.shape[0], duplicate_edges="min")`.'
)
_NUMBERS = (bool, int, float, complex, list, tuple, range)


def conversion(value: Any, *, of_distances: bool = False) -> str:
    """Return a sentence that says how to convert a value to a tensor; empty if no way works.

    ``of_distances`` says that an absent entry of a sparse matrix is an absent edge.
    """
    if hasattr(value, "tocoo") and of_distances:
        return _AS_GRAPH.format(
            graph="matrix.tocoo()",
            weights="torch.as_tensor(graph.data)",
            edges="torch.as_tensor(np.stack([graph.row, graph.col])).long()",
        )
    if hasattr(value, "death_edges"):
        return " Births and deaths are `filtration.diagram(pairs, points)`."
    if isinstance(value, Iterator):
        return " Make a list of it with `list`."
    code, convert = _way(value)
    if not code:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            convert(value)
    except Exception:  # any value may come here, with any error
        return ""
    return f" Convert it with `{code}`."


def densification(tensor: Tensor, *, of_distances: bool = False) -> str:
    """Return a sentence that says what to do with a tensor that is not dense."""
    if not of_distances or tensor.layout == torch._mkldnn:  # type: ignore[attr-defined]
        return " Use `.to_dense()`."
    layouts = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)
    if tensor.ndim < 2 or tensor.dense_dim() or tensor.layout not in layouts:
        # blocks hold zeros where there is no entry
        return " Absent entries are not zero distances. Pass those that exist to `FlagFiltration`."
    return _AS_GRAPH.format(
        graph="matrix.to_sparse_coo().coalesce()", weights="graph.values()", edges="graph.indices()"
    )


def _way(value: Any) -> tuple[str, Callable[[Any], object]]:
    """Return code that may convert a value of this type, or "", and a function that tries it."""
    if hasattr(value, "tocoo"):  # SciPy
        return "torch.as_tensor(matrix.toarray())", lambda matrix: matrix.dtype
    if hasattr(value, "to_numpy"):  # pandas, polars
        return "torch.as_tensor(frame.to_numpy())", lambda x: torch.as_tensor(x.to_numpy())
    tensors = [v for v in value if isinstance(v, Tensor)] if isinstance(value, list | tuple) else []
    if tensors:  # `as_tensor` would drop the gradient of their numbers
        small = all(tensor.ndim < 2 for tensor in tensors)  # clouds are not stacked to one
        return "torch.stack" if small else "", torch.stack
    arrays = ("__array_interface__", "__cuda_array_interface__")
    if isinstance(value, _NUMBERS) or any(hasattr(value, name) for name in arrays):
        return "torch.as_tensor", torch.as_tensor
    return "", torch.as_tensor  # for instance a data set: `as_tensor` would read it item by item
