"""The engine for a cluster: Ray Data, with reading and transcoding as one stage and selecting as the next."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

from ove_codec.datasets.clips import Failure
from ove_codec.datasets.job import Fetched, Job, fetch, finish
from ove_codec.datasets.pool import Outcome, Task

_MOST_BLOCKS = 4096


def run(tasks: Iterable[Task], job: Job, workers: int | None = None, *, gpus: float = 1.0) -> Iterator[Outcome]:
    """What ``process`` gives for every task, as it is done, anywhere on the cluster.

    Where Ray is not running yet it is started on this machine. Clips must be where every node finds them. With a GPU
    as device of the job, the second stage runs where there are GPUs, the first on all CPUs; Ray Data streams from one
    to the other and holds the first back where the second does not follow. What is lost with a worker or a node is
    tried again by Ray, and in the end one clip at a time; a clip that takes its worker along each time is a failure.

    Args:
        workers: most tasks of a stage at a time; None for what the cluster has.
        gpus: GPUs of each task of the second stage, with a GPU as device.
    """
    try:
        ray: Any = import_module("ray")
        import_module("ray.data")
    except ImportError as error:
        raise ImportError("engine='ray' needs Ray: pip install 'ove_codec[ray]'") from error
    started = not ray.is_initialized()
    if started:
        ray.init(num_cpus=workers, log_to_driver=False, configure_logging=False, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    before = context.max_errored_blocks, context.enable_progress_bars
    logger = logging.getLogger("ray.data")
    level = logger.level
    # A block that fails all of Ray's own retries is left out, and its clips are seen to lack below.
    context.max_errored_blocks, context.enable_progress_bars = -1, False
    logger.setLevel(logging.ERROR)
    try:
        yield from _run(ray, list(tasks), job, workers, gpus)
    finally:
        context.max_errored_blocks, context.enable_progress_bars = before
        logger.setLevel(level)
        if started:
            ray.shutdown()


def _run(ray: Any, tasks: list[Task], job: Job, workers: int | None, gpus: float) -> Iterator[Outcome]:
    missing = list(range(len(tasks)))
    for blocks in (_MOST_BLOCKS, len(tasks)):
        left = set(missing)
        for number, outcome in _stream(ray, tasks, missing, min(blocks, len(missing)), job, workers, gpus):
            left.discard(number)
            yield outcome
        missing = sorted(left)
    for number in missing:
        clip = tasks[number][0]
        reason = "its worker died each time, or its node was lost; Ray's logs say more"
        yield Failure(*_named(clip), "WorkerDied", reason)


def _named(clip: Any) -> tuple[str, str]:
    failure = Failure.of(clip.name, clip.where, RuntimeError())
    return failure.name, failure.where


def _stream(
    ray: Any, tasks: Sequence[Task], chosen: Sequence[int], blocks: int, job: Job, workers: int | None, gpus: float
) -> Iterator[tuple[int, Outcome]]:
    if not chosen:
        return
    rows = [{"number": number, "task": tasks[number]} for number in chosen]
    data = ray.data.from_items(rows, override_num_blocks=blocks)
    stage: dict[str, Any] = {"num_cpus": 1, "compute": ray.data.TaskPoolStrategy(workers)}
    if job.device is None:
        data = data.map(_whole, fn_args=(job,), **stage)
    else:
        data = data.map(_first, fn_args=(job,), **stage)
        data = data.map(_second, fn_args=(job,), num_gpus=gpus)
    for row in data.iter_rows():
        yield row["number"], row["outcome"]


def _first(row: dict[str, Any], job: Job) -> dict[str, Any]:
    fetched = fetch(row["task"][0], job, row["task"][1])
    if isinstance(fetched, Fetched) and hasattr(fetched.video, "read"):  # an open file does not go from task to task
        with fetched.video as file:
            file.seek(0)
            fetched.video = file.read()
    return {"number": row["number"], "fetched": fetched}


def _second(row: dict[str, Any], job: Job) -> dict[str, Any]:
    return {"number": row["number"], "outcome": finish(row["fetched"], job)}


def _whole(row: dict[str, Any], job: Job) -> dict[str, Any]:
    return _second(_first(row, job), job)
