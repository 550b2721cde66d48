"""`ove-codec report`: a page to look at what `select-dataset` wrote."""

from __future__ import annotations

import argparse
from typing import Any

from ove_codec.cli import common


def add_commands(commands: common.Commands[Any]) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="write an HTML report on the output of select-dataset",
        description="Writes one self-contained HTML file about a folder that select-dataset wrote: four animated "
        "panels of some clips, with their heat and tokens over time; budget curves, shares kept, clips and tokens per "
        "second, and failures with their reasons. Needs pip install "
        "'ove_codec[dataset]'.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("output", metavar="OUTPUT", help="folder that select-dataset wrote, or its URL")
    parser.add_argument("-o", "--out", metavar="PAGE.html", help="file to write (default: _report.html in OUTPUT)")
    parser.add_argument("--clips", type=int, default=8, metavar="N", help="clips to show (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed for choosing them (default: %(default)s)"
    )
    parser.add_argument(
        "--input", metavar="INPUT", help="where the clips are now, if they have moved; as for select-dataset"
    )
    parser.add_argument("--column", metavar="NAME", help="column with paths or URLs, if --input is a table")
    parser.add_argument(
        "--max-size",
        type=float,
        default=16,
        metavar="MB",
        help="size limit of the pictures (default: %(default)s)",
    )
    common.add_threads(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> None:
    from ove_codec.datasets import write_report

    report = write_report(
        args.output,
        args.out,
        clips=args.clips,
        seed=args.seed,
        source=args.input,
        column=args.column,
        max_bytes=int(args.max_size * 2**20),
        threads=args.threads,
        watch=lambda items, total: common.progress(items, total, " clips"),
    )
    lines = [
        ("page", f"{report.page}, {report.num_bytes / 2**20:.1f} MB"),
        ("clips", f"{report.clips}, {report.failed} failed; {report.tokens} tokens"),
        ("shown", f"{report.shown}, {report.playing} of them playing"),
    ]
    common.print_facts({"output": args.output, **report.as_dict()}, args.json, lines)
