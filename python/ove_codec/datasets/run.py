"""A whole data set: clips in, shards of selections out."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from typing_extensions import Unpack

import ove_codec
from ove_codec import cuda
from ove_codec.datasets import places
from ove_codec.datasets.clips import Clip, Failure, list_clips
from ove_codec.datasets.job import Job, Result, Unchanged
from ove_codec.datasets.output import Output
from ove_codec.datasets.pool import Outcome, Task
from ove_codec.presets import Parameters, with_parameters

ENGINES = ("local", "ray")
_NAMED = 8  # sources that a run's record names


@dataclass
class Summary:
    """What a run did.

    Attributes:
        clips: listed.
        done: selected from in this run.
        finished: done by earlier runs.
        repeated: listed twice, or the same content under the same name.
        failed: without a result; ``_failures.parquet`` lists them with reasons, and the next run tries them again.
        reasons: failures by the kind of error.
        tokens: patches kept in this run.
        shards: in the folder.
        seconds: of the run.
    """

    clips: int = 0
    done: int = 0
    finished: int = 0
    repeated: int = 0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    shards: int = 0
    seconds: float = 0.0

    @property
    def clips_per_second(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "clips_per_second": self.clips_per_second,
            "tokens_per_second": self.tokens_per_second,
        }


@with_parameters
def select_dataset(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    preset: str | None = None,
    *,
    format: str = "parquet",
    transcode: bool | str = True,
    tokens: str | None = None,
    video: bool = False,
    engine: str = "local",
    workers: int | None = None,
    device: str | None = None,
    gpus: float = 1.0,
    column: str | None = None,
    shard_clips: int = 256,
    shard_bytes: int = 1 << 28,
    attempts: int = 2,
    timeout: float | None = None,
    progress: bool = False,
    on_outcome: Callable[[Result | Unchanged | Failure], Any] | None = None,
    **params: Unpack[Parameters],
) -> Summary:
    """Selects from every clip of a data set.

    The next run into the same folder skips finished clips, which are identified by name and content. Shards are
    written atomically; if a run is killed, the clips of the unfinished shard are processed again. A clip that fails
    does not end the run. Facts about each clip and each run are stored with the shards for ``write_report``. The
    engine "local" starts processes, which import the calling script: call it under ``if __name__ == "__main__":``.

    Args:
        source: a folder, a pattern, a table (.csv, .jsonl, .parquet), shards (.tar) or videos, local or at an fsspec
            URL; see ``list_clips``.
        output: folder or its URL; all its shards have the same settings.
        preset, params: as with ``select``, "paper" if None; for canvases, the score ("bits" if None) and the settings
            of ``codec_canvases``.
        format: "parquet" (part-*.parquet, see ``selection_table``); "webdataset" (part-*.tar, a sample being .json with
            facts, .npz as ``Selection.save`` writes it, and tokens.npy, with sizes.json); "reference", the files of the
            reference implementation (see ``datasets.reference``), for square selections; or "canvases", one folder per
            clip with the files of ``canvases.write_canvases``, and data.jsonl.
        transcode: as with ``select``.
        tokens: "float16" or "float32" to store the normalised patches too (see ``tokenize``).
        video: store the clips too, as they were selected from (only in webdataset shards).
        engine: "local" (processes on this machine) or "ray" (Ray Data on any cluster; an extra).
        workers: number of processes or Ray tasks; None for one per core.
        device: as with ``select``; each worker opens it for itself.
        gpus: GPUs of a Ray task that selects, with a GPU as device.
        column: with paths or URLs, in tables.
        shard_clips, shard_bytes: a shard ends after this many clips or bytes.
        attempts: how often a clip is tried if its worker dies (engine "local"; Ray has its own rules).
        timeout: seconds after which a clip counts as failed (engine "local").
        progress: a progress bar on standard error, if that is a terminal.
        on_outcome: called with the outcome of each clip when it ends.

    Raises:
        ValueError: a bad setting, no clips, or the folder holds results of other settings.
        TypeError: an unknown parameter.
        FileNotFoundError: nothing is at `source`.
        BlockingIOError: another run is using the folder.
        OSError: the folder cannot be written, for example because the disk is full. Finished shards stay, and the next
            run continues after them.
        ImportError: an extra is missing.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    for name, value in (("workers", workers), ("shard_clips", shard_clips), ("shard_bytes", shard_bytes),
                        ("attempts", attempts), ("timeout", timeout)):  # fmt: skip
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, not {value}")
    if timeout is not None and engine == "ray":
        raise ValueError("timeout is for engine='local': Ray cannot limit the time of a task")
    if not isinstance(source, str | os.PathLike):
        source = list(source)
    preset = preset or ("bits" if format == "canvases" else "paper")
    job = Job(format, preset, dict(params), transcode, tokens, video, device)
    here = engine == "local" and not cuda.is_cpu(device)
    if here and (reason := cuda.unavailable_reason(cuda.named(device).index or 0)):
        raise ValueError(f"device {device!r} cannot be used: {reason}")
    began = time.monotonic()
    listing = list_clips(source, column)
    summary = Summary(clips=len(listing.clips) + len(listing.failures), repeated=listing.repeated)
    target = Output(os.fspath(output), job, shard_clips, shard_bytes)
    failures = list(listing.failures)
    cores = len(os.sched_getaffinity(0))
    end = "stopped"
    try:
        about = {"engine": engine, "workers": workers or (cores if engine == "local" else None), "device": device}
        target.write_run({**about, **_origin(source)}, first=True)
        tasks: list[Task] = []
        for clip in listing.clips:
            if _finished(clip, target):
                summary.finished += 1
            else:
                tasks.append((clip, target.keys(places.printable(clip.name))))
        outcomes = _engine(engine, tasks, job, workers, attempts, timeout, gpus)
        try:
            with closing(outcomes):
                for outcome in _watched(outcomes, len(tasks), summary, progress):
                    if isinstance(outcome, Failure):
                        failures.append(outcome)
                    elif isinstance(outcome, Unchanged):
                        summary.finished += 1
                    elif target.add(outcome):
                        summary.done += 1
                        summary.tokens += outcome.facts["tokens"]
                    else:
                        summary.repeated += 1
                    summary.failed = len(failures)
                    if on_outcome is not None:
                        on_outcome(outcome)
        except BaseException as error:
            _keep_what_is_done(target, failures)
            if isinstance(error, OSError):
                raise _with_remedy(error, target) from None
            raise
        try:
            target.flush()
            target.write_failures(failures)
            target.write_lists()
        except OSError as error:
            raise _with_remedy(error, target) from None
        end = "completed"
    finally:
        summary.failed = len(failures)
        summary.reasons = dict(Counter(failure.error for failure in failures).most_common())
        summary.shards = target.shards
        summary.seconds = time.monotonic() - began
        with suppress(OSError):  # a full disk has been told of
            target.write_run({"end": end, **summary.as_dict()})
        target.close()
    return summary


