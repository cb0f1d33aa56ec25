"""Matching of least cost between two diagrams, even if its costs differ by orders of magnitude.

Costs are powers of lengths. A sum of floats loses all costs that are 53 bits below the largest, so
one long bar at a high order hides the others. The search below loses nothing:

- Rounded sums give a matching and dual variables. These bound how much each other choice would
  increase the total. A choice is excluded if that is more than the rounding error. Rows with one
  choice left are decided.
- The other rows are a smaller problem. It is solved again in units of the longest length that its
  known matching uses, if that makes costs larger.
- If not, small and large costs occur in one problem. The sums over the choices that are left are
  then exact.

Example: the bars ``[3, 6], [0, 11], [0, 3]`` and ``[5, 8], [0, 11]`` at order 50. The longest way
to the diagonal is 5.5, so a length of 1.5 costs ``(1.5 / 5.5)**50 = 1e-28``. Rounded sums decide
that the bars ``[0, 11]`` belong together, and nothing else. Among the others the longest length in
use is at most 5; in units of it, or of the next, they find that 1.5 three times is cheapest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topreg._operators import operator

LARGEST_ORDER = 2.0**44  # the distance of any larger order is the same up to rounding
LOWEST_BIT = -1074  # of double precision
SHRUNK = 2.0**-10  # costs below this part of the largest possible one get other units
NEGLIGIBLE = 2.0**-10  # part of the smallest undecided cost up to which rounding may decide

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Choices(NamedTuple):
    """A value for each choice of m rows and k columns; an infinite length excludes the choice."""

    between: NDArray[Any]  # (m, k)
    own: NDArray[Any]  # (m,), a row to the diagonal
    others: NDArray[Any]  # (k,), a column to the diagonal

    def costs(self, unit: float, order: float) -> Choices:
        """Return powers of lengths, given that some matching has no length above ``unit``.

        The least total is then at most ``m + k``. Larger costs may change, but stay above that.
        """
        longest = (4.0 * (len(self.own) + len(self.others))) ** (1 / order)
        with np.errstate(over="ignore"):
            return Choices(*(np.minimum(part / unit, longest) ** order for part in self))

    def used(self, matched: Indices) -> NDArray[Any]:
        """Return the values of the choices that a matching makes."""
        rows = np.flatnonzero(matched < len(self.others))
        columns = matched[rows]
        pairs = self.between[rows, columns]
        return np.concatenate([pairs, np.delete(self.own, rows), np.delete(self.others, columns)])


def _fake_matching(x: Tensor, y: Tensor, order: float, ground: float) -> Tensor:
    """Return an empty tensor of the right shape."""
    return x.new_empty(len(x), dtype=torch.int64)


@operator(_fake_matching)
def matching(x: Tensor, y: Tensor, order: float, ground: float) -> Tensor:
    """Return the row of ``y`` matched with each row of ``x``; ``len(y)`` is the diagonal."""
    first, second = (points.detach().cpu().double().numpy() for points in (x, y))
    gaps = np.abs(first[:, None] - second[None])
    if ground == math.inf:
        between = np.maximum(gaps[..., 0], gaps[..., 1])
    else:
        between = gaps.sum(2) if ground == 1 else np.hypot(gaps[..., 0], gaps[..., 1])
    own, others = ((p[:, 1] - p[:, 0]) * 2 ** (1 / ground - 1) for p in (first, second))
    return torch.from_numpy(least_powers(Choices(between, own, others), order)).to(x.device)


def costs_of(
    x: Tensor,
    y: Tensor,
    matched: Tensor,
    between: Callable[[Tensor], Tensor],
    to_diagonal: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Return the costs of each row of ``x``, and of each row of ``y`` that is left, else 0.

    A row of ``x`` is matched with a row of ``y``, or with the diagonal if the number is -1.
    ``between`` takes differences of matched rows, ``to_diagonal`` takes rows.
    """
    none_first, place = torch.cat([y.new_zeros(1, 2), y]), matched + 1
    gaps = between(x - none_first.index_select(0, place))
    left = torch.ones_like(none_first[:, 0]).index_fill(0, place, 0.0)[1:]
    return torch.where(matched < 0, to_diagonal(x), gaps), to_diagonal(y) * left


def least_powers(lengths: Choices, order: float) -> Indices:
    """Return the column of each row with the least sum of powers; k stands for no column."""
    from topreg.losses._matching_kernels import rounded_matching, smallest_positive

    order = min(order, LARGEST_ORDER)
    m, k = lengths.between.shape
    found, rows, columns = np.full(m, k), np.arange(m), np.arange(k + 1)
    unit = max(lengths.own.max(initial=0.0), lengths.others.max(initial=0.0))
    while unit > 0:  # else the matching so far costs nothing
        costs = lengths.costs(unit, order)
        matched, paid, price, error, largest = rounded_matching(*costs)
        found[rows] = columns[matched]
        smallest = (smallest_positive(*lengths) / unit) ** order
        if largest > SHRUNK and error < NEGLIGIBLE * smallest:
            break
        possible = Choices(
            costs.between - paid[:, None] - price <= error,
            costs.own - paid <= error,
            costs.others - price <= error,
        )
        open_rows = np.count_nonzero(possible.between, axis=1) + possible.own != 1
        lengths, matched, open_columns = _rest(lengths, possible, matched, open_rows)
        rows, columns = rows[open_rows], columns[open_columns]
        longest = lengths.used(matched).max(initial=0.0)
        if (longest / unit) ** order > SHRUNK:
            found[rows] = columns[_match_exactly(lengths, lengths.costs(longest, order))]
            break
        unit = longest
    return found


def _rest(
    lengths: Choices, possible: Choices, matched: Indices, open_rows: Flags
) -> tuple[Choices, Indices, Flags]:
    """Return the problem of the open rows, their matching, and a mask of the columns left to them.

    The last column is the diagonal, which every row may use.
    """
    open_columns = np.ones(len(lengths.others) + 1, np.bool_)
    open_columns[matched[~open_rows]] = False
    open_columns[-1] = True
    columns = open_columns[:-1]
    between, own, others = map(np.where, possible, lengths, (math.inf,) * 3)
    rest = Choices(between[open_rows][:, columns], own[open_rows], others[columns])
    return rest, open_columns.cumsum()[matched[open_rows]] - 1, open_columns


def _match_exactly(lengths: Choices, costs: Choices) -> Indices:
    """Return the matching of least exact cost among the choices that are not excluded."""
    from topreg.losses._matching_kernels import BITS, exact_matching, smallest_positive

    rows, columns = np.isfinite(lengths.between).nonzero()
    starts = np.searchsorted(rows, np.arange(len(lengths.own) + 1))
    lowest_bit = max(math.frexp(smallest_positive(*costs))[1] - 53, LOWEST_BIT)
    digits = 1 + max(0, -(lowest_bit // BITS))
    matched: Indices = exact_matching(
        costs.between[rows, columns], columns, starts, costs.own, costs.others, digits
    )
    return matched
