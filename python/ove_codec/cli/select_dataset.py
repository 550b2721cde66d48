"""`ove-codec select-dataset`: selections from every clip of a data set."""

from __future__ import annotations

import argparse
import ast
import signal
from typing import Any, NoReturn

from ove_codec._suggest import hint
from ove_codec.canvases.config import NAMES
from ove_codec.cli import common, select
from ove_codec.cli.parsing import keep_for_help_all
from ove_codec.transcoding import RECIPES

_SELDOM = (
    "--shard-clips", "--shard-size", "--timeout", "--video", "--frame-ids", "--start", "--end", "--sampling", "--tau",
    "--patch-size", "--resize", "--fps",
)  # fmt: skip
_FORMATS = ("parquet", "webdataset", "reference", "canvases")


def add_commands(commands: common.Commands[Any]) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "select-dataset",
        help="select patches of every clip of a data set, into shards",
        description="Selects from every clip of a folder, a pattern, a table (.csv, .jsonl, .parquet) or shards "
        "(.tar), local or at a URL that fsspec reads, and writes shards of positions, scores and frame_ids. "
        "The same command resumes an interrupted run, and tries the clips in _failures.parquet again. "
        "Needs pip install 'ove_codec[dataset]'; --engine ray needs 'ove_codec[ray]'.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("input", metavar="INPUT", help="folder, pattern, table, shards or video, or a URL")
    parser.add_argument("output", metavar="OUTPUT", help="folder for the results, or its URL")
    results = parser.add_argument_group("results")
    results.add_argument(
        "--format",
        choices=_FORMATS,
        default="parquet",
        help="reference: the reference implementation's files and mosaics, of the preset llava; canvases: those of "
        "LLaVA-OneVision-2 and Mage-VL, by --score and --set (default: %(default)s)",
    )
    results.add_argument("--score", metavar="NAME", help="score of canvases: bits (default), motion+residual, ...")
    results.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of canvases, as patch=16 or max_pixels=313600; may be repeated",
    )
    results.add_argument(
        "--transcode",
        default="auto",
        metavar="RECIPE",
        help=f"convert to HEVC first. auto: codecs other than HEVC and H.264; {' or '.join(RECIPES)}: everything; off: "
        "nothing "
        "(default: %(default)s)",
    )
    results.add_argument("--tokens", choices=("float16", "float32"), help="write the normalised patches too")
    results.add_argument("--video", action="store_true", help="write the clips too, in webdataset shards")
    results.add_argument("--shard-clips", type=int, default=256, metavar="N", help="default: %(default)s")
    results.add_argument("--shard-size", type=float, default=256, metavar="MB", help="default: %(default)s")
    work = parser.add_argument_group("work")
    work.add_argument(
        "--column", metavar="NAME", help="column of the table with paths or URLs (default: video, path, ...)"
    )
    work.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="this machine or Ray (default: %(default)s)",
    )
    work.add_argument("--workers", type=int, metavar="N", help="clips at the same time (default: one per core)")
    work.add_argument(
        "--device", metavar="DEVICE", help="device for scores and patches: cuda, cuda:1 (default: the CPU)"
    )
    work.add_argument("--timeout", type=float, metavar="S", help="give up on a clip after this many seconds")
    select.add_selection_options(parser)
    keep_for_help_all(parser, *_SELDOM)
    common.add_json(parser)


def run(args: argparse.Namespace) -> None:
    from ove_codec.datasets import select_dataset

    overrides = select.overrides_of(args)
    preset: str | None = args.preset
    if args.format == "canvases":
        if overrides:
            raise ValueError(f"{', '.join(sorted(overrides))}: with --format canvases, use --set NAME=VALUE instead")
        preset, overrides = args.score, _settings(args.set)
    elif args.score or args.set:
        raise ValueError("--score and --set are for --format canvases")
    if "frame_ids" in overrides:
        raise ValueError("--frame-ids cannot be used, as clips of a data set differ in length; use --num-frames")
    transcode = select.transcoding(args.transcode)
    before = signal.signal(signal.SIGTERM, _interrupt)  # what is done is kept, as with Ctrl-C
    try:
        summary = select_dataset(
            args.input,
            args.output,
            preset,
            format=args.format,
            transcode=transcode,
            tokens=args.tokens,
            video=args.video,
            engine=args.engine,
            workers=args.workers,
            device=args.device,
            column=args.column,
            shard_clips=args.shard_clips,
            shard_bytes=int(args.shard_size * 2**20),
            timeout=args.timeout,
            progress=True,
            **overrides,
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    if summary.failed == summary.clips:
        raise ValueError(
            f"none of the {summary.clips} clips gave a result: {args.output}/_failures.parquet lists the reasons"
        )
    lines: list[tuple[str, Any]] = [
        ("clips", f"{summary.clips}: {summary.done} done, {summary.finished} finished before, {summary.failed} failed"),
        ("tokens", f"{summary.tokens}, {summary.tokens_per_second:.0f} a second"),
        ("time", f"{summary.seconds:.1f} s, {summary.clips_per_second:.2f} clips a second"),
        ("shards", f"{summary.shards} in {args.output}"),
    ]
    if summary.repeated:
        lines.insert(1, ("repeated", f"{summary.repeated} left out, the same name and content twice"))
    if summary.failed:
        reasons = ", ".join(f"{count} {name}" for name, count in summary.reasons.items())
        lines.append(("failures", f"{reasons}; see {args.output}/_failures.parquet"))
    common.print_facts({"input": args.input, "output": args.output, **summary.as_dict()}, args.json, lines)


def _settings(given: list[str]) -> dict[str, Any]:
    """Values by name of "name=value"; those that are numbers, None, True or False as such."""
    settings = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text}: write NAME=VALUE, as in --set patch=16")
        if name not in NAMES:
            raise ValueError(f"--set {text}: unknown setting {name}; {hint(name, sorted(NAMES))}")
        try:
            settings[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            settings[name] = value
    return settings


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt
