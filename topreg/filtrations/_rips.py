"""The Vietoris-Rips filtration."""

import contextlib
import math
import operator
from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, join, join_matrices, numbers, starts
from topreg._module import constructor_call
from topreg._pairs import PersistencePairs, check_pairs
from topreg._room import bytes_of_matrices, check_room
from topreg.filtrations._filtration import Filtration
from topreg.metrics import at_least_single, estimated_weights, prepare, selection_weights
from topreg.metrics._edges import edge_diagram, edge_lengths
from topreg.metrics._metric import METRICS, Metric, by_callable, check_metric
from topreg.persistence import (
    ENGINES,
    MEMORY,
    Progress,
    check_dimension,
    check_rows,
    check_sizes,
    check_weights,
    find_pairs,
    pairs_of_clean,
    pairs_of_few,
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
            ``f(x, y) -> (len(x), len(y))`` whose entries depend only on their two rows, or
            ``"precomputed"``: then the data are distance matrices, in which ``inf`` means no edge,
            and whose gradients are symmetric.
        max_edge_length: Longer edges do not exist. In the units of the metric; compared in the
            dtype in which edges are selected.
        engine: ``"auto"`` chooses, see the note. ``"prim"``: dimension 0. ``"boruvka"``: dimension
            0, in torch operations. ``"tiled"``: dimension 0 of points, without the distance matrix.
            ``"annotations"``: dimensions 0 and 1. ``"gudhi"``: any dimension, with the ``tda``
            extra. All find the same pairs for the same weights.
        check_values: Whether to check the values for NaN, infinity, asymmetry and range. Without
            it nothing waits for a device, and the result for bad values is undefined.
        memory_budget: Bytes that the tiles of ``"tiled"`` may take. A tile has at least 64 rows and
            columns.
        progress: ``True`` makes ``"tiled"`` show a bar on standard error if a search takes more
            than a second. A function is called as ``progress(stage, done, total)``: ``stage`` is
            ``"neighbours"`` (tiles of distances), then ``"tree"`` (edges of the tree). If it
            raises, the search ends.

    Raises:
        ValueError: If an option is unknown, ``max_edge_length`` is negative, ``memory_budget`` is
            not a positive integer, or ``"tiled"`` is given with a callable or precomputed metric.
        TypeError: If ``progress`` is neither a function nor ``True``, ``False`` or ``None``.

    Shape:
        - data: :math:`(n, d)` is one cloud, :math:`(b, n, d)` are b clouds, a sequence of
          :math:`(n_i, d)` are clouds of different sizes; matrices likewise with d = n.

    Note:
        Pairs are constant for autograd: if the points change little enough, the same edges are
        selected, unless distances coincide. Differentiate :meth:`diagram`, the tracks and the
        losses. Dimension 0 takes time and memory :math:`O(n^2)`, and time :math:`O(n^2 d)` for the
        distances. In dimension 1 time depends on the classes: between 128 and 2,048 points it grew
        like :math:`n^{1.8}` on clusters, :math:`n^{2.2}` on a noisy circle and :math:`n^{3.2}` on
        structureless points of high dimension; memory is :math:`O(n^2)` plus the annotations of
        living classes. Dimensions 2 and higher go through giotto-ph or GUDHI and grow much faster.

        ``"auto"`` finds dimension 0 on the device of the points, on the CPU by ``"prim"``, and of
        more than 16,384 points of a named metric by ``"tiled"``: exact, with memory :math:`O(n)` in
        addition to the points and the tiles (:doc:`/guides/scaling`). With ``check_values=False``,
        a named metric and no ``max_edge_length`` it does not wait for the device
        (:doc:`/guides/bring_a_model`). Dimension 1 always passes through the CPU.

        By a named metric the weight of an edge is the distance between its points, measured in
        double precision and rounded once; :meth:`diagram` reports the same number. So, in the
        points in which pairs were found, no death lies before its birth, deaths of dimension 0
        never decrease, and ``max_edge_length`` taken from a diagram keeps its edge, all exactly. A
        cloud has the same pairs alone, in a batch, and from the matrix of
        :func:`~topreg.pairwise_distances`; in double precision the last holds unless
        ``max_edge_length`` is within 1e-12 of a distance. On devices other than the CPU, edges are
        selected by distances in the precision of the points, of which those below 1e-19 times the
        largest coordinate count as 0 in single precision.

        A callable metric runs without autocast, and its matrix products run in full precision
        whatever ``torch.set_float32_matmul_precision`` says, except in its backward pass and in
        programs of ``torch.compile``.

        A metric that is an ``nn.Module`` is part of the filtration: it moves and trains with it. If
        it is also part of your model, it appears in the parameters of both; give it to the
        optimiser once. The search runs it in evaluation mode, so that it updates no statistics;
        :meth:`diagram` leaves its mode unchanged. With batch normalisation in training mode the two
        may differ, and deaths may then decrease.

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
        check_values: bool = True,
        memory_budget: int = MEMORY,
        progress: Progress | bool | None = None,
    ) -> None:
        super().__init__()
        check_metric(metric)
        _checks.is_number("max_edge_length", max_edge_length, "at least 0")
        _checks.is_option("engine", engine, ENGINES)
        _checks.is_count("memory_budget", memory_budget)
        _checks.is_progress(progress)
        if engine == "tiled" and metric not in METRICS:
            named = '"euclidean", "cosine" or "manhattan"'
            raise ValueError(
                f'`metric` should be {named} with `engine="tiled"`. Got {metric!r}. '
                'Use `engine="auto"`.'
            )
        self.metric: Metric = metric
        self.max_edge_length: float = float(max_edge_length)
        self.engine = engine
        self.check_values = check_values
        self.memory_budget: int = operator.index(memory_budget)
        self.progress = progress

    def __repr__(self) -> str:
        """Return the call that makes an equal filtration."""
        return constructor_call(self)

    def pairs(self, data: Clouds, dimension: int = 0) -> PersistencePairs:
        dimension = check_dimension(dimension, self.engine)
        return Space(self, data).pairs([dimension])[0]

    def all_pairs(self, data: Clouds, max_dimension: int) -> tuple[PersistencePairs, ...]:
        highest = check_dimension(max_dimension, self.engine, "max_dimension")
        return tuple(Space(self, data).pairs(range(highest + 1)))

    def diagram(self, pairs: PersistencePairs, data: Clouds) -> Tensor:
        return Space(self, data).diagram(pairs)


