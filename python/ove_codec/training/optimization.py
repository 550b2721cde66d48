"""Learning rates, parameter groups, the norm of all gradients, and averaged weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

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


def parameter_groups(
    backbone: nn.Module, weight_decay: float, layer_decay: float = 1.0, layers: int = 0
) -> list[dict[str, Any]]:
    """The parameters that are trained, by decay and rate.

    Matrices decay; norms, biases and the probe of the pooling head do not. `scale` of a group is its factor of the
    learning rate: `layer_decay` to the power of the blocks, of `layers`, that lie behind it.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            rests = parameter.ndim < 2 or name.rsplit(".", 1)[-1] == "probe"
            scale = layer_decay ** (layers - _depth(name, layers))
            groups.setdefault((rests, scale), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": 0.0 if rests else weight_decay, "scale": scale}
        for (rests, scale), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _depth(name: str, layers: int) -> int:
    """0 for what lies before the blocks, n + 1 for block n, and that of the last block for what follows them."""
    found = re.match(r"encoder\.layers\.(\d+)\.", name)
    if found:
        return int(found[1]) + 1
    return 0 if name.startswith(("embeddings.", "layernorm_pre.")) else layers


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
