"""Topological signature loss of topological autoencoders."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx

from topreg import _checks
from topreg._clouds import Clouds, cloud_of
from topreg._module import checked
from topreg._pairs import PersistencePairs
from topreg._safe import plain_tensor
from topreg.filtrations import RIPS, Filtration, RipsFiltration
from topreg.filtrations._rips import Space
from topreg.losses import _common
from topreg.losses._common import Loss, Pairs
from topreg.metrics._edges import flags_of, lengths_by_operations
from topreg.metrics._metric import rows_of
from topreg.persistence import are_few, limits_of


def _fit(normalize: float | None, **others: Any) -> None:
    """Raise if ``normalize`` is given with a filtration other than Vietoris-Rips."""
    for name in ("filtration", "target_filtration"):
        if normalize is not None and others[name] is not None:
            _common.is_rips(name, others[name], " with `normalize`")


@checked(_common.CHECKS, _fit)
def signature_loss(
    source: Clouds,
    target: Clouds,
    *,
    pairs: Pairs | None = None,
    target_pairs: Pairs | None = None,
    filtration: Filtration | None = None,
    target_filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0,),
    symmetric: bool = True,
    normalize: float | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Compare the lengths that the edges of persistence pairs have in two spaces.

    .. math::

        \frac{1}{2} \bigl\| A^X[\Gamma^X] - A^Z[\Gamma^X] \bigr\|^2
        + \frac{1}{2} \bigl\| A^Z[\Gamma^Z] - A^X[\Gamma^Z] \bigr\|^2

    :math:`\Gamma^X` are the pairs found in space X, and :math:`A^Z[\Gamma^X]` their births and
    deaths measured in space Z. Row i of ``source`` and row i of ``target`` are the same vertex;
    their widths may differ.

    Args:
        source: Data in the first space, for instance the inputs of an encoder.
        target: Data in the second space on the same vertices, for instance its outputs.
        pairs: :term:`Persistence pairs <persistence pair>` of ``source`` found before, one object
            or one per dimension.
        target_pairs: Persistence pairs of ``target``. If only one of ``pairs`` and
            ``target_pairs`` is given, the other space is searched in the same dimensions.
        filtration: Finds the pairs of ``source`` and measures births and deaths in it;
            :class:`~topreg.RipsFiltration` if left out.
        target_filtration: Does this for ``target``; ``filtration`` if left out.
        dimensions: :term:`Homology dimensions <homology dimension>` in which pairs are found; their
            losses are added.
        symmetric: Whether the edges of ``target`` are compared too. Without it ``target`` is not
            searched.
        normalize: Divide the values of each space by this quantile of all distances of their cloud.
            1.0 is the largest distance, with which to begin: if left out, the loss grows with the
            number of points and the square of their scale. The gradient includes the quantile. Both
            filtrations must be Vietoris-Rips. A cloud of coincident points is divided by 1.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The loss, in squared units of the filtrations, or dimensionless if normalised. A cloud
        without a pair has the value 0.

    Raises:
        TypeError: If only one space is in double precision, or ``normalize`` is given with a
            filtration other than Vietoris-Rips.
        ValueError: If the clouds or the pairs do not belong to the same vertices, a cloud whose
            distances are needed has NaN or infinity, or an option is unknown.

    Shape:
        - source: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - target: like ``source``; d may differ.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``; not through the pairs. Time and memory
        :math:`O(m d)` in addition to finding the pairs. ``normalize`` takes time :math:`O(n^2 d)`
        and memory :math:`O(n^2)` for distance matrices. Without it, dimension 0 of more than 16,384
        points needs no matrix.

    Source:
        Moor et al., Topological autoencoders, ICML 2020, equations 2 to 4. Their code has no factor
        1/2, so its sum is twice this loss, and divides by the number of points. It normalises X by
        the largest distance, Z by a learned constant. Above dimension 0 both edges of each pair are
        compared, as the equations say; their code compares the persistence.
        torch_topological's ``SignatureLoss`` is half the sum of the two norms, not of the squares.

    Example:
        >>> import torch
        >>> from topreg import signature_loss
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> signature_loss(points, 2 * points)  # (1 + 4) / 2 from each side
        tensor(5.)
    """
    own = None if pairs is None else _common.as_list(pairs)
    other = None if target_pairs is None else _common.as_list(target_pairs, "target_pairs")
    if own or other:  # the other space is searched in the dimensions of what is given
        dimensions = tuple(part.dimension for part in own or other or ())
    x, z = _spaces(source, target, filtration, target_filtration)
    if not (own or other) and dimensions == (0,) and isinstance(x, Space) and isinstance(z, Space):
        values = _signature_of_few((x, z), symmetric, normalize, reduction != "none")
        if values is not None:
            return _common.reduce_values(values, reduction) if values.ndim else values
    if normalize is not None and isinstance(x, Space) and isinstance(z, Space):
        x.normalize(normalize)
        z.normalize(normalize)
    if own or other:
        _on_their_devices("source", source, "pairs", own)
        _on_their_devices("target", target, "target_pairs", other)
    every = own or x.pairs(dimensions)
    if symmetric:
        every = [*every, *(other or z.pairs(dimensions))]
    names = ["pairs" if own else "source"] * len(dimensions)
    joined = _stack(every, [*names, *["target_pairs" if other else "target"] * len(every)])
    squares = torch.nn.functional.mse_loss(x.diagram(joined), z.diagram(joined), reduction="none")
    return _common.reduce_sums(squares, joined, reduction) / 2


