"""Argument guards: each raises an error that says what is wrong and how to mend it."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from topreg._conversions import conversion, densification

LARGEST_INTEGER = 1 << 53  # beyond it not every integer is a float
USUAL = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def shape(tensor: Tensor) -> str:
    """Return a shape as error messages print it."""
    return str(tuple(tensor.shape))


def is_tensor(name: str, value: object, *, of_distances: bool = False) -> None:
    """Raise if a value is not a tensor; ``of_distances`` as in :func:`is_floating`."""
    if not isinstance(value, Tensor):
        cure = conversion(value, of_distances=of_distances)
        raise TypeError(f"`{name}` should be a torch.Tensor. Got {type(value).__name__}.{cure}")
    if value.is_nested:
        raise ValueError(
            f"`{name}` should be dense. Got a nested tensor. Pass its parts, `.unbind()`."
        )


def is_floating(name: str, tensor: Tensor, *, of_distances: bool = False) -> None:
    """Raise if a tensor is not dense, or not of half, single or double precision.

    ``of_distances`` says that an absent entry of a sparse matrix is an absent edge, not a zero.
    """
    is_tensor(name, tensor, of_distances=of_distances)
    if not tensor.is_floating_point():
        cure = "" if tensor.is_complex() else " Use `.float()`."
        raise TypeError(f"`{name}` should be floating point. Got {tensor.dtype}.{cure}")
    if tensor.dtype.itemsize < 2:
        raise TypeError(
            f"`{name}` should be float16, bfloat16, float32 or float64. Got {tensor.dtype}."
        )
    if tensor.layout != torch.strided:
        cure = densification(tensor, of_distances=of_distances)
        raise ValueError(f"`{name}` should be dense. Got {tensor.layout}.{cure}")


def is_integer(name: str, tensor: Tensor, *, in_64_bits: bool = False) -> None:
    """Raise unless a value is a dense tensor of integers, booleans included, or only of int64."""
    is_tensor(name, tensor)
    whole = not (tensor.is_floating_point() or tensor.is_complex())
    if not whole or (in_64_bits and tensor.dtype != torch.int64):
        what = "torch.int64" if in_64_bits else "integers"
        cure = " Use `.long()`." if whole and tensor.dtype != torch.bool else ""
        raise TypeError(f"`{name}` should be {what}. Got {tensor.dtype}.{cure}")
    if tensor.layout != torch.strided:
        raise ValueError(f"`{name}` should be dense. Got {tensor.layout}. Use `.to_dense()`.")


is_int64 = partial(is_integer, in_64_bits=True)


def is_not_one_hot(labels: Tensor) -> None:
    """Raise if labels are rows of floating-point numbers, as one-hot labels are."""
    is_tensor("labels", labels)
    if labels.ndim == 2 and labels.is_floating_point():
        raise TypeError(
            f"`labels` should be integers (n,). Got {labels.dtype} of shape {shape(labels)}."
            + _of_rows(labels)
        )


def have_no_columns(labels: object, sizes: Sequence[int]) -> None:
    """Raise if each vertex of one cloud has a row of labels, as one-hot labels have."""
    if isinstance(labels, Tensor) and labels.ndim == 2 and tuple(sizes) == (len(labels),):
        raise ValueError(
            f"`labels` should have one entry per vertex, shape ({len(labels)},). "
            f"Got {shape(labels)}.{_of_rows(labels)}"
        )


def _of_rows(labels: Tensor) -> str:
    """Return a sentence that says how to turn rows of labels into one label per row."""
    if labels.shape[1] < 2:
        return " Use `labels.squeeze(1)`." if labels.shape[1] else ""
    return " Use `labels.argmax(1)` if they are one-hot."


def is_readable(name: str, tensor: Tensor) -> None:
    """Raise if a search cannot read values: on the meta device, or in ``torch.func.vmap``."""
    if torch.compiler.is_compiling():
        return
    if tensor.device.type == "meta":
        raise ValueError(f"`{name}` should have values. Got a tensor on the meta device.")
    inner, functorch = tensor, torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(inner):
        if functorch.is_batchedtensor(inner):
            raise ValueError(
                f"`{name}` should not come from `torch.func.vmap` where pairs are found. "
                "Got a tensor batched by it. Pass the whole batch, or `pairs=` found before. "
                'For one gradient per cloud use `torch.func.jacrev` with `reduction="none"`.'
            )
        inner = functorch.get_unwrapped(inner)


def has_rank(name: str, tensor: Tensor, letters: str, cure: str = "") -> None:
    """Raise unless a tensor has as many axes as ``letters``, for instance ``(n, d)``."""
    if tensor.ndim != len([axis for axis in letters.strip("()").split(",") if axis]):
        raise ValueError(f"`{name}` should have shape {letters}. Got {shape(tensor)}.{cure}")


def are_edges(name: str, edges: Tensor) -> None:
    """Raise unless edges are rows of two int64 vertices."""
    is_int64(name, edges)
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError(f"`{name}` should have shape (m, 2). Got {shape(edges)}.")


def is_point_cloud(name: str, points: Tensor) -> None:
    """Raise if the points are not one floating-point cloud."""
    usual = isinstance(points, Tensor) and points.ndim == 2 and points.dtype in USUAL
    if usual and points.layout == torch.strided and not points.is_nested:
        return
    is_tensor(name, points)
    cure = " Use `.flatten(1)` if each row is a point." if points.ndim > 3 else ""
    has_rank(name, points, "(n, d)", cure)
    is_floating(name, points)


def is_diagram(name: str, diagram: Tensor) -> None:
    """Raise unless a diagram has floating-point rows of birth and death."""
    is_floating(name, diagram)
    if diagram.ndim != 2 or diagram.shape[1] != 2:
        raise ValueError(f"`{name}` should have shape (m, 2). Got {shape(diagram)}.")


def is_square(name: str, matrix: Tensor) -> None:
    """Raise if a tensor is not one floating-point square matrix of distances."""
    is_tensor(name, matrix, of_distances=True)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        square = 8 * matrix.numel() + 1  # of a whole number for n (n - 1) / 2 entries
        condensed = matrix.ndim == 1 and square > 1 and math.isqrt(square) ** 2 == square
        cure = " Turn a condensed vector into a matrix with `scipy.spatial.distance.squareform`."
        raise ValueError(
            f"`{name}` should be a square matrix (n, n). Got {shape(matrix)}."
            + (cure if condensed else "")
        )
    is_floating(name, matrix, of_distances=True)


def is_option(name: str, value: object, options: Sequence[str]) -> None:
    """Raise if a value is not one of the options."""
    if not isinstance(value, str) or value not in options:
        names = [f'"{option}"' for option in options]
        listed = ", ".join(names[:-1]) + f" or {names[-1]}" if len(names) > 1 else names[0]
        raise ValueError(f"`{name}` should be {listed}. Got {value!r}.")


RANGES: dict[str, Callable[[Any], bool]] = {
    "positive": partial(operator.lt, 0),
    "at least 0": partial(operator.le, 0),
    "at least 1": partial(operator.le, 1),
    "finite": lambda x: -math.inf < x < math.inf,  # torch.compile traces this
}


def is_number(name: str, value: Any, what: str | None = None) -> Any:
    """Return one number, as float unless it is an integer; raise if it is none or out of range.

    ``True`` is not a number.
    """
    if type(value) is not float:
        if _is_array(value) or isinstance(value, bool) or not hasattr(type(value), "__float__"):
            raise TypeError(f"`{name}` should be a number. Got {value!r}.")
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:  # torch could not compare it
            raise ValueError(
                f"`{name}` should be a float if it is that large. Got {value!r}. "
                f"Use `float({name})`."
            )
        value = value if isinstance(value, int | float) else float(value)
    if what is not None and not RANGES[what](value):
        raise ValueError(f"`{name}` should be {what}. Got {value}.")
    return value


def is_flag(name: str, value: object) -> None:
    """Raise if a value is a tensor or an array, for example logits for the option ``logits``."""
    if _is_array(value):
        raise TypeError(f"`{name}` should be True or False. Got {type(value).__name__}.")


def _is_array(value: object) -> bool:
    """Return whether a value is a tensor or an array with axes; a number of NumPy is not."""
    return isinstance(value, (Tensor, np.ndarray)) and value.ndim > 0


def natural(value: Any) -> int:
    """Return an integer of any integer type that is at least 0; -1 for anything else."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return -1
    return max(number, -1)


