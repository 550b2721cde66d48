"""`ove-codec probe`: attentive probes of frozen backbones, and the tables of their results."""

from __future__ import annotations

import argparse
import json
import os
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
from ove_codec.probes.datasets import DatasetInfo, dataset_info, known_datasets
from ove_codec.probes.families import BACKBONES, BUDGETS, PATCHES_PER_FRAME

if TYPE_CHECKING:
    import torch

    from ove_codec.probes.cache import CachedFeatures, FeatureCache
    from ove_codec.probes.manifest import LabelledClip
    from ove_codec.probes.train import ProbeRecipe, Trained

_FIXED = ("size", "patch_size", "budget", "tau", "frame_ids")  # the backbone and its budget decide
_SELDOM = (
    "--train-split", "--val-split", "--class-names", "--max-unreadable", "--patches-per-frame", "--precision",
    "--dtype", "--clips-at-once", "--protocol", "--head-precision", "--checkpoint-seconds", "--views", "--weight-decay",
    "--batch-size", "--epochs", "--start", "--end", "--sampling", "--root", "--classes", "--verbose",
)  # fmt: skip
_SHOWN = 20  # unreadable clips that are printed; results name all


def add_commands(commands: common.Commands[Any]) -> None:
    parser = commands.add_parser(
        "probe",
        help="attentive probes of frozen backbones (Tables 4 and 5 of the page)",
        description="Trains attentive probes on the features of frozen backbones, under equal budgets of patches.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_run(actions)
    _add_tables(actions)
    listing = actions.add_parser("list", help="print the data sets and backbones that are known by name")
    listing.set_defaults(run=list_names)
    common.add_json(listing)


def _add_run(actions: common.Commands[Any]) -> None:
    run = actions.add_parser(
        "run",
        help="compute features once, train probes on them, write the results",
        description="Computes features of the clips once, keeps them in --cache, and trains probes with all learning "
        "rates and weight decays in one pass over them. The same command resumes an interrupted run. With torchrun "
        "(torchrun --nproc-per-node N -m ove_codec.cli probe run ...) the processes share the work.",
    )
    run.set_defaults(run=run_probe)
    data = run.add_argument_group("data set")
    data.add_argument("--dataset", required=True, metavar="NAME", help="a known one (see 'list'), or a name of yours")
    data.add_argument("--train", metavar="FILE", help="manifest of the training set: CSV or JSON Lines of path, label")
    data.add_argument("--val", metavar="FILE", help="manifest of the validation set")
    data.add_argument("--manifest", metavar="FILE", help="instead of both: one with a column 'split'")
    data.add_argument("--train-split", default="train", metavar="NAME", help="in --manifest (default: %(default)s)")
    data.add_argument("--val-split", default="val", metavar="NAME", help="in --manifest (default: %(default)s)")
    data.add_argument("--root", metavar="DIR", help="where relative paths start; the manifest's folder by default")
    data.add_argument("--classes", type=int, metavar="N", help="how many; for a data set that is not known")
    data.add_argument("--class-names", metavar="FILE", help="one a line, for manifests with names as labels")
    data.add_argument("--max-unreadable", type=int, metavar="N", help="give up if more clips cannot be read")

    model = run.add_argument_group("backbone")
    model.add_argument("--backbone", required=True, choices=list(BACKBONES), metavar="NAME", help=", ".join(BACKBONES))
    model.add_argument("--weights", required=True, metavar="DIR", help="local directory of its files")
    model.add_argument(
        "--budget", type=_integers, default=[2048], metavar="N,N", help="budgets of patches a clip (default: 2048)"
    )
    model.add_argument(
        "--patches-per-frame", type=int, default=PATCHES_PER_FRAME, metavar="N", help="a square (default: %(default)s)"
    )
    model.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="of the backbone (default: bfloat16 on a GPU, else float32)",
    )
    select.add_selection_options(run, preset="probe", without=_FIXED)

    cache = run.add_argument_group("features")
    cache.add_argument(
        "--cache", required=True, metavar="DIR", help="where features are kept: patches x channels x 2 bytes a clip"
    )
    cache.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"), help="on disk")
    cache.add_argument(
        "--views",
        type=int,
        default=1,
        metavar="N",
        help="of every training clip (default: 1). The first has the middle frames in true colours, the others random "
        "frames and colours, which the released evaluation draws anew in every epoch",
    )
    cache.add_argument("--workers", type=int, default=0, metavar="N", help="clips read at a time, 0 for all cores")
    cache.add_argument("--clips-at-once", type=int, default=8, metavar="N", help="in the backbone (default: 8)")
    cache.add_argument("--features-only", action="store_true", help="compute features, train nothing")

    recipe = run.add_argument_group("training")
    recipe.add_argument("--lr", type=_numbers, default=[1e-4], metavar="X,X", help="learning rates (default: 1e-4)")
    recipe.add_argument("--weight-decay", type=_numbers, default=[0.0], metavar="X,X", help="(default: 0)")
    recipe.add_argument("--seeds", type=_integers, default=[1], metavar="N,N", help="(default: 1)")
    recipe.add_argument(
        "--protocol", choices=("scripts", "page"), default="scripts", help="whose epochs (default: %(default)s)"
    )
    recipe.add_argument("--epochs", type=int, metavar="N", help="instead of the protocol's")
    recipe.add_argument("--batch-size", type=int, metavar="N", help="over all processes, instead of the data set's")
    recipe.add_argument("--head-precision", choices=("float32", "bfloat16"), default="float32", help="of products")
    recipe.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ...; a GPU if there is one")
    recipe.add_argument("--results", required=True, metavar="DIR", help="where results and checkpoints go")
    recipe.add_argument("--checkpoint-seconds", type=float, default=300.0, metavar="X", help="(default: 300)")
    recipe.add_argument("--verbose", action="store_true", help="a line an epoch on standard error")
    keep_for_help_all(run, *_SELDOM)
    common.add_json(run)


