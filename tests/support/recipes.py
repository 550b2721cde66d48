"""A recipe small enough for tests, and its data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ove_codec.data import synthetic, write_shards
from ove_codec.training.recipe import TrainingRecipe

MODEL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "patch_size": 16}


def make_data(folder: Path, pictures: int = 48, clips: int = 0) -> None:
    """`pictures-*` in three shards, and `clips-*`."""
    samples = list(synthetic.picture_samples(pictures, 0, False))
    size = sum(len(data) for _, members in samples for data in members.values())
    list(write_shards(samples, folder, "pictures", size // 3))
    if clips:
        list(write_shards(synthetic.clip_samples(clips, 0), folder, "clips", 1 << 20))


def make_broken_data(folder: Path) -> None:
    """`pictures-*` of six samples, four of which cannot be read."""
    good = next(iter(synthetic.picture_samples(1, 0, False)))[1]["png"]
    members = [
        (f"{n}", {"png": b"broken" if n < 4 else good, "json": json.dumps({"labels": [n]}).encode()}) for n in range(6)
    ]
    list(write_shards(members, folder, "pictures", 1 << 20))


def values(data: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """The recipe as plain values; changes are `section__key=value`."""
    recipe: dict[str, Any] = {
        "model": {"config": dict(MODEL), "settings": {"rope_layout": "interleaved"}},
        "heads": {
            "pictures": {
                "shards": [f"{data}/pictures-*.tar"],
                "centres": synthetic.PICTURE_CONCEPTS,
                "max_labels": 4,
                "positives": 4,
                "sample_rate": 0.5,
                "scale": 16,
                "inputs": {"image": {"size": 64, "augment": False}},
            }
        },
        "data": {"batch": 8, "workers": 0, "window": 2},
        "optimizer": {"lr": 1e-3, "warmup": 2, "ema": 0.9, "centre_weight_decay": 0.01},
        "run": {"steps": 6, "precision": "fp32", "device": "cpu"},
        "output": {"folder": str(out), "checkpoint_every": 3, "log_every": 1},
    }
    for change, value in changes.items():
        place = recipe
        *path, last = change.split("__")
        for key in path:
            place = place.setdefault(key, {})
        place[last] = value
    return json.loads(json.dumps(recipe))


def recipe(data: Path, out: Path, **changes: Any) -> TrainingRecipe:
    return TrainingRecipe.model_validate(values(data, out, **changes))
