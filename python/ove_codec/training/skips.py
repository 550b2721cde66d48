"""What a run leaves out: samples that cannot be read, and steps whose loss or gradients are not finite."""

from __future__ import annotations

from collections.abc import Mapping


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the reason, the step and, where there is one, the sample."""


class Skips:
    """Counts over all ranks and the whole run, which checkpoints keep, and the most that a recipe allows.

    Args:
        max_samples: share of the samples seen so far; ten samples may be skipped whatever it is, unless it is 0.
        max_steps: steps of the run.
    """

    def __init__(self, max_samples: float, max_steps: int) -> None:
        self.max_samples, self.max_steps = max_samples, max_steps
        self.seen = self.samples = self.steps = 0

    def add(self, samples: int, seen: int) -> bool:
        """Counts skipped samples among further ones; whether there are now too many."""
        self.samples += samples
        self.seen += seen
        return self.samples > (max(10, self.max_samples * self.seen) if self.max_samples else 0)

    def add_step(self) -> bool:
        """Counts a skipped step; whether there are now too many."""
        self.steps += 1
        return self.steps > self.max_steps

    def figures(self) -> dict[str, int]:
        """For the log."""
        return {"skipped": self.samples, "skipped_steps": self.steps}

    def state_dict(self) -> dict[str, int]:
        return {"seen": self.seen, "samples": self.samples, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.seen, self.samples, self.steps = (int(state.get(name, 0)) for name in ("seen", "samples", "steps"))
