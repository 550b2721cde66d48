"""`ove-codec probe plan`: what a run will take, before it starts."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from ove_codec.cli import common, probe_run


def add_action(actions: common.Commands[Any]) -> None:
    parser = actions.add_parser(
        "plan",
        help="estimate the disk space and hours of a run",
        description="Takes the options of 'run', reads and encodes the first clips of the training set, trains for a "
        "step, and prints what cached features and features on the fly would cost. Hours are for one process; several "
        "share them. Writes nothing.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--clips", type=int, default=16, metavar="N", help="clips to measure (default: %(default)s)")
    probe_run.add_arguments(parser, results_needed=False)


def run(args: argparse.Namespace) -> None:
    info = probe_run.chosen_dataset(args)
    recipe = probe_run.chosen_recipe(args, info)
    params = probe_run.chosen_selection(args)
    samples = probe_run.chosen_samples(args, info)
    from ove_codec.probes.cache import FeatureCache
    from ove_codec.probes.plan import as_facts, costs, measure
    from ove_codec.probes.workers import pick_device

    backbone = probe_run.chosen_backbone(args, pick_device(args.device))
    train, val = (len(samples[split]) for split in ("train", "val"))
    facts = []
    for budget in args.budget:
        wanted = backbone.input_for(budget, patches_per_frame=args.patches_per_frame, preset=args.preset, params=params)
        pace = measure(
            samples["train"],
            backbone,
            wanted,
            recipe,
            info.classes,
            clips=args.clips,
            workers=args.workers or os.cpu_count() or 1,
            clips_at_once=args.clips_at_once,
        )
        views = args.views or 1
        sizes = [FeatureCache("", backbone, wanted, dtype=args.dtype, views=n).clip_bytes for n in (views, 1)]
        found = costs(pace, train, val, recipe, len(args.seeds), views, *sizes)
        facts.append({"budget": budget, "train": train, "val": val, **as_facts(pace, found)})
        if args.json:
            continue
        print(f"{budget} patches, {train} training and {val} validation clips, measured on {pace.clips}:")
        rows = [
            ("a clip", f"{pace.read:.3g} s to read, {pace.encode:.3g} s in the backbone"),
            ("a step", f"{pace.step:.3g} s"),
            *((name, f"{cost.disk_bytes / 1e9:.4g} GB, {cost.hours:.3g} hours") for name, cost in found.items()),
        ]
        if pace.unreadable:
            rows.insert(0, ("unreadable", f"{pace.unreadable} of the first clips"))
        common.print_facts({}, False, [(f"  {name}", value) for name, value in rows])
    if args.json:
        print(json.dumps(facts))
    elif args.cache:
        print(f"free on the disk of --cache: {_free(Path(args.cache)) / 1e9:.1f} GB")


def _free(folder: Path) -> int:
    """Bytes that are free on the disk of a folder that need not be there yet."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
