"""The optimisers, among them the AdamW that half precision amounts to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .options import TrainingOptions


class HalfAdamW(torch.optim.Optimizer):
    """AdamW in float16 arithmetic, for parameters of any precision.

    The official codes of Tip-Adapter-F and HC-TAF train float16 keys. In float16 the second moment
    of a gradient below 5.5e-3 rounds to 0, so that only ``eps`` is left in the denominator: a
    momentum with the rate ``lr / eps``, without normalisation. The weight decay of a step rounds
    away as well.

    Parameters and moments keep their dtype and take float16 values. Each operation is computed in
    that dtype and rounded to float16, as a GPU does with float16 tensors, so that every device
    trains alike. Losses and their gradients are computed in the dtype of the parameters.

    Args:
        parameters: Floating-point parameters; their values are rounded to float16 at once.
        lr: Learning rate.
        weight_decay: Decay factor.
        eps: Constant of the denominator; below 3e-8 it is 0 in float16.
        betas: Decay of the two moments.

    Source:
        Loshchilov and Hutter, ICLR 2019, algorithm 2, in the order of operations of
        ``torch.optim.AdamW``.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        eps: float,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "eps": eps, "betas": betas}
        super().__init__(parameters, defaults)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    _round_(parameter)

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
        """One step of one parameter."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step, lr, (first, second) = int(state["step"]), group["lr"], group["betas"]
        momentum, squares = state["exp_avg"], state["exp_avg_sq"]
        gradient = gradient.half().to(parameter.dtype)
        _round_(parameter.mul_(1 - lr * group["weight_decay"]))
        _round_(momentum.lerp_(gradient, 1 - first))
        _round_(squares.mul_(second))
        _round_(squares.addcmul_(gradient, gradient, value=1 - second))
        denominator = _round_(squares.sqrt())
        _round_(denominator.div_((1 - second**step) ** 0.5))
        _round_(denominator.add_(group["eps"]))
        # 0 / 0 is NaN, as in float16, where `eps` rounds to 0.
        _round_(parameter.addcdiv_(momentum, denominator, value=-lr / (1 - first**step)))


def _round_(values: Tensor) -> Tensor:
    """Round to float16 in place."""
    return values.copy_(values.half())


def build_optimizer(
    parameters: Iterable[nn.Parameter], options: TrainingOptions
) -> torch.optim.Optimizer:
    """Build the optimiser that the options name.

    Args:
        parameters: What it trains.
        options: Its name, learning rate, decay and ``eps``.

    Returns:
        The optimiser.
    """
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "adamw_half": HalfAdamW,
    }
    return kinds[options.optimizer](
        parameters, lr=options.learning_rate, weight_decay=options.weight_decay, eps=options.eps
    )
