"""The Vietoris-Rips filtration."""

import math
import operator
from typing import final

from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds
from topreg._module import constructor_call
from topreg._pairs import PersistencePairs
from topreg.filtrations._filtration import Filtration
from topreg.filtrations._space import Space
from topreg.metrics._metric import METRICS, Metric, check_metric
from topreg.persistence import ENGINES, MEMORY, Progress, check_dimension


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
        self.max_edge_length = float(max_edge_length)
        self.engine = engine
        self.check_values = check_values
        self.memory_budget = operator.index(memory_budget)
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
