"""Helpers of the losses that compare distances in two spaces of different widths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, numbers
from topreg._pairs import PersistencePairs
from topreg.filtrations import RIPS, Filtration, RipsFiltration
from topreg.filtrations._space import Space
from topreg.losses import _common


def check_normalize(name: str, normalize: float | None) -> None:
    """Raise if an option is not a quantile."""
    if normalize is None:
        return
    flag = isinstance(normalize, bool)  # other libraries take True
    if not flag:
        _checks.is_number(name, normalize)
    if flag or not 0 < normalize <= 1:
        raise ValueError(f"`{name}` should be a quantile in (0, 1], or None. Got {normalize!r}.")


def is_rips(name: str, filtration: object, why: str = "") -> None:
    """Raise if a given filtration is not a Vietoris-Rips filtration; ``why`` ends the sentence."""
    _common.check_filtration(name, filtration)
    if filtration is not None and not isinstance(filtration, RipsFiltration):
        raise TypeError(
            f"`{name}` should be a RipsFiltration{why}. Got {type(filtration).__name__}."
        )


OF_TWO = _common.CHECKS | {"normalize": check_normalize}
OF_RIPS = OF_TWO | {"filtration": is_rips, "target_filtration": is_rips}


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


class Scaled:
    """Distances in a space, divided by a quantile of each cloud's distances if one is given."""

    def __init__(self, space: Space, normalize: float | None) -> None:
        self.space = space
        self.scales = None if normalize is None else space.scales(normalize)

    def pairs(self, dimensions: Sequence[int]) -> list[PersistencePairs]:
        """Find pairs, one object per dimension; dividing does not change them."""
        return self.space.pairs(dimensions)

    def entries(self) -> Tensor:
        """Return all distances (sum of n_i^2,) without gradient; infinite for missing edges."""
        entries, longest = self.space.entries(), self.space.filtration.max_edge_length
        if longest != torch.inf:
            entries = entries.masked_fill(entries > longest, torch.inf)
        if self.scales is None:
            return entries
        scales = self.scales.detach()
        if len(scales) == 1:
            return entries / scales
        counts = numbers([n * n for n in self.space.sizes], entries)
        return entries / scales.repeat_interleave(counts, output_size=len(entries))

    def lengths(self, edges: Tensor) -> Tensor:
        """Return the length (m,) of each edge (m, 2), with gradient; infinite for missing edges."""
        lengths, missing = self.space.lengths(edges), self._missing(edges)
        if missing is not None:
            lengths = torch.where(missing, 0.0, lengths)  # infinity / scale has no gradient
        if self.scales is not None:
            cloud = cloud_of(edges[:, 0], self.space.sizes)
            lengths = lengths / self.scales.index_select(0, cloud)
        return lengths if missing is None else torch.where(missing, torch.inf, lengths)

    def _missing(self, edges: Tensor) -> Tensor | None:
        """Return a mask (m,) of the edges that the search leaves out; None if it keeps all."""
        longest = self.space.filtration.max_edge_length
        if longest == torch.inf and not self.space.precomputed:
            return None
        entries = self.space.entries_at(edges)
        return (entries > longest) | entries.isinf()

    def diagram(self, pairs: PersistencePairs) -> Tensor:
        """Return births and deaths (m, 2) of pairs, with gradient."""
        values = self.space.diagram(pairs)
        if self.scales is None:
            return values
        cloud = cloud_of(pairs.death_edges[:, 0], self.space.sizes)
        return values / self.scales.index_select(0, cloud)[:, None]
