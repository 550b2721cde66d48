"""Learning rates, parameter groups, the norm of all gradients, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ove_codec.training.ranks import Ranks
from ove_codec.training.recipe import Optimizer


def learning_rate(step: int, total: int, recipe: Optimizer) -> float:
    """The factor of `lr` in step 0, 1, ..., total - 1: a linear warm-up, then the schedule down to `final_lr`.

    A function of the step alone, so a resumed run has the rates of one that was never stopped.
    """
    warmup = recipe.warmup if recipe.warmup >= 1 else round(recipe.warmup * total)
    if step < warmup:
        return (step + 1) / warmup
    if recipe.schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, total - 1 - warmup))
    cosine = recipe.schedule == "cosine"
    left = 0.5 * (1 + math.cos(math.pi * progress)) if cosine else (1 - progress) ** recipe.power
    return recipe.final_lr + (1 - recipe.final_lr) * left


def parameter_groups(backbone: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices, which decay; and norms, biases and the probe of the pooling head, which do not."""
    decaying: list[nn.Parameter] = []
    resting: list[nn.Parameter] = []
    for name, parameter in backbone.named_parameters():
        rests = parameter.ndim < 2 or name.rsplit(".", 1)[-1] == "probe"
        (resting if rests else decaying).append(parameter)
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": resting, "weight_decay": 0.0}]


def gradient_norm(backbone: Iterable[nn.Parameter], centres: Iterable[nn.Parameter], ranks: Ranks) -> Tensor:
    """The Euclidean norm of all gradients of the model, a scalar on the device and the same on all ranks.

    Gradients of the backbone are the same on all ranks, or DTensors; those of centres are sparse shards, which add up
    over ranks, and are coalesced here.
    """
    grads = [p.grad for p in backbone if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(grads, foreach=None)
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    square = norm.float().square()
    local = torch.zeros_like(square)
    for parameter in centres:
        if parameter.grad is not None:
            parameter.grad = parameter.grad.coalesce()
            local += parameter.grad.values().float().square().sum()
    return (square + ranks.sum_(local)).sqrt()


def clip_factor(norm: Tensor, most: float | None) -> Tensor:
    """What gradients are multiplied with so that their norm is at most `most`."""
    if most is None:
        return torch.ones_like(norm)
    return (most / norm.clamp_min(1e-12)).clamp_max(1.0)


class Average:
    """Exponentially averaged weights of the backbone, in float32.

    The decay is min(decay, (1 + n) / (10 + n)) in step n, so that the first steps are not dominated by random weights.
    """

    def __init__(self, backbone: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().float().clone() for name, p in backbone.named_parameters()}

    @torch.no_grad()
    def update(self, backbone: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        new = [p.detach().float() for _, p in backbone.named_parameters()]
        torch._foreach_lerp_(list(self.weights.values()), new, 1 - decay)

    @contextmanager
    def in_place(self, backbone: nn.Module) -> Iterator[None]:
        """The backbone has the averaged weights for a while."""
        parameters = dict(backbone.named_parameters())
        with torch.no_grad():
            own = {name: parameter.detach().clone() for name, parameter in parameters.items()}
            for name, parameter in parameters.items():
                parameter.copy_(self.weights[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(own[name])
