"""The samples of a step, and how fast they go."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from ove_codec.data import PackedBatch
from ove_codec.models.config import OVEncoderConfig
from ove_codec.training.journal import encoder_flops


class Rows:
    """The samples of a micro-batch of this rank, and the loss of each as soon as it is known."""

    def __init__(self, batch: PackedBatch) -> None:
        self.names = batch.names
        self.lengths: list[int] = batch.cu_seqlens.diff().tolist()
        self.mix = batch.token_mix()
        self.losses: list[Tensor] = []

    def not_finite(self) -> list[str]:
        if not self.losses:
            return []
        rows = torch.cat(self.losses).cpu()
        return [self.names[i] for i in (~rows.isfinite()).nonzero().flatten().tolist()]


class Meter:
    """Speed and token mix of one rank since it was made; `peak` is in operations a second, None where not known."""

    def __init__(self, config: OVEncoderConfig, world: int, peak: float | None) -> None:
        self.config, self.world, self.peak = config, world, peak
        self.begin = time.perf_counter()
        self.tokens = self.samples = self.steps = 0
        self.flops = 0.0
        self.counts: dict[str, int] = {}

    def add(self, rows: list[Rows]) -> None:
        self.steps += 1
        for part in rows:
            self.tokens += sum(part.lengths)
            self.samples += len(part.lengths)
            self.flops += encoder_flops(self.config, part.lengths)
            for kind, count in part.mix.items():
                self.counts[kind] = self.counts.get(kind, 0) + count

    @property
    def mix(self) -> dict[str, dict[str, float]]:
        return {"token_mix": {kind: count / max(1, self.tokens) for kind, count in sorted(self.counts.items())}}

    def figures(self) -> dict[str, Any]:
        """Of all ranks, as if each did what this one does."""
        seconds = time.perf_counter() - self.begin
        found: dict[str, Any] = {
            "tokens_per_second": self.tokens * self.world / seconds,
            "samples_per_second": self.samples * self.world / seconds,
            "seconds_per_step": seconds / max(1, self.steps),
        }
        if self.peak is not None:
            found["mfu"] = self.flops / seconds / self.peak
        return found
