"""The engine for one machine: worker processes, each of which may die without harm to the others.

A worker that is killed takes only its own clip along, and which one that was is known; so the clip is tried again by
another worker, and called a failure when that one dies too. (concurrent.futures.ProcessPoolExecutor gives up all of
its work when one of its processes dies.)
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

from ove_codec.datasets.clips import Clip, Failure
from ove_codec.datasets.job import Result, Unchanged

Task = tuple[Clip, tuple[str, ...]]
Outcome = Result | Unchanged | Failure
R = TypeVar("R", covariant=True)

_LOOK = 0.2  # seconds between looks at the time limits
_REAPED = 5.0  # seconds within which another thread that waited for a worker too has stored its exit code


class Work(Protocol[R]):
    """What is done with every clip: plain values, which go to other processes, and a method."""

    def process(self, clip: Clip, known: tuple[str, ...] = ()) -> R:
        """What came of a clip."""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    task: Task | None = None
    attempt: int = 0
    ready: bool = False  # its interpreter has started, which counts for no clip's time
    since: float = math.inf

    def stop(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


def run(
    tasks: Iterable[Task], job: Work[R], workers: int, *, attempts: int = 2, timeout: float | None = None
) -> Generator[R | Failure, None, None]:
    """What the job makes of every task, as it is done.

    Tasks are taken as workers are free. Closing the iterator ends the workers.

    Args:
        attempts: how often a clip is tried whose worker dies.
        timeout: seconds after which a clip is given up, and its worker killed; None for no limit.
    """
    waiting = iter(tasks)
    again: deque[tuple[Task, int]] = deque()
    pool: list[_Worker] = []

    def next_task() -> tuple[Task, int] | None:
        if again:
            return again.popleft()
        task = next(waiting, None)
        return None if task is None else (task, 1)

    def give(worker: _Worker) -> None:
        """The next task to a worker, if there is one."""
        chosen = next_task()
        worker.task = None
        if chosen is not None:
            worker.task, worker.attempt = chosen
            worker.since = time.monotonic() if worker.ready else math.inf
            with suppress(OSError):  # where it has died its end is seen at the next look
                worker.pipe.send(worker.task)

    def replaced(worker: _Worker) -> _Worker:
        """A new one in the place of a worker that is of no use any more."""
        worker.stop()
        pool.remove(worker)
        pool.append(_start(job))
        return pool[-1]

    try:
        for _ in range(max(1, workers)):
            pool.append(_start(job))
            give(pool[-1])
        while busy := [worker for worker in pool if worker.task is not None]:
            ready = wait([worker.pipe for worker in busy], _LOOK if timeout else None)
            for worker in busy:
                outcome: R | Failure | None = None
                assert worker.task is not None
                if worker.pipe in ready:
                    try:
                        outcome = worker.pipe.recv()
                    except (EOFError, OSError):
                        worker.process.join()
                        if worker.attempt < attempts:
                            again.append((worker.task, worker.attempt + 1))
                        else:
                            outcome = _failure(worker, "WorkerDied", _end_of(_exit_code(worker.process)))
                        worker = replaced(worker)
                    else:
                        if outcome is None:
                            worker.ready, worker.since = True, time.monotonic()
                            continue
                elif timeout and time.monotonic() - worker.since > timeout:
                    outcome = _failure(worker, "TimeoutError", f"it took longer than {timeout:g} s")
                    worker = replaced(worker)
                else:
                    continue
                if outcome is not None:
                    yield outcome
                give(worker)
    finally:
        for worker in pool:
            worker.stop()


def _failure(worker: _Worker, error: str, reason: str) -> Failure:
    assert worker.task is not None
    clip = worker.task[0]
    failure = Failure.of(clip.name, clip.where, RuntimeError(reason), worker.attempt)
    return Failure(failure.name, failure.where, error, failure.reason, None, worker.attempt)


def _exit_code(process: Any) -> int | None:
    """The exit code of a process that has ended, or None where it went to another part of this program.

    The system tells it once. Another thread may be the one that is told (`multiprocessing.active_children` asks for
    every process, and so does the start of each), and stores it in the process a moment later.
    """
    deadline = time.monotonic() + _REAPED
    while process.exitcode is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return process.exitcode


def _end_of(code: int | None) -> str:
    if code is None:
        return "its worker died, and how is not known, because another part of the program waited for it"
    if code < 0:
        killed = f"its worker was killed by {signal.Signals(-code).name}"
        return f"{killed}, as the system does when memory runs out" if -code == signal.SIGKILL else killed
    return f"its worker exited with status {code}"


def _start(job: Work[Any]) -> _Worker:
    # A fresh interpreter: threads of this one, and what it holds of a GPU, do not come along as with a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_serve, args=(theirs, job), name="ove_codec", daemon=True)
    worker.start()
    theirs.close()
    return _Worker(worker, ours)


def _serve(pipe: Connection, job: Work[Any]) -> None:
    """The life of a worker: None out once it has started, then tasks in and outcomes out until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with suppress(BrokenPipeError):
        pipe.send(None)
    while True:
        try:
            clip, known = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(job.process(clip, known))
        except BrokenPipeError:
            return