def _add_tables(actions: common.Commands[Any]) -> None:
    tables = actions.add_parser(
        "tables",
        help="print results in the form of the page's Tables 4 and 5, its figures beside",
        description="Prints Markdown. Cells are top-1 after the last epoch / at the best epoch (figure of the page).",
    )
    tables.set_defaults(run=print_tables)
    tables.add_argument("results", nargs="*", metavar="RESULT", help="files that 'run' wrote, or their folders")
    tables.add_argument("--plot", metavar="OUT.svg|.png|.pdf", help="draw accuracy over the budget of patches")
    common.add_json(tables)


def list_names(args: argparse.Namespace) -> None:
    """Prints what is known by name."""
    datasets = known_datasets()
    facts = {
        "datasets": {key: vars(info) for key, info in datasets.items()},
        "backbones": {key: vars(family) for key, family in BACKBONES.items()},
        "budgets": BUDGETS,
    }
    lines: list[tuple[str, Any]] = []
    for key, info in datasets.items():
        epochs, page = info.epochs["scripts"], info.epochs["page"]
        differing = "" if epochs == page else f" (the page says {page})"
        splits = f"{info.splits['train']} / {info.splits['val']}"
        lines.append((key, f"{info.name}: {info.classes} classes, {epochs} epochs{differing}, {splits}"))
    lines += [(key, f"{family.title}, from {family.takes}") for key, family in BACKBONES.items()]
    common.print_facts(facts, args.json, lines)


def print_tables(args: argparse.Namespace) -> None:
    """Prints the tables, and draws the plot."""
    from ove_codec.probes import tables

    results = tables.load_results(args.results)
    if args.plot:
        with common.replacing(args.plot) as part:
            tables.plot(results, part)
    if args.json:
        print(json.dumps({"results": results, "page": tables.page()}))
        return
    print(
        f"## Table 4\n\n{tables.table4(results)}\n\n## Table 5\n\n{tables.table5(results)}\n\n{tables.notes(results)}"
    )


def run_probe(args: argparse.Namespace) -> None:
    """Features, training and results for every budget."""
    from ove_codec.probes.run import check_seeds

    info = _dataset(args)
    recipe = _recipe(args, info)
    check_seeds(args.seeds)
    params = _selection(args)
    samples = _samples(args, info)
    with _processes(args.device) as (device, first):
        from ove_codec.probes.backbones import load_backbone
        from ove_codec.probes.cache import FeatureCache
        from ove_codec.probes.run import record, run_seeds, write_result

        precision = args.precision or ("float32" if device.type == "cpu" else "bfloat16")
        backbone = load_backbone(args.backbone, args.weights, device=device, precision=precision)
        inputs = [
            backbone.input_for(budget, patches_per_frame=args.patches_per_frame, preset=args.preset, params=params)
            for budget in args.budget
        ]  # before the long work begins
        results, files = [], []
        for budget, wanted in zip(args.budget, inputs, strict=True):
            train_cache = FeatureCache(args.cache, backbone, wanted, dtype=args.dtype, views=args.views)
            val_cache = FeatureCache(args.cache, backbone, wanted, dtype=args.dtype)
            train = _features(args, train_cache, samples["train"], f"{budget} patches, train", first)
            val = _features(args, val_cache, samples["val"], f"{budget} patches, val", first)
            _check_unreadable(args, train, val, first)
            if args.features_only:
                results.append({"budget": budget, "features": [train_cache.key, val_cache.key]})
                files.append(train_cache.folder)
                continue
            with _epoch_bar(args, recipe, first) as report:
                seeds = run_seeds(
                    train, val, info, recipe, args.seeds,
                    device=device, checkpoints=Path(args.results) / "checkpoints",
                    checkpoint_seconds=args.checkpoint_seconds, report=report,
                )  # fmt: skip
            result = record(backbone, train_cache, train, val, info, recipe, budget, args.patches_per_frame, seeds)
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


