"""The processes of one probe run: which share is whose, and sums over all of them."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True)
class Workers:
    """Rank of this process among `size`; those of torch.distributed's default group, or one process alone."""

    rank: int
    size: int

    @classmethod
    def current(cls) -> Workers:
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls(0, 1)

    def sum(self, tensor: Tensor) -> Tensor:
        """Adds the tensors of all processes, in place. The device must be one that the group's backend takes."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def ahead(make: Callable[[A], T], arguments: Iterable[A]) -> Generator[T, None, None]:
    """`make` of every argument, the next one being made in a thread while one is at work."""
    with ThreadPoolExecutor(1, thread_name_prefix="ove_codec") as pool:
        waiting = None
        for argument in arguments:
            begun = pool.submit(make, argument)
            if waiting is not None:
                yield waiting.result()
            waiting = begun
        if waiting is not None:
            yield waiting.result()


def in_order(work: Callable[[A], T], jobs: Iterable[A], workers: int, ahead: int) -> Generator[T, None, None]:
    """The results of `work` in the order of the jobs, done by threads, up to `ahead` before they are asked for."""
    source = iter(jobs)
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="ove_codec") as pool:
        try:
            while True:
                waiting.extend(pool.submit(work, job) for job in itertools.islice(source, ahead - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Termination:
    """What SIGTERM does to a run: it ends the process, or where a checkpoint can be written is noted for the next step.

    Signals reach the main thread alone, so elsewhere this changes nothing.
    """

    def __init__(self) -> None:
        self._noting = self._asked = False
        self._before: Any = None

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _handle(self, number: int, frame: Any) -> None:
        self._asked = True
        if not self._noting:
            raise SystemExit(128 + number)

    @contextmanager
    def noted(self) -> Iterator[Callable[[], bool]]:
        """While it is entered SIGTERM is noted only; gives a function that tells whether it came."""
        self._noting = True
        try:
            yield lambda: self._asked
        finally:
            self._noting = False


@contextmanager
def join(device: torch.device) -> Iterator[torch.device]:
    """Joins the processes that torchrun started with this one (by its environment variables), and leaves them.

    A process waits for the others as long as a day, because shares of videos take different times.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=1))
    try:
        yield device
    finally:
        dist.destroy_process_group()


def pick_device(name: str | None, rank: int = 0) -> torch.device:
    """The device of that name; where None, a GPU if there is one, else the CPU.

    Of several GPUs, where the name has no number, the processes of a machine take one each by their `rank` on it.

    Raises:
        ValueError: there is no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} is unknown: {error}") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device {name!r} was requested, but PyTorch finds no GPU: choose the device cpu")
        if device.index is None:
            device = torch.device("cuda", rank % torch.cuda.device_count())
    return device
