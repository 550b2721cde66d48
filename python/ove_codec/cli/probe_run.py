"""`ove-codec probe run`: features of clips, and probes trained on them."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ove_codec import presets
from ove_codec.cli import common, select
from ove_codec.cli.parsing import keep_for_help_all
from ove_codec.probes.datasets import DatasetInfo, dataset_info
from ove_codec.probes.families import BACKBONES, PATCHES_PER_FRAME

if TYPE_CHECKING:
    import torch

    from ove_codec.probes.base_backbones import Backbone
    from ove_codec.probes.manifest import LabelledClip
    from ove_codec.probes.reading import CodecRequest, FrameRequest
    from ove_codec.probes.run import Features
    from ove_codec.probes.train import ProbeRecipe, Trained

_FIXED = ("size", "patch_size", "budget", "tau", "frame_ids")  # the backbone and its budget decide
_SELDOM = (
    "--train-split", "--val-split", "--class-names", "--max-unreadable", "--patches-per-frame", "--precision",
    "--dtype", "--clips-at-once", "--protocol", "--head-precision", "--checkpoint-seconds", "--views", "--weight-decay",
    "--batch-size", "--epochs", "--resize", "--start", "--end", "--sampling", "--root", "--classes", "--verbose",
    "--checkpoint-seconds", "--features-only",
)  # fmt: skip
_SHOWN = 20  # unreadable clips that are printed; results name all


def add_action(actions: common.Commands[Any]) -> None:
    run = actions.add_parser(
        "run",
        help="train probes on the features of clips, write the results",
        description="Trains a probe for every learning rate and weight decay, all in one pass over the features. With "
        "--features cache the features are computed once and kept; with fly they are computed for every batch, in new "
        "random views, as the released evaluation does. 'plan' estimates the cost of both. The same command resumes an "
        "interrupted run. With torchrun (torchrun --nproc-per-node N -m ove_codec.cli probe run ...) the processes "
        "share the work, with the same result.",
    )
    run.set_defaults(run=run_probe)
    add_arguments(run, results_needed=True)


def add_arguments(parser: argparse.ArgumentParser, *, results_needed: bool) -> None:
    """Adds the options of a run, for the actions that need them."""
    data = parser.add_argument_group("data set")
    data.add_argument(
        "--dataset", required=True, metavar="NAME", help="a known data set (see 'list'), or any name for your own"
    )
    data.add_argument(
        "--train",
        metavar="FILE",
        help="manifest (CSV, JSON Lines: path, label, start, end), or folder of classes",
    )
    data.add_argument("--val", metavar="FILE", help="the same for the validation set")
    data.add_argument("--manifest", metavar="FILE", help="one manifest for both, with a column 'split'")
    data.add_argument(
        "--train-split", default="train", metavar="NAME", help="training split in --manifest (default: %(default)s)"
    )
    data.add_argument(
        "--val-split", default="val", metavar="NAME", help="validation split in --manifest (default: %(default)s)"
    )
    data.add_argument("--root", metavar="DIR", help="folder that relative paths start from (default: the manifest's)")
    data.add_argument("--classes", type=int, metavar="N", help="number of classes, for a data set of your own")
    data.add_argument(
        "--class-names", metavar="FILE", help="class names, one per line, for manifests with names as labels"
    )
    data.add_argument("--max-unreadable", type=int, metavar="N", help="stop if more clips than this cannot be read")

    model = parser.add_argument_group("backbone")
    model.add_argument("--backbone", required=True, choices=list(BACKBONES), metavar="NAME", help=", ".join(BACKBONES))
    model.add_argument("--weights", required=True, metavar="DIR", help="local directory of the backbone's files")
    model.add_argument(
        "--budget", type=_integers, default=[2048], metavar="N,N", help="budgets, patches per clip (default: 2048)"
    )
    model.add_argument(
        "--patches-per-frame",
        type=int,
        default=PATCHES_PER_FRAME,
        metavar="N",
        help="a square number (default: %(default)s)",
    )
    model.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="precision of the backbone (default: bfloat16 on a GPU, else float32)",
    )
    select.add_selection_options(parser, preset="probe", without=_FIXED)

    cache = parser.add_argument_group("features")
    cache.add_argument(
        "--features",
        choices=("cache", "fly"),
        default="cache",
        help="keep features on disk, or compute them for every batch (default: %(default)s)",
    )
    cache.add_argument(
        "--cache",
        metavar="DIR",
        help="where features are kept; with fly, only those of the validation set",
    )
    cache.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"), help="type on disk")
    cache.add_argument(
        "--views",
        type=int,
        metavar="N",
        help="views of each training clip: the first is of the middle frames, unaltered; more are random (default: 1; "
        "fly: new ones in each epoch)",
    )
    cache.add_argument(
        "--workers", type=int, default=0, metavar="N", help="clips read at the same time, 0 for all cores"
    )
    cache.add_argument(
        "--clips-at-once", type=int, default=8, metavar="N", help="clips per backbone batch (default: 8)"
    )
    cache.add_argument("--features-only", action="store_true", help="compute the features only, without training")

    recipe = parser.add_argument_group("training")
    recipe.add_argument("--lr", type=_numbers, default=[1e-4], metavar="X,X", help="learning rates (default: 1e-4)")
    recipe.add_argument("--weight-decay", type=_numbers, default=[0.0], metavar="X,X", help="(default: 0)")
    recipe.add_argument("--seeds", type=_integers, default=[1], metavar="N,N", help="one run for each (default: 1)")
    recipe.add_argument(
        "--protocol",
        choices=("scripts", "page"),
        default="scripts",
        help="number of epochs as in the released scripts or as on the page (default: %(default)s)",
    )
    recipe.add_argument("--epochs", type=int, metavar="N", help="number of epochs, instead of the protocol's")
    recipe.add_argument(
        "--batch-size", type=int, metavar="N", help="clips per step over all processes, instead of the data set's"
    )
    recipe.add_argument(
        "--head-precision", choices=("float32", "bfloat16"), default="float32", help="precision of matrix products"
    )
    recipe.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: a GPU, if there is one)")
    recipe.add_argument(
        "--results", required=results_needed, metavar="DIR", help="directory for results and checkpoints"
    )
    recipe.add_argument(
        "--checkpoint-seconds", type=float, default=300.0, metavar="X", help="time between checkpoints (default: 300)"
    )
    recipe.add_argument("--verbose", action="store_true", help="print a line per epoch to standard error")
    keep_for_help_all(parser, *_SELDOM)
    common.add_json(parser)


def run_probe(args: argparse.Namespace) -> None:
    """Features, training and results for every budget."""
    from ove_codec.probes.run import check_seeds

    info = chosen_dataset(args)
    recipe = chosen_recipe(args, info)
    check_seeds(args.seeds)
    params = chosen_selection(args)
    samples = chosen_samples(args, info)
    if args.features == "cache" and args.cache is None:
        raise ValueError("give --cache DIR to keep features in, or --features fly to compute them for every batch")
    if args.features == "fly" and args.features_only:
        raise ValueError("--features-only keeps features, but --features fly does not: leave one of them out")
    from ove_codec.probes.workers import Termination

    with Termination() as termination, processes(args.device) as (device, first):
        from ove_codec.probes.run import record, run_seeds, write_result
        from ove_codec.probes.train import Stopped

        backbone = chosen_backbone(args, device)
        inputs = [
            backbone.input_for(budget, patches_per_frame=args.patches_per_frame, preset=args.preset, params=params)
            for budget in args.budget
        ]  # before the long work begins
        results, files = [], []
        for budget, wanted in zip(args.budget, inputs, strict=True):
            train, val = (_features(args, backbone, wanted, samples, split, first) for split in ("train", "val"))
            _check_unreadable(args, train, val, first)
            if args.features_only:
                results.append({"budget": budget, "features": [train.key, val.key]})
                files.append(Path(args.cache) / train.key)
                continue
            with _epoch_bar(args, recipe, first, train, val) as report, termination.noted() as stop:
                try:
                    seeds = run_seeds(
                        train, val, info, recipe, args.seeds,
                        device=device, checkpoints=Path(args.results) / "checkpoints",
                        checkpoint_seconds=args.checkpoint_seconds, report=report, stop=stop,
                    )  # fmt: skip
                except Stopped:
                    if first:
                        print("ove-codec: stopped by SIGTERM; run the same command again to resume", file=sys.stderr)
                    raise SystemExit(128 + signal.SIGTERM) from None
            if args.features == "fly":
                _check_unreadable(args, train, val, first)
            result = record(backbone, wanted, train, val, info, recipe, budget, args.patches_per_frame, seeds)
            files.append(write_result(Path(args.results), result))
            results.append(result)
        if first:
            _print_results(args, results, files)


def _print_results(args: argparse.Namespace, results: Sequence[dict[str, Any]], files: Sequence[Path]) -> None:
    from ove_codec.probes import tables

    if args.json:
        print(json.dumps(results))
        return
    for result, file in zip(results, files, strict=True):
        if args.features_only:
            print(f"{result['budget']} patches: features in {file}")
            continue
        figure = tables.page_figure(result)
        page = "" if figure is None else f", page {figure:.1f}"
        print(f"{tables.method_of(result)}, {result['title']}, {result['budget']} patches{page}")
        for row in result["summary"]:
            last, best = (tables.number(row[name]) for name in ("last", "best"))
            print(f"  lr {row['lr']:g}, weight decay {row['weight_decay']:g}: last epoch {last}, best epoch {best}")
        print(f"  in {file}")


def chosen_dataset(args: argparse.Namespace) -> DatasetInfo:
    from ove_codec.probes.manifest import class_folders, read_classes

    count = args.classes
    folders = [name for name in (args.train, args.val) if name and os.path.isdir(name)]
    if args.class_names:
        args.class_names = read_classes(args.class_names)
    elif folders:  # the same numbers in both, also where one lacks a class
        args.class_names = sorted({name for folder in folders for name in class_folders(folder)})
    if args.class_names and count is None:
        count = len(args.class_names)
    return dataset_info(args.dataset, count)


def chosen_samples(args: argparse.Namespace, info: DatasetInfo) -> dict[str, list[LabelledClip]]:
    from ove_codec.probes.manifest import read_manifest

    two = args.train is not None and args.val is not None
    if two == (args.manifest is not None) or (args.manifest and (args.train or args.val)):
        raise ValueError("give --train and --val, or a --manifest that has a column 'split'")
    files = {"train": args.train or args.manifest, "val": args.val or args.manifest}
    splits = {"train": None, "val": None} if two else {"train": args.train_split, "val": args.val_split}
    found = {
        name: read_manifest(file, info.classes, classes=args.class_names, root=args.root, split=splits[name])
        for name, file in files.items()
    }
    train, val = ({(clip.path, clip.segment) for clip in found[name]} for name in ("train", "val"))
    if train & val:
        path, _ = min(train & val, key=lambda clip: clip[0])
        raise ValueError(
            f"{len(train & val)} clips are in both the training and the validation set, {path} among them: remove them "
            "from one set"
        )
    return found


def chosen_recipe(args: argparse.Namespace, info: DatasetInfo) -> ProbeRecipe:
    from ove_codec.probes.train import ProbeRecipe, sweep

    recipe = ProbeRecipe(
        settings=sweep(args.lr, args.weight_decay),
        epochs=info.epochs[args.protocol],
        batch_size=info.batch_size,
        precision=args.head_precision,
    )
    given = {name: getattr(args, name) for name in ("epochs", "batch_size")}
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def chosen_selection(args: argparse.Namespace) -> dict[str, Any]:
    """The selection's parameters; ValueError where they do not go with a probe."""
    params = select.overrides_of(args)
    if BACKBONES[args.backbone].takes != "codec":
        if params or args.preset != "probe":
            raise ValueError(f"selection options are for ov-encoder-codec only, not for {args.backbone}")
        return {}
    presets.resolve(args.preset, params)
    return params


