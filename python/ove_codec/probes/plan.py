"""What a probe will take, in bytes and hours, measured on the first clips of the training set."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ove_codec.probes.base_backbones import Backbone
from ove_codec.probes.features import TensorFeatures
from ove_codec.probes.manifest import LabelledClip
from ove_codec.probes.reading import CodecRequest, FrameRequest, read_clip
from ove_codec.probes.recipe import ProbeRecipe
from ove_codec.probes.train import time_step
from ove_codec.probes.workers import in_order


@dataclass(frozen=True)
class Pace:
    """Seconds that parts of a probe take on this machine.

    Attributes:
        clips: that were measured.
        unreadable: clips that could not be read, of those that were tried.
        read: a clip, with all workers at work.
        encode: a clip, in the backbone.
        step: a training step of all heads, without reading and encoding.
    """

    clips: int
    unreadable: int
    read: float
    encode: float
    step: float

    @property
    def clip(self) -> float:
        """A clip, read while others are in the backbone."""
        return max(self.read, self.encode)


@dataclass(frozen=True)
class Cost:
    """What one way to a result takes.

    Attributes:
        disk_bytes: of features that are kept.
        hours: of one process.
    """

    disk_bytes: int
    hours: float


def measure(
    samples: Sequence[LabelledClip],
    backbone: Backbone,
    wanted: FrameRequest | CodecRequest,
    recipe: ProbeRecipe,
    num_classes: int,
    *,
    clips: int = 16,
    workers: int = 1,
    clips_at_once: int = 8,
) -> Pace:
    """Reads and encodes the first clips, and trains on them for a step.

    Args:
        samples: of the training set.
        backbone, wanted: as for `FeatureCache`.
        recipe, num_classes: of the training.
        clips: how many to measure on.
        workers, clips_at_once: as for `FeatureCache.features`.

    Raises:
        ValueError: none of them can be read; or `clips` is not positive.
    """
    if clips < 1 or workers < 1 or clips_at_once < 1:
        raise ValueError(f"clips, workers and clips_at_once must be 1 or more, got {clips}, {workers}, {clips_at_once}")
    begin = time.perf_counter()
    found = list(in_order(lambda clip: read_clip(clip, wanted, 1), samples[:clips], workers, workers))
    reading = time.perf_counter() - begin
    readable = [clip for clip in found if not isinstance(clip, str)]
    if not readable:
        raise ValueError(f"none of the first {len(found)} clips can be read; the first, {samples[0].name}: {found[0]}")
    backbone.encode(readable[:1])  # loads what the first use loads
    _wait(backbone.device)
    begin = time.perf_counter()
    features = []
    for start in range(0, len(readable), clips_at_once):
        features += backbone.encode(readable[start : start + clips_at_once])
    _wait(backbone.device)
    encoding = time.perf_counter() - begin
    tokens = list(itertools.islice(itertools.cycle(features), recipe.batch_size))
    batch = TensorFeatures(tokens, [number % num_classes for number in range(len(tokens))])
    return Pace(
        len(readable),
        len(found) - len(readable),
        reading / len(readable),
        encoding / len(readable),
        time_step(batch, num_classes, recipe, backbone.device),
    )


def costs(
    pace: Pace, train: int, val: int, recipe: ProbeRecipe, seeds: int, views: int, train_bytes: int, val_bytes: int
) -> dict[str, Cost]:
    """What features on disk ("cache"), live ones ("fly"), and live ones with those of the validation set on disk
    ("fly, cached validation set") take.

    Args:
        pace: as measured.
        train, val: clips of the sets.
        recipe, seeds: of the training, and how many there are.
        views: of a training clip on disk.
        train_bytes, val_bytes: of a clip's features on disk.
    """
    steps = seeds * recipe.epochs * -(-train // recipe.batch_size)
    training = steps * pace.step

    def cost(disk_bytes: int, clips: int) -> Cost:
        return Cost(disk_bytes, (training + clips * pace.clip) / 3600)

    passes = seeds * recipe.epochs
    return {
        "cache": cost(train * train_bytes + val * val_bytes, train * views + val),
        "fly": cost(0, passes * (train + val)),
        "fly, cached validation set": cost(val * val_bytes, passes * train + val),
    }


def as_facts(pace: Pace, found: dict[str, Cost]) -> dict[str, Any]:
    """Pace and costs as JSON holds them."""
    return {"pace": asdict(pace), "costs": {name: asdict(cost) for name, cost in found.items()}}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