class _Other(NamedTuple):
    """Data of a filtration other than Vietoris-Rips, which searches and measures them."""

    filtration: Filtration
    data: Clouds

    def pairs(self, dimensions: Sequence[int]) -> list[PersistencePairs]:
        """Find pairs, one object per dimension."""
        return _common.find(None, self.filtration, dimensions, self.data)

    def diagram(self, pairs: PersistencePairs) -> Tensor:
        """Return births and deaths (m, 2) of pairs, with gradient."""
        return self.filtration.diagram(pairs, self.data)


def _spaces(
    source: Clouds,
    target: Clouds,
    filtration: Filtration | None,
    target_filtration: Filtration | None,
) -> tuple[Space | _Other, Space | _Other]:
    """Return both spaces. Points are checked here, other data by their filtrations."""
    first = RIPS if filtration is None else filtration
    second = first if target_filtration is None else target_filtration
    if isinstance(first, RipsFiltration) and isinstance(second, RipsFiltration):
        return _common.two_spaces(source, target, first, second)
    return _Other(first, source), _Other(second, target)


def _on_their_devices(
    name: str, data: Clouds, pairs_name: str, pairs: Sequence[PersistencePairs] | None
) -> None:
    """Raise if given pairs are not on the device of their space."""
    clouds = data if isinstance(data, Sequence) else [data]
    first = next((cloud for cloud in clouds if isinstance(cloud, Tensor)), None)
    for part in pairs or ():
        if first is not None:  # else the filtration says what the data should be
            _checks.on_one_device(name, first, pairs_name, part.death_edges.device)


def _stack(parts: Sequence[PersistencePairs], names: Sequence[str]) -> PersistencePairs:
    """Return the pairs of several searches as one object, because many short calls take longer.

    ``names`` are the arguments that the parts come from, for messages.
    """
    if len(parts) == 1:
        return parts[0]
    sizes, dimension, births, deaths = parts[0].cloud_sizes, 0, [], []
    for part, name in zip(parts, names, strict=False):
        if part.cloud_sizes != sizes:
            _refuse_sizes(part.cloud_sizes, name, sizes, names[0])
        births.append(part.birth_edges)
        deaths.append(part.death_edges)
        dimension = max(dimension, part.dimension)
    joined = torch.cat(deaths)
    return PersistencePairs(dimension, torch.cat(births), joined, joined[:0], sizes)


def _refuse_sizes(sizes: tuple[int, ...], name: str, others: tuple[int, ...], other: str) -> None:
    """Raise because clouds differ in size; either may be those of given pairs."""
    if name == "target" and other == "source":
        _checks.of_same_clouds(others, sizes)
    if not name.endswith("pairs"):
        sizes, name, others, other = others, other, sizes, name
    if not other.endswith("pairs"):
        _checks.indexes(sum(others), sizes, name)
    _checks.of_clouds(sizes, others, other, name)


