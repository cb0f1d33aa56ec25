"""Checks of the arguments of drawings, and their conversion to NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from topreg import _checks
from topreg._diagrams import finite_part
from topreg._pairs import PersistencePairs, are_of_one_cloud

Array = NDArray[np.float64]
ByLabel = Tensor | Mapping[str, Tensor]


def numbers(tensor: Tensor) -> Array:
    """Return a tensor as a NumPy array in double precision."""
    array: Array = tensor.detach().cpu().double().numpy()
    return array


def classes(diagrams: ByLabel, essential: ByLabel | None) -> dict[str, Array]:
    """Return births and deaths by label; ``inf`` for a class that never dies, "" for no label."""
    named = _by_label("diagrams", diagrams)
    stays = {} if essential is None else _by_label("essential", essential)
    if essential is not None and isinstance(essential, Tensor) != isinstance(diagrams, Tensor):
        form = "a tensor" if isinstance(diagrams, Tensor) else "a mapping"
        raise TypeError(
            f"`essential` should be {form}, like `diagrams`. Got {type(essential).__name__}."
        )
    unknown = [label for label in stays if label not in named]
    if unknown:
        raise ValueError(
            f"`essential` should only have labels of `diagrams`. Got {unknown[0]!r}. "
            "For a label with only essential classes, pass an empty diagram."
        )
    rows = {label: _rows(_name("diagrams", label), given) for label, given in named.items()}
    for label, births in stays.items():
        more = _births(_name("essential", label), births)
        rows[label] = np.concatenate([rows[label], np.stack([more, np.full_like(more, np.inf)], 1)])
    return rows


def extent(rows: list[Array]) -> tuple[float, float]:
    """Return the least and the greatest finite number, made to differ."""
    flat = np.concatenate([np.empty(0), *(part.ravel() for part in rows)])
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return 0.0, 1.0
    low, high = float(flat.min()), float(flat.max())
    return low, high if high > low else low + 1.0


def as_embedding(name: str, embedding: Tensor, pairs: PersistencePairs) -> Array:
    """Return finite points of the plane, one per vertex of the pairs; raise for anything else."""
    _checks.is_point_cloud(name, embedding)
    if embedding.shape[1] != 2:
        wide = embedding.shape[1] > 2
        raise ValueError(
            f"`{name}` should have shape (n, 2). Got {_checks.shape(embedding)}."
            + (" Project the points first, for instance with `torch.pca_lowrank`." if wide else "")
        )
    _checks.are_finite(name, embedding.detach())
    are_of_one_cloud(pairs)
    _checks.indexes(len(embedding), pairs.cloud_sizes)
    return numbers(embedding)


def per_pair(name: str, values: Tensor, pairs: PersistencePairs) -> Array:
    """Return one number per pair; raise for anything else."""
    _checks.is_tensor(name, values)
    _checks.one_each(name, values, len(pairs), "pair")
    return numbers(values)


def _by_label(name: str, given: ByLabel) -> dict[str, Tensor]:
    """Return a mapping from labels to tensors; one tensor gets the label ""."""
    if isinstance(given, Tensor):
        return {"": given}
    if isinstance(given, Mapping):
        return {str(label): tensor for label, tensor in given.items()}
    raise TypeError(
        f"`{name}` should be a tensor or a mapping from labels to tensors. "
        f"Got {type(given).__name__}."
    )


def _name(argument: str, label: str) -> str:
    """Return the name of an entry in error messages."""
    return f'{argument}["{label}"]' if label else argument


def _rows(name: str, diagram: Tensor) -> Array:
    """Return births and deaths, infinite ones last."""
    _checks.is_diagram(name, diagram)
    dying, stays = finite_part(name, diagram.detach())
    births = numbers(stays)
    return np.concatenate([numbers(dying), np.stack([births, np.full_like(births, np.inf)], 1)])


def _births(name: str, births: Tensor) -> Array:
    """Return the finite births of essential classes; raise for anything else."""
    _checks.is_tensor(name, births)
    _checks.has_rank(name, births, "(e,)")
    _checks.are_finite(name, births.detach()[:, None])
    return numbers(births)