def is_natural(name: str, value: Any, least: int = 0) -> int:
    """Return an integer of any integer type that is at least ``least``; raise for anything else."""
    if type(value) is int and value >= least:
        return value
    number = natural(value)
    if number < least:
        what = "a positive" if least else "a non-negative"
        raise ValueError(f"`{name}` should be {what} integer. Got {value!r}.")
    return number


is_count = partial(is_natural, least=1)


def is_mapping(name: str, value: object) -> None:
    """Raise unless a value is a mapping, such as a dictionary."""
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` should be a dictionary. Got {type(value).__name__}.")


def is_progress(value: object) -> None:
    """Raise unless a value is a function, a bool or None."""
    if value is not None and not isinstance(value, bool) and not callable(value):
        raise TypeError(
            "`progress` should be True, False, None or a function of (stage, done, total). "
            f"Got {value!r}."
        )


def have_one_width(name: str, rows: Tensor, other_name: str, other: Tensor, cure: str = "") -> None:
    """Raise if two clouds differ in width."""
    if rows.shape[1] != other.shape[1]:
        raise ValueError(
            f"`{name}` and `{other_name}` should have the same number of coordinates. "
            f"Got {rows.shape[1]} and {other.shape[1]}.{cure}"
        )


def match(source: Tensor, target: Tensor) -> None:
    """Raise if two views differ in length or width."""
    if source.shape[0] != target.shape[0]:
        raise ValueError(
            "`source` and `target` should have one row per vertex, in the same order. "
            f"Got {len(source)} and {len(target)} rows. "
            "To pair samples with class prototypes, pass `prototypes[labels]`."
        )
    cure = " Map both into a common space first, for instance with `exponential_affinity`."
    have_one_width("source", source, "target", target, cure)
    alike("source", source, "target", target)


def of_same_clouds(sizes: Sequence[int], others: Sequence[int]) -> None:
    """Raise if the clouds of two spaces differ in size."""
    if tuple(sizes) != tuple(others):
        raise ValueError(
            "`source` and `target` should be clouds of the same sizes, rows in the same order. "
            f"Got {tuple(sizes)} and {tuple(others)}."
        )


def alike(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Raise if only one tensor is in double precision, or devices differ.

    Half and single precision may be mixed, as autocast does; both are computed in single.
    """
    if (tensor.dtype == torch.float64) != (other.dtype == torch.float64):
        raise TypeError(
            f"`{name}` and `{other_name}` should have one dtype. "
            f"Got {tensor.dtype} and {other.dtype}. Use `{other_name}.to({name}.dtype)`."
        )
    if tensor.device != other.device:
        on_one_device(name, tensor, other_name, other.device)


def on_one_device(name: str, tensor: Tensor, other: str, device: torch.device) -> None:
    """Raise if two arguments are on different devices."""
    if tensor.device != device:
        raise ValueError(
            f"`{name}` and `{other}` should be on one device. Got {tensor.device} and {device}. "
            f"Use `{other}.to({name}.device)`."
        )


def indexes(vertices: int, cloud_sizes: Sequence[int], name: str = "pairs") -> None:
    """Raise if pairs were found on another number of vertices."""
    own = sum(cloud_sizes)
    if own != vertices:
        got = f"vertex {own - 1}" if own > vertices else f"pairs of {own} vertices"
        raise ValueError(
            f"`{name}` should index {vertices} vertices. Got {got}. "
            "Were the pairs found on another batch?"
        )


def of_clouds(cloud_sizes: Sequence[int], sizes: Sequence[int], name: str, pairs_name: str) -> None:
    """Raise if pairs belong to clouds of other sizes."""
    if tuple(cloud_sizes) != tuple(sizes):
        raise ValueError(
            f"`{pairs_name}` and `{name}` should be of clouds of the same sizes. "
            f"Got {tuple(cloud_sizes)} and {tuple(sizes)}. Do they belong to the same batch?"
        )


def one_each(name: str, tensor: Tensor, count: int, what: str, cure: str = "") -> None:
    """Raise unless a tensor is a vector with one entry per vertex, edge or pair."""
    if tensor.shape != (count,):
        raise ValueError(
            f"`{name}` should have one entry per {what}, shape ({count},). "
            f"Got {shape(tensor)}.{cure}"
        )


def have_none(
    name: str, bad: Tensor, requirement: str, noun: str, what: str = "", cure: str = ""
) -> None:
    """Raise if a row or an entry is bad. Reads values: synchronises the device."""
    if bool(bad.any()):
        raise ValueError(f"`{name}` should {requirement}. Got {rows(bad, noun, what)}.{cure}")


def have_no_nan(name: str, matrix: Tensor) -> None:
    """Raise if a row has NaN."""
    have_none(name, matrix.isnan().any(dim=1), "be free of NaN", "row", " with NaN")


def are_finite(name: str, points: Tensor) -> None:
    """Raise if a row has NaN or infinity. Reads values: synchronises the device."""
    is_readable(name, points)
    if bool(points.sum().isfinite()):  # one pass, no temporary; the sum of finite rows may overflow
        return
    have_none(name, ~points.isfinite().all(dim=1), "be finite", "row", " with NaN or infinity")


def have_direction(name: str, points: Tensor) -> None:
    """Raise if a row is zero: its cosine is undefined."""
    zero = (points == 0).all(dim=1)
    have_none(name, zero, 'have no zero row under `metric="cosine"`', "zero row")


def rows(bad: Tensor, noun: str, what: str = "", plural: str = "entries") -> str:
    """Return text that counts the bad rows or entries and names the first."""
    count, first = int(bad.sum()), int(bad.nonzero()[0])
    name = noun if count == 1 else plural if noun == "entry" else noun + "s"
    return f"{count} {name}{what}, first at {'entry' if noun == 'entry' else 'row'} {first}"