class Space:
    """One or several clouds in a filtration: their pairs and the lengths of their edges.

    Lengths are divided by a quantile of each cloud's distances after :meth:`normalize`.

    Args:
        filtration: Its options decide how data are measured and searched.
        data: Point clouds, or distance matrices if the metric is ``"precomputed"``.
        name: Name of the data in messages.
    """

    _entries: Tensor | None = None
    _scales: Tensor | None = None

    def __init__(self, filtration: RipsFiltration, data: Clouds, name: str = "points") -> None:
        self.filtration = filtration
        self.name = name
        self.precomputed = filtration.metric == "precomputed"
        read = join_matrices if self.precomputed else join
        self.values, self.sizes = read(data, name)
        self._ruler = self.sizes if self.precomputed else filtration.metric

    def pairs(self, dimensions: Sequence[int]) -> list[PersistencePairs]:
        """Find pairs, one object per dimension, without gradient."""
        chosen = self.filtration
        if self.precomputed and chosen.check_values and self._entries is None:
            found = pairs_of_clean(
                self.values, self.sizes, chosen.max_edge_length, dimensions, chosen.engine
            )
            if found is not None:
                return found
        if self.precomputed or callable(chosen.metric):
            _checks.is_readable(self.name, self.values)
            return find_pairs(
                self.entries(dimensions),
                self.sizes,
                chosen.max_edge_length,
                dimensions,
                engine=chosen.engine,
            )
        search = self.sizes, chosen.metric, chosen.max_edge_length, dimensions
        few = pairs_of_few(self.values, *search, chosen.engine, chosen.check_values)
        if few is not None:
            return few
        return pairs_of_points(
            self._rows(),
            *search,
            engine=chosen.engine,
            memory=chosen.memory_budget,
            progress=chosen.progress,
            name=self.name,
        )

    def normalize(self, quantile: float | None) -> None:
        """Divide lengths by a quantile of the distances of each cloud; by 1 where it is 0.

        It is ``numpy.quantile`` of all entries of the distance matrix, with gradient.
        """
        if quantile is None:
            return
        if not sum(self.sizes):
            self._scales = at_least_single(self.values).new_ones(len(self.sizes))
            return
        matrices = self.entries().split([n * n for n in self.sizes])
        places = [quantile * max(n * n - 1, 0) for n in self.sizes]  # among sorted entries

        def lengths_at(step: int) -> Tensor:
            clouds = zip(matrices, self.sizes, places, starts(self.sizes), strict=False)
            edges = [_at_rank(m.view(n, n), int(rank) + step) + v for m, n, rank, v in clouds]
            last = sum(self.sizes) - 1  # an empty last cloud has no vertex
            return edge_lengths(self.values, torch.stack(edges).clamp(max=last), self._ruler)

        lengths = lengths_at(0)
        if quantile != 1:
            share = lengths.new_tensor([place % 1 for place in places])
            lengths = lengths + share * (lengths_at(1) - lengths)
        self._check_scales(lengths)
        several = numbers(self.sizes, lengths) > 1
        self._scales = torch.where(several & (lengths != 0), lengths, 1.0)

    def lengths(self, edges: Tensor) -> Tensor:
        """Return the length (m,) of each edge (m, 2), with gradient; infinite for missing edges."""
        lengths = edge_lengths(self.values, edges, self._ruler)
        missing, longest = None, self.filtration.max_edge_length
        if longest != math.inf or self.precomputed:
            entries = edge_lengths(self.entries(), edges, self.sizes)
            missing = (entries > longest) | entries.isinf()
            lengths = torch.where(missing, 0.0, lengths)  # infinity / scale has no gradient
        if self._scales is not None:
            lengths = lengths / self._scales.index_select(0, cloud_of(edges[:, 0], self.sizes))
        return lengths if missing is None else torch.where(missing, math.inf, lengths)

    def diagram(self, pairs: PersistencePairs) -> Tensor:
        """Return births and deaths (m, 2) of pairs in this space, with gradient."""
        usual = isinstance(pairs, PersistencePairs) and pairs.cloud_sizes == self.sizes
        if not usual or pairs.death_edges.device != self.values.device:
            check_pairs(pairs, self.values, self.sizes, self.name)
        births = None if pairs.dimension == 0 else pairs.birth_edges  # edges (v, v)
        values = edge_diagram(self.values, births, pairs.death_edges, self._ruler)
        if self._scales is None:
            return values
        cloud = cloud_of(pairs.death_edges[:, 0], self.sizes)
        return values / self._scales.index_select(0, cloud)[:, None]

    def distances(self) -> Tensor:
        """Return what :meth:`lengths` returns for all pairs of vertices (sum of n_i^2,).

        They have no gradient and are as precise as :meth:`entries`.
        """
        entries, longest = self.entries(), self.filtration.max_edge_length
        if longest != math.inf:
            entries = entries.masked_fill(entries > longest, math.inf)
        if self._scales is None:
            return entries
        scales = self._scales.detach()
        if len(scales) == 1:
            return entries / scales
        counts = numbers([n * n for n in self.sizes], entries)
        return entries / scales.repeat_interleave(counts, output_size=len(entries))

    def entries(self, dimensions: Sequence[int] = (0,)) -> Tensor:
        """Return all distances (sum of n_i^2,) without gradient, matrix after matrix.

        By a named metric they are estimates: their relative error is below 1e-5 in single and
        1e-12 in double precision.
        """
        if self._entries is None:
            with torch.no_grad():  # a decorated method breaks compiled graphs
                self._entries = self._measure(dimensions)
        return self._entries

    def check_room(self, matrices: int) -> None:
        """Raise if some matrices per cloud do not fit into memory."""
        if self.values.device.type == "cpu":
            needed = bytes_of_matrices(self.sizes, self.values.dtype, matrices)
            check_room(needed, self.sizes, self.name)

    def _measure(self, dimensions: Sequence[int]) -> Tensor:
        """Return distances as engines read them, checked if ``check_values``."""
        chosen, check_values = self.filtration, self.filtration.check_values
        if self.precomputed:
            copies = self.values.dtype.itemsize < 4
            check_sizes(self.sizes, dimensions, chosen.engine, self.values, copies, self.name)
            return check_weights(self.values, self.sizes, name=self.name, check_values=check_values)
        points = self._rows()
        check_sizes(self.sizes, dimensions, chosen.engine, self.values, 1, self.name)
        if not callable(chosen.metric):
            rows, longest = prepare(points, chosen.metric), chosen.max_edge_length
            if longest < math.inf:  # decide exactly which edges are longer
                return selection_weights(rows, self.sizes, chosen.metric, longest)
            return estimated_weights(rows, self.sizes, chosen.metric)[0]
        rows = at_least_single(points)
        with _without_training(chosen.metric):
            matrices = [
                by_callable(chosen.metric, x, x).flatten() for x in rows.split(list(self.sizes))
            ]
        entries = torch.cat(matrices) if matrices else rows.flatten()
        name = f"metric({self.name}, {self.name})"
        return check_weights(
            entries, self.sizes, name=name, check_values=check_values, of_metric=True
        )

    def _check_scales(self, lengths: Tensor) -> None:
        """Raise if a quantile of given distances is infinite, as those of missing edges are."""
        measured = not self.precomputed or not self.filtration.check_values
        if measured or torch.compiler.is_compiling():
            return
        if not bool(lengths.isfinite().all()):
            cloud = int((~lengths.isfinite()).nonzero()[0])
            raise ValueError(
                f"`{self.name}` should have finite distances up to the quantile `normalize`. "
                f"Got an infinite one in cloud {cloud}. Pass a smaller `normalize`."
            )

    def _rows(self) -> Tensor:
        """Return the points without gradient, checked if ``check_values``."""
        points = self.values.detach()
        if self.filtration.check_values:
            return check_rows(points, self.name, str(self.filtration.metric))
        return points


@contextlib.contextmanager
def _without_training(metric: Metric) -> Iterator[None]:
    """Put a learned metric into evaluation mode meanwhile, so that it updates no statistics."""
    trained = [m for m in metric.modules() if m.training] if isinstance(metric, nn.Module) else []
    try:
        for module in trained:
            module.training = False
        yield
    finally:
        for module in trained:
            module.training = True


def _at_rank(matrix: Tensor, rank: int) -> Tensor:
    """Return the row and column (2,) of the entry at a rank; of the largest if beyond."""
    n = len(matrix)
    if not n:
        return torch.zeros(2, dtype=torch.int64, device=matrix.device)
    if rank >= n * n - 1:
        row = matrix.amax(1).argmax()  # many times faster than the argmax of all entries
        return torch.stack([row, matrix.index_select(0, row[None])[0].argmax()])
    place = matrix.flatten().kthvalue(rank + 1).indices
    return torch.stack([place // n, place % n])
