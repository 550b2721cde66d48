"""Features on disk, and manifests: computed once, whole or not there, and nothing lost or replaced in silence."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ove_codec
from ove_codec.models import OVEncoder
from ove_codec.probes import cache as cache_module
from ove_codec.probes import reading
from ove_codec.probes.backbones import Backbone, load_backbone
from ove_codec.probes.cache import CachedFeatures, FeatureCache
from ove_codec.probes.manifest import LabelledClip, read_classes, read_manifest
from ove_codec.probes.reading import CodecRequest, FrameRequest, UnreadableClip, read_codec, read_frames, view_rng
from support import actions, backbones, ffmpeg

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

PARAMS = {"num_frames": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    actions.action_clips(folder, 8)
    backbones.save_ov_encoder(folder / "weights")
    return folder


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone("ov-encoder-codec", folder / "weights")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_SHARD_CLIPS", 3)


def listed(folder: Path, numbers: Sequence[int] = range(8), extra: Sequence[str] = ()) -> list[LabelledClip]:
    names = [f"s0-{number:03d}.mp4" for number in numbers] + list(extra)
    return [LabelledClip(folder / name, name, number % 3, number + 1) for number, name in enumerate(names)]


def make(root: Path, backbone: Backbone, **options: Any) -> FeatureCache:
    wanted = backbone.input_for(
        options.pop("budget", 20), patches_per_frame=64, preset=options.pop("preset", "paper"),
        params=options.pop("params", PARAMS),
    )  # fmt: skip
    return FeatureCache(root, backbone, wanted, dtype=options.pop("dtype", "float32"), **options)


class Counting:
    """Reads as usual, counting the clips; `fails_at` raises at that one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails_at: int | None = None, error: Any = None) -> None:
        self.names: list[str] = []

        def read(path: Path, *rest: Any) -> tuple[Tensor, Tensor]:
            self.names.append(path.name)
            if len(self.names) - 1 == fails_at:
                raise error
            return read_codec(path, *rest)

        monkeypatch.setattr(reading, "read_codec", read)


def direct(model: OVEncoder, path: Path) -> Tensor:
    selection = ove_codec.select(path, "paper", size=32, patch_size=4, budget=20, num_frames=6)
    tokens = ove_codec.tokenize(path, selection)
    with torch.no_grad():
        return model(tokens.patches, tokens.positions).last_hidden_state


