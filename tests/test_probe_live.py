"""Features on the fly: those of the cache, new views in every epoch, clips that cannot be read, stops and kills."""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from ove_codec.cli import main
from ove_codec.probes import FeatureBatch, ProbeRecipe, Setting, train_heads
from ove_codec.probes.backbones import Backbone, load_backbone
from ove_codec.probes.cache import CachedFeatures, FeatureCache
from ove_codec.probes.features import Job
from ove_codec.probes.live import FRESH, LiveFeatures
from ove_codec.probes.manifest import LabelledClip
from ove_codec.probes.reading import CodecRequest, FrameRequest, read_frames, view_rng
from ove_codec.probes.train import Stopped, Trained
from support import actions, backbones, ffmpeg
from test_probe_cli import CODEC, command, environment, two_processes

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

TRAIN, VAL, EPOCHS = 11, 7, 3
RECIPE = ProbeRecipe(settings=(Setting(1e-3), Setting(3e-3)), epochs=EPOCHS, batch_size=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips with manifests, of which one of each cannot be read, and the weights of a tiny encoder."""
    folder = tmp_path_factory.mktemp("live")
    for seed, (name, count) in enumerate((("train", TRAIN), ("val", VAL))):
        rows = actions.action_clips(folder, count, seed)
        lines = [f"{clip},{label}" for clip, label in rows]
        (folder / f"{name}.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    (folder / "classes.txt").write_text("\n".join(actions.ACTIONS))
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 8)
    backbones.save_ov_encoder(folder / "weights")
    return folder


@pytest.fixture(scope="module")
def backbone(data: Path) -> Backbone:
    return load_backbone("ov-encoder", data / "weights")


@pytest.fixture(scope="module")
def wanted(backbone: Backbone) -> FrameRequest | CodecRequest:
    return backbone.input_for(2 * 64, patches_per_frame=64)


def listed(data: Path, seed: int, extra: dict[int, str] | None = None) -> list[LabelledClip]:
    """The clips of a set; `extra` goes in at these places."""
    names = [f"s{seed}-{n:03d}.mp4" for n in range((TRAIN, VAL)[seed])]
    for place, name in (extra or {}).items():
        names.insert(place, name)
    return [LabelledClip(data / name, name, n % 3, n + 1) for n, name in enumerate(names)]


def same(a: Trained, b: Trained, tolerance: float = 0) -> bool:
    states = [
        torch.allclose(value, b.heads.state[name], rtol=0, atol=tolerance) for name, value in a.heads.state.items()
    ]
    return all(states) and a.history == b.history and np.allclose(a.losses, b.losses, rtol=0, atol=tolerance)


def test_live_features_are_those_of_the_cache(
    data: Path, backbone: Backbone, wanted: FrameRequest, tmp_path: Path
) -> None:
    """With as many views, up to what other batches in the backbone round otherwise."""
    train, val = listed(data, 0), listed(data, 1)
    kept = FeatureCache(tmp_path, backbone, wanted, dtype="float32", views=3).features(train)
    live = LiveFeatures(train, backbone, wanted, views=3, workers=2, clips_at_once=3)
    assert live.labels.tolist() == kept.labels.tolist() and live.hidden_size == kept.hidden_size
    jobs: list[Job] = [([5, 0, 7], [0, 2, 1]), ([], []), ([3], None), ([1, 2, 3, 4, 6], None)]
    for job, batch in zip(jobs, live.stream(jobs), strict=True):
        if not job[0]:
            assert batch is None
            continue
        expected = kept.batch(*job)
        assert batch is not None and torch.equal(batch.labels, expected.labels)
        assert torch.equal(batch.lengths, expected.lengths)
        torch.testing.assert_close(batch.tokens, expected.tokens, atol=2e-5, rtol=1e-4)
    assert live.unreadable == [] and live.samples == train

    kept_val = FeatureCache(tmp_path, backbone, wanted, dtype="float32").features(val)
    live_val = LiveFeatures(val, backbone, wanted, views=1, workers=2)
    from_cache = train_heads(kept, kept_val, 3, RECIPE, seed=5)
    assert same(train_heads(live, live_val, 3, RECIPE, seed=5), from_cache, 1e-4)


def test_views_are_new_in_every_epoch(data: Path, backbone: Backbone, wanted: FrameRequest) -> None:
    """They depend on seed, epoch and clip alone."""
    seen: list[tuple[int, int]] = []

    class Watched(LiveFeatures):
        def _read(self, clip: tuple[int, int]) -> Any:
            seen.append(clip)
            return super()._read(clip)

    def views(seed: int, workers: int) -> dict[int, set[int]]:
        seen.clear()
        train = Watched(listed(data, 0), backbone, wanted, workers=workers)
        assert train.views == FRESH
        train_heads(train, LiveFeatures(listed(data, 1), backbone, wanted, views=1), 3, RECIPE, seed=seed)
        assert len(seen) == EPOCHS * TRAIN
        return {clip: {view for number, view in seen if number == clip} for clip in range(TRAIN)}

    first = views(1, 1)
    assert all(len(found) == EPOCHS for found in first.values()) and 0 not in set().union(*first.values())
    assert len(set().union(*first.values())) == EPOCHS * TRAIN
    assert views(1, 3) == first
    assert all(found.isdisjoint(first[clip]) for clip, found in views(2, 1).items())
    (clip, *_), (view, *_) = listed(data, 0), first[0]
    batch = LiveFeatures([clip], backbone, wanted).batch([0], [view])
    expected = backbone.encode([read_frames(clip.path, wanted, view_rng(clip.key, view))])[0]
    assert torch.equal(batch.tokens[0], expected)


class Lacking:
    """Features without some of the clips: the plain twin of live ones that meet unreadable clips."""

    def __init__(self, features: CachedFeatures, lacks: Sequence[int], count: int) -> None:
        self._features, self._lacks = features, lacks
        places = itertools.count()
        self._places = {n: next(places) for n in range(count) if n not in lacks}
        self.labels = np.array([features.labels[self._places[n]] if n in self._places else 0 for n in range(count)])
        self.hidden_size, self.views = features.hidden_size, 1

    def stream(self, jobs: Iterable[Job]) -> Iterator[FeatureBatch | None]:
        for numbers, _ in jobs:
            there = [self._places[n] for n in numbers if n in self._places]
            yield self._features.batch(there) if there else None


def test_unreadable_clips_are_left_out(data: Path, backbone: Backbone, wanted: FrameRequest, tmp_path: Path) -> None:
    train, val = listed(data, 0, {2: "noise.mp4", 7: "gone.mp4"}), listed(data, 1, {0: "gone.mp4"})
    live = LiveFeatures(train, backbone, wanted, views=1, workers=2)
    live_val = LiveFeatures(val, backbone, wanted, views=1)
    recipe = ProbeRecipe(settings=RECIPE.settings, epochs=2, batch_size=3)
    trained = train_heads(live, live_val, 3, recipe)
    cache = FeatureCache(tmp_path, backbone, wanted, dtype="float32")
    twins: Any = [Lacking(cache.features(clips), lacks, len(clips)) for clips, lacks in ((train, [2, 7]), (val, [0]))]
    twins[0].labels[[2, 7]] = [train[2].label, train[7].label]
    assert same(trained, train_heads(twins[0], twins[1], 3, recipe), 1e-4)
    assert trained.history[0].total == VAL
    assert [(clip.name, clip.line) for clip in live.unreadable] == [("noise.mp4", 3), ("gone.mp4", 8)]
    assert len(live.samples) == TRAIN and [clip.name for clip in live_val.unreadable] == ["gone.mp4"]
    with pytest.raises(ValueError, match="none of the 1 clips can be read"):
        live.batch([2])
    with pytest.raises(ValueError, match="none of the 1 clips to evaluate can be read"):
        train_heads(live, LiveFeatures(val[:1], backbone, wanted, views=1), 3, recipe)


def test_bad_live_features(data: Path, backbone: Backbone, wanted: FrameRequest) -> None:
    clips = listed(data, 1)
    for changes, message in (
        ({"workers": 0}, "workers and clips_at_once"),
        ({"views": 0}, "views must be 1"),
    ):
        with pytest.raises(ValueError, match=message):
            LiveFeatures(clips, backbone, wanted, **changes)
    with pytest.raises(ValueError, match="samples hold no clip"):
        LiveFeatures([], backbone, wanted)
    keys = {LiveFeatures(part, backbone, wanted, views=n).fingerprint for part in (clips, clips[1:]) for n in (1, 2)}
    assert len(keys) == 4


def test_stopped_anywhere_and_resumed(data: Path, backbone: Backbone, wanted: FrameRequest, tmp_path: Path) -> None:
    """After every step and in every batch of an evaluation; what follows is to the bit what would have followed."""

    def train(stop: Any = None, checkpoint: Path | None = None) -> tuple[Trained, list[Any]]:
        train_set, val_set = (
            LiveFeatures(listed(data, seed, {1: "noise.mp4"}), backbone, wanted, views=views)
            for seed, views in ((0, FRESH), (1, 1))
        )
        trained = train_heads(train_set, val_set, 3, RECIPE, seed=3, checkpoint=checkpoint, stop=stop)
        return trained, [train_set.unreadable, val_set.unreadable]

    asked = itertools.count()

    def never() -> bool:
        next(asked)
        return False

    whole, lost = train(never)
    times = next(asked)
    assert times == EPOCHS * (3 + 2) + EPOCHS - 1  # steps, batches of evaluations, and between epochs
    for at in random.Random(0).sample(range(times), 6):
        countdown = iter([False] * at + [True])
        checkpoint = tmp_path / f"{at}.safetensors"
        with pytest.raises(Stopped):
            train(lambda countdown=countdown: next(countdown), checkpoint)
        resumed, found = train(None, checkpoint)
        assert same(resumed, whole) and found == lost


# The command


def result_of(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result of a run, and the tensors of its checkpoints."""
    (file,) = folder.glob("results/*.json")
    tensors: dict[str, torch.Tensor] = {}
    for checkpoint in folder.glob("results/checkpoints/*.safetensors"):
        tensors |= {f"{checkpoint.name}/{k}": v for k, v in safetensors.torch.load_file(checkpoint).items()}
    return json.loads(file.read_text()), tensors


def identical(one: Path, other: Path) -> bool:
    (result, tensors), (expected, wanted) = result_of(one), result_of(other)
    return (
        result == expected
        and tensors.keys() == wanted.keys()
        and all(torch.equal(tensors[name], wanted[name]) for name in tensors)
    )


FLY: dict[str, Any] = {"features": "fly", "cache": None, "epochs": 4, "batch-size": 4, "workers": 2, "seeds": "1,2"}


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the fly without a break."""
    out = tmp_path_factory.mktemp("whole")
    assert main(command(data, out, *CODEC, **FLY)) == 0
    return out


def test_run_on_the_fly(whole: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _ = result_of(whole)
    assert result["views"] == "fresh" and result["clips"]["train"]["read"] == TRAIN
    assert not list(whole.glob("cache*"))
    assert main(command(data, tmp_path, *CODEC, **FLY | {"views": 1})) == 0
    plain = result_of(tmp_path)[0]
    assert plain["views"] == 1 and plain["features"] != result["features"]
    assert plain["seeds"][0]["heads"][0]["losses"] != result["seeds"][0]["heads"][0]["losses"]
    # The validation set from a cache: the same answers.
    mixed = tmp_path / "mixed"
    assert main(command(data, mixed, *CODEC, **FLY | {"cache": mixed / "cache"})) == 0
    for seed, expected in zip(result_of(mixed)[0]["seeds"], result["seeds"], strict=True):
        assert seed["heads"][0]["losses"] == expected["heads"][0]["losses"]
        assert seed["heads"][0]["accuracies"] == expected["heads"][0]["accuracies"]
    assert len(list((mixed / "cache").rglob("*.safetensors"))) == 1
    capsys.readouterr()
    assert main(command(data, tmp_path, *CODEC, cache=None)) == 1
    assert "give --cache DIR" in capsys.readouterr().err
    assert main(command(data, tmp_path, *CODEC, "--features-only", **FLY)) == 1
    assert "--features-only keeps features" in capsys.readouterr().err


def test_unreadable_clips_of_a_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "train.csv"
    manifest.write_text((data / "train.csv").read_text() + "gone.mp4,0\n")
    argv = command(data, tmp_path, *CODEC, f"--root={data}", **FLY | {"train": manifest})
    assert main(argv) == 0
    assert f"unreadable, train line {TRAIN + 2}: gone.mp4" in capsys.readouterr().err
    result, _ = result_of(tmp_path)
    assert result["clips"]["train"] == {"listed": TRAIN + 1, "read": TRAIN, "official": None}
    assert main([*argv, "--max-unreadable=0", "--seeds=7"]) == 1
    assert "unreadable clips: 1, more than --max-unreadable 0" in capsys.readouterr().err


def test_two_processes_on_the_fly(whole: Path, data: Path, tmp_path: Path) -> None:
    """The result of one process, up to rounding."""
    argv = [sys.executable, "-m", "ove_codec.cli", *command(data, tmp_path, *CODEC, **FLY)]
    processes = two_processes(argv, stdout=subprocess.DEVNULL)
    assert [process.wait(timeout=180) for process in processes] == [0, 0]
    shared, expected = result_of(tmp_path)[0], result_of(whole)[0]
    for seed, alone in zip(shared["seeds"], expected["seeds"], strict=True):
        assert seed["heads"][0]["losses"] == pytest.approx(alone["heads"][0]["losses"], abs=1e-4)
        assert seed["heads"][0]["accuracies"] == alone["heads"][0]["accuracies"]


def killed_and_resumed(argv: Sequence[str], out: Path, kills: int, rng: random.Random, within: float) -> int:
    """Runs a command until it ends, ending it so many times before, anywhere; how often it was ended while training."""
    training = 0
    for number in range(kills):
        with subprocess.Popen(
            [sys.executable, "-m", "ove_codec.cli", *argv], env=environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            how = signal.SIGTERM if number % 2 else signal.SIGKILL
            begin, checkpoints = time.monotonic(), len(list(out.glob("results/checkpoints/*.safetensors")))
            if number >= kills // 2:  # in the training, at work on something new
                while process.poll() is None and len(list(out.glob("results/checkpoints/*"))) <= checkpoints:
                    if time.monotonic() - begin > 30 or checkpoints == 2:
                        break
                    time.sleep(0.002)
                time.sleep(rng.uniform(0, within / 10))
            else:
                time.sleep(rng.uniform(0, within))
            if process.poll() is not None:
                assert process.returncode == 0
                break
            process.send_signal(how)
            _, err = process.communicate(timeout=60)
            assert process.returncode in (0, -how, 128 + how), err
            training += "to resume" in err or bool(list(out.glob("results/checkpoints/*.safetensors")))
    subprocess.run([sys.executable, "-m", "ove_codec.cli", *argv], env=environment(), check=True)
    return training


@pytest.mark.parametrize(("features", "kills"), [("fly", 3), ("cache", 1)])
def test_killed_in_random_places(features: str, kills: int, data: Path, tmp_path: Path) -> None:
    options = FLY | {"features": features, "cache": None if features == "fly" else tmp_path / "cache", "epochs": 12}
    argv = command(data, tmp_path / "killed", *CODEC, "--checkpoint-seconds=0", **options)
    begin = time.monotonic()
    plain = command(data, tmp_path / "plain", *CODEC, **options)
    subprocess.run([sys.executable, "-m", "ove_codec.cli", *plain], env=environment(), check=True)
    within = time.monotonic() - begin
    assert killed_and_resumed(argv, tmp_path / "killed", kills, random.Random(features), within) > 0
    assert identical(tmp_path / "killed", tmp_path / "plain")


def test_sigterm_writes_a_checkpoint(data: Path, tmp_path: Path) -> None:
    """Without one that is due; the next run goes on from there."""
    argv = command(data, tmp_path, *CODEC, "--verbose", **FLY | {"epochs": 400, "seeds": "1"})
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-m", "ove_codec.cli", *argv], env=environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            first = process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=60)[1]
        assert process.returncode == 128 + signal.SIGTERM
        assert rest.endswith("ove-codec: stopped by SIGTERM; run the same command again to resume\n")
    assert first.startswith("seed 1, epoch ") and not first.startswith("seed 1, epoch 1:")


# What it takes


def test_plan(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"budget": "24,48", "epochs": 5, "seeds": "1,2,3", "dtype": "bfloat16", "results": None}
    argv = command(data, tmp_path, *CODEC, "--clips=4", "--views=2", **options)
    argv[1] = "plan"
    assert main([*argv, "--json"]) == 0
    for facts, budget in zip(json.loads(capsys.readouterr().out), (24, 48), strict=True):
        pace, costs = facts["pace"], facts["costs"]
        assert (facts["budget"], facts["train"], facts["val"], pace["clips"]) == (budget, TRAIN, VAL, 4)
        size = budget * backbones.HIDDEN * 2
        assert costs["cache"]["disk_bytes"] == size * (2 * TRAIN + VAL)
        assert costs["fly"]["disk_bytes"] == 0 and costs["fly, cached validation set"]["disk_bytes"] == size * VAL
        clip, training = max(pace["read"], pace["encode"]), 3 * 5 * pace["step"]  # 12 clips a step
        assert min(pace["read"], pace["encode"], pace["step"]) > 0
        hours = {"cache": 2 * TRAIN + VAL, "fly": 15 * (TRAIN + VAL), "fly, cached validation set": 15 * TRAIN + VAL}
        for name, clips in hours.items():
            assert costs[name]["hours"] == pytest.approx((training + clips * clip) / 3600)
    assert not list(tmp_path.iterdir())
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert f"24 patches, {TRAIN} training and {VAL} validation clips, measured on 4:" in shown
    assert "fly, cached validation set" in shown and "free on the disk of --cache: " in shown
    (tmp_path / "m.csv").write_text("gone.mp4,0\n")
    assert main([*argv, f"--train={tmp_path / 'm.csv'}"]) == 1
    assert "none of the first 1 clips can be read; the first, gone.mp4" in capsys.readouterr().err