def _dataset(args: argparse.Namespace) -> DatasetInfo:
    from ove_codec.probes.manifest import read_classes

    count = args.classes
    if args.class_names:
        args.class_names = read_classes(args.class_names)
        count = len(args.class_names) if count is None else count
    return dataset_info(args.dataset, count)


def _samples(args: argparse.Namespace, info: DatasetInfo) -> dict[str, list[LabelledClip]]:
    from ove_codec.probes.manifest import read_manifest

    two = args.train is not None and args.val is not None
    if two == (args.manifest is not None) or (args.manifest and (args.train or args.val)):
        raise ValueError("give --train and --val, or --manifest with a column 'split'")
    files = {"train": args.train or args.manifest, "val": args.val or args.manifest}
    splits = {"train": None, "val": None} if two else {"train": args.train_split, "val": args.val_split}
    found = {
        name: read_manifest(file, info.classes, classes=args.class_names, root=args.root, split=splits[name])
        for name, file in files.items()
    }
    common_clips = {sample.path for sample in found["train"]} & {sample.path for sample in found["val"]}
    if common_clips:
        raise ValueError(
            f"{len(common_clips)} clips are in the training and in the validation set, {min(common_clips)} among them: "
            f"take them out of one"
        )
    return found


def _recipe(args: argparse.Namespace, info: DatasetInfo) -> ProbeRecipe:
    from ove_codec.probes.train import ProbeRecipe, sweep

    recipe = ProbeRecipe(
        settings=sweep(args.lr, args.weight_decay),
        epochs=info.epochs[args.protocol],
        batch_size=info.batch_size,
        precision=args.head_precision,
    )
    given = {name: getattr(args, name) for name in ("epochs", "batch_size")}
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def _selection(args: argparse.Namespace) -> dict[str, Any]:
    """The selection's parameters; ValueError where they do not go with a probe."""
    params = select.overrides_of(args)
    if BACKBONES[args.backbone].takes != "codec":
        if params or args.preset != "probe":
            raise ValueError(f"the options of a selection are for ov-encoder-codec, not for {args.backbone}")
        return {}
    presets.resolve(args.preset, params)
    return params


def _features(
    args: argparse.Namespace, cache: FeatureCache, samples: Sequence[LabelledClip], title: str, first: bool
) -> CachedFeatures:
    with tqdm(desc=title, unit=" clips", delay=0.5, leave=False, disable=None if first else True) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        workers = args.workers or os.cpu_count() or 1
        return cache.features(samples, workers=workers, clips_at_once=args.clips_at_once, report=report)


def _check_unreadable(args: argparse.Namespace, train: CachedFeatures, val: CachedFeatures, first: bool) -> None:
    """Names the clips without features on standard error; ValueError (in every process) where there are too many."""
    lost = [(split, clip) for split, f in (("train", train), ("val", val)) for clip in f.unreadable]
    if first and lost:
        for split, clip in lost[:_SHOWN]:
            print(f"ove-codec: unreadable, {split} line {clip.line}: {clip.name}: {clip.error}", file=sys.stderr)
        more = f", the first {_SHOWN} above" if len(lost) > _SHOWN else ""
        listed = sum(len(f.samples) + len(f.unreadable) for f in (train, val))
        print(f"ove-codec: left out as unreadable: {len(lost)} of {listed} clips{more}", file=sys.stderr)
    if args.max_unreadable is not None and len(lost) > args.max_unreadable:
        raise ValueError(f"unreadable clips: {len(lost)}, more than --max-unreadable {args.max_unreadable}")


@contextmanager
def _epoch_bar(args: argparse.Namespace, recipe: ProbeRecipe, first: bool) -> Iterator[Any]:
    total = recipe.epochs * len(args.seeds)
    with tqdm(total=total, unit=" epochs", delay=0.5, leave=False, disable=None if first else True) as bar:

        def report(seed: int, epoch: int, trained: Trained) -> None:
            best = max(trained.last(index) for index in range(len(trained.settings)))
            bar.set_postfix_str(f"seed {seed}, {best:.2f} %", refresh=False)
            bar.update()
            if args.verbose and first:
                tqdm.write(f"seed {seed}, epoch {epoch}: {best:.2f} %", file=sys.stderr)

        yield report


@contextmanager
def _processes(device: str | None) -> Iterator[tuple[torch.device, bool]]:
    """The device of this process, and whether it is the first one; joins the others that torchrun started."""
    import torch.distributed as dist

    from ove_codec.probes.workers import join, pick_device

    with join(pick_device(device, int(os.environ.get("LOCAL_RANK", "0")))) as chosen:
        yield chosen, not dist.is_initialized() or dist.get_rank() == 0


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]