@needs_x265
def test_features_are_computed_once(
    folder: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = OVEncoder.from_pretrained(folder / "weights")
    samples = listed(folder)
    reports: list[tuple[int, int]] = []
    cache = make(tmp_path, backbone)
    features = cache.features(
        samples, workers=2, clips_at_once=2, report=lambda done, total: reports.append((done, total))
    )
    assert reports == [(3, 8), (6, 8), (8, 8)]
    assert features.labels.tolist() == [sample.label for sample in samples]
    assert (features.hidden_size, features.views, features.unreadable) == (backbones.HIDDEN, 1, [])
    order = [5, 0, 7, 5]
    batch = features.batch(order)
    assert batch.labels.tolist() == [samples[i].label for i in order]
    for row, index in enumerate(order):
        expected = direct(model, samples[index].path)
        assert batch.lengths[row] == len(expected) == 20
        torch.testing.assert_close(batch.tokens[row, :20], expected, atol=2e-5, rtol=1e-4)

    counting = Counting(monkeypatch)
    again = make(tmp_path, backbone).features(samples)
    relabelled = [LabelledClip(s.path, s.name, 2 - s.label, s.line) for s in samples]
    other = make(tmp_path, backbone).features(relabelled)
    assert counting.names == []
    assert torch.equal(again.batch(range(8)).tokens, features.batch(range(8)).tokens)
    assert again.fingerprint == features.fingerprint != other.fingerprint
    assert other.batch([1]).labels.tolist() == [2 - samples[1].label]
    about = json.loads((cache.folder / "about.json").read_text())
    assert about["input"]["patches"] == 20 and about["input"]["preset"] == "paper"
    assert about["backbone"]["files"] == backbone.about["files"]


@needs_x265
def test_clips_listed_twice(folder: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(monkeypatch)
    one = listed(folder, [0, 1, 0])
    features = make(tmp_path, backbone).features(one)
    assert sorted(counting.names) == ["s0-000.mp4", "s0-001.mp4"]
    assert features.labels.tolist() == [0, 1, 2]
    batch = features.batch([0, 2])
    assert torch.equal(batch.tokens[0], batch.tokens[1]) and batch.labels.tolist() == [0, 2]


@needs_x265
@pytest.mark.parametrize("at", [0, 2, 4, 7])
def test_goes_on_after_a_break(
    at: int, folder: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = listed(folder)
    whole = make(tmp_path / "whole", backbone).features(samples).batch(range(8))
    with monkeypatch.context() as patch:
        Counting(patch, at, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "broken", backbone).features(samples, clips_at_once=1)
    counting = Counting(monkeypatch)
    rest = make(tmp_path / "broken", backbone).features(samples).batch(range(8))
    assert len(counting.names) == 8 - at // 3 * 3
    assert torch.equal(rest.tokens, whole.tokens) and torch.equal(rest.lengths, whole.lengths)
    names = {path.name for path in (tmp_path / "broken").rglob("*") if path.is_file()}
    assert names == {path.name for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    assert len(names) == 4


@needs_x265
def test_every_change_leads_elsewhere(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {}, {"budget": 21}, {"preset": "bitcost"}, {"params": {"num_frames": 5}}, {"dtype": "bfloat16"}, {"views": 2},
    ]  # fmt: skip
    keys = [make(tmp_path, backbone, **dict(change)).key for change in changes]
    backbones.save_ov_encoder(tmp_path / "other", seed=5)
    other = load_backbone("ov-encoder-codec", tmp_path / "other")
    frames = load_backbone("ov-encoder", folder / "weights")
    keys.append(make(tmp_path, other).key)
    keys.append(FeatureCache(tmp_path, frames, frames.input_for(64, patches_per_frame=64), dtype="float32").key)
    assert len(set(keys)) == len(keys)
    assert make(tmp_path / "elsewhere", backbone).key == keys[0]


@needs_x265
def test_changed_clip_is_read_again(
    folder: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        (tmp_path / f"s0-{number:03d}.mp4").write_bytes((folder / f"s0-{number:03d}.mp4").read_bytes())
    samples = listed(tmp_path)
    before = make(tmp_path / "c", backbone).features(samples)
    counting = Counting(monkeypatch)
    (tmp_path / "s0-004.mp4").write_bytes((folder / "s0-000.mp4").read_bytes())
    after = make(tmp_path / "c", backbone).features(samples)
    assert sorted(counting.names) == ["s0-003.mp4", "s0-004.mp4", "s0-005.mp4"]  # its shard
    assert before.fingerprint != after.fingerprint
    assert torch.equal(after.batch([4]).tokens, after.batch([0]).tokens)


@needs_x265
def test_unreadable_clips_are_named(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    ffmpeg.run(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=1", "-c:v", "mpeg4", other])
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 8)
    samples = listed(folder, [0, 1, 2], [str(other), str(tmp_path / "noise.mp4"), str(tmp_path / "missing.mp4")])
    samples = [samples[i] for i in (3, 0, 4, 1, 5, 2)]
    for _ in range(2):  # computed, and from disk
        features = make(tmp_path / "c", backbone).features(samples, workers=2)
        assert [sample.name for sample in features.samples] == ["s0-000.mp4", "s0-001.mp4", "s0-002.mp4"]
        assert features.labels.tolist() == [0, 1, 2]
        lost = [(samples[0].name, 4), (samples[2].name, 5), (samples[4].name, 6)]
        assert [(clip.name, clip.line) for clip in features.unreadable] == lost
        assert "convert it to HEVC first" in features.unreadable[0].error
        assert "missing.mp4" in features.unreadable[2].error
        alone = make(tmp_path / "d", backbone).features(listed(folder, [0, 1, 2]))
        assert torch.equal(features.batch(range(3)).tokens, alone.batch(range(3)).tokens)
    with pytest.raises(ValueError, match=r"none of the 2 clips can be read; the first, .*other\.mp4"):
        make(tmp_path / "c", backbone).features([samples[0], samples[2]])

    # A clip that has come is read: nothing that failed stays so for ever.
    (tmp_path / "missing.mp4").write_bytes((folder / "s0-003.mp4").read_bytes())
    assert len(make(tmp_path / "c", backbone).features(samples).unreadable) == 2


@needs_x265
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_errors_of_the_machine_are_no_clip_s(
    code: int, folder: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Counting(patch, 1, OSError(code, os.strerror(code)))
        with pytest.raises(OSError, match=os.strerror(code)):
            make(tmp_path, backbone).features(listed(folder))
    with monkeypatch.context() as patch:
        Counting(patch, 1, AssertionError("a defect"))
        with pytest.raises(AssertionError, match="a defect"):
            make(tmp_path, backbone).features(listed(folder))
    Counting(monkeypatch, 1, UnreadableClip("nothing in it"))
    assert [c.error for c in make(tmp_path, backbone).features(listed(folder)).unreadable] == ["nothing in it"]


@needs_x265
def test_too_little_room(folder: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need = 8 * 20 * backbones.HIDDEN * 4
    usage = type("Usage", (), {"free": need - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="features of 8 clips need") as caught:
        make(tmp_path, backbone).features(listed(folder))
    assert caught.value.errno == errno.ENOSPC
    usage.free = need  # type: ignore[attr-defined]
    make(tmp_path, backbone).features(listed(folder))


@needs_x265
def test_views_and_types(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    samples = listed(folder)
    views = make(tmp_path, backbone, views=3).features(samples, clips_at_once=4)
    plain = make(tmp_path, backbone).features(samples)
    assert views.views == 3
    mixed = views.batch([0, 0, 1, 7], [0, 2, 1, 2])
    torch.testing.assert_close(mixed.tokens[0], plain.batch([0]).tokens[0], atol=2e-5, rtol=1e-4)
    cache = make(tmp_path, backbone)
    assert isinstance(cache.wanted, CodecRequest)
    for row, (index, view) in enumerate([(0, 0), (0, 2), (1, 1), (7, 2)]):
        clip = read_codec(samples[index].path, cache.wanted, view_rng(samples[index].name, view))
        torch.testing.assert_close(mixed.tokens[row], backbone.encode([clip])[0], atol=2e-5, rtol=1e-4)
    rounded = make(tmp_path, backbone, dtype="bfloat16").features(samples)
    assert rounded.batch([2]).tokens.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.batch([2]).tokens.float(), plain.batch([2]).tokens, atol=0.02, rtol=0.02)
    with pytest.raises(ValueError, match="views must be 1"):
        make(tmp_path, backbone, views=0)
    with pytest.raises(ValueError, match="dtype must be one of"):
        make(tmp_path, backbone, dtype="int8")


@needs_x265
def test_damaged_shards(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    cache = make(tmp_path, backbone)
    cache.features(listed(folder))
    shard = next(cache.folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(ValueError, match=rf"{shard.name} is missing or damaged.*remove it"):
        cache.features(listed(folder))


@needs_x265
def test_many_shards(folder: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some files are open at a time, in whatever order clips are asked for."""
    monkeypatch.setattr(cache_module, "_SHARD_CLIPS", 1)
    monkeypatch.setattr(cache_module, "_OPEN_SHARDS", 2)
    features = make(tmp_path, backbone).features(listed(folder))
    assert isinstance(features, CachedFeatures)
    order = [0, 3, 0, 6, 7, 3, 1]
    rows = features.batch(order).tokens
    for row, index in zip(rows, order, strict=True):
        assert torch.equal(row, features.batch([index]).tokens[0])
    assert len(features._open) == 2


# Segments


@needs_x265
def test_segments_are_clips_of_their_own(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    """Two parts of a video and the whole of it, from the codec and in frames, against what the times pick out."""
    path = folder / "s0-000.mp4"
    times = np.array([picture.pts for picture in ove_codec.open(path)])
    first, second = (None, float(times[3])), (float(times[3]), float(times[6]))
    clips = [LabelledClip(path, path.name, n, n + 1, part) for n, part in enumerate([first, second, (None, None)])]
    features = make(tmp_path, backbone, params={"num_frames": 3}).features(clips)
    assert features.labels.tolist() == [0, 1, 2] and not features.unreadable
    batch = features.batch([0, 1, 2])
    model = OVEncoder.from_pretrained(folder / "weights")
    for row, clip in enumerate(clips):
        start, end = clip.segment
        selection = ove_codec.select(
            path, "paper", size=32, patch_size=4, budget=20, num_frames=3, start=start, end=end
        )
        assert row == 2 or set(selection.frame_ids) == [{0, 1, 2}, {3, 4, 5}][row]
        tokens = ove_codec.tokenize(path, selection)
        with torch.no_grad():
            expected = model(tokens.patches, tokens.positions).last_hidden_state
        torch.testing.assert_close(batch.tokens[row], expected, atol=2e-5, rtol=1e-4)
    again = make(tmp_path, backbone, params={"num_frames": 3}).features(clips[::-1])
    assert torch.equal(again.batch([2]).tokens[0], batch.tokens[0])

    frames = load_backbone("ov-encoder", folder / "weights").input_for(3 * 64, patches_per_frame=64)
    assert isinstance(frames, FrameRequest)
    pixels, slots = read_frames(path, frames, segment=second)
    plain, _ = read_frames(path, replace(frames, frames=8))
    assert torch.equal(pixels, plain[3:6]) and slots.tolist() == [0, 32, 63]
    rng = view_rng(clips[1].key, 1)
    assert rng is not None and rng.random() != view_rng(clips[0].key, 1).random()  # type: ignore[union-attr]


@needs_x265
def test_segments_without_pictures(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    path = folder / "s0-000.mp4"
    clips = [LabelledClip(path, path.name, 0, 1), LabelledClip(path, path.name, 1, 2, (99.0, None))]
    frames = load_backbone("ov-encoder", folder / "weights")
    for cache in (
        make(tmp_path, backbone),
        FeatureCache(tmp_path, frames, frames.input_for(64, patches_per_frame=64)),
    ):
        (lost,) = cache.features(clips).unreadable
        assert lost.line == 2 and "no picture is displayed from start=99.0 to end=None" in lost.error


# Manifests


def manifest(tmp_path: Path, text: str, name: str = "m.csv") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def read(file: Path) -> list[tuple[str, int, int]]:
    return [(sample.name, sample.label, sample.line) for sample in read_manifest(file, 3)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("path,label\na.mp4,0\nb c.mp4,2\n", "m.csv"),
        ("\ufeffsplit,label,path\ntrain,0,a.mp4\n\n\ntrain,2,b c.mp4\n", "m.csv"),
        ('{"path": "a.mp4", "label": 0}\n{"label": "2", "path": "b c.mp4", "more": [1]}\n', "m.jsonl"),
    ],
)
def test_manifest_forms(text: str, name: str, tmp_path: Path) -> None:
    found = read_manifest(manifest(tmp_path, text, name), 3)
    assert [(s.name, s.label) for s in found] == [("a.mp4", 0), ("b c.mp4", 2)]
    assert [s.path for s in found] == [tmp_path / "a.mp4", tmp_path / "b c.mp4"]
    elsewhere = read_manifest(tmp_path / name, 3, root="/videos")
    assert [s.path for s in elsewhere] == [Path("/videos/a.mp4"), Path("/videos/b c.mp4")]


def test_manifest_lines_splits_and_names(tmp_path: Path) -> None:
    file = manifest(tmp_path, 'x.mp4,1\n\n"with, comma.mp4",0\n/abs/y.mp4,2\n')
    assert read(file) == [("x.mp4", 1, 1), ("with, comma.mp4", 0, 3), ("/abs/y.mp4", 2, 4)]
    assert read_manifest(file, 3)[2].path == Path("/abs/y.mp4")
    file = manifest(tmp_path, "path,label,split\na,jump,train\nb,run,val\nc,1,train\n")
    names = ["run", "jump", "3"]
    found = read_manifest(file, 3, classes=names, split="train")
    assert [(s.name, s.label, s.line) for s in found] == [("a", 1, 2), ("c", 1, 4)]
    with pytest.raises(ValueError, match="lists no clips of split 'test'; there are train, val"):
        read_manifest(file, 3, classes=names, split="test")
    assert read_manifest(manifest(tmp_path, "z,3\n"), 3, classes=names)[0].label == 2  # a name before a number


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("path,label\na,0\nb,3\nc,-1\nd,x\ne,1.0\n", "m.csv",
         r"m\.csv: line 3: label 3 is outside the 3 classes \(0 to 2\); line 4: label must be a number from 0 to 2, "
         r"not '-1'; line 5: label must be .* not 'x'; line 6: .*'1.0'"),
        ("path,label\na,0,1\nb\n", "m.csv", r"line 2: 3 columns, expected 2 \(path, label\); line 3: 1 columns"),
        ("path,label\n,0\na,\n", "m.csv", "line 2: it has no path; line 3: it has no label"),
        ('path,label\n"a,0\n', "m.csv", "line 2: unexpected end of data"),
        ('{"path": "a", "label": 0}\n{"path": \n[1]\n{"path": 3, "label": 0}\n{"path": "b", "label": true}', "m.jsonl",
         "line 2: no JSON.*line 3: no JSON object; line 4: path must be text, not 3; line 5: label must be .*True"),
        ("", "m.csv", "lists no clip"),
        ("path,label\n", "m.csv", "lists no clip"),
        ("path,label\na,0\n", "m.csv", None),
    ],
)  # fmt: skip
def test_bad_manifests(text: str, name: str, message: str | None, tmp_path: Path) -> None:
    file = manifest(tmp_path, text, name)
    if message is None:
        assert read(file) == [("a", 0, 2)]
        return
    with pytest.raises(ValueError, match=message):
        read_manifest(file, 3)


def test_manifest_segments(tmp_path: Path) -> None:
    file = manifest(tmp_path, "path,label,start,end\na,0,1.5,2\na,1,,2\na,2,3,\na,0,,\n")
    found = read_manifest(file, 3)
    assert [clip.segment for clip in found] == [(1.5, 2.0), (None, 2.0), (3.0, None), (None, None)]
    assert len({clip.key for clip in found}) == 4 and found[3].key == "a"
    rows = '{"path": "a", "label": 0, "start": 1, "end": 2.5}\n{"path": "a", "label": 0, "end": null}\n'
    assert [clip.segment for clip in read_manifest(manifest(tmp_path, rows, "m.jsonl"), 3)] == [(1, 2.5), (None, None)]
    file = manifest(tmp_path, "path,label,start,end\na,0,2,2\na,0,x,\na,0,nan,\na,0,0,inf\n")
    message = (
        "line 2: end must be after start, got 2 to 2; line 3: start must be seconds, not 'x'; "
        "line 4: start must be finite, not 'nan'; line 5: end must be finite, not 'inf'"
    )
    with pytest.raises(ValueError, match=message):
        read_manifest(file, 3)


def test_class_folders(tmp_path: Path) -> None:
    for name in ("run/b.mp4", "run/deep/a.MKV", "jump/c.mp4", "jump/notes.txt", ".hidden/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    found = read_manifest(tmp_path, 3)
    assert [(c.name, c.label) for c in found] == [("jump/c.mp4", 1), ("run/b.mp4", 2), ("run/deep/a.MKV", 2)]
    assert found[0].path == tmp_path / "jump/c.mp4"
    assert [c.label for c in read_manifest(tmp_path, 2, classes=["run", "jump"])] == [1, 0, 0]
    with pytest.raises(ValueError, match=r"label must be a class name.*not 'jump'"):
        read_manifest(tmp_path, 2, classes=["run", "walk"])
    with pytest.raises(ValueError, match="has no splits"):
        read_manifest(tmp_path, 3, split="train")
    with pytest.raises(ValueError, match="lists no clip"):
        read_manifest(tmp_path / "empty", 3)


def test_many_bad_lines_and_bytes(tmp_path: Path) -> None:
    file = manifest(tmp_path, "path,label\n" + "a,9\n" * 25)
    with pytest.raises(ValueError, match=r"line 11: .*; and 15 more$"):
        read_manifest(file, 3)
    (tmp_path / "m.csv").write_bytes(b"path,label\na\xff,0\n")
    with pytest.raises(ValueError, match=r"m\.csv: line .*can't decode"):
        read_manifest(file, 3)
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path / "none.csv", 3)
    with pytest.raises(ValueError, match="line 2: it has no split"):
        read_manifest(manifest(tmp_path, "path,label\na,0\n"), 3, split="train")
    with pytest.raises(ValueError, match="classes must hold 3 names, got 2"):
        read_manifest(file, 3, classes=["a", "b"])


def test_class_names(tmp_path: Path) -> None:
    assert read_classes(manifest(tmp_path, "run\n jump \n")) == ["run", "jump"]
    with pytest.raises(ValueError, match="line 3 repeats 'run' of line 1"):
        read_classes(manifest(tmp_path, "run\njump\nrun\n"))
    with pytest.raises(ValueError, match="line 2 is empty"):
        read_classes(manifest(tmp_path, "run\n\njump\n"))