def _origin(source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> dict[str, Any]:
    """What was selected from, and the folder that relative paths count from."""
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    named = [places.printable(places.local(one)) for one in sources[:_NAMED]]
    return {
        "source": named,
        "sources": len(sources),
        "folder": places.printable(os.getcwd()),
        "version": ove_codec.__version__,
    }


def _keep_what_is_done(target: Output, failures: list[Failure]) -> None:
    """Ends the shard at work, as far as the disk takes it."""
    with suppress(OSError):
        target.flush()
    with suppress(OSError):
        target.write_failures(failures)


def _with_remedy(error: OSError, target: Output) -> OSError:
    done = sum(map(len, target.finished.values()))
    said = error.strerror or str(error)
    remedy = (
        "free disk space, and run the same command again"
        if error.errno == errno.ENOSPC
        else "run the same command again"
    )
    return type(error)(error.errno, f"{said}; {done} clips are in shards: {remedy} to continue after them",
                       target.folder.place)  # fmt: skip


def _finished(clip: Clip, target: Output) -> bool:
    name = places.printable(clip.name)
    if not target.keys(name):
        return False
    try:
        return target.has(name, clip.where, *places.stamp(clip.place))
    except OSError:
        return False  # a worker will say what is wrong


def _engine(
    engine: str,
    tasks: list[Task],
    job: Job,
    workers: int | None,
    attempts: int,
    timeout: float | None,
    gpus: float,
) -> Any:
    if engine == "ray":
        from ove_codec.datasets import ray_engine

        return ray_engine.run(tasks, job, workers, gpus=gpus)
    from ove_codec.datasets import pool

    cores = len(os.sched_getaffinity(0))
    return pool.run(tasks, job, min(workers or cores, max(1, len(tasks))), attempts=attempts, timeout=timeout)


def _watched(outcomes: Iterable[Outcome], total: int, summary: Summary, progress: bool) -> Iterator[Outcome]:
    """The outcomes, with a bar of clips a second, the time left, tokens a second and failures."""
    if not progress:
        yield from outcomes
        return
    from tqdm import tqdm

    began = time.monotonic()
    with tqdm(total=total, unit=" clips", disable=None, file=sys.stderr, smoothing=0.05) as bar:
        for outcome in outcomes:
            yield outcome
            rate = summary.tokens / max(1e-9, time.monotonic() - began)
            bar.set_postfix_str(f"{rate:.0f} tokens/s, {summary.failed} failed", refresh=False)
            bar.update()
