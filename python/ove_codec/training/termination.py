"""What ends a run early, between two steps and on all ranks alike: SIGTERM, and a limit of time."""

from __future__ import annotations

import math
import signal
import threading
import time
from enum import IntEnum
from types import TracebackType
from typing import Any

import torch
from typing_extensions import Self

from ove_codec.training.ranks import Ranks


class Ending(IntEnum):
    """Why a run ends early."""

    NO = 0
    TIME = 1
    SIGNAL = 2


class Termination:
    """Notes SIGTERM while it is entered, and when its time is over.

    Signals reach the main thread alone, so elsewhere none is noted.

    Args:
        minutes: from now on; None for no limit.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self._end = math.inf if minutes is None else time.monotonic() + 60 * minutes
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

    def asked(self, ranks: Ranks, device: torch.device) -> Ending:
        """Whether any rank has to end, and why; all ranks call it."""
        own = Ending.SIGNAL if self._asked else Ending.TIME if time.monotonic() >= self._end else Ending.NO
        return own if ranks.world == 1 else Ending(int(ranks.max_(torch.tensor(own, device=device)).item()))
