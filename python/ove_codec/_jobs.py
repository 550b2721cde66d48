"""Jobs of batches, in threads that do the earliest batch first, and whose fault it is when one fails."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from ove_codec import _core

T = TypeVar("T")

Submit = Callable[[Callable[[], None]], None]  # takes a job, which runs at some time


class Pool:
    """Threads that take the jobs of the lowest batch number first, and of those the one submitted first."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="ove_codec")
        self._jobs: list[tuple[int, int, Callable[[], None]]] = []  # a heap: batch, number of the job
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def submit(self, batch: int, job: Callable[[], None]) -> None:
        with self._lock:
            heapq.heappush(self._jobs, (batch, next(self._numbers), job))
        self._threads.submit(self._run)

    def _run(self) -> None:
        with self._lock:
            job = heapq.heappop(self._jobs)[2]
        job()

    def close(self) -> None:
        """Waits for what is under way; nothing else begins."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def together(
    parts: Sequence[Callable[[], T]], submit: Submit, then: Callable[[list[T]], None], done: Future[Any]
) -> None:
    """Submits the parts of a whole; the thread that ends the last one calls then(results), or gives `done` the failure
    of the first part that failed, or that of `then`."""
    results: list[Any] = [None] * len(parts)
    failures: dict[int, BaseException] = {}
    left = len(parts)
    lock = threading.Lock()

    def run(i: int) -> None:
        nonlocal left
        try:
            results[i] = parts[i]()
        except BaseException as error:
            failures[i] = error
        with lock:
            left -= 1
            if left > 0:
                return
        try:
            if failures:
                raise failures[min(failures)]
            then(results)
        except BaseException as error:
            done.set_exception(error)

    for i in range(len(parts)):
        submit(lambda i=i: run(i))  # type: ignore[misc]


@contextmanager
def numbered(number: int | None) -> Iterator[None]:
    """Puts the number of a clip among many in front of what is wrong with it; None for a clip alone."""
    try:
        yield
    except (_core.Error, ValueError) as error:
        if number is not None and len(error.args) == 1:
            error.args = (f"clip {number}: {error}",)
        raise
