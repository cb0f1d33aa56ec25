"""What the losses share: views of clouds, finding pairs, and means that cannot be NaN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, join, partition
from topreg._pairs import PersistencePairs
from topreg.filtrations import Filtration, RipsFiltration
from topreg.metrics import at_least_single

REDUCTIONS = ("mean", "none")
RIPS = RipsFiltration()  # what modules use that were given no filtration


def views(source: Clouds, target: Clouds) -> tuple[Tensor, Tensor]:
    """Rows of two matching views, in at least single precision."""
    x, _ = join(source, "source")
    y, _ = join(target, "target")
    _checks.match(x, y)
    sizes, others = partition(source), partition(target)
    if sizes is not None and others is not None:
        _checks.of_same_clouds(sizes, others)
    return at_least_single(x), at_least_single(y)


def given_or_found(
    pairs: PersistencePairs | Sequence[PersistencePairs] | None,
    filtration: Filtration | None,
    dimensions: Sequence[int],
    geometry: Clouds,
) -> list[PersistencePairs]:
    """The pairs of each dimension: those given, else found in one pass over ``geometry``."""
    if pairs is not None:
        return listed(pairs)
    filtration = RIPS if filtration is None else filtration
    all_pairs = getattr(filtration, "all_pairs", None)  # a filtration of one's own need not have it
    with torch.no_grad():
        if all_pairs is not None and len(dimensions) > 1:
            every = all_pairs(geometry, max(dimensions))
            return [every[dimension] for dimension in dimensions]
        return [filtration.pairs(geometry, dimension) for dimension in dimensions]


def listed(
    pairs: PersistencePairs | Sequence[PersistencePairs], name: str = "pairs"
) -> list[PersistencePairs]:
    """One object or several as a list that is not empty."""
    given = list(pairs) if isinstance(pairs, Iterable) else [pairs]
    for part in given:
        if not isinstance(part, PersistencePairs):
            raise TypeError(f"`{name}` should hold PersistencePairs. Got {type(part).__name__}.")
    if not given:
        raise ValueError(
            f"`{name}` should hold one PersistencePairs for each dimension. Got an empty sequence."
        )
    return given


def diagrams_of(
    points: Clouds,
    pairs: PersistencePairs | Sequence[PersistencePairs] | None,
    filtration: Filtration | None,
    dimensions: Sequence[int],
) -> list[tuple[PersistencePairs, Tensor]]:
    """Pairs of each dimension, given or found, and their births and deaths with gradient."""
    check_filtration(filtration, ("pairs", "diagram") if pairs is None else ("diagram",))
    filtration = RIPS if filtration is None else filtration
    found = given_or_found(pairs, filtration, dimensions, points)
    for place, part in enumerate(found):
        _checks.of_clouds(part.cloud_sizes, found[0].cloud_sizes, "pairs[0]", f"pairs[{place}]")
    return [(part, filtration.diagram(part, points)) for part in found]


def over_clouds(values: Tensor, pairs: PersistencePairs, reduction: str) -> Tensor:
    """Sum of the values of each cloud's pairs, or the mean of these sums over the clouds.

    Shape:
        - values: (m,). Output: (clouds,) for ``"none"``, () for ``"mean"``.
    """
    clouds = len(pairs.cloud_sizes)
    if reduction == "mean":
        return values.sum() / max(clouds, 1)
    return values.new_zeros(clouds).index_add(0, pairs.cloud(), values)


def flips_from(filtration: Filtration | None, geometry: Clouds | None, source: Clouds) -> Clouds:
    """Points in which the modules decide flips; the geometry may be weights or distances."""
    of_points = getattr(filtration, "of_points", True)  # one's own need not have it
    return geometry if geometry is not None and of_points else source


def check_filtration(filtration: object, methods: Sequence[str] = ("pairs",)) -> None:
    """Refuse what lacks a method that is called, such as another option in its place."""
    is_class = isinstance(filtration, type)
    kind = filtration if isinstance(filtration, type) else type(filtration)
    able = all(hasattr(filtration, name) for name in methods)
    able = able and not issubclass(kind, PersistencePairs)  # pairs have a diagram of their own
    if filtration is None or (able and not is_class):
        return
    got = f"the class {kind.__name__}" if is_class else kind.__name__
    cure = "Pass an instance of it." if able else "Give other options by name."
    raise TypeError(
        f"`filtration` should be a filtration such as `RipsFiltration()`. Got {got}. {cure}"
    )


def check_dimensions(dimensions: Sequence[int]) -> tuple[int, ...]:
    """Refuse dimensions that are not distinct non-negative integers."""
    listed = tuple(dimensions) if isinstance(dimensions, Sequence) else ()
    valid = all(type(p) is int and p >= 0 for p in listed)
    if not valid or not listed or len(set(listed)) < len(listed):
        raise ValueError(
            "`dimensions` should be a sequence of distinct non-negative integers, such as (0, 1). "
            f"Got {dimensions!r}."
        )
    return listed


def mean_of_counted(
    values: Tensor, counted: Tensor, cloud: Tensor, clouds: int, reduction: str
) -> tuple[Tensor, Tensor]:
    """Mean of the counted values, over everything or for each cloud, and whether there are any.

    Without a counted value the mean is a zero attached to the graph of ``values``.

    Shape:
        - values, counted, cloud: (m,). Output: () for ``"mean"``, (clouds,) for ``"none"``.
    """
    values, weights = torch.where(counted, values, 0.0), counted.to(values.dtype)
    if reduction == "mean":
        total, count = values.sum(), weights.sum()
    else:
        total = values.new_zeros(clouds).index_add(0, cloud, values)
        count = weights.new_zeros(clouds).index_add(0, cloud, weights)
    return total / count.clamp(min=1), count > 0
