"""Helpers of all losses: views of clouds, finding pairs, and sums and means per cloud."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, join
from topreg._module import Check, FunctionModule
from topreg._pairs import PersistencePairs, check_pairs
from topreg._tracks import ORIENTATIONS
from topreg.filtrations import RIPS, Filtration, RipsFiltration
from topreg.filtrations._rips import Space
from topreg.metrics import at_least_single

Pairs = PersistencePairs | Sequence[PersistencePairs]


def check_filtration(name: str, filtration: object) -> None:
    """Raise if an option is not a filtration, for example because another option was passed."""
    if filtration is None or isinstance(filtration, Filtration):
        return
    if isinstance(filtration, type):
        got, cure = f"the class {filtration.__name__}", "Pass an instance of it."
    else:
        got, cure = type(filtration).__name__, "Pass other options by name."
    raise TypeError(
        f"`{name}` should be a filtration such as `RipsFiltration()`. Got {got}. {cure}"
    )


def check_dimensions(name: str, dimensions: object, least: int = 0) -> tuple[int, ...]:
    """Return distinct integers that are at least ``least`` as a tuple; raise for anything else."""
    try:
        listed = tuple(_checks.is_natural(name, p) for p in dimensions)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        listed = ()
    if not listed or min(listed) < 0 or len(set(listed)) < len(listed):
        raise ValueError(
            f"`{name}` should be a sequence of distinct non-negative integers, such as (0, 1). "
            f"Got {dimensions!r}."
        )
    if min(listed) < least:
        raise ValueError(f"`{name}` should be {least} or above. Got {listed}.")
    return listed


def check_normalize(name: str, normalize: float) -> None:
    """Raise if an option is not a quantile."""
    flag = isinstance(normalize, bool)  # other libraries take True
    if not flag:
        _checks.is_number(name, normalize)
    if flag or not 0 < normalize <= 1:
        raise ValueError(f"`{name}` should be a quantile in (0, 1], or None. Got {normalize!r}.")


def is_rips(name: str, filtration: object, why: str = "") -> None:
    """Raise if an option is not a Vietoris-Rips filtration; ``why`` ends the sentence."""
    check_filtration(name, filtration)
    if not isinstance(filtration, RipsFiltration):
        raise TypeError(
            f"`{name}` should be a RipsFiltration{why}. Got {type(filtration).__name__}."
        )


AT_LEAST_0 = partial(_checks.is_number, what="at least 0")
CHECKS: dict[str, Check] = {
    "filtration": check_filtration,
    "target_filtration": check_filtration,
    "dimensions": check_dimensions,
    "orientation": partial(_checks.is_option, options=ORIENTATIONS),
    "related": partial(_checks.is_option, options=("endpoints", "all")),
    "undefined": partial(_checks.is_option, options=("skip", "zero")),
    "reduction": partial(_checks.is_option, options=("mean", "sum", "none")),
    "eps": AT_LEAST_0,
    "scale": AT_LEAST_0,
    "power": partial(_checks.is_number, what="positive"),
    "midpoint_power": AT_LEAST_0,
    "perturbation_weight": partial(_checks.is_number, what="finite"),
    "normalize": check_normalize,
    "symmetric": _checks.is_flag,
    "match_norms": _checks.is_flag,
}
OF_RIPS = CHECKS | {"filtration": is_rips, "target_filtration": is_rips}


class Loss(FunctionModule):
    """A loss on data, with the options that all of them have."""

    filtration: Filtration | None = None
    reduction: str = "mean"


def paired(
    source: Clouds,
    target: Clouds,
    pairs: Pairs | None,
    geometry: Clouds | None,
    filtration: Filtration | None,
    dimensions: Sequence[int],
) -> tuple[Tensor, Tensor, tuple[int, ...], list[PersistencePairs]]:
    """Return the rows of two matching views, the sizes of their clouds, and their pairs.

    Rows have at least single precision. Pairs are the given ones, or found in ``geometry``.
    """
    x, sizes = join(source, "source")
    y, others = join(target, "target")
    _checks.match(x, y)
    if sizes != others:
        _checks.of_same_clouds(sizes, others)
    found = find(pairs, filtration, dimensions, source if geometry is None else geometry)
    for part in found:
        check_pairs(part, x, sizes, "source")
    return at_least_single(x), at_least_single(y), sizes, found


def two_spaces(
    source: Clouds, target: Clouds, filtration: Filtration | None, other: Filtration | None
) -> tuple[Space, Space]:
    """Return both data, checked to be on the same vertices, with their filtrations."""
    first = filtration if isinstance(filtration, RipsFiltration) else RIPS
    second = other if isinstance(other, RipsFiltration) else first
    x, y = Space(first, source, "source"), Space(second, target, "target")
    if x.sizes != y.sizes:
        _checks.of_same_clouds(x.sizes, y.sizes)
    if x.values.dtype != y.values.dtype or x.values.device != y.values.device:
        _checks.alike("source", x.values, "target", y.values)
    return x, y


def find(
    pairs: Pairs | None,
    filtration: Filtration | None,
    dimensions: Sequence[int],
    data: Clouds,
) -> list[PersistencePairs]:
    """Return the pairs of each dimension: the given ones, or those found in the data."""
    if pairs is not None:
        return as_list(pairs)
    chosen = RIPS if filtration is None else filtration
    lowest, highest = min(dimensions), max(dimensions)
    if len(dimensions) == 1 or highest - lowest >= len(dimensions):  # all_pairs would find more
        return [chosen.pairs(data, dimension) for dimension in dimensions]
    every = chosen.all_pairs(data, highest)
    return [every[dimension] for dimension in dimensions]


def as_list(pairs: Pairs, name: str = "pairs") -> list[PersistencePairs]:
    """Return one object, or several of different dimensions, as a list; raise if it is empty."""
    if isinstance(pairs, PersistencePairs):
        return [pairs]
    given = list(pairs) if isinstance(pairs, Sequence) else [pairs]
    for part in given:
        if not isinstance(part, PersistencePairs):
            raise TypeError(f"`{name}` should hold PersistencePairs. Got {type(part).__name__}.")
    if not given:
        raise ValueError(
            f"`{name}` should hold one PersistencePairs for each dimension. Got an empty sequence."
        )
    dimensions = [part.dimension for part in given]
    for place, dimension in enumerate(dimensions):
        if dimension in dimensions[:place]:
            raise ValueError(
                f"`{name}` should hold one PersistencePairs for each dimension. "
                f"Got two of dimension {dimension}. "
                "Put the clouds of a batch together with `PersistencePairs.join`."
            )
    return given


def diagrams_of(
    data: Clouds,
    pairs: Pairs | None,
    filtration: Filtration | None,
    dimensions: Sequence[int],
) -> list[tuple[PersistencePairs, Tensor]]:
    """Return the pairs of each dimension, given or found, and their births and deaths."""
    chosen = RIPS if filtration is None else filtration
    found = find(pairs, chosen, dimensions, data)
    return [(part, chosen.diagram(part, data)) for part in found]


def sums(values: Tensor, pairs: PersistencePairs) -> Tensor:
    """Sum the values of the pairs of each cloud: (m,) or (m, k) to (b,)."""
    clouds = len(pairs.cloud_sizes)
    if clouds == 1:
        return values.sum()[None]
    values = values if values.ndim == 1 else values.sum(1)
    return values.new_zeros(clouds).index_add(0, pairs.cloud(), values)


def reduce_sums(values: Tensor, pairs: PersistencePairs, reduction: str) -> Tensor:
    """Sum the values of the pairs of each cloud, then reduce the sums."""
    if len(pairs.cloud_sizes) == 1 and reduction != "none":  # without views, which take time
        return values.sum()
    return reduce_values(sums(values, pairs), reduction)


def means(
    values: Tensor, counted: Tensor | None, cloud: Tensor | None, clouds: int
) -> tuple[Tensor, Tensor]:
    """Return the mean of the counted values of each cloud, and whether there are any: (b,), (b,).

    ``values``, ``counted`` and ``cloud`` have shape (m,). ``counted=None`` counts all values,
    ``cloud=None`` means one cloud. Without a counted value the mean is a 0 attached to the graph.
    """
    if counted is None:
        weights = torch.ones_like(values)
    else:
        values, weights = torch.where(counted, values, 0.0), counted.to(values.dtype)
    if cloud is None:
        total, count = values.sum()[None], weights.sum()[None]
    else:
        total = values.new_zeros(clouds).index_add(0, cloud, values)
        count = weights.new_zeros(clouds).index_add(0, cloud, weights)
    return total / count.clamp(min=1), count > 0


def cloud_numbers(pairs: PersistencePairs) -> Tensor | None:
    """Return the cloud of each pair; None if there is only one cloud."""
    return None if len(pairs.cloud_sizes) == 1 else pairs.cloud()


def add_dimensions(terms: Sequence[Tensor]) -> Tensor:
    """Add the values (b,) of several dimensions, at least one."""
    return terms[0] if len(terms) == 1 else torch.stack(list(terms)).sum(0)


def reduce_values(values: Tensor, reduction: str) -> Tensor:
    """Reduce one value per cloud, (b,); mean and sum of no cloud are 0."""
    if reduction == "none":
        return values
    if values.shape[0] == 1:
        return values[0]
    return values.sum() if reduction == "sum" or values.shape[0] == 0 else values.mean()
