"""Backbones of the probes: what they are given and what they make of it, against their own libraries."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import ove_codec
from ove_codec.models import encode_pixels
from ove_codec.probes import backbones as b
from ove_codec.probes import reading
from ove_codec.probes.backbones import OVBackbone, load_backbone
from ove_codec.probes.families import BACKBONES
from ove_codec.probes.reading import CodecRequest, FrameRequest
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD
from support import backbones, clips, ffmpeg
from support.timm import import_timm

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture(scope="module")
def clip(stream_folder: Path) -> Path:
    return clips.moving_clip(stream_folder)


def some_clips() -> list[tuple[Tensor, Tensor]]:
    """Clips of three and two frames, as they are read."""
    generator = torch.Generator().manual_seed(1)
    side = backbones.SIDE
    return [(torch.randn(n, 3, side, side, generator=generator), torch.tensor([0, 20, 63])[:n]) for n in (3, 2)]


def embedding(frames: int, hidden: int) -> Tensor:
    rows = [
        [(np.sin, np.cos)[c % 2](t / 10000 ** (2 * (c // 2) / hidden)) for c in range(hidden)] for t in range(frames)
    ]
    return torch.tensor(np.array(rows), dtype=torch.float32)


def naflex_rows(frame: Tensor, patch: int) -> Tensor:
    rows = []
    for y in range(0, frame.shape[1], patch):
        for x in range(0, frame.shape[2], patch):
            rows.append([frame[c, y + j, x + i] for j in range(patch) for i in range(patch) for c in range(3)])
    return torch.tensor(rows)


@pytest.mark.parametrize("case", backbones.FAMILIES, ids=lambda case: f"{case[0]}-{case[1]}-{len(case[3])}")
def test_transformers_families(case: tuple[str, str, str, dict[str, Any]], tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is an extra")
    name, model_class, config_class, changes = case
    model = backbones.save_transformers(tmp_path, model_class, config_class, changes)
    backbone = load_backbone(name, tmp_path)
    wanted = backbone.input_for(48, patches_per_frame=16)
    assert wanted == FrameRequest(3, backbones.SIDE, MEAN, STD, "bicubic")
    got = backbone.encode(some_clips())
    assert len(got) == 2
    for (frames, _), features in zip(some_clips(), got, strict=True):
        rows = []
        for frame, time in zip(frames, embedding(len(frames), backbones.HIDDEN), strict=True):
            inputs: dict[str, Any] = {"pixel_values": frame[None]}
            if model_class == "Siglip2VisionModel":
                inputs["pixel_values"] = naflex_rows(frame, backbones.PATCH)[None]
                inputs |= {"pixel_attention_mask": torch.ones(1, 16), "spatial_shapes": torch.tensor([[4, 4]])}
            with torch.no_grad():
                rows.append(model(**inputs).last_hidden_state[0] + time)
        expected = torch.cat(rows)
        prefix = {"clip": 1, "metaclip": 1, "metaclip2": 1, "dinov3": 4}.get(name, 0)
        assert features.shape == (len(frames) * (16 + prefix), backbones.HIDDEN)
        torch.testing.assert_close(features, expected, atol=2e-5, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["clip", "siglip", "metaclip2", "dinov3", "siglip2", "aimv2"])
def test_other_frame_sizes(name: str, tmp_path: Path) -> None:
    """Budgets decide on the size of a frame; position tables are interpolated to it, or it is refused."""
    pytest.importorskip("transformers", reason="transformers is an extra")
    case = [case for case in backbones.FAMILIES if case[0] == name][-1]
    changes = {**case[3], "is_native": False} if name == "aimv2" else case[3]
    backbones.save_transformers(tmp_path, case[1], case[2], changes)
    backbone = load_backbone(name, tmp_path)
    if name == "aimv2":
        with pytest.raises(ValueError, match=r"takes only frames of 16 x 16 samples, 16 patches; got 24 x 24"):
            backbone.input_for(36, patches_per_frame=36)
        return
    wanted = backbone.input_for(36, patches_per_frame=36)
    assert isinstance(wanted, FrameRequest) and wanted.side == 24
    prefix = {"clip": 1, "metaclip2": 1, "dinov3": 4}.get(name, 0)
    (features,) = backbone.encode([(torch.randn(1, 3, 24, 24), torch.zeros(1, dtype=torch.int64))])
    assert features.shape == (36 + prefix, backbones.HIDDEN)
    backbone.input_for(16, patches_per_frame=16)
    (small,) = backbone.encode([(torch.randn(1, 3, 16, 16), torch.zeros(1, dtype=torch.int64))])
    assert small.shape == (16 + prefix, backbones.HIDDEN)


def test_whole_clip_model(tmp_path: Path) -> None:
    """The directory of a model with text and vision, as most are published, gives its vision tower."""
    transformers = pytest.importorskip("transformers", reason="transformers is an extra")
    config = transformers.CLIPConfig(
        vision_config={**backbones._SIZES},
        text_config={"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1},
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    backbones.save_preprocessor(tmp_path)
    backbone = load_backbone("clip", tmp_path)
    backbone.input_for(16, patches_per_frame=16)
    frames, slots = some_clips()[0]
    (features,) = backbone.encode([(frames[:1], slots[:1])])
    with torch.no_grad():
        expected = model.vision_model(pixel_values=frames[:1]).last_hidden_state[0] + embedding(1, backbones.HIDDEN)
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=1e-4)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is an extra")
    backbones.save_transformers(tmp_path, "SiglipVisionModel", "SiglipVisionConfig", {})
    state = load_file(tmp_path / "model.safetensors")
    removed = next(name for name in state if name.endswith("layers.0.mlp.fc1.bias"))
    save_file(
        {name: v for name, v in state.items() if name != removed}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ValueError, match=r"has weights that are missing.*layers\.0\.mlp\.fc1\.bias"):
        load_backbone("siglip", tmp_path)


@pytest.mark.parametrize(
    ("architecture", "changes", "prefix"),
    [
        ("vit_tiny_patch16_224", {"patch_size": 4, "img_size": 16}, 1),
        ("vit_small_patch16_dinov3", {"patch_size": 4}, 5),
    ],
)
def test_timm(architecture: str, changes: dict[str, Any], prefix: int, tmp_path: Path) -> None:
    timm = import_timm()
    arguments = {"embed_dim": 64, "depth": 1, "num_heads": 2, **changes}
    model = timm.create_model(architecture, pretrained=False, num_classes=7, **arguments).eval()
    save_file({name: v.contiguous() for name, v in model.state_dict().items()}, tmp_path / "model.safetensors")
    given = {"mean": MEAN, "std": STD, "interpolation": "bilinear"}
    _written(tmp_path, config={"architecture": architecture, "pretrained_cfg": given, "model_args": arguments})
    backbone = load_backbone("dinov3", tmp_path)
    assert (backbone.mean, backbone.std, backbone.interpolation) == (MEAN, STD, "bilinear")
    for side in (16, 24):
        patches = (side // 4) ** 2
        backbone.input_for(patches, patches_per_frame=patches)
        frames = torch.randn(2, 3, side, side)
        (features,) = backbone.encode([(frames, torch.tensor([0, 63]))])
        model.set_input_size(img_size=(side, side))
        with torch.no_grad():
            expected = model.forward_features(frames) + embedding(2, 64)[:, None]
        assert features.shape == (2 * (patches + prefix), 64)
        torch.testing.assert_close(features, expected.flatten(0, 1), atol=1e-5, rtol=1e-4)


# The OneVision-Encoder


def test_ov_encoder_on_frames(tmp_path: Path) -> None:
    model = backbones.save_ov_encoder(tmp_path)
    backbone = load_backbone("ov-encoder", tmp_path)
    wanted = backbone.input_for(48, patches_per_frame=16)
    assert wanted == FrameRequest(3, 16, CLIP_MEAN, CLIP_STD, "bicubic")
    for (frames, slots), features in zip(some_clips(), backbone.encode(some_clips()), strict=True):
        positions = torch.tensor([[int(t), y, x] for t in slots for y in range(4) for x in range(4)])
        with torch.no_grad():
            out = encode_pixels(model, frames.transpose(0, 1)[None], patch_positions=positions[None])
        torch.testing.assert_close(features, out.last_hidden_state[0], atol=2e-5, rtol=1e-4)


@needs_x265
@pytest.mark.parametrize("preset", ["probe", "bitcost"])
def test_ov_encoder_on_codec(preset: str, clip: Path, tmp_path: Path) -> None:
    model = backbones.save_ov_encoder(tmp_path)
    backbones.save_preprocessor(tmp_path)
    backbone = load_backbone("ov-encoder-codec", tmp_path)
    wanted = backbone.input_for(30, patches_per_frame=64, preset=preset, params={"num_frames": 12})
    assert wanted == CodecRequest(30, 8, 4, MEAN, STD, preset, (("num_frames", 12),))
    (features,) = backbone.encode([reading.read_codec(clip, wanted)])
    selection = ove_codec.select(clip, preset, num_frames=12, size=32, patch_size=4, budget=30)
    tokens = ove_codec.tokenize(clip, selection, mean=MEAN, std=STD)
    with torch.no_grad():
        expected = model(tokens.patches, tokens.positions, tokens.cu_seqlens).last_hidden_state
    assert features.shape == (30, backbones.HIDDEN)
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=1e-4)


def test_bfloat16(tmp_path: Path) -> None:
    backbones.save_ov_encoder(tmp_path)
    exact, rounded = (load_backbone("ov-encoder", tmp_path, precision=p) for p in ("float32", "bfloat16"))
    assert exact.about != rounded.about
    (a,), (b,) = (x.encode(some_clips()[:1]) for x in (exact, rounded))
    assert 0 < float((a - b.float()).abs().max()) < 0.2


# Reading


@pytest.mark.parametrize("count", [1, 5, 8, 24, 100, 301])
@pytest.mark.parametrize("wanted", [8, 16])
def test_segments(count: int, wanted: int) -> None:
    middle = reading.sample_segments(count, wanted)
    assert middle.shape == (wanted,)
    if count < wanted:
        assert middle.tolist() == [min(i, count - 1) for i in range(wanted)]
        return
    edges = [i * count // wanted for i in range(wanted + 1)]
    assert middle.tolist() == [(a + b) // 2 for a, b in itertools.pairwise(edges)]
    drawn = np.stack([reading.sample_segments(count, wanted, np.random.default_rng(i)) for i in range(200)])
    assert (drawn >= edges[:-1]).all() and (drawn < edges[1:]).all()
    lengths = np.diff(edges)
    seen = [len(set(column)) for column in drawn.T]
    assert all(found >= min(int(n), 20) for found, n in zip(seen, lengths, strict=True))


@needs_x265
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_frames_as_pillow_resizes_them(interpolation: str, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_DECODED_BYTES", 3 * 3 * 4 * clips.SIZE[0] * clips.SIZE[1])  # three frames at a time
    frames, slots = reading.read_frames(clip, FrameRequest(8, 32, MEAN, STD, interpolation))
    ids = [1, 4, 7, 10, 13, 16, 19, 22]
    assert slots.tolist() == [round(i / 23 * 63) for i in ids]
    whole = ove_codec.frames(clip, ids, resize="native", normalize=False)
    width = clips.SIZE[0] * 32 // clips.SIZE[1]
    left = (width - 32) // 2
    method = Image.Resampling[interpolation.upper()]
    for got, frame in zip(frames, whole, strict=True):
        image = Image.fromarray(frame.permute(1, 2, 0).numpy()).resize((width, 32), method)
        expected = np.asarray(image, np.float32)[:, left : left + 32]
        samples = (got * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]) * 255
        assert np.abs(samples.permute(1, 2, 0).numpy() - expected).max() < 1.5


@pytest.mark.parametrize("case", ["160x120", "97x133"])
def test_frames_as_clip_s_processor_has_them(case: str, shared: Path) -> None:
    golden = load_file(shared / "golden_model" / "extra" / "extra.safetensors")
    about = json.loads((shared / "golden_model" / "extra" / "extra.json").read_text())["clip"]
    image = golden[f"clip.{case}.image_uint8_hwc"].permute(2, 0, 1)[None]
    frames = reading.on_canvas(image, about["crop_size"]["height"], "bicubic").float() / 255
    std = torch.tensor(about["image_std"])[:, None, None]
    got = (frames - torch.tensor(about["image_mean"])[:, None, None]) / std
    assert ((got - golden[f"clip.{case}.pixel_values"]) * std * 255).abs().max() < 1.5  # of 255 levels


@needs_x265
def test_views(clip: Path) -> None:
    assert reading.view_rng("a", 0) is None
    wanted = FrameRequest(4, 16, MEAN, STD)
    codec = CodecRequest(20, 4, 4, MEAN, STD)
    read: list[Callable[[np.random.Generator | None], Tensor]] = [
        lambda rng: reading.read_frames(clip, wanted, rng)[0],
        lambda rng: reading.read_codec(clip, codec, rng)[0],
    ]
    for one in read:
        plain, first, again, second, other = (
            one(reading.view_rng(name, view)) for name, view in (("a", 0), ("a", 1), ("a", 1), ("a", 2), ("b", 1))
        )
        assert torch.equal(first, again)
        for x, y in ((plain, first), (first, second), (first, other)):
            assert float((x - y).abs().mean()) > 0.01
    rng = reading.view_rng("a", 1)
    assert torch.equal(reading.read_codec(clip, codec, rng)[1], reading.read_codec(clip, codec)[1])


def test_jitter() -> None:
    rgb = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    swapped = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        brightness, contrast, saturation = draw.uniform(0.6, 1.4, 3)
        exchanged = draw.random() < 0.1
        swapped += exchanged
        x = np.clip(rgb.numpy().astype(np.float64) * brightness, 0, 1)
        gray = np.tensordot([0.299, 0.587, 0.114], x, (0, 1))
        x = np.clip(gray.mean() + (x - gray.mean()) * contrast, 0, 1)
        gray = np.tensordot([0.299, 0.587, 0.114], x, (0, 1))[:, None]
        x = np.clip(gray + (x - gray) * saturation, 0, 1)
        x = x[:, ::-1] if exchanged else x
        np.testing.assert_allclose(reading.jitter_colors(rgb, np.random.default_rng(seed)).numpy(), x, atol=2e-6)
    assert 8 <= swapped <= 35


@pytest.mark.skipif(not ffmpeg.available(), reason="ffmpeg is not installed")
def test_other_codecs(tmp_path: Path) -> None:
    """Frames come from any codec; the codec's patches from HEVC only, and the message says what to do."""
    path = tmp_path / "other.mp4"
    ffmpeg.run(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=1", "-c:v", "mpeg4", path])
    frames, slots = reading.read_frames(path, FrameRequest(8, 16, MEAN, STD))
    assert frames.shape == (8, 3, 16, 16)
    assert slots.tolist() == [0, 16, 32, 47, 63, 63, 63, 63]  # five frames, the last one again
    assert torch.equal(frames[4], frames[7]) and not torch.equal(frames[3], frames[4])
    with pytest.raises(ove_codec.UnsupportedStreamError, match="convert it to HEVC"):
        reading.read_codec(path, CodecRequest(10, 4, 4, MEAN, STD))


# What is wrong with a directory


def _written(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


OV = {"model_type": "onevision_encoder"}
PROCESSOR = {"image_mean": list(MEAN), "image_std": list(STD)}


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("resnet", {}, "unknown backbone 'resnet'; choose from clip, siglip"),
        ("clip", {}, "not a directory with a config.json.*download"),
        ("clip", {"config": "{"}, "config.json is not a JSON file"),
        ("clip", {"config": []}, "must hold a JSON object"),
        ("clip", {"config": {"model_type": "siglip"}}, "'siglip'; CLIP is 'clip' or 'clip_vision_model'"),
        ("ov-encoder", {"config": {"architecture": "vit", "pretrained_cfg": {}}}, "holds a timm model"),
        ("clip", {"config": {"model_type": "clip"}}, "no preprocessor_config.json"),
        (
            "clip",
            {"config": {"model_type": "clip"}, "preprocessor_config": {**PROCESSOR, "image_mean": [1]}},
            r"image_mean must be three numbers, got \[1\]",
        ),
        (
            "ov-encoder",
            {"config": OV, "preprocessor_config": {**PROCESSOR, "image_std": [1, 0, 1]}},
            "must be positive",
        ),
        ("ov-encoder", {"config": OV, "preprocessor_config": {**PROCESSOR, "resample": 1}}, "resample must be 2"),
        ("ov-encoder", {"config": OV}, "holds neither model.safetensors"),
    ],
)
def test_bad_directories(name: str, files: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_backbone(name, _written(tmp_path, **files))


def test_missing_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "timm", None)
    _written(tmp_path, config={"model_type": "clip"}, preprocessor_config=PROCESSOR)
    with pytest.raises(ModuleNotFoundError, match=r"CLIP needs transformers: pip install 'ove_codec\[probe\]'"):
        load_backbone("clip", tmp_path)
    _written(tmp_path, config={"architecture": "vit", "pretrained_cfg": {}}, preprocessor_config=PROCESSOR)
    with pytest.raises(ModuleNotFoundError, match=r"a model of timm needs timm: pip install 'ove_codec\[timm\]'"):
        load_backbone("dinov3", tmp_path)


