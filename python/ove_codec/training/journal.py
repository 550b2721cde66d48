"""What a run tells: a progress bar, a JSON line every few steps, and TensorBoard where it is wanted."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ove_codec.models.config import OVEncoderConfig

LOG_FILE = "log.jsonl"
SKIPPED_FILE = "skipped.jsonl"
logger = logging.getLogger("ove_codec.training")

# Dense bfloat16 peak of a device, 10^12 operations a second, by a part of its name (data sheets, without sparsity).
_PEAKS = {"H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "B200": 2250.0}


def peak_flops(device: torch.device, tflops: float | None) -> float | None:
    """Operations a second of one device at most; None where nobody said."""
    if tflops is not None:
        return tflops * 1e12
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return next((peak * 1e12 for part, peak in _PEAKS.items() if part in name), None)
    return None


def encoder_flops(config: OVEncoderConfig, lengths: list[int]) -> float:
    """Operations of a forward and backward pass over packed sequences, 2 for a multiply and add.

    Matrix products only, three times each (there is no gradient of pixels, so the patch embedding counts twice); what
    activation checkpointing computes again does not count.
    """
    h, tokens = config.hidden_size, sum(lengths)
    layer = tokens * (4 * h * h + 2 * h * config.intermediate_size) + 2 * h * sum(n * n for n in lengths)
    pooling = tokens * 2 * h * h + len(lengths) * 2 * h * config.intermediate_size
    return 2.0 * (3 * (config.num_hidden_layers * layer + pooling) + 2 * tokens * config.patch_dim * h)


class Journal:
    """Writes of rank 0; the other ranks have one that is silent, but for the samples that they skip.

    Args:
        folder: of the run.
        rank: this process.
        first, total: steps done before, and of the whole run.
        tensorboard: write event files.

    Raises:
        ModuleNotFoundError: TensorBoard is wanted and missing.
    """

    def __init__(self, folder: Path, rank: int, first: int, total: int, tensorboard: bool) -> None:
        self.folder, self.rank = folder, rank
        self.bar: Any = None
        self.board: Any = None
        if rank != 0:
            return
        folder.mkdir(parents=True, exist_ok=True)
        _forget_after(folder / LOG_FILE, first)
        self.bar = tqdm(initial=first, total=total, unit=" steps", disable=None, file=sys.stderr)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                self.bar.close()
                raise ModuleNotFoundError("event files need TensorBoard: pip install 'ove_codec[train]'") from error
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=first)

    def step(self) -> None:
        """One more step is done."""
        if self.bar is not None:
            self.bar.update()

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Figures after `step` steps."""
        if self.rank != 0:
            return
        with open(self.folder / LOG_FILE, "a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step, **values}) + "\n")
        if self.bar is not None:
            shown = {name: values[name] for name in ("loss", "lr", "tokens_per_second", "mfu") if name in values}
            self.bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items() if value is not None})
        if self.board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(name, value, step)

    def skipped(self, step: int, samples: tuple[tuple[str, str], ...]) -> None:
        """Samples that could not be read; logged by every rank in a file of its own beside the run's log."""
        if samples:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self.folder / (SKIPPED_FILE if self.rank == 0 else f"skipped-{self.rank}.jsonl")
            with open(file, "a", encoding="utf-8") as out:
                for name, reason in samples:
                    out.write(json.dumps({"step": step, "sample": name, "reason": reason}) + "\n")
                    logger.warning("step %d: sample %s is skipped: %s", step, name, reason)

    def close(self) -> None:
        """Ends the bar and the event file."""
        for what in (self.bar, self.board):
            if what is not None:
                what.close()


def _forget_after(file: Path, step: int) -> None:
    """Takes lines of steps off that a resumed run will do again."""
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # the last line of a run that was killed
    part = file.with_suffix(".part")
    part.write_text("".join(kept), encoding="utf-8")
    part.replace(file)
