"""SIGTERM, which asks a run to end: between two steps, on all ranks alike."""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any

import torch
from typing_extensions import Self

from ove_codec.training.ranks import Ranks


class Termination:
    """Notes SIGTERM while it is entered; signals reach the main thread alone, so elsewhere it notes nothing."""

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: Any) -> None:
        self._asked = True

    def asked(self, ranks: Ranks, device: torch.device) -> bool:
        """Whether any rank was asked to end; all ranks call it."""
        if ranks.world == 1:
            return self._asked
        return bool(ranks.max_(torch.tensor(int(self._asked), device=device)).item())
