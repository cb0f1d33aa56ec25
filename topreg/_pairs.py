"""Persistence pairs: which edges create and destroy each homology class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, join_labels, starts
from topreg._safe import plain_tensor

_EDGES = ("birth_edges", "death_edges", "essential_edges")


@dataclass(frozen=True, eq=False)
class PersistencePairs:
    r"""Edges that create and destroy the homology classes of one or several filtered clouds.

    A :term:`homology class` :math:`\mu` in dimension p is represented by its
    :term:`persistence pair`: the longest edge of the simplex that creates it and the longest edge
    of the simplex that destroys it. In dimension 0 a vertex v creates the class; it is written as
    the degenerate edge (v, v). Pairs are sorted by (cloud, death weight, death i, death j).

    Args:
        dimension: :term:`Homology dimension` p.
        birth_edges: :term:`Birth edges <birth edge>` (i, j), i <= j.
        death_edges: :term:`Death edges <death edge>` (i, j), i <= j; (v, v) in images, where a
            pixel brings death.
        essential_edges: Birth edges of the :term:`essential classes <essential class>`.
        cloud_sizes: Number of vertices of each cloud; they are numbered cloud after cloud.

    Raises:
        TypeError: If the edges are not int64 tensors, or ``cloud_sizes`` is one number.
        ValueError: If shapes or devices do not agree, or a number is negative or not an integer.

    Shape:
        - birth_edges, death_edges: :math:`(m, 2)`; essential_edges: :math:`(e, 2)`; int64.

    Note:
        Immutable, cacheable and picklable; :meth:`to_tensors` is for stores without pickle. Pairs
        of b clouds go with data of b clouds of the same sizes.
        A search under ``torch.compile`` in inference mode returns tensors that autograd cannot use;
        :meth:`to` converts them.

    Source:
        Zhang et al., NeurIPS 2024, section 3.2. At a merge the component whose smallest vertex is
        larger dies; the paper leaves the birth vertex open.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration
        >>> pairs = RipsFiltration().pairs(torch.tensor([[0.0], [1.0], [3.0]]))
        >>> pairs.death_edges
        tensor([[0, 1],
                [1, 2]])
    """

    dimension: int
    birth_edges: Tensor
    death_edges: Tensor
    essential_edges: Tensor
    cloud_sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        births, deaths, essential = self.birth_edges, self.death_edges, self.essential_edges
        for name, edges in zip(_EDGES, (births, deaths, essential), strict=True):
            usual = isinstance(edges, Tensor) and edges.dtype == torch.int64
            if not usual or edges.ndim != 2 or edges.shape[1] != 2:
                _checks.are_edges(name, edges)
            if edges.device != births.device:
                _checks.on_one_device("birth_edges", births, name, edges.device)
        if births.shape[0] != deaths.shape[0]:
            raise ValueError(
                "`birth_edges` and `death_edges` should have one row per pair. "
                f"Got {len(births)} and {len(deaths)} rows."
            )
        if torch.compiler.is_compiling():
            return
        sizes, plain = self.cloud_sizes, type(self.dimension) is int and self.dimension >= 0
        if (
            not plain
            or type(sizes) is not tuple
            or set(map(type, sizes)) - {int}
            or min(sizes, default=0) < 0
        ):
            dimension = _checks.is_natural("dimension", self.dimension)
            vars(self).update(dimension=dimension, cloud_sizes=_sizes_of(sizes))
        if births.is_inference() or deaths.is_inference() or essential.is_inference():
            vars(self).update({name: plain_tensor(getattr(self, name)) for name in _EDGES})

    def __len__(self) -> int:
        """Return the number of pairs, without the essential classes."""
        return len(self.death_edges)

    def __repr__(self) -> str:
        """Return counts, not indices."""
        return (
            f"PersistencePairs(dimension={self.dimension}, pairs={len(self)}, "
            f"essential={len(self.essential_edges)}, cloud_sizes={self.cloud_sizes})"
        )

    def to(self, device: torch.device | str) -> PersistencePairs:
        """Return the same pairs on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _EDGES})

    def cloud(self) -> Tensor:
        """Return the number of the cloud that each pair belongs to, from 0: (m,), int64."""
        return plain_tensor(self._cloud_of(self.death_edges))

    def split(self) -> list[PersistencePairs]:
        """Return one object per cloud, in order, its vertices numbered from 0."""
        clouds = [self._cloud_of(getattr(self, name)) for name in _EDGES]
        parts = []
        for number, first in enumerate(starts(self.cloud_sizes)[:-1]):
            births, deaths, essential = (
                getattr(self, name)[own == number] - first
                for name, own in zip(_EDGES, clouds, strict=True)
            )
            size = self.cloud_sizes[number : number + 1]
            parts.append(PersistencePairs(self.dimension, births, deaths, essential, size))
        return parts

    @classmethod
    def join(cls, parts: Sequence[PersistencePairs]) -> PersistencePairs:
        """Join the pairs of several clouds, the inverse of :meth:`split`.

        Args:
            parts: Pairs in one dimension; each object holds those of one or several clouds.

        Returns:
            The pairs of all clouds in one object, vertices numbered cloud after cloud.

        Raises:
            TypeError: If ``parts`` is not a sequence of PersistencePairs.
            ValueError: If ``parts`` is empty, or dimensions or devices differ.

        Example:
            >>> import torch
            >>> from topreg import PersistencePairs, RipsFiltration
            >>> clouds = [torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [2.0]])]
            >>> cached = [RipsFiltration().pairs(cloud) for cloud in clouds]
            >>> pairs = PersistencePairs.join(cached)
            >>> pairs.death_edges
            tensor([[0, 1],
                    [1, 2],
                    [3, 4]])
            >>> pairs.cloud_sizes
            (3, 2)
        """
        _can_be_joined(parts)
        return concatenate(parts)

    def select(self, mask: Tensor) -> PersistencePairs:
        """Return the pairs where a mask is true, with all essential classes.

        Args:
            mask: True for the pairs to keep.

        Returns:
            Fewer pairs on the same vertices.

        Raises:
            TypeError: If ``mask`` is not boolean.
            ValueError: If it does not have one entry per pair.

        Shape:
            - mask: :math:`(m,)`, bool.
        """
        _checks.is_tensor("mask", mask)
        if mask.dtype != torch.bool:
            raise TypeError(f"`mask` should be torch.bool. Got {mask.dtype}.")
        _checks.one_each("mask", mask, len(self), "pair")
        return replace(self, birth_edges=self.birth_edges[mask], death_edges=self.death_edges[mask])

    def between(self, labels: Clouds) -> PersistencePairs:
        """Return the pairs whose death edge joins vertices with two different labels.

        Args:
            labels: Label of each vertex.

        Returns:
            Fewer pairs on the same vertices.

        Raises:
            TypeError: If ``labels`` are not integers.
            ValueError: If there is not one label per vertex, the labels belong to clouds of other
                sizes, or they are on another device.

        Shape:
            - labels: :math:`(N,)`, :math:`(b, n)` or a sequence of :math:`(n_i,)`, integers, N
              vertices in all clouds.
        """
        joined, sizes = join_labels(labels)
        if sizes != tuple(self.cloud_sizes):
            _checks.have_no_columns(labels, self.cloud_sizes)
            _checks.one_each("labels", joined, sum(self.cloud_sizes), "vertex")
        check_pairs(self, joined, sizes, "labels")
        ends = joined[self.death_edges]
        return self.select(ends[:, 0] != ends[:, 1])

    def renumber(self, vertices: Tensor, cloud_sizes: Sequence[int]) -> PersistencePairs:
        """Return the pairs of a subsample with the vertex numbers of the full clouds.

        Args:
            vertices: Number in the full clouds of each vertex of these pairs, counted cloud after
                cloud. The numbers must be distinct, and each cloud must keep its vertices.
            cloud_sizes: Number of vertices of each full cloud.

        Returns:
            The same classes in the same order, edges still (i, j) with i <= j. If ``vertices``
            ascend, pairs of equal weight stay sorted, too.

        Raises:
            TypeError: If ``vertices`` are not int64.
            ValueError: If there is not one number for each vertex, one occurs twice or lies in
                another cloud, or the numbers of clouds differ.

        Shape:
            - vertices: :math:`(N,)`, int64, N vertices in all clouds of these pairs.

        Example:
            >>> import torch
            >>> from topreg import RipsFiltration
            >>> points = torch.tensor([[0.0], [9.0], [1.0], [3.0]])
            >>> some = torch.tensor([0, 2, 3])
            >>> RipsFiltration().pairs(points[some]).renumber(some, (4,)).death_edges
            tensor([[0, 2],
                    [2, 3]])
        """
        sizes = _sizes_of(cloud_sizes)
        _checks.is_int64("vertices", vertices)
        _checks.one_each("vertices", vertices, sum(self.cloud_sizes), "vertex of the pairs")
        if len(sizes) != len(self.cloud_sizes):
            raise ValueError(
                f"`cloud_sizes` should name {len(self.cloud_sizes)} clouds. Got {len(sizes)}."
            )
        _checks.on_one_device("death_edges", self.death_edges, "vertices", vertices.device)
        _in_range("vertices", vertices, sizes)
        _are_apart(vertices, self.cloud_sizes, sizes)
        return with_vertices(self, vertices, sizes)

    def vertices(self) -> Tensor:
        """Return the ascending end points of death edges and birth edges that are not (v, v)."""
        proper = self.birth_edges[self.birth_edges[:, 0] != self.birth_edges[:, 1]]
        return plain_tensor(torch.cat([self.death_edges, proper]).unique())

    def to_tensors(self) -> dict[str, Tensor]:
        """Return plain tensors, for instance for ``safetensors.torch.save_file``.

        Returns:
            A tensor for each field.
        """
        numbers = {
            "dimension": torch.tensor(self.dimension, device="cpu"),
            "cloud_sizes": torch.tensor(self.cloud_sizes, dtype=torch.int64, device="cpu"),
        }
        edges = {name: getattr(self, name).contiguous() for name in _EDGES}
        return {name: plain_tensor(tensor) for name, tensor in (numbers | edges).items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> PersistencePairs:
        """Restore pairs from the tensors that :meth:`to_tensors` returned.

        Args:
            tensors: A tensor for each field.

        Returns:
            The pairs, on the device of the tensors.

        Raises:
            TypeError: If a field is not a tensor of integers.
            ValueError: If a field is missing, shapes do not agree, a number is negative, or an edge
                joins two clouds.
        """
        _checks.is_mapping("tensors", tensors)
        missing = [n for n in ("dimension", "cloud_sizes", *_EDGES) if n not in tensors]
        if missing:
            raise ValueError(
                f"`tensors` should hold the fields of PersistencePairs. Got no {missing[0]!r}."
            )
        (dimension,) = _counts("dimension", tensors["dimension"], "()")
        sizes = _counts("cloud_sizes", tensors["cloud_sizes"], "(b,)")
        for name in _EDGES:
            _checks.are_edges(name, tensors[name])
            _in_range(name, tensors[name], sizes)
            _within_clouds(name, tensors[name], sizes, dimension)
        births, deaths, essential = (tensors[name] for name in _EDGES)
        return cls(dimension, births, deaths, essential, sizes)

    def _cloud_of(self, edges: Tensor) -> Tensor:
        """Return the cloud number of each edge."""
        return cloud_of(edges[:, 0], self.cloud_sizes)


def found_pairs(
    dimension: int, births: Tensor, deaths: Tensor, essential: Tensor, sizes: tuple[int, ...]
) -> PersistencePairs:
    """Return pairs that need no check, because an engine found them."""
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return PersistencePairs(dimension, births, deaths, essential, sizes)
    pairs = object.__new__(PersistencePairs)
    vars(pairs).update(
        dimension=dimension,
        birth_edges=births,
        death_edges=deaths,
        essential_edges=essential,
        cloud_sizes=sizes,
    )
    return pairs


def concatenate(parts: Sequence[PersistencePairs]) -> PersistencePairs:
    """Return the pairs of several clouds in one object, vertices numbered cloud after cloud."""
    first = starts([sum(part.cloud_sizes) for part in parts])[:-1]
    births, deaths, essential = (
        torch.cat([getattr(part, name) + v for part, v in zip(parts, first, strict=True)])
        for name in _EDGES
    )
    sizes = tuple(size for part in parts for size in part.cloud_sizes)
    return PersistencePairs(parts[0].dimension, births, deaths, essential, sizes)


def check_pairs(
    pairs: object, rows: Tensor, sizes: tuple[int, ...], name: str, pairs_name: str = "pairs"
) -> None:
    """Raise if pairs do not belong to clouds of these sizes, or lie on another device."""
    own = pairs if isinstance(pairs, PersistencePairs) else one_object(pairs, pairs_name)
    if own.cloud_sizes != sizes:
        _checks.indexes(sum(sizes), own.cloud_sizes, pairs_name)
        _checks.of_clouds(own.cloud_sizes, sizes, name, pairs_name)
    if rows.device != own.death_edges.device:
        _checks.on_one_device(name, rows, pairs_name, own.death_edges.device)


def one_object(pairs: object, name: str = "pairs") -> PersistencePairs:
    """Return ``pairs``; raise unless it is one ``PersistencePairs``."""
    if not isinstance(pairs, PersistencePairs):
        several = isinstance(pairs, Sequence) and not isinstance(pairs, str)
        raise TypeError(
            f"`{name}` should be one PersistencePairs. Got {type(pairs).__name__}."
            + (" Pass one dimension at a time." if several else "")
        )
    return pairs


def are_of_one_cloud(pairs: object) -> None:
    """Raise unless the pairs are of one cloud and one dimension."""
    pairs = one_object(pairs)
    if len(pairs.cloud_sizes) != 1:
        raise ValueError(
            f"`pairs` should be of one cloud. Got {len(pairs.cloud_sizes)}. Use `pairs.split()`."
        )


def are_of_dimension_0(pairs: PersistencePairs) -> None:
    """Raise unless the pairs are of dimension 0."""
    if pairs.dimension != 0:
        raise ValueError(f"`pairs` should be of dimension 0. Got {pairs.dimension}.")


def _can_be_joined(parts: object) -> None:
    """Raise unless these are pairs in one dimension on one device."""
    if not isinstance(parts, Sequence):
        raise TypeError(
            f"`parts` should be a list or tuple of PersistencePairs. Got {type(parts).__name__}."
        )
    if not parts:
        raise ValueError(
            "`parts` should hold at least one PersistencePairs. Got an empty sequence."
        )
    for part in parts:
        if not isinstance(part, PersistencePairs):
            raise TypeError(
                f"`parts` should hold PersistencePairs. Got {type(part).__name__}. "
                "Join the pairs of each dimension separately."
            )
    dimensions = sorted({part.dimension for part in parts})
    if len(dimensions) > 1:
        raise ValueError(
            f"`parts` should be of one dimension. Got {dimensions[0]} and {dimensions[1]}. "
            "Join the pairs of each dimension separately."
        )
    devices = sorted({str(part.death_edges.device) for part in parts})
    if len(devices) > 1:
        raise ValueError(
            f"`parts` should be on one device. Got {devices[0]} and {devices[1]}. "
            "Move each with `pairs.to(device)`."
        )


def _sizes_of(cloud_sizes: object) -> tuple[int, ...]:
    """Return the sizes of clouds as a tuple of integers; raise for anything else."""
    if not isinstance(cloud_sizes, Iterable) or isinstance(cloud_sizes, str):
        raise TypeError(
            f"`cloud_sizes` should be a sequence of integers. Got {cloud_sizes!r}. "
            "Use `(n,)` for one cloud of n."
        )
    sizes = enumerate(cloud_sizes)
    return tuple(_checks.is_natural(f"cloud_sizes[{k}]", size) for k, size in sizes)


def with_vertices(
    pairs: PersistencePairs, vertices: Tensor, sizes: tuple[int, ...]
) -> PersistencePairs:
    """Return the classes with ``vertices[v]`` in place of ``v``, edges still (i, j), i <= j."""
    births, deaths, essential = (
        vertices[getattr(pairs, name)].sort(dim=1).values for name in _EDGES
    )
    return PersistencePairs(pairs.dimension, births, deaths, essential, sizes)


def _counts(name: str, values: Tensor, letters: str) -> tuple[int, ...]:
    """Return non-negative integers from a tensor; raise for anything else."""
    _checks.is_integer(name, values)
    _checks.has_rank(name, values, letters)
    counts = tuple(map(int, values.flatten().tolist()))
    if min(counts, default=0) < 0 or sum(counts) >= 1 << 63:
        raise ValueError(
            f"`{name}` should be non-negative, and less than 2^63 in all. Got {list(counts)}."
        )
    return counts


def _within_clouds(name: str, edges: Tensor, sizes: Sequence[int], dimension: int) -> None:
    """Raise if an edge joins two clouds, or cannot be a birth or death edge."""
    i, j = edges.unbind(1)
    if dimension == 0 and name != "death_edges":
        form, ordered = "(v, v) in dimension 0", i == j
    else:  # a vertex may be born after the edges that it has, and pixels bring death
        form, ordered = "(i, j), i <= j, within a cloud", i <= j
    bad = edges[~ordered | (cloud_of(i, sizes) != cloud_of(j, sizes))]
    if len(bad):
        raise ValueError(f"`{name}` should be edges {form}. Got {tuple(bad[0].tolist())}.")


def _in_range(name: str, edges: Tensor, sizes: Sequence[int]) -> None:
    """Raise if a vertex number is out of range."""
    bad = edges[(edges < 0) | (edges >= sum(sizes))]
    if len(bad):
        raise ValueError(f"`{name}` should index {sum(sizes)} vertices. Got vertex {int(bad[0])}.")


def _are_apart(vertices: Tensor, cloud_sizes: Sequence[int], whole: Sequence[int]) -> None:
    """Raise if a vertex is named twice or lies in another cloud of the whole."""
    ordered = vertices.sort().values
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise ValueError(
            f"`vertices` should be distinct. Got vertex {int(twice[0])} more than once."
        )
    own = cloud_of(torch.arange(len(vertices), device=vertices.device), cloud_sizes)
    moved = vertices[cloud_of(vertices, whole) != own]
    if len(moved):
        raise ValueError(
            "`vertices` should stay in their clouds. "
            f"Got vertex {int(moved[0])} of another cloud. Number them cloud after cloud."
        )
