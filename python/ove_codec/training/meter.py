"""The samples of a step, and how fast they go."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ove_codec.data import PackedBatch
from ove_codec.models.config import OVEncoderConfig
from ove_codec.training.journal import encoder_flops


class Rows:
    """The samples of a micro-batch of this rank, and the loss of each as soon as it is known."""

    def __init__(self, batch: PackedBatch) -> None:
        self.names, self.skipped = batch.names, batch.skipped
        self.lengths: list[int] = batch.cu_seqlens.diff().tolist()
        self.mix = batch.token_mix()
        self.losses: list[Tensor] = []

    def not_finite(self) -> list[str]:
        if not self.losses:
            return []
        rows = torch.cat(self.losses).cpu()
        return [self.names[i] for i in (~rows.isfinite()).nonzero().flatten().tolist()]


class Meter:
    """Averages, speed and token mix of one rank since it was made.

    Args:
        config: of the model.
        world: number of ranks.
        peak: operations a second of a device, None where not known.
        device: whose memory is looked at.

    Attributes:
        waited: seconds that the rank has waited for its data.
    """

    def __init__(self, config: OVEncoderConfig, world: int, peak: float | None, device: torch.device) -> None:
        self.config, self.world, self.peak, self.device = config, world, peak, device
        self.begin = time.perf_counter()
        self.tokens = self.samples = self.steps = 0
        self.flops = self.waited = 0.0
        self.counts: dict[str, int] = {}
        self.sums: dict[str, float] = {}
        self.updates = 0

    def add(self, rows: list[Rows], figures: Mapping[str, float]) -> None:
        """Counts a step; `figures` of its update, none where it was skipped."""
        self.steps += 1
        self.updates += bool(figures)
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
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
        """Means of what the updates told; the speed of all ranks, as if each did what this one does."""
        seconds = time.perf_counter() - self.begin
        found: dict[str, Any] = {name: total / self.updates for name, total in self.sums.items()}
        found |= {
            "tokens_per_second": self.tokens * self.world / seconds,
            "samples_per_second": self.samples * self.world / seconds,
            "seconds_per_step": seconds / max(1, self.steps),
            "data_wait": self.waited / seconds,
            "memory_gib": _peak_memory(self.device) / 2**30,
        }
        if self.peak is not None:
            found["mfu"] = self.flops / seconds / self.peak
        return found


def _peak_memory(device: torch.device) -> int:
    """Bytes: the most that PyTorch had on a GPU, or the process on the CPU, since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
