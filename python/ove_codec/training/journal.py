"""What a run tells: progress, a JSON line every few steps, and TensorBoard or wandb where they are wanted."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Mapping
from importlib import import_module
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

    Progress is a bar where standard error is a terminal, and otherwise a line whenever figures are logged.

    Args:
        folder: of the run.
        rank: this process.
        first, total: steps done before, and of the whole run.
        tensorboard: write event files.
        wandb: project of Weights & Biases that gets the figures; None for none. A resumed run goes on there.
        settings: of the run, for `wandb`.

    Raises:
        ModuleNotFoundError: TensorBoard or wandb is wanted and missing.
    """

    def __init__(
        self,
        folder: Path,
        rank: int,
        first: int,
        total: int,
        *,
        tensorboard: bool = False,
        wandb: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.rank, self.total = folder, rank, total
        self.bar: Any = None
        self.board: Any = None
        self.remote: Any = None
        self._begin, self._first = time.monotonic(), first
        if rank != 0:
            return
        folder.mkdir(parents=True, exist_ok=True)
        _forget_after(folder / LOG_FILE, first)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ModuleNotFoundError("event files need TensorBoard: pip install 'ove_codec[train]'") from error
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=first)
        if wandb is not None:
            try:
                client = import_module("wandb")
            except ImportError as error:
                raise ModuleNotFoundError("output.wandb needs the package wandb: pip install wandb") from error
            name = str(folder.resolve())
            self.remote = client.init(
                project=wandb,
                name=folder.name,
                id=hashlib.sha256(name.encode()).hexdigest()[:16],
                resume="allow",
                dir=name,
                config=dict(settings or {}),
            )
        self.bar = tqdm(initial=first, total=total, unit=" steps", disable=None, file=sys.stderr)

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
        names = ("loss", "lr", "tokens_per_second", "data_wait", "mfu", "knn_accuracy", "linear_accuracy")
        shown = {name: f"{values[name]:.4g}" for name in names if name in values}
        if self.bar is not None and not self.bar.disable:
            self.bar.set_postfix(shown)
        elif self.bar is not None:
            left = (time.monotonic() - self._begin) / max(1, step - self._first) * (self.total - step)
            text = ", ".join(f"{name} {value}" for name, value in shown.items())
            print(f"step {step} of {self.total}: {text}; {_duration(left)} left", file=sys.stderr, flush=True)
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        if self.board is not None:
            for name, value in numbers.items():
                self.board.add_scalar(name, value, step)
        if self.remote is not None:
            self.remote.log(numbers, step=step)

    def warn(self, text: str) -> None:
        """Passes a text to the log of the library, once for all ranks."""
        if self.rank == 0:
            logger.warning("%s", text)

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
        """Ends the bar, the event file and the remote run."""
        for what in (self.bar, self.board):
            if what is not None:
                what.close()
        if self.remote is not None:
            self.remote.finish()


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


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
