"""How probes are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Setting:
    """The settings of one head of a sweep: initial learning rate and weight decay."""

    lr: float = 1e-4
    weight_decay: float = 0.0


@dataclass(frozen=True)
class ProbeRecipe:
    """How probes are trained; the defaults are those of the released evaluation of the OneVision-Encoder.

    AdamW without warm-up. The learning rate falls linearly, in every step, from that of the setting to `min_lr`, or is
    constant if it is not above `min_lr`.

    Attributes:
        settings: one head is trained for each, all on the same batches.
        epochs: passes over the training set.
        batch_size: clips per step over all processes; the last step of an epoch may have fewer.
        min_lr: the learning rate at the end.
        betas, eps: of AdamW.
        clip_norm: limit of the norm of a head's whole gradient; 0 for none.
        label_smoothing: share of the target that is spread evenly over all classes.
        precision: "float32" or "bfloat16", for the matrix products with the features; everything else is float32.
    """

    settings: tuple[Setting, ...] = (Setting(),)
    epochs: int = 10
    batch_size: int = 32
    min_lr: float = 1e-7
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float = 5.0
    label_smoothing: float = 0.1
    precision: str = "float32"

    def __post_init__(self) -> None:
        if not self.settings or len(set(self.settings)) < len(self.settings):
            raise ValueError("there must be at least one setting, and all must be different")
        for setting in self.settings:
            if not setting.lr > 0 or not setting.weight_decay >= 0:
                raise ValueError(f"lr must be positive and weight_decay not negative, got {setting}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if self.min_lr < 0 or self.clip_norm < 0:
            raise ValueError(f"min_lr and clip_norm must not be negative, got {self.min_lr} and {self.clip_norm}")
        if self.precision not in DTYPES:
            raise ValueError(f"precision must be one of {', '.join(DTYPES)}, got {self.precision!r}")


def learning_rate(lr: float, min_lr: float, step: int, steps: int) -> float:
    """The learning rate of step `step` of `steps`, both counted from 0: falls linearly towards `min_lr`."""
    return lr if lr <= min_lr else lr + (min_lr - lr) * step / steps


def sweep(lrs: Sequence[float], weight_decays: Sequence[float]) -> tuple[Setting, ...]:
    """Every learning rate with every weight decay."""
    return tuple(Setting(lr, decay) for lr in lrs for decay in weight_decays)
