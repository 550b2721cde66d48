"""`ove-codec transcode`: a video of any codec to HEVC, or all of a folder."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ove_codec import _core
from ove_codec.cli import common
from ove_codec.transcoding import RECIPES, transcode

_SHOWN = 20  # failures that are printed; a file lists all


def add_commands(commands: common.Commands[Any]) -> None:
    parser = common.add_command(
        commands,
        "transcode",
        run,
        "convert a video of any codec, or a folder of videos, to HEVC",
        reads="video, or folder of videos,",
        description="Decodes a video with libavcodec and encodes it with libx265, in this process. Time stamps, "
        "rotation and colour description are kept; sound is dropped. If the file is damaged, nothing is written, "
        "unless --keep-damaged is given. If FILE is a folder, all its videos are converted, several at a time, into "
        "the same tree under OUT; HEVC and H.264 are linked or copied unchanged, unless --everything is given. The "
        "same command "
        "resumes an interrupted run, and OUT/_failures.csv lists the videos that could not be converted.",
    )
    parser.add_argument(
        "out", metavar="OUT.mp4|.mov|.mkv|DIR", help="file or folder to write; a file appears only when it is complete"
    )
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        default="reference",
        help="reference: as in the reference implementation, an I picture every 16; saliency: longer groups, one "
        "quantiser per picture (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-damaged", action="store_true", help="write the part before the damage to OUT; the exit status is 1"
    )
    parser.add_argument("--start", type=float, metavar="X", help="for one video: start of the part to convert, seconds")
    parser.add_argument("--end", type=float, metavar="X", help="for one video: end of the part to convert, seconds")
    parser.add_argument("--everything", action="store_true", help="for a folder: convert HEVC and H.264 too")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="for a folder: videos converted at the same time (default: one per core)",
    )
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="for a folder: give up on a video after this many seconds"
    )
    common.add_threads(parser)
    common.add_json(parser)


@contextmanager
def _ended_tidily() -> Iterator[None]:
    """While SIGTERM raises SystemExit, so that the unfinished file is removed; in the main thread only."""

    def end(signum: int, frame: Any) -> None:
        raise SystemExit(128 + signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_FOR_VIDEO = {"stream": None, "start": None, "end": None, "keep_damaged": False, "threads": 0}
_FOR_FOLDER = {"everything": False, "workers": None, "timeout": None}


def run(args: argparse.Namespace) -> None:
    folder = os.path.isdir(args.file)
    for name, default in (_FOR_VIDEO if folder else _FOR_FOLDER).items():
        if getattr(args, name) != default:
            whose = "a video, and this is a folder" if folder else "a folder, and this is a video"
            raise ValueError(f"--{name.replace('_', '-')} is for {whose}")
    with _ended_tidily():
        (_run_folder if folder else _run_video)(args)


def _run_folder(args: argparse.Namespace) -> None:
    from ove_codec.datasets.bulk_transcoding import FAILURES, TranscodingSummary, transcode_folder

    with tqdm(unit=" videos", delay=0.5, leave=False, disable=None, file=sys.stderr) as bar:

        def progress(summary: TranscodingSummary, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(f"{len(summary.failures)} failed", refresh=False)
            bar.update()

        done = transcode_folder(
            args.file,
            args.out,
            args.recipe,
            everything=args.everything,
            workers=args.workers,
            timeout=args.timeout,
            progress=progress,
        )
    if done.failures and not args.json:
        for failure in done.failures[:_SHOWN]:
            print(f"ove-codec: {failure.name}: {failure.reason}", file=sys.stderr)
    if len(done.failures) == done.clips:
        raise ValueError(f"none of the {done.clips} videos could be converted: {args.out}/{FAILURES} lists the reasons")
    facts = {"folder": args.file, "out": args.out, "recipe": args.recipe, **done.as_dict()}
    counts = f"{done.transcoded} converted, {done.kept} kept as they are, {done.finished} finished before"
    lines: list[tuple[str, Any]] = [
        ("videos", f"{done.clips}: {counts}, {len(done.failures)} failed"),
        ("pictures", f"{done.pictures}, in {done.seconds:.1f} s"),
    ]
    if done.failures:
        lines.append(("failures", f"{args.out}/{FAILURES}"))
    common.print_facts(facts, args.json, lines)


def _run_video(args: argparse.Namespace) -> None:
    count = _core.stream_info(common.source_of(args))["frame_count"] or None
    with tqdm(total=count, unit=" pictures", delay=0.5, leave=False, disable=None, file=sys.stderr) as bar:
        done = transcode(
            common.source_of(args),
            args.out,
            args.recipe,
            threads=args.threads,
            keep_damaged=args.keep_damaged,
            start=args.start,
            end=args.end,
            progress=lambda _: bar.update(),
        )
    facts = {"file": args.file, "out": args.out, "recipe": args.recipe, "bytes": os.path.getsize(args.out), **done}
    lines: list[tuple[str, Any]] = [
        ("pictures", f"{done['pictures']}, {done['width']}x{done['height']}, {done['pixel_format']}"),
        ("file", f"{args.out}, {facts['bytes']} bytes"),
    ]
    if done["moved"]:
        lines.insert(1, ("time stamps", f"{done['moved']} are new, as the file had none or repeated them"))
    if done["resized"]:
        lines.insert(1, ("resized", f"{done['resized']} pictures scaled to the size of the first"))
    common.print_facts(facts, args.json, lines)
