"""Converts a folder of videos to the same tree of HEVC and H.264 files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ove_codec import _core
from ove_codec._files import replacing
from ove_codec.datasets import pool
from ove_codec.datasets.clips import Clip, Failure, list_clips
from ove_codec.transcoding import recipe_of, transcode
from ove_codec.video import reads_codec

SETTINGS = "_transcoding.json"
FAILURES = "_failures.csv"
_SAME = 2.0  # seconds by which file systems round the time of change


@dataclass(frozen=True)
class Transcoded:
    """What came of a clip: the file that stands for it, how that was made, and how many pictures were encoded."""

    clip: Clip
    file: str
    kind: str  # "transcoded", "linked" or "copied"
    pictures: int = 0


@dataclass
class TranscodingSummary:
    """What ``transcode_folder`` did.

    Attributes:
        clips: in the folder.
        transcoded: in this run.
        kept: unchanged, as a link or a copy.
        finished: by earlier runs.
        failures: clips without a result, and why; the next run tries them again.
        pictures: encoded in this run.
        seconds: of the run.
    """

    clips: int = 0
    transcoded: int = 0
    kept: int = 0
    finished: int = 0
    failures: list[Failure] = field(default_factory=list)
    pictures: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TranscodingJob:
    """The settings: the folder of the results, the name of a recipe, and whether HEVC and H.264 are converted, too."""

    output: str
    recipe: str
    everything: bool

    def targets(self, clip: Clip) -> tuple[Path, Path]:
        """Where a clip lies when it is transcoded, and when it stays as it is."""
        kept = Path(self.output, clip.name)
        return kept.with_name(f"{kept.name.rpartition('.')[0]}.mp4"), kept

    def finished(self, clip: Clip) -> bool:
        """Whether its result is there: a file with the clip's time of change."""
        wanted = os.stat(clip.place).st_mtime
        return any(abs(file.stat().st_mtime - wanted) < _SAME for file in self.targets(clip) if file.exists())

    def process(self, clip: Clip, known: tuple[str, ...] = ()) -> Transcoded | Failure:
        """Makes the result of a clip; whatever is wrong with it is told."""
        target, kept = self.targets(clip)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            status = os.stat(clip.place)
            if not self.everything and reads_codec(_core.stream_info(clip.place)["codec"]):
                return Transcoded(clip, os.fspath(kept), _kept(clip.place, kept))
            facts = transcode(clip.place, target, self.recipe, threads=1)
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            return Transcoded(clip, os.fspath(target), "transcoded", facts["pictures"])
        except Exception as error:  # the other clips go on
            return Failure.of(clip.name, clip.where, error)


def transcode_folder(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    recipe: str = "reference",
    *,
    everything: bool = False,
    workers: int | None = None,
    timeout: float | None = None,
    progress: Callable[[TranscodingSummary, int], Any] | None = None,
) -> TranscodingSummary:
    """Converts the videos below a folder to HEVC, several at a time. Results keep their names, with the suffix .mp4.

    HEVC and H.264 files are not converted, but linked into the output, or copied if it is on another disk. Results
    have the modification time of their sources, by which the next run recognises them and continues with the others. A
    video that fails does not end the run; ``_failures.csv`` in the output lists failures. Worker processes import the
    calling script: call this under ``if __name__ == "__main__":``.

    Args:
        folder: of the videos.
        output: folder of the results, not inside `folder`.
        recipe: name of a recipe of ``transcode``.
        everything: convert HEVC and H.264 too.
        workers: videos converted at the same time; None for one per core.
        timeout: seconds after which a video counts as failed; None for no limit.
        progress: called after each video with the summary so far and the number of videos in this run.

    Raises:
        ValueError: there are no videos; the output is inside the folder, or was made with other settings.
        OSError: the output cannot be written.
    """
    recipe_of(recipe)
    if (workers is not None and workers < 1) or (timeout is not None and not timeout > 0):
        raise ValueError(f"workers and timeout must be positive, got {workers} and {timeout}")
    source, target = Path(folder).resolve(), Path(output).resolve()
    if source == target or source in target.parents:
        raise ValueError(
            f"{output} is inside {folder}: choose a folder outside, so that results are not read as sources"
        )
    began = time.monotonic()
    target.mkdir(parents=True, exist_ok=True)
    job = TranscodingJob(os.fspath(target), recipe, everything)
    _check_settings(target, {"recipe": recipe, "everything": everything})
    clips = list_clips(os.fspath(source)).clips
    summary = TranscodingSummary(clips=len(clips))
    tasks, taken = [], dict[Path, str]()
    for clip in clips:
        other = taken.setdefault(job.targets(clip)[0], clip.name)
        if other != clip.name:
            error = ValueError(f"its output would overwrite that of {other}: rename one of them")
            summary.failures.append(Failure.of(clip.name, clip.where, error))
        elif job.finished(clip):
            summary.finished += 1
        else:
            tasks.append((clip, ()))
    cores = len(os.sched_getaffinity(0))
    with closing(pool.run(tasks, job, min(workers or cores, max(1, len(tasks))), timeout=timeout)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                summary.failures.append(outcome)
            elif outcome.kind == "transcoded":
                summary.transcoded += 1
                summary.pictures += outcome.pictures
            else:
                summary.kept += 1
            if progress is not None:
                progress(summary, len(tasks))
    _write_failures(target / FAILURES, summary.failures)
    summary.seconds = time.monotonic() - began
    return summary


def _kept(source: str, target: Path) -> str:
    """Puts a file into the output as it is; how."""
    target.unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(source), target)
        return "linked"
    except OSError:
        with replacing(target) as part:
            shutil.copy2(source, part)
        return "copied"


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Notes the settings in the output; ValueError where it has others."""
    file = folder / SETTINGS
    if file.exists():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != settings:
            raise ValueError(f"{folder} was made with other settings, {found}: choose another folder, or remove {file}")
        return
    with replacing(file) as part:
        part.write_text(json.dumps(settings), encoding="utf-8")


def _write_failures(file: Path, failures: list[Failure]) -> None:
    if not failures:
        file.unlink(missing_ok=True)
        return
    with replacing(file) as part, part.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["name", "error", "reason"])
        writer.writerows([failure.name, failure.error, failure.reason] for failure in failures)
