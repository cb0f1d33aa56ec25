"""Several processes: gathering with gradient, and spanning trees with shared work.

Uses the process group that the program already has (``torch.distributed``, any backend). In a
program without one this process does everything.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

from topreg import _checks
from topreg._clouds import starts
from topreg._exchange import Group, every_row, is_grouped, talking_device
from topreg._safe import plain_tensor
from topreg.metrics import METRICS, at_least_single, prepare
from topreg.persistence import MEMORY, Progress, check_rows

__all__ = ["all_gather", "minimum_spanning_tree"]


def all_gather(x: Tensor, group: Group = None) -> Tensor:
    r"""Return the rows of all ranks, one rank after the other, with gradient to every rank.

    If rank s calls ``backward`` on its loss :math:`L_s`, rank r receives the gradient

    .. math::

        \frac{\partial}{\partial x_r} \sum_{s} L_s.

    DistributedDataParallel averages the gradients of the parameters over the W ranks, which gives
    the gradient of :math:`\frac{1}{W} \sum_s L_s`. If all ranks compute the same loss from the
    gathered rows, this equals the gradient of one process on the joined batch. Without
    DistributedDataParallel, sum the gradients of the parameters over the ranks and divide by W.

    Args:
        x: Rows of this rank, for instance of a :term:`point cloud`. Ranks may have different
            numbers of rows, or none.
        group: Process group; the default one if left out.

    Returns:
        All rows; ``x`` itself if there is no process group.

    Raises:
        TypeError: If ``x`` is not a floating-point tensor.
        ValueError: On all ranks, if ``x`` is not a matrix on one of them, or width, dtype or
            ``requires_grad`` differ.

    Shape:
        - x: :math:`(n_r, d)`. Output: :math:`(\sum_r n_r, d)`.

    Note:
        Collective, forward and backward: every rank must call it, and must call ``backward`` on a
        value that depends on the result. Differentiable twice. If a rank dies, the backend raises
        an error on the others. Rows are sent in at least single precision.

    Source:
        ``torch.distributed.nn.functional.all_gather`` has the same convention, but requires equal
        shapes.

    Example:
        >>> import torch
        >>> from topreg.distributed import all_gather
        >>> all_gather(torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    sizes, _ = _agree("x", x, group, _first_error(lambda: _checks.is_point_cloud("x", x)))
    if not is_grouped():
        return x
    gathered: Tensor = _Gather.apply(at_least_single(x), sizes, group)
    return gathered.to(x.dtype)


def minimum_spanning_tree(
    points: Tensor,
    *,
    metric: str = "euclidean",
    max_edge_length: float = math.inf,
    group: Group = None,
    memory_budget: int = MEMORY,
    progress: Progress | bool | None = None,
    check_values: bool = True,
) -> Tensor:
    r"""Return the :term:`minimum spanning tree` of the rows of all ranks, which share the work.

    .. math::

        \arg\min_{T \text{ spans } V} \sum_{(i, j) \in T} d(x_i, x_j)

    Every rank gets the same edges. One process finds them, too, in the joined rows with
    ``engine="tiled"``.

    Args:
        points: Rows of this rank; ranks may have different numbers of rows.
        metric: ``"euclidean"``, ``"cosine"`` or ``"manhattan"``.
        max_edge_length: Longer edges do not exist.
        group: Process group; the default one if left out.
        memory_budget: Bytes that the tiles of each rank may take; the smallest of all ranks counts.
        progress: ``True`` for a bar, or a function called as ``progress(stage, done, total)``, see
            :class:`~topreg.RipsFiltration`; on each rank that passes it. If it raises on one rank,
            the others wait until that rank ends or the backend's timeout runs out.
        check_values: Whether to check for NaN, infinity and, with the cosine, zero rows.

    Returns:
        Edges (i, j), i < j, in the total order, vertices numbered rank after rank.

    Raises:
        TypeError: If ``points`` are not a floating-point tensor.
        ValueError: On all ranks, if shapes, dtypes or values are wrong on one of them, or metrics
            or thresholds differ.

    Shape:
        - points: :math:`(n_r, d)`. Output: :math:`(n - 1, 2)` int64, :math:`n = \sum_r n_r`.

    Note:
        Collective. Every rank keeps all points: memory :math:`O(n d)`. The ranks share the
        :math:`n^2 / 2` distances and exchange lists of neighbours once, :math:`O(n)` bytes from
        each rank and to each. Then every rank grows the same tree on its CPU. Edges have no
        gradient. If a rank dies, the backend raises an error on the others.

    Source:
        Boruvka 1926, with certificates; see :class:`~topreg.RipsFiltration`.

    Example:
        >>> import torch
        >>> from topreg.distributed import minimum_spanning_tree
        >>> minimum_spanning_tree(torch.tensor([[0.0], [3.0], [1.0]]))
        tensor([[0, 2],
                [1, 2]])
    """
    from topreg.persistence.large._certificates import forest_of_cloud  # these load numba
    from topreg.persistence.large._ranks import GroupRanks, Ranks
    from topreg.persistence.large._tiled import report_to

    problem = _first_error(
        lambda: _checks.is_option("metric", metric, METRICS),
        lambda: _checks.is_number("max_edge_length", max_edge_length, "at least 0"),
        lambda: _checks.is_count("memory_budget", memory_budget),
        lambda: _checks.is_progress(progress),
        lambda: _checks.is_point_cloud("points", points),
        lambda: check_values and check_rows(points, "points", metric),
    )
    with torch.no_grad():
        sizes, memory = _agree(
            "points", points, group, problem, metric, max_edge_length, memory_budget
        )
        rows = at_least_single(points.detach())
        ranks = Ranks()
        if is_grouped():
            rows = every_row(rows, sizes, group)
            ranks = GroupRanks(group, talking_device(group))
        with report_to(progress) as function:
            edges, _, _ = forest_of_cloud(
                prepare(rows, metric).contiguous(),
                metric,
                float(max_edge_length),
                memory=memory,
                progress=function,
                ranks=ranks,
            )
        return plain_tensor(torch.from_numpy(edges).to(points.device))


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backward gives each rank its rows of the summed gradients."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, sizes: list[int], group: Group) -> Tensor:
        ctx.task = sizes, group  # type: ignore[attr-defined]
        return every_row(x, sizes, group)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _ReduceScatter.apply(grads[0], *ctx.task), None, None  # type: ignore[attr-defined]


class _ReduceScatter(torch.autograd.Function):
    """This rank's rows of the sum over ranks: the transpose of gathering."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, sizes: list[int], group: Group) -> Tensor:
        ctx.task = sizes, group  # type: ignore[attr-defined]
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        first = starts(sizes)[dist.get_rank(group)]
        return total[first : first + sizes[dist.get_rank(group)]].clone()

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Gather.apply(grads[0], *ctx.task), None, None  # type: ignore[attr-defined]


def _first_error(*checks: Callable[[], object]) -> Exception | None:
    """Return the error of the first check that fails, to be raised once all ranks know of it."""
    try:
        for check in checks:
            check()
    except (TypeError, ValueError, OverflowError) as error:
        return error
    return None


def _agree(
    name: str,
    x: Tensor,
    group: Group,
    problem: Exception | None,
    metric: str = METRICS[0],
    longest: float = math.inf,
    memory: int = MEMORY,
) -> tuple[list[int], int]:
    """Return the numbers of rows of all ranks, and the smallest memory budget.

    Raise on all ranks if one has a problem or differs from the others.
    """
    if not is_grouped():
        if problem is not None:
            raise problem
        return [len(x)], memory
    if dist.get_rank(group) < 0:
        raise ValueError(
            f"`group` should have the rank that calls. Got a group without rank {dist.get_rank()}. "
            "Call this on its ranks alone."
        )
    own = None
    if problem is None:
        device = "the CPU" if x.device.type == "cpu" else "an accelerator"
        wanted = x.requires_grad and torch.is_grad_enabled()
        own = len(x), memory, x.shape[1], x.dtype, device, wanted, metric, longest
    said: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(said, own, group=group)
    if problem is not None:
        raise problem
    if None in said:
        raise ValueError(
            f"`{name}` should be valid on every rank. Got an invalid value on rank "
            f"{said.index(None)}. See the error of that rank."
        )
    rows, memories, *facts = zip(*said, strict=True)
    requirements = (
        f"`{name}` should have the same number of coordinates",
        f"`{name}` should have one dtype",
        f"`{name}` should be on one type of device",
        f"`{name}` should require a gradient, or none,",
        "`metric` should be the same",
        "`max_edge_length` should be the same",
    )
    for requirement, values in zip(requirements, facts, strict=True):
        for rank, value in enumerate(values):
            if value != values[0]:
                raise ValueError(
                    f"{requirement} on every rank. "
                    f"Got {values[0]} on rank 0 and {value} on rank {rank}."
                )
    return list(rows), min(memories)
