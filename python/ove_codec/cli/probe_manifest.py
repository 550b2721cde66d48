"""`ove-codec probe manifest`: a manifest from the official annotation files of a data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ove_codec.cli import common
from ove_codec.probes.datasets import known_datasets

_SHOWN = 20  # clips that are left out and printed; a file names all


def add_action(actions: common.Commands[Any]) -> None:
    parser = actions.add_parser(
        "manifest",
        help="make a manifest from the official annotations of a data set",
        description="Finds the video of every entry of the official annotation files, by its name without a suffix, "
        "and writes a CSV of path, label, split, start and end for 'run --manifest OUT --root VIDEOS'. Clips without a "
        "video and bad entries are left out; OUT.left-out.txt lists them with file and line.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("dataset", choices=list(known_datasets()), metavar="DATASET", help=", ".join(known_datasets()))
    parser.add_argument("annotations", metavar="ANNOTATIONS", help="folder of the annotation files, or one of them")
    parser.add_argument("videos", metavar="VIDEOS", help="folder of the videos; subfolders are searched too")
    parser.add_argument("-o", "--out", required=True, metavar="OUT.csv", help="manifest to write")
    parser.add_argument(
        "--split",
        choices=("train", "val"),
        help="split of a file whose name does not tell it; of a folder, only this split",
    )
    parser.add_argument("--segments", action="store_true", help="charadesego: one clip per action, cut at its times")
    parser.add_argument(
        "--number", type=int, default=1, choices=(1, 2, 3), help="which of hmdb51's splits (default: 1)"
    )
    parser.add_argument(
        "--class-names", metavar="FILE", help="k400, hmdb51: file of all class names, one per line, in order"
    )
    common.add_json(parser)


def run(args: argparse.Namespace) -> None:
    from ove_codec.probes.annotations import Options
    from ove_codec.probes.manifest import read_classes
    from ove_codec.probes.manifest_making import make_manifest

    made = make_manifest(
        args.dataset,
        Path(args.annotations),
        Path(args.videos),
        options=Options(args.segments, args.number),
        split=args.split,
        classes=read_classes(args.class_names) if args.class_names else None,
    )
    with common.replacing(args.out) as part:
        made.write(part)
    left_out = f"{args.out}.left-out.txt"
    with common.replacing(left_out) as part:
        part.write_text("".join(f"{line}\n" for line in made.left_out()), encoding="utf-8")
    if not args.json:
        for line in made.left_out()[:_SHOWN]:
            print(f"ove-codec: {line}", file=sys.stderr)
    facts = {
        "out": args.out,
        "clips": made.splits(),
        "missing": [list(clip) for clip in made.missing],
        "bad": [list(entry) for entry in made.bad],
    }
    official = known_datasets()[args.dataset].clips
    lines: list[tuple[str, Any]] = []
    for split, count in made.splits().items():
        known = "" if official[split] is None else f" (officially {official[split]})"
        lines.append((split, f"{count} clips{known}"))
    counts = f"{len(made.missing)} without a video, {len(made.bad)} bad entries"
    lines.append(("left out", f"{counts}, listed in {left_out}"))
    use = f"ove-codec probe run --dataset {args.dataset} --manifest {args.out} --root {args.videos} ..."
    lines.append(("use it", use))
    common.print_facts(facts, args.json, lines)
