"""The AdamW that half precision amounts to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

PIECE = 1 << 16  # elements updated at a time on a CPU, so that they stay in its cache
NO_DECAY = 2.0**-13  # a value of float16 less this share of it rounds to itself


class HalfAdamW(torch.optim.AdamW):
    """AdamW in float16 arithmetic, for parameters of any precision.

    The official codes of Tip-Adapter-F and HC-TAF train float16 keys. In float16 the second moment
    of a gradient below 5.5e-3 rounds to 0, so that only ``eps`` is left in the denominator: a
    momentum with the rate ``lr / eps``, without normalisation. The weight decay of a step rounds
    away as well.

    Parameters and moments keep their dtype and take float16 values. Each operation is computed in
    that dtype and rounded to float16, as a GPU does with float16 tensors, so that every device
    trains alike. Losses and their gradients are computed in the dtype of the parameters. An ``eps``
    below 3e-8 is 0 in float16.

    Source:
        Loshchilov and Hutter, ICLR 2019, algorithm 2, in the order of operations of
        ``torch.optim.AdamW``.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float, eps: float
    ) -> None:
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, eps=eps)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.copy_(parameter.half())

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        """One step of one parameter, piece by piece."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        whole = [parameter, gradient, state["exp_avg"], state["exp_avg_sq"]]
        whole = [torch.atleast_1d(tensor) for tensor in whole]
        rows = len(whole[0])
        if parameter.device.type == "cpu":
            rows = max(1, PIECE * rows // max(1, parameter.numel()))
        for piece in zip(*(tensor.split(rows) for tensor in whole), strict=True):
            _update_piece(piece, int(state["step"]), group)


def _update_piece(piece: Sequence[Tensor], step: int, group: dict[str, Any]) -> None:
    """One step of some rows of a parameter, its gradient and its moments, in place."""
    values, gradient, momentum, squares = piece
    lr, decay, (first, second) = group["lr"], group["weight_decay"], group["betas"]
    half = torch.empty_like(values, dtype=torch.float16)
    denominator = torch.empty_like(values)

    def round_(tensor: Tensor) -> None:
        half.copy_(tensor)
        tensor.copy_(half)

    if lr * decay >= NO_DECAY:
        round_(values.mul_(1 - lr * decay))
    gradient = gradient.half().to(values.dtype)
    round_(momentum.lerp_(gradient, 1 - first))
    round_(squares.mul_(second))
    round_(squares.addcmul_(gradient, gradient, value=1 - second))
    round_(torch.sqrt(squares, out=denominator))
    round_(denominator.div_((1 - second**step) ** 0.5))
    round_(denominator.add_(group["eps"]))
    # 0 / 0 is NaN, as in float16, where `eps` rounds to 0.
    round_(values.addcdiv_(momentum, denominator, value=-lr / (1 - first**step)))
