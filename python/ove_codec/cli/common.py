"""What several commands share: arguments, progress bars, output files."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

import ove_codec
from ove_codec._files import replacing as replacing
from ove_codec._progress import watched
from ove_codec.transcoding import in_hevc

T = TypeVar("T")
_copies: list[Any] = []  # temporary files in use
Commands = argparse._SubParsersAction  # the type has no public name


def add_command(
    commands: Commands[Any],
    name: str,
    run: Any,
    summary: str,
    *,
    reads: str = "HEVC or H.264 video",
    copied: bool = True,
    **options: Any,
) -> argparse.ArgumentParser:
    """A command that reads one video; unless `copied`, pipes are left to it."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=options.pop("description", f"{summary[0].upper()}{summary[1:]}."), **options
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "file",
        metavar="FILE",
        type=input_file if copied else str,
        help=f"{reads} in any container, or raw; - is standard input",
    )
    parser.add_argument(
        "--stream", type=int, metavar="N", help="index of the video stream to read, if there are several"
    )
    return parser


def source_of(args: argparse.Namespace) -> Any:
    """What the arguments name: a file, or one of its streams."""
    return args.file if args.stream is None else ove_codec.VideoStream(args.file, args.stream)


def input_file(name: str) -> str:
    """The path of a file that can be read more than once: `name`, or a temporary copy of what standard input (-) or a
    pipe gives."""
    path = "/dev/stdin" if name == "-" else name
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return path  # reading it tells why
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return path
    copy = tempfile.TemporaryFile()  # noqa: SIM115  to the end of the process
    _copies.append(copy)
    with open(path, "rb") as pipe:
        shutil.copyfileobj(pipe, copy)
    copy.flush()
    return f"/dev/fd/{copy.fileno()}"


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="decoding threads, 0 for all cores (default)"
    )


def add_on_damage(parser: argparse.ArgumentParser) -> None:
    """`--on-damage`; `open_video` reads it."""
    parser.add_argument(
        "--on-damage",
        choices=["raise", "skip"],
        default="raise",
        help="end with an error, or leave out the pictures that damage costs (default: raise)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def progress(items: Iterable[T], total: int | None, unit: str = " pictures") -> Iterator[T]:
    """The items, with a bar on standard error if that is a terminal and it takes more than a moment."""
    return watched(items, total, None, unit)


def open_video(args: argparse.Namespace, transcode: bool | str = False) -> Any:
    """The video of the arguments, transcoded if so wanted; raises as `ove_codec.open` does."""
    source = in_hevc(source_of(args), transcode, args.threads, on_damage=args.on_damage)
    return ove_codec.open(source, threads=args.threads, on_damage=args.on_damage)


def frame_list(text: str, count: int) -> list[int]:
    """Display indices, ascending, of "0,3,8" or of "start:stop:step" as in Python, or of several of these.

    Raises ValueError for anything else, an index that the video does not have, or no index at all.
    """
    wanted: set[int] = set()
    for part in text.split(","):
        try:
            bounds = [int(number) if number.strip() else None for number in part.split(":")]
            chosen = range(*slice(*bounds).indices(count)) if len(bounds) > 1 else range(int(part), int(part) + 1)
        except (TypeError, ValueError):
            raise ValueError(
                f"{part!r} is not a list of pictures; write indices or start:stop:step, as in 0,5,10:20:2"
            ) from None
        if len(bounds) == 1 and not -count <= chosen[0] < count:
            raise ValueError(f"there is no picture {chosen[0]}: the video has {count} pictures, numbered from 0")
        wanted.update(index % count for index in chosen)
    if not wanted:
        raise ValueError(f"{text!r} names none of the {count} pictures")
    return sorted(wanted)


def plain(value: Any) -> Any:
    """What `json.dumps` asks for a value that it does not know: NumPy's as Python's own."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_facts(facts: dict[str, Any], as_json: bool, lines: Iterable[tuple[str, Any]]) -> None:
    """Prints `facts` as one JSON object, or else the `lines` of a name and a value for people."""
    if as_json:
        print(json.dumps(facts, default=plain))
        return
    shown = [(name, str(value)) for name, value in lines]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; an OSError's with its file's name in front."""
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{name}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
