"""The `ove-codec` command."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

import ove_codec
from ove_codec.cli.common import one_line
from ove_codec.cli.parsing import Parser, UsageError, find, leaves

# What a stream, a file or an argument can be wrong about; anything else is a defect and shows its traceback.
_EXPECTED = (ove_codec.Error, OSError, ValueError, ImportError)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the parsed arguments have `run`, a function of themselves."""
    from ove_codec.cli import (  # which ove-cv-preinfer need not wait for
        cluster,
        completion,
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

    parser = Parser(
        prog="ove-codec",
        description="Codec-aligned sparse video tokens: motion and residuals of HEVC and H.264 videos, patches "
        "selected by them, and features of the selected patches.",
        epilog="Exit status: 0 for success, 1 for an error in a file or value, 2 for wrong usage. With --json, errors "
        "are JSON objects on standard error.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {ove_codec.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (
        info, extract, transcode, select, select_dataset, report, encode, viz, probe, cluster, pack, train, export,
        completion,
    ):  # fmt: skip
        module.add_commands(commands)
    for command in leaves(parser):
        command.set_defaults(parser=command)
    helper = commands.add_parser("help", help="show the help of a command")
    helper.add_argument("command", nargs="*", metavar="COMMAND")
    helper.set_defaults(run=lambda args: find(parser, args.command).print_help(), parser=helper)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program's name; sys.argv by default) and returns the exit status.

    Raises SystemExit after wrong usage, and after help.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in given
    parser = make_parser()
    if not given:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    try:
        args = parser.parse_args(given)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            args.run(args)
        sys.stdout.flush()
    except UsageError as error:
        usage = "" if as_json else error.parser.format_usage()
        _show_error(error.message, "UsageError", None, as_json, f"{usage}{error.parser.prog}: error")
        raise
    except BrokenPipeError:
        # Nobody reads on. What is still buffered must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a program that SIGPIPE ends
    except KeyboardInterrupt:
        return 130
    except _EXPECTED as error:
        sys.stdout.flush()
        _show_error(one_line(error), type(error).__name__, getattr(error, "position", None), as_json, "ove-codec")
        return 1
    return 0


def _show_error(message: str, kind: str, position: int | None, as_json: bool, prefix: str) -> None:
    if as_json:
        print(json.dumps({"error": {"type": kind, "message": message, "position": position}}), file=sys.stderr)
    else:
        print(f"{prefix}: {message}", file=sys.stderr)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"ove-codec: warning: {' '.join(str(message).split())}", file=sys.stderr)
