"""The engine for a cluster: Ray Data, with reading and transcoding as one stage and selecting as the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ove_codec.datasets.clips import Failure
from ove_codec.datasets.job import Fetched, Job, fetch, finish
from ove_codec.datasets.pool import Outcome, Task

_CLIPS_AT_A_TIME = 1  # of a block: how much is lost and tried again where a worker dies


def run(
    tasks: Iterable[Task], job: Job, workers: int | None = None, *, attempts: int = 2, gpus: float = 1.0
) -> Iterator[Outcome]:
    """What ``process`` gives for every task, as it is done, anywhere on the cluster.

    Where Ray is not running yet it is started on this machine. Clips must be where every node finds them. With a GPU
    as device of the job, the second stage runs where there are GPUs, the first on all CPUs; Ray Data streams from one
    to the other and holds the first back where the second does not follow.

    Args:
        workers: most tasks at a time; None for what the cluster has.
        attempts: how often a clip is tried whose worker dies.
        gpus: GPUs of each task of the second stage, with a GPU as device.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("engine='ray' needs Ray: pip install 'ove_codec[ray]'") from error
    started = not ray.is_initialized()
    if started:
        ray.init(num_cpus=workers, log_to_driver=False, configure_logging=False, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    before = context.max_errored_blocks, context.enable_progress_bars
    # A block that fails all of Ray's own retries is left out, and its clips are seen to lack below.
    context.max_errored_blocks, context.enable_progress_bars = -1, False
    try:
        yield from _run(ray, list(tasks), job, workers, attempts, gpus)
    finally:
        context.max_errored_blocks, context.enable_progress_bars = before
        if started:
            ray.shutdown()


def _run(ray: Any, tasks: list[Task], job: Job, workers: int | None, attempts: int, gpus: float) -> Iterator[Outcome]:
    if not tasks:
        return
    rows = [{"number": number, "task": task} for number, task in enumerate(tasks)]
    data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // _CLIPS_AT_A_TIME))
    resources: dict[str, Any] = {"num_cpus": 1, "max_retries": attempts - 1}
    if workers is not None:
        resources["concurrency"] = workers
    if job.device is None:
        data = data.map(_whole, fn_args=(job,), **resources)
    else:
        data = data.map(_first, fn_args=(job,), **resources)
        data = data.map(_second, fn_args=(job,), num_gpus=gpus, max_retries=attempts - 1)
    missing = set(range(len(tasks)))
    for row in data.iter_rows():
        missing.discard(row["number"])
        yield row["outcome"]
    for number in sorted(missing):
        clip = tasks[number][0]
        reason = "its worker died each time, or the node was lost; Ray's logs say more"
        failure = Failure.of(clip.name, clip.where, RuntimeError(reason), attempts)
        yield Failure(failure.name, failure.where, "WorkerDied", failure.reason, None, attempts)


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
    return {"number": row["number"], "outcome": finish(fetch(row["task"][0], job, row["task"][1]), job)}