def test_processor_inside_processor_config(tmp_path: Path) -> None:
    _written(tmp_path, processor_config={"image_processor": {**PROCESSOR, "resample": 2}})
    assert b.preprocessing(tmp_path) == (MEAN, STD, "bilinear")


@pytest.mark.parametrize(
    ("budget", "options", "message"),
    [
        (0, {}, "budget must be positive"),
        (100, {}, "budget must be a multiple of the 256 patches of a frame"),
        (64, {"patches_per_frame": 32}, "patches_per_frame must be a square number"),
    ],
)
def test_bad_budgets(budget: int, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    backbones.save_ov_encoder(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_backbone("ov-encoder", tmp_path).input_for(budget, **options)


def test_page_budgets(tmp_path: Path) -> None:
    """The page's budgets: 256 patches a frame, 16 by 16 of the model's own size; or as many patches of the codec."""
    backbones.save_ov_encoder(tmp_path, patch_size=14)
    frames, codec = (load_backbone(name, tmp_path) for name in ("ov-encoder", "ov-encoder-codec"))
    assert isinstance(frames, OVBackbone)
    for budget, count in ((512, 2), (1024, 4), (2048, 8), (4096, 16)):
        wanted = frames.input_for(budget)
        assert isinstance(wanted, FrameRequest) and (wanted.frames, wanted.side) == (count, 224)
        chosen = codec.input_for(budget)
        assert isinstance(chosen, CodecRequest)
        assert (chosen.patches, chosen.grid, chosen.patch_size, chosen.preset) == (budget, 16, 14, "probe")
    assert list(BACKBONES) == [
        "clip", "siglip", "metaclip", "metaclip2", "aimv2", "siglip2", "dinov3", "ov-encoder", "ov-encoder-codec",
    ]  # fmt: skip


def test_digest_follows_the_files(tmp_path: Path) -> None:
    backbones.save_ov_encoder(tmp_path)
    first = b.directory_digest(tmp_path)
    (tmp_path / "README.md").write_text("not part of it")
    assert b.directory_digest(tmp_path) == first
    backbones.save_ov_encoder(tmp_path, seed=1)
    assert b.directory_digest(tmp_path) != first
