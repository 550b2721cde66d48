"""`ove-codec pack`: pictures and clips with labels into shards for training."""

from __future__ import annotations

import argparse
import random
import warnings
from pathlib import Path
from typing import Any

from ove_codec.cli import common


def add_commands(commands: common.Commands[Any]) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "pack",
        help="pack pictures and clips with labels into shards for training",
        description="Writes tar shards in webdataset's layout. Each sample is the file, its labels (.json) and, with "
        "--select or if SOURCE names one, a selection (.npz). SOURCE is a folder of CLASS/FILE, or of files with a "
        "NAME.json each; a .csv with the columns file, labels (numbers separated by spaces) and selection; or a .jsonl "
        "with the same keys.",
    )
    parser.set_defaults(run=pack)
    parser.add_argument("source", metavar="SOURCE", help="folder, .csv or .jsonl")
    parser.add_argument("folder", metavar="OUT", help="folder of the shards")
    parser.add_argument("--prefix", default="shard", help="prefix of the shards' names (default: %(default)s)")
    parser.add_argument(
        "--shard-size", type=float, default=1024, metavar="MB", help="size at which a new shard begins (default: 1024)"
    )
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="shuffle the samples first")
    parser.add_argument("--no-check", action="store_true", help="do not check that the files can be read")
    parser.add_argument(
        "--select", metavar="PRESET", help="select patches of every clip by this preset, and store them"
    )
    parser.add_argument("--budget", type=int, metavar="N", help="patches to keep per clip (default: the preset's)")
    parser.add_argument("--size", type=int, metavar="N", help="side of the canvas, samples (default: the preset's)")
    parser.add_argument("--patch-size", type=int, metavar="N", help="side of a patch, samples (default: the preset's)")
    parser.add_argument(
        "--num-frames", type=int, metavar="N", help="pictures to sample per clip (default: the preset's)"
    )
    common.add_json(parser)


def pack(args: argparse.Namespace) -> None:
    from ove_codec import presets
    from ove_codec.data import packing
    from ove_codec.data.shards import write_shards

    overrides = {
        name: value
        for name in ("budget", "size", "patch_size", "num_frames")
        if (value := getattr(args, name)) is not None
    }
    if overrides and args.select is None:
        raise ValueError(f"--{', --'.join(overrides).replace('_', '-')}: only with --select")
    select = None
    if args.select is not None:
        presets.resolve(args.select, overrides)
        select = {"preset": args.select, **overrides}
    if not args.shard_size > 0:
        raise ValueError(f"--shard-size must be positive, not {args.shard_size}")
    records = packing.read_records(Path(args.source))
    if args.shuffle is not None:
        random.Random(args.shuffle).shuffle(records)
    packer = packing.Packer(check=not args.no_check, select=select, skipped=[])
    samples = packer.samples(records)
    watched = common.progress(samples, len(records), " samples")
    shards = list(write_shards(watched, Path(args.folder), args.prefix, int(args.shard_size * 2**20)))
    for file, reason in packer.skipped:
        warnings.warn(f"{file} is skipped: {reason}", stacklevel=2)
    packed = sum(count for _, count in shards)
    if not packed:
        raise ValueError(f"none of the {len(records)} samples of {args.source} can be read")
    facts = {
        "out": args.folder,
        "samples": packed,
        "skipped": len(packer.skipped),
        "shards": len(shards),
        "labels": max(label for record in records for label in record.labels) + 1,
    }
    lines = [
        ("samples", f"{packed}, {len(packer.skipped)} left out"),
        ("shards", f"{len(shards)} in {args.folder}"),
        ("labels", f"0 to {facts['labels'] - 1}: the bank needs {facts['labels']} centres or more"),
    ]
    common.print_facts(facts, args.json, lines)
