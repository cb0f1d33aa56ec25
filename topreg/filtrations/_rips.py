"""The Vietoris-Rips filtration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, join, join_matrices, numbers, starts
from topreg._pairs import PersistencePairs, one_object
from topreg._repr import constructor_call
from topreg.filtrations._filtration import Filtration
from topreg.metrics import METRICS, Metric, at_least_single, by_callable
from topreg.persistence import (
    ENGINES,
    MEMORY,
    Progress,
    check_dimension,
    check_sizes,
    checked_weights,
    find_pairs,
    pairs_of_points,
)


@final
class RipsFiltration(Filtration):
    r""":term:`Vietoris-Rips filtration` of point clouds: simplices appear at their longest edge.

    .. math::

        K_a(X) = \{\sigma \subset X : d(x_i, x_j) \le a \text{ for all } x_i, x_j \in \sigma\}

    Edges are ordered by (weight, i, j), i < j, so that :term:`persistence pairs <persistence pair>`
    are defined for every input, :term:`ties <tie>` and coincident points included.

    Args:
        metric: ``"euclidean"``, ``"cosine"``, ``"manhattan"``, a callable
            ``f(x, y) -> (len(x), len(y))`` whose entries depend on their two rows alone, or
            ``"precomputed"``: then ``points`` are distance matrices, in which ``inf`` means no
            edge.
        max_edge_length: Longer edges do not exist, in the units of the metric; compared in the
            dtype in which edges are selected.
        engine: ``"auto"``, or by algorithm: ``"prim"`` (dimension 0), ``"boruvka"`` (dimension 0,
            in torch operations), ``"tiled"`` (dimension 0, from points, without the matrix),
            ``"annotations"`` (dimensions 0 and 1), ``"gudhi"`` (any dimension, with the ``tda``
            extra). All give the same pairs for the same weights.
        memory_budget: Bytes that the tiles of ``"tiled"`` may take; a tile has 64 rows and columns
            at least.
        progress: ``True`` lets ``"tiled"`` show a bar on standard error if a search takes more
            than a second. A function is called as ``progress(stage, done, total)``: ``stage`` is
            ``"neighbours"`` (tiles of distances), then ``"tree"`` (edges of the tree). What it
            raises ends the search.

    Raises:
        ValueError: If an option is unknown, ``max_edge_length`` is negative, ``memory_budget`` is
            no positive integer, or ``"tiled"`` is asked for with a metric that has no name.
        TypeError: If ``progress`` is neither a function nor ``True``, ``False`` or ``None``.

    Note:
        Pairs are constants for autograd: which edges are selected does not change under a small
        enough change of the points, unless distances coincide. Differentiate :meth:`diagram`,
        the tracks and the losses. Time and memory :math:`O(n^2)` in dimension 0, beside
        :math:`O(n^2 d)` for the distances. In dimension 1 time depends on the classes: between
        128 and 2,048 points it grew like :math:`n^{1.8}` on clusters, :math:`n^{2.2}` on a noisy
        circle and :math:`n^{3.2}` on structureless points of high dimension; memory is
        :math:`O(n^2)` and what the annotations of living classes take.
        Dimensions from 2 on go through giotto-ph or GUDHI and grow much faster.

        ``"auto"`` finds dimension 0 on the device of the points (``"boruvka"``, memory
        :math:`O(n^2)` there; with ``check_values=False``, a named metric and no
        ``max_edge_length`` without waiting for the device), on the CPU by ``"prim"``, and of more
        than 16,384 points of a named metric by ``"tiled"``: exact, with memory :math:`O(n)` beside
        the points and the tiles. Dimension 1 always passes through the CPU.

        By a named metric the weight of an edge is the distance between its points, measured in
        double precision and rounded once. It is also what :meth:`diagram` reports: in the points
        in which pairs were found no death lies before its birth, deaths of dimension 0 do not
        fall, and ``max_edge_length`` taken from a diagram keeps its edge, all exactly. A cloud has
        the same pairs alone and in a batch, from its points and from the matrix of
        :func:`~topreg.pairwise_distances`. On other devices than the CPU edges are selected by
        distances in the precision of the points and then ordered by what :meth:`diagram` reports;
        distances below 1e-19 times the largest coordinate of their cloud count as 0 there in
        single precision.

        A callable metric runs without autocast, and its matrix products in full precision
        whatever ``torch.set_float32_matmul_precision`` says, so that neither changes the pairs or
        the diagram. Its products obey that setting in the backward pass and in programs of
        ``torch.compile``.

    Source:
        Zhang et al., NeurIPS 2024, equation 1, with the closed condition that software uses.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
        >>> filtration = RipsFiltration()
        >>> pairs = filtration.pairs(points)
        >>> pairs.death_edges
        tensor([[0, 2],
                [1, 2]])
        >>> filtration.diagram(pairs, points)[:, 1]
        tensor([1.0000, 4.2426])
    """

    def __init__(
        self,
        *,
        metric: Metric = "euclidean",
        max_edge_length: float = math.inf,
        engine: str = "auto",
        memory_budget: int = MEMORY,
        progress: Progress | bool | None = None,
    ) -> None:
        if not callable(metric):
            _checks.is_option("metric", metric, (*METRICS, "precomputed"))
        _checks.is_at_least("max_edge_length", max_edge_length, 0)
        _checks.is_option("engine", engine, ENGINES)
        _checks.is_count("memory_budget", memory_budget)
        _checks.is_progress(progress)
        if engine == "tiled" and metric not in METRICS:
            named = '"euclidean", "cosine" or "manhattan"'
            raise ValueError(
                f'`metric` should be {named} with `engine="tiled"`. Got {metric!r}. '
                'Use `engine="auto"`.'
            )
        self.metric = metric
        self.max_edge_length = max_edge_length
        self.engine = engine
        self.memory_budget = memory_budget
        self.progress = progress

    @property
    def of_points(self) -> bool:
        """Not of points if the metric is precomputed."""
        return self.metric != "precomputed"

    def __repr__(self) -> str:
        """The call that makes an equal filtration."""
        return constructor_call(self)

    @torch.no_grad()
    def pairs(
        self, points: Clouds, dimension: int = 0, *, check_values: bool = True
    ) -> PersistencePairs:
        """Persistence pairs in one dimension, found without gradient.

        Args:
            points: Point clouds, or distance matrices if ``metric="precomputed"``.
            dimension: Homology dimension.
            check_values: Whether to read the values for NaN, infinity, asymmetry and range. Without
                it they are taken to be what they should be; the result for other values is
                undefined.

        Returns:
            The pairs; in dimension 0 there are n - 1 for each cloud unless edges are missing.

        Raises:
            TypeError: If ``points`` are not floating point.
            ValueError: If shapes do not fit, values are not finite, a matrix is not one of
                distances, the dimension is not available, or a cloud has 65,536 points or more in
                dimension 1 and above.
            MemoryError: If distances take more memory than is free, or an allocation fails.

        Shape:
            - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`;
              precomputed :math:`(n, n)`, :math:`(b, n, n)` or a sequence.

        Example:
            >>> import torch
            >>> from topreg import RipsFiltration
            >>> batch = torch.tensor([[[0.0], [1.0]], [[0.0], [2.0]]])
            >>> RipsFiltration().pairs(batch)
            PersistencePairs(dimension=0, pairs=2, essential=2, cloud_sizes=(2, 2))
        """
        check_dimension(dimension, self.engine)
        return self._found(points, [dimension], check_values)[0]

    @torch.no_grad()
    def all_pairs(
        self, points: Clouds, max_dimension: int, *, check_values: bool = True
    ) -> tuple[PersistencePairs, ...]:
        """Persistence pairs in the dimensions 0 to ``max_dimension``, 0 and 1 in one pass.

        Args:
            points: As in :meth:`pairs`.
            max_dimension: Highest homology dimension.
            check_values: As in :meth:`pairs`.

        Returns:
            One object for each dimension.

        Raises:
            TypeError: As in :meth:`pairs`.
            ValueError: As in :meth:`pairs`.
            MemoryError: As in :meth:`pairs`.
        """
        check_dimension(max_dimension, self.engine, "max_dimension")
        return tuple(self._found(points, range(max_dimension + 1), check_values))

    def diagram(self, pairs: PersistencePairs, points: Clouds) -> Tensor:
        """Births and deaths in this filtration's metric, differentiable in the points.

        Args:
            pairs: Persistence pairs on the vertices of ``points``.
            points: As in :meth:`pairs`.

        Returns:
            Birth in column 0, death in column 1, in at least single precision. The gradient in a
            distance matrix is symmetric.

        Raises:
            ValueError: If the pairs belong to another number of vertices.

        Shape:
            - Output: :math:`(m, 2)`.

        Example:
            >>> import torch
            >>> from topreg import RipsFiltration
            >>> filtration = RipsFiltration(metric="precomputed")
            >>> distances = torch.tensor([[0.0, 2.0], [2.0, 0.0]])
            >>> filtration.diagram(filtration.pairs(distances), distances)
            tensor([[0., 2.]])
        """
        one_object(pairs)
        if self.metric != "precomputed":
            return pairs.diagram(points, self.metric)
        entries, sizes = join_matrices(points)
        _checks.indexes(sum(sizes), pairs.cloud_sizes)
        if sizes != tuple(pairs.cloud_sizes):
            raise ValueError(
                f"`points` should hold matrices of the sizes {tuple(pairs.cloud_sizes)}. "
                f"Got {sizes}. Were the pairs found on another batch?"
            )
        _checks.on_one_device("points", entries, "pairs", pairs.death_edges.device)
        entries = at_least_single(entries)
        columns = (pairs.birth_edges, pairs.death_edges)
        return torch.stack([_entries_at(entries, sizes, edges) for edges in columns], dim=1)

    def _found(
        self, points: Clouds, dimensions: Sequence[int], check_values: bool
    ) -> list[PersistencePairs]:
        """Pairs in some dimensions."""
        if self.metric == "precomputed":
            entries, sizes = join_matrices(points)
            copies = entries.dtype.itemsize < 4
            check_sizes(sizes, dimensions, self.engine, entries, matrices=copies)
            weights = checked_weights(entries, sizes, name="points", check_values=check_values)
            return self._from_weights(weights, sizes, dimensions)
        rows, sizes = join(points)
        if check_values:
            self._check_rows(rows)
        if callable(self.metric):
            check_sizes(sizes, dimensions, self.engine, rows, matrices=1)
            clouds = at_least_single(rows.detach()).split(list(sizes))
            matrices = [by_callable(self.metric, cloud, cloud) for cloud in clouds]
            name = "metric(points, points)"
            entries = torch.cat([m.reshape(-1) for m in matrices]) if matrices else rows.flatten()
            weights = checked_weights(
                entries, sizes, name=name, check_values=check_values, of_metric=True
            )
            return self._from_weights(weights, sizes, dimensions)
        return pairs_of_points(
            rows, sizes, self.metric, self.max_edge_length, dimensions,
            engine=self.engine, memory=self.memory_budget, progress=self.progress,
        )  # fmt: skip

    def _from_weights(
        self, weights: Tensor, sizes: tuple[int, ...], dimensions: Sequence[int]
    ) -> list[PersistencePairs]:
        """Pairs from distance matrices, one after the other."""
        return find_pairs(weights, sizes, self.max_edge_length, dimensions, engine=self.engine)

    def _check_rows(self, rows: Tensor) -> None:
        """Refuse rows between which there is no distance."""
        _checks.are_finite("points", rows)
        if self.metric == "cosine":
            _checks.have_direction("points", rows)


def _entries_at(entries: Tensor, sizes: tuple[int, ...], edges: Tensor) -> Tensor:
    """Mean of D[i, j] and D[j, i] for each edge; 0 for an edge (v, v)."""
    cloud = cloud_of(edges[:, 0], sizes)
    size, first, corner = (
        numbers(values, edges)[cloud]
        for values in (sizes, starts(sizes)[:-1], starts([n * n for n in sizes])[:-1])
    )
    local = edges - first[:, None]
    above = entries[corner + local[:, 0] * size + local[:, 1]]
    below = entries[corner + local[:, 1] * size + local[:, 0]]
    return torch.where(local[:, 0] == local[:, 1], 0.0, above / 2 + below / 2)  # no overflow
