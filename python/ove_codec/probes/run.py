"""A probe of one backbone on one data set, with several seeds: features, training, and a record of the result."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ove_codec.probes.base_backbones import Backbone
from ove_codec.probes.cache import CachedFeatures
from ove_codec.probes.datasets import DatasetInfo
from ove_codec.probes.files import write_whole
from ove_codec.probes.live import FRESH, LiveFeatures
from ove_codec.probes.reading import CodecRequest, FrameRequest
from ove_codec.probes.train import ProbeRecipe, Trained, train_heads
from ove_codec.probes.workers import Workers

RESULT_FORMAT = 1
Features = CachedFeatures | LiveFeatures


def run_seeds(
    train: Features,
    val: Features,
    info: DatasetInfo,
    recipe: ProbeRecipe,
    seeds: Sequence[int],
    *,
    device: torch.device | str,
    checkpoints: Path,
    checkpoint_seconds: float = 300.0,
    report: Callable[[int, int, Trained], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[dict[str, Any]]:
    """Trains the recipe's sweep once a seed; returns for every seed what `record` keeps.

    Args:
        train, val: features.
        info: of the data set.
        recipe: how to train.
        seeds: different ones.
        device: to train on.
        checkpoints: folder of the checkpoints, named by what they are of. Finished ones are kept, with the heads.
        checkpoint_seconds, stop: as for `train_heads`.
        report: called after every epoch with seed, epoch from 1, and the training so far.
    """
    check_seeds(seeds)
    of = json.dumps([asdict(recipe), train.fingerprint, val.fingerprint, info.classes], sort_keys=True)
    digest = hashlib.sha256(of.encode()).hexdigest()[:16]
    found = []
    for seed in seeds:

        def epoch_done(epoch: int, trained: Trained, seed: int = seed) -> None:
            if report is not None:
                report(seed, epoch, trained)

        trained = train_heads(
            train,
            val,
            info.classes,
            recipe,
            seed=seed,
            device=device,
            checkpoint=checkpoints / f"{digest}.seed{seed}.safetensors",
            checkpoint_seconds=checkpoint_seconds,
            report=epoch_done,
            stop=stop,
        )
        heads = []
        for index, setting in enumerate(trained.settings):
            best, best_epoch = trained.best(index)
            heads.append(
                {
                    **asdict(setting),
                    "last": trained.last(index),
                    "best": best,
                    "best_epoch": best_epoch,
                    "accuracies": [epoch.percent(index) for epoch in trained.history],
                    "losses": [finite_or_none(losses[index]) for losses in trained.losses],
                }
            )
        found.append({"seed": seed, "heads": heads})
    return found


def check_seeds(seeds: Sequence[int]) -> None:
    """ValueError unless there are seeds, all different and none negative."""
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds must be different and not negative, got {list(seeds)}")


def finite_or_none(value: float) -> float | None:
    """The value as JSON can hold it: None where a training has diverged."""
    return value if math.isfinite(value) else None


def record(
    backbone: Backbone,
    wanted: FrameRequest | CodecRequest,
    train: Features,
    val: Features,
    info: DatasetInfo,
    recipe: ProbeRecipe,
    budget: int,
    patches_per_frame: int,
    seeds: list[dict[str, Any]],
) -> dict[str, Any]:
    """What is kept of a probe: how it was made, what could not be read, and top-1 in percent by seed and setting."""
    codec = wanted if isinstance(wanted, CodecRequest) else None
    return {
        "format": RESULT_FORMAT,
        "dataset": info.key,
        "title": info.title,
        "classes": info.classes,
        "backbone": backbone.name,
        "method": backbone.family.title,
        "model": {**backbone.about, "hidden_size": backbone.hidden_size, "patch_size": backbone.patch_size},
        "budget": budget,
        "patches_per_frame": patches_per_frame,
        "preset": codec and codec.preset,
        "params": codec and dict(codec.params),
        "views": "fresh" if train.views == FRESH else train.views,
        "features": train.key,
        "recipe": asdict(recipe),
        "official_epochs": info.epochs,
        "clips": {
            split: {"listed": len(f.samples) + len(f.unreadable), "read": len(f.samples), "official": info.clips[split]}
            for split, f in (("train", train), ("val", val))
        },
        "unreadable": {split: [asdict(clip) for clip in f.unreadable] for split, f in (("train", train), ("val", val))},
        "seeds": seeds,
        "summary": summary(seeds),
    }


def summary(seeds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and sample deviation (None for one seed) over the seeds, for every setting; the best setting first.

    The best one has the highest mean after the last epoch: it is chosen on the validation set.
    """
    rows = []
    for heads in zip(*(seed["heads"] for seed in seeds), strict=True):
        row = {name: heads[0][name] for name in ("lr", "weight_decay")}
        for name in ("last", "best"):
            values = [head[name] for head in heads]
            row[name] = {
                "mean": statistics.fmean(values),
                "deviation": statistics.stdev(values) if len(values) > 1 else None,
            }
        rows.append(row)
    return sorted(rows, key=lambda row: -row["last"]["mean"])


def result_file(folder: Path, result: dict[str, Any]) -> Path:
    """Where a result is kept: named by data set, backbone, budget and what else tells it from others."""
    parts = [result["dataset"], result["backbone"], str(result["budget"])]
    if result["preset"] is not None:
        parts.append(result["preset"])
        if result["params"]:
            text = json.dumps(result["params"], sort_keys=True)
            parts.append(hashlib.sha256(text.encode()).hexdigest()[:8])
    return folder / f"{'.'.join(parts)}.json"


def write_result(folder: Path, result: dict[str, Any]) -> Path:
    """Writes a result (the first process does) and returns its file."""
    file = result_file(folder, result)
    text = json.dumps(result, indent=1) + "\n"
    if Workers.current().rank == 0:
        write_whole(file, lambda part: _write(part, text))
    return file


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
