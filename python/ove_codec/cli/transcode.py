"""`ove-codec transcode`: a video of any codec to HEVC."""

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


def add_commands(commands: common.Commands[Any]) -> None:
    parser = common.add_command(
        commands,
        "transcode",
        run,
        "convert a video of any codec to HEVC",
        reads="video",
        description="Decodes a video with libavcodec and encodes it with libx265, in this process. Time stamps, "
        "rotation and colour description stay; sound is left out. Where the file is damaged nothing is written, unless "
        "--keep-damaged is given.",
    )
    parser.add_argument("out", metavar="OUT.mp4|.mov|.mkv", help="file to write; replaced only when all is done")
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        default="reference",
        help="reference: as the reference implementation has it, an I picture every 16; saliency: longer groups, one "
        "quantiser a picture (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-damaged", action="store_true", help="leave what precedes the damage at OUT; the exit status is 1"
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


def run(args: argparse.Namespace) -> None:
    with _ended_tidily():
        _run(args)


def _run(args: argparse.Namespace) -> None:
    count = _core.stream_info(args.file)["frame_count"] or None
    with tqdm(total=count, unit=" pictures", delay=0.5, leave=False, disable=None, file=sys.stderr) as bar:
        done = transcode(
            args.file,
            args.out,
            args.recipe,
            threads=args.threads,
            keep_damaged=args.keep_damaged,
            progress=lambda _: bar.update(),
        )
    facts = {"file": args.file, "out": args.out, "recipe": args.recipe, "bytes": os.path.getsize(args.out), **done}
    lines: list[tuple[str, Any]] = [
        ("pictures", f"{done['pictures']}, {done['width']}x{done['height']}, {done['pixel_format']}"),
        ("file", f"{args.out}, {facts['bytes']} bytes"),
    ]
    if done["moved"]:
        lines.insert(1, ("time stamps", f"{done['moved']} are made, as the file had none or repeated them"))
    if done["resized"]:
        lines.insert(1, ("resized", f"{done['resized']} pictures to the size of the first"))
    common.print_facts(facts, args.json, lines)
