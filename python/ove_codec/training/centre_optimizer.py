"""AdamW for the centres of a bank, on the rows that a step has sampled and on no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_ROWS_AT_A_TIME = 1 << 16


class CentreAdamW(torch.optim.Optimizer):
    """AdamW whose steps touch the rows of sparse gradients only.

    A row goes the way that `torch.optim.AdamW` would take it, were its own samplings all the steps that there are: each
    row counts its steps, for the bias correction, and neither moments nor weight decay move a row that is not sampled.
    (A dense AdamW moves all of them, by old momentum and by decay; `torch.optim.SparseAdam` corrects rare rows by the
    number of steps of the whole matrix, so their first steps are too long, and has no decay.)

    State of a parameter (C, D): exp_avg and exp_avg_sq, (C, D) of its dtype; steps, (C,) float32.

    Raises:
        ValueError: a setting is out of range.
        TypeError: a gradient is not sparse.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0 or eps <= 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                f"lr and weight_decay must not be negative, eps must be positive and betas 0 to 1, "
                f"not lr={lr}, weight_decay={weight_decay}, eps={eps}, betas={betas}"
            )
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def state_of(self, param: Tensor) -> dict[str, Tensor]:
        """The state of a parameter, made where there is none yet."""
        state: dict[str, Tensor] = self.state[param]
        if not state:
            state["exp_avg"] = torch.zeros_like(param)
            state["exp_avg_sq"] = torch.zeros_like(param)
            state["steps"] = torch.zeros(len(param), device=param.device)
        return state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None, *, factor: Tensor | float = 1.0) -> float | None:  # type: ignore[override]
        """One step with gradients times `factor`, a number that may lie on the device (of clipping by the norm)."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, group, factor)
        return loss

    def _update(self, param: Tensor, group: dict[str, Any], factor: Tensor | float) -> None:
        grad = param.grad
        assert grad is not None
        if not grad.is_sparse:
            raise TypeError(
                "CentreAdamW takes sparse gradients, such as those of ClusterLoss; use torch.optim.AdamW here"
            )
        grad = grad.coalesce()
        state = self.state_of(param)
        beta1, beta2 = group["betas"]
        every, values = grad.indices()[0], grad.values()
        # In parts, so that the copies of rows stay small beside the bank.
        for first in range(0, len(every), _ROWS_AT_A_TIME):
            part = slice(first, first + _ROWS_AT_A_TIME)
            rows, g = every[part], values[part] * factor
            part_of = g.any(1, keepdim=True).to(g.dtype)  # 1 or 0: rows without gradient stay as they are
            m = state["exp_avg"].index_select(0, rows).lerp_(g, (1 - beta1) * part_of)
            v = state["exp_avg_sq"].index_select(0, rows)
            v.mul_(1 - (1 - beta2) * part_of).addcmul_(g, g, value=1 - beta2)
            n = state["steps"].index_select(0, rows).add_(part_of[:, 0])
            w = param.index_select(0, rows).mul_(1 - group["lr"] * group["weight_decay"] * part_of)
            count = n.to(w.dtype)[:, None].clamp_min(1)
            size = group["lr"] * part_of / (1 - beta1**count)
            denominator = (v / (1 - beta2**count)).sqrt_().add_(group["eps"])
            w.sub_(size * m / denominator)
            for target, new in ((param, w), (state["exp_avg"], m), (state["exp_avg_sq"], v), (state["steps"], n)):
                target.index_copy_(0, rows, new)