def _signature_of_few(
    spaces: tuple[Space, Space], symmetric: bool, normalize: float | None, scalar: bool
) -> Tensor | None:
    """Return the loss of each cloud (b,), or of an only one () if ``scalar``, with gradient.

    Return None if another way is needed, for example because a point is not finite.
    """
    sizes, filtrations = spaces[0].sizes, [space.filtration for space in spaces]
    if min(sizes, default=0) == 0 or normalize not in (None, 1):
        return None
    if forward_ad._current_level >= 0:  # forward mode needs torch's operations
        return None
    for space, chosen in zip(spaces, filtrations, strict=True):
        if not are_few(space.values, sizes, chosen.metric, chosen.engine):
            return None
    from topreg._compiled import over_clouds
    from topreg.losses._signature_kernels import signatures

    metrics = [str(chosen.metric) for chosen in filtrations]
    rows = [rows_of(s.values, metric) for s, metric in zip(spaces, metrics, strict=True)]
    graph = torch.is_grad_enabled()
    x, z = arrays = [points.detach().contiguous().numpy() for points in rows]
    pulls = [
        np.zeros_like(array if graph and points.requires_grad else array[:0])
        for points, array in zip(rows, arrays, strict=True)
    ]
    limits = [limits_of(chosen.max_edge_length, rows[0].dtype) for chosen in filtrations]
    edges, longest = np.zeros((2 * len(x), 2), np.int64), np.zeros((2, len(sizes), 2), np.int64)
    values, clouds = np.empty(len(sizes), x.dtype), np.array(sizes, np.int64)
    task = x, z, *map(flags_of, metrics), *limits, symmetric, normalize == 1, clouds
    results = values, edges, longest, *pulls

    def compare(first: int, last: int, halt: Any) -> None:
        signatures(*task, first, last, *results, halt)

    over_clouds(compare, list(sizes), x.shape[1] + z.shape[1])
    if (values < 0).any():
        return None
    loss = torch.from_numpy(values.reshape(()) if scalar and len(sizes) == 1 else values)
    if not any(map(len, pulls)):
        return loss
    units = None if normalize is None else torch.from_numpy(longest)
    again = partial(
        _by_operations, metrics, sizes, torch.from_numpy(edges), units, tuple(loss.shape)
    )
    gradients = list(map(torch.from_numpy, pulls))
    return cast(Tensor, _Known.apply(*rows, [loss], gradients, sizes, again))


class _Known(torch.autograd.Function):
    """A loss whose gradients are already known."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        z: Tensor,
        loss: list[Tensor],
        pulls: list[Tensor],
        sizes: Sequence[int],
        again: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(plain_tensor(x), plain_tensor(z))
        ctx.pulls, ctx.sizes, ctx.again = pulls, sizes, again  # type: ignore[attr-defined]
        return loss[0]

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        pulls: list[Tensor] = ctx.pulls  # type: ignore[attr-defined]
        if torch.is_grad_enabled():  # the gradient will be differentiated: torch's operations
            rows = ctx.saved_tensors  # type: ignore[attr-defined]
            formula = ctx.again(*rows)  # type: ignore[attr-defined]
            wanted = [x for x, pull in zip(rows, pulls, strict=True) if len(pull)]
            slopes = iter(torch.autograd.grad(formula, wanted, grads[0], create_graph=True))
            found = [next(slopes) if len(pull) else None for pull in pulls]
        else:
            weights, sizes = grads[0], ctx.sizes  # type: ignore[attr-defined]
            if len(sizes) > 1:
                weights = weights.repeat_interleave(torch.tensor(sizes, device="cpu"))[:, None]
            found = [pull * weights if len(pull) else None for pull in pulls]
        return *found, None, None, None, None


def _by_operations(
    metrics: Sequence[str],
    sizes: Sequence[int],
    edges: Tensor,
    longest: Tensor | None,
    shape: Sequence[int],
    *rows: Tensor,
) -> Tensor:
    """Return the loss by torch operations, for derivatives of any order."""
    cloud = cloud_of(edges[:, 0], sizes)
    lengths = []
    for space, (x, metric) in enumerate(zip(rows, metrics, strict=True)):
        measured = lengths_by_operations(x, edges, metric)
        if longest is not None:
            units = lengths_by_operations(x, longest[space], metric)
            measured = measured / torch.where(units == 0, 1.0, units)[cloud]
        lengths.append(measured)
    squares = (lengths[0] - lengths[1]).square() / 2
    return squares.new_zeros(len(sizes)).index_add(0, cloud, squares).view(shape)


class SignatureLoss(Loss, function=signature_loss):
    """Module form of :func:`signature_loss`.

    Example:
        >>> import torch
        >>> from topreg import SignatureLoss
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> SignatureLoss(normalize=1.0)(points, 2 * points)  # the scale does not matter
        tensor(0.)
    """

    target_filtration: Filtration | None = None
    dimensions: Sequence[int] = (0,)
    symmetric: bool = True
    normalize: float | None = None