def chosen_backbone(args: argparse.Namespace, device: torch.device) -> Backbone:
    """The backbone on the device, in the precision of the arguments."""
    from ove_codec.probes.backbones import load_backbone

    precision = args.precision or ("float32" if device.type == "cpu" else "bfloat16")
    return load_backbone(args.backbone, args.weights, device=device, precision=precision)


def _features(
    args: argparse.Namespace,
    backbone: Backbone,
    wanted: FrameRequest | CodecRequest,
    samples: dict[str, list[LabelledClip]],
    split: str,
    first: bool,
) -> Features:
    """The features of a split, from the cache or live, as the arguments say."""
    from ove_codec.probes.cache import FeatureCache
    from ove_codec.probes.live import FRESH, LiveFeatures

    workers, live = args.workers or os.cpu_count() or 1, args.features == "fly"
    views = 1
    if split == "train":
        views = args.views if args.views is not None else FRESH if live else 1
    if live and (split == "train" or args.cache is None):
        return LiveFeatures(
            samples[split], backbone, wanted, views=views, workers=workers, clips_at_once=args.clips_at_once
        )
    cache = FeatureCache(args.cache, backbone, wanted, dtype=args.dtype, views=views)
    budget = wanted.patches if hasattr(wanted, "patches") else f"{wanted.frames} frames"
    with tqdm(desc=f"{budget}, {split}", unit=" clips", delay=0.5, leave=False, disable=None if first else True) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return cache.features(samples[split], workers=workers, clips_at_once=args.clips_at_once, report=report)


