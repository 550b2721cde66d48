"""PyTorch's profiler over some steps of a run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


class Profile:
    """Records the operations of steps and writes them as a trace.

    Args:
        steps: first and last step, counted from 1; None records nothing.
        file: of the trace, JSON for chrome://tracing and Perfetto.
        device: whose operations are recorded beside the CPU's.
    """

    def __init__(self, steps: list[int] | None, file: Path, device: torch.device) -> None:
        self.first, self.last = steps or (0, 0)
        self.file = file
        self._activities = [ProfilerActivity.CPU]
        if device.type == "cuda":
            self._activities.append(ProfilerActivity.CUDA)
        self._running: profile | None = None

    def begin(self, step: int) -> None:
        """Step `step` begins."""
        if self._running is None and self.first <= step <= self.last:
            self._running = profile(activities=self._activities)
            self._running.start()

    def end(self, step: int) -> None:
        """Step `step` has ended, and the last of them or of the run writes the trace."""
        if self._running is not None and step >= self.last:
            self.close()

    def close(self) -> None:
        """Writes what was recorded."""
        if self._running is not None:
            self._running.stop()
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._running.export_chrome_trace(str(self.file))
            self._running = None
