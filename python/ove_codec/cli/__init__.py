"""The `ove-codec` command."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

import ove_codec
from ove_codec.cli import (
    cluster,
    encode,
    export,
    extract,
    info,
    pack,
    probe,
    report,
    select,
    select_dataset,
    train,
    transcode,
    viz,
)
from ove_codec.cli.common import one_line

# What a stream, a file or an argument can be wrong about; anything else is a defect and shows its traceback.
_EXPECTED = (ove_codec.Error, OSError, ValueError, ImportError)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the parsed arguments have `run`, a function of themselves."""
    parser = argparse.ArgumentParser(
        prog="ove-codec",
        description="Codec-aligned sparse video tokens: motion and residuals of HEVC and H.264 videos, patches "
        "selected by them, and features of the selected patches.",
        epilog="Exit status: 0, or 1 after an error in a file or a value, 2 for wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {ove_codec.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (
        info, extract, transcode, select, select_dataset, report, encode, viz, probe, cluster, pack, train, export,
    ):  # fmt: skip
        module.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program's name; sys.argv by default) and returns the exit status."""
    args = make_parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads on. What is still buffered must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a program that SIGPIPE ends
    except KeyboardInterrupt:
        return 130
    except _EXPECTED as error:
        sys.stdout.flush()
        print(f"ove-codec: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"ove-codec: warning: {' '.join(str(message).split())}", file=sys.stderr)