def _check_unreadable(args: argparse.Namespace, train: Features, val: Features, first: bool) -> None:
    """Names the clips without features on standard error; ValueError (in every process) where there are too many."""
    lost = [(split, clip) for split, f in (("train", train), ("val", val)) for clip in f.unreadable]
    if first and lost:
        for split, clip in lost[:_SHOWN]:
            print(f"ove-codec: unreadable, {split} line {clip.line}: {clip.name}: {clip.error}", file=sys.stderr)
        more = f"; the first {_SHOWN} are above" if len(lost) > _SHOWN else ""
        listed = sum(len(f.samples) + len(f.unreadable) for f in (train, val))
        print(f"ove-codec: left out as unreadable: {len(lost)} of {listed} clips{more}", file=sys.stderr)
    _check_number(args, train, val)


def _check_number(args: argparse.Namespace, train: Features, val: Features) -> None:
    lost = len(train.unreadable) + len(val.unreadable)
    if args.max_unreadable is not None and lost > args.max_unreadable:
        raise ValueError(f"unreadable clips: {lost}, more than --max-unreadable {args.max_unreadable}")


@contextmanager
def _epoch_bar(
    args: argparse.Namespace, recipe: ProbeRecipe, first: bool, train: Features, val: Features
) -> Iterator[Any]:
    total = recipe.epochs * len(args.seeds)
    with tqdm(total=total, unit=" epochs", delay=0.5, leave=False, disable=None if first else True) as bar:

        def report(seed: int, epoch: int, trained: Trained) -> None:
            _check_number(args, train, val)  # of live features
            best = max(trained.last(index) for index in range(len(trained.settings)))
            bar.set_postfix_str(f"seed {seed}, {best:.2f} %", refresh=False)
            bar.update()
            if args.verbose and first:
                tqdm.write(f"seed {seed}, epoch {epoch}: {best:.2f} %", file=sys.stderr)

        yield report


@contextmanager
def processes(device: str | None) -> Iterator[tuple[torch.device, bool]]:
    """The device of this process, and whether it is the first one; joins the others that torchrun started."""
    import torch.distributed as dist

    from ove_codec.probes.workers import join, pick_device

    with join(pick_device(device, int(os.environ.get("LOCAL_RANK", "0")))) as chosen:
        yield chosen, not dist.is_initialized() or dist.get_rank() == 0


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]
