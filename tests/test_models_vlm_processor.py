"""Prompts with images, frames and codec videos to model inputs: text, patches, positions, settings, what is refused."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers", "5", reason="ove_codec[hf] with transformers 5 is not installed")

from transformers import AutoProcessor

import ove_codec
from ove_codec.models import fetch_codec_video, process_video_info
from ove_codec.models.hf import LlavaOnevision2ImageProcessor, LlavaOnevision2Processor, MageVLProcessor
from ove_codec.models.hf.vlm_frames import FrameRule
from ove_codec.models.visuals import fitted_size, merge_order
from support import clips, ffmpeg, vlm

PAD = "<|image_pad|>"
START, END = "<|vision_start|>", "<|vision_end|>"


def processor(kind: type[LlavaOnevision2Processor] = LlavaOnevision2Processor, **options: Any) -> Any:
    images = {"min_pixels": 784, "max_pixels": 12544, "patch_size": 14, **options}
    return kind(LlavaOnevision2ImageProcessor(**images), vlm.tokenizer())


def text_of(inputs: Any, row: int = 0) -> str:
    text: str = vlm.tokenizer().decode(inputs["input_ids"][row])
    return text


def runs(canvases: Any, rows: int, columns: int, m: int = 2) -> list[tuple[int, int]]:
    """(source frame, patches) of every run, plainly: block by block of every canvas that is no padding."""
    found: list[tuple[int, int]] = []
    for canvas in canvases.src_positions.reshape(-1, rows, columns, 3):
        for i in range(0, rows, m):
            for j in range(0, columns, m):
                for t in canvas[i : i + m, j : j + m, 0].flatten().tolist():
                    if t < 0:
                        continue
                    if found and found[-1][0] == t:
                        found[-1] = (t, found[-1][1] + 1)
                    else:
                        found.append((t, 1))
    return found


def picture(height: int, width: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("padding", [0, 1])
def test_a_codec_video(padding: int) -> None:
    canvases = vlm.canvases(5, padding=padding)
    kept = 5 - padding
    inputs = processor()(text=f"see {vlm.VIDEO}\nwhat?", videos=canvases, return_tensors="pt")
    spans = [f"<{t / 25:.1f} seconds>{START}{PAD * (n // 4)}{END}\n" for t, n in runs(canvases, 4, 6)]
    assert text_of(inputs) == f"see {''.join(spans)}what?"
    assert inputs["image_grid_thw"].tolist() == [[kept, 4, 6]]
    order = merge_order(4, 6, 2)
    expected = canvases.src_positions.reshape(5, 24, 3)[:kept, order].reshape(-1, 3)
    assert np.array_equal(inputs["patch_positions"].numpy(), expected)
    # One patch by hand: the second of the first block, in the last canvas.
    first = canvases.images[kept - 1, :14, 14:28].astype(np.float64) / 255
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    by_hand = ((first - mean) / std).transpose(2, 0, 1).reshape(-1)
    assert np.abs(inputs["pixel_values"][(kept - 1) * 24 + 1].numpy() - by_hand).max() < 1e-6
    rows = processor(MageVLProcessor)(text=vlm.VIDEO, videos=canvases)["image_grid_thw"]
    assert rows.tolist() == [[1, 4, 6]] * kept


def test_times_are_rounded_as_python_writes_them() -> None:
    canvases = vlm.canvases(1, 2, 8)
    canvases.src_positions[:, 0] = np.repeat([1, 3, 5, 7], 2).tolist() * 2  # 0.05, 0.15, 0.25, 0.35 seconds
    canvases.fps = 20.0
    text = text_of(processor()(text=vlm.VIDEO, videos=canvases))
    assert text.count("<0.1 seconds>") == 2 - (f"{0.15:.1f}" != "0.1") and "<0.2 seconds>" in text
    canvases.fps = 0
    assert "<0.2 seconds>" in text_of(processor()(text=vlm.VIDEO, videos=canvases))  # 30 a second: 5 and 7
    canvases.fps = 30000 / 1001
    got = text_of(processor()(text=vlm.VIDEO, videos=canvases, timestamp_decimals=3))
    assert f"<{3 * 1001 / 30000:.3f} seconds>" in got


def test_only_the_blocks_of_videos_are_replaced() -> None:
    """Several videos and images in one prompt, in any order, and between them text that stays."""
    first, second = vlm.canvases(2, seed=1), vlm.canvases(3, seed=2)
    image = picture(56, 84)
    text = f"A{vlm.VIDEO}\n\nB {vlm.IMAGE}\nC {vlm.VIDEO}D"
    inputs = processor()(text=text, images=[image], videos=[first, second], return_tensors="pt")

    def spans(canvases: Any) -> str:
        return "".join(f"<{t / 25:.1f} seconds>{START}{PAD * (n // 4)}{END}\n" for t, n in runs(canvases, 4, 6))

    assert text_of(inputs) == f"A{spans(first)}\nB {START}{PAD * 6}{END}\nC {spans(second)}D"
    assert inputs["image_grid_thw"].tolist() == [[2, 4, 6], [1, 4, 6], [3, 4, 6]]
    assert int((inputs["input_ids"] == vlm.IMAGE_PAD).sum()) * 4 == len(inputs["pixel_values"]) == 6 * 24
    alone = processor()(text=vlm.VIDEO, videos=second, return_tensors="pt")
    assert torch.equal(inputs["pixel_values"][72:], alone["pixel_values"])
    assert torch.equal(inputs["patch_positions"][72:], alone["patch_positions"])


def test_a_batch_and_text_alone() -> None:
    p = processor()
    batch = p(
        text=["so?", f"{vlm.IMAGE}", f"{vlm.VIDEO}"], images=picture(56, 56), videos=vlm.canvases(2), padding=True
    )
    assert [len(row) for row in batch["input_ids"]] == [len(batch["input_ids"][2])] * 3
    assert batch["image_grid_thw"].tolist() == [[1, 4, 4], [2, 4, 6]]
    assert set(p(text="so?")) == {"input_ids", "attention_mask"}


def test_images_are_those_of_transformers() -> None:
    """Sizes and samples of Qwen2-VL's image processor with Pillow."""
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    theirs = module.Qwen2VLImageProcessorPil(
        patch_size=14, merge_size=2, temporal_patch_size=1, min_pixels=784, max_pixels=12544
    )
    images = [picture(*size, seed=n) for n, size in enumerate([(56, 84), (61, 53), (300, 200), (20, 400), (9, 9)])]
    got = processor().image_processor(images, return_tensors="np")
    expected = theirs(images, return_tensors="np")
    assert np.array_equal(got["image_grid_thw"], expected["image_grid_thw"])
    assert np.abs(got["pixel_values"] - expected["pixel_values"]).max() < 1e-6
    positions = got["patch_positions"][:24]
    assert positions[:8].tolist() == [
        [0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 2], [0, 0, 3], [0, 1, 2], [0, 1, 3]
    ]  # fmt: skip


def test_sizes_are_those_of_transformers() -> None:
    smart_resize = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl").smart_resize
    rng = np.random.default_rng(0)
    for _ in range(2000):
        height, width = rng.integers(1, 3000, 2).tolist()
        factor, least = int(rng.choice([28, 32, 42, 48])), int(rng.choice([3136, 200704]))
        if max(height, width) > 200 * min(height, width):
            continue
        expected = smart_resize(height, width, factor, least, 4_000_000)
        assert fitted_size(height, width, factor, least, 4_000_000) == expected
    with pytest.raises(ValueError, match="at most 200 times"):
        fitted_size(1, 500, 28, 784, 4_000_000)


@pytest.mark.parametrize("given", ["list", "array", "pictures"])
def test_frames(given: str) -> None:
    frames: Any = np.stack([picture(56, 84, seed) for seed in range(5)])
    if given != "array":
        frames = [Image.fromarray(frame) for frame in frames] if given == "pictures" else list(frames)
    inputs = processor()(text=f"{vlm.VIDEO}\nwhat?", videos=frames, fps=2.0, return_tensors="pt")
    spans = [f"<{t / 2:.1f} seconds>{START}{PAD * 6}{END}" for t in range(5)]
    assert text_of(inputs) == "".join(spans) + "what?"
    assert inputs["image_grid_thw"].tolist() == [[1, 4, 6]] * 5
    assert inputs["patch_positions"][:, 0].tolist() == [t for t in range(5) for _ in range(24)]


def test_an_image_may_have_its_tokens_already() -> None:
    image = picture(56, 84)
    once = processor()(text=vlm.IMAGE, images=image)
    assert processor()(text=f"{START}{PAD * 6}{END}", images=image)["input_ids"] == once["input_ids"]
    with pytest.raises(ValueError, match="text has 5 tokens for an image that makes 6"):
        processor()(text=f"{START}{PAD * 5}{END}", images=image)


def test_how_many_frames() -> None:
    assert [len(FrameRule().numbers(n, 10.0)) for n in (50, 99, 100, 299, 300, 5000)] == [8, 8, 16, 16, 300, 384]
    assert FrameRule(4).numbers(24, 10.0) == [0, 8, 15, 23]  # 7.67, 15.33
    assert FrameRule(50).numbers(24, 10.0) == list(range(24))
    assert FrameRule(None, 6, 2.0).numbers(24, 10.0) == [0, 8, 15, 23]  # 2.4 seconds
    assert len(FrameRule(None, 6, 2.0).numbers(100, 10.0)) == 6
    assert FrameRule(2).numbers(24, 10.0, 0.45, 1.0) == [5, 9]
    with pytest.raises(ValueError, match=r"seconds is between start 2\.4 and end None"):
        FrameRule().numbers(24, 10.0, 2.4)
    with pytest.raises(ValueError, match="target_fps must be positive, got 0"):
        FrameRule(target_fps=0)


@pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 makes the clip")
def test_frames_of_a_file(stream_folder: Path) -> None:
    """Twenty at a time, which is more than are decoded together."""
    clip = clips.moving_clip(stream_folder)
    wanted = np.linspace(0, 23, 20).round().astype(int).tolist()
    fps = ove_codec.open(clip).info["frame_rate"]
    given = list(ove_codec.frames(clip, wanted, resize="native", normalize=False).numpy())
    p = processor()
    for source in (clip, clip.read_bytes(), ove_codec.open(clip)):
        inputs = p(text=vlm.VIDEO, videos=source, video_backend="frames", num_frames=20)
        images = p(text=vlm.IMAGE * 20, images=given)
        assert np.array_equal(inputs["pixel_values"], images["pixel_values"])
        assert inputs["patch_positions"][:: len(inputs["pixel_values"]) // 20, 0].tolist() == wanted
        assert f"<{wanted[-1] * fps[1] / fps[0]:.1f} seconds>" in text_of(inputs)
    part = {"type": "video", "video": str(clip), "video_start": 0.2, "video_end": 0.6, "fps": 10}
    message = {"role": "user", "content": [part]}
    got = p.apply_chat_template([message], tokenize=True, return_dict=True, video_backend="frames")
    times = np.unique(got["patch_positions"][:, 0]) * fps[1] / fps[0]
    assert len(times) == 4 and times.min() >= 0.2 and times.max() < 0.6


@pytest.mark.parametrize(
    ("what", "text", "message"),
    [
        ({"images": [picture(56, 56)]}, "no image", "text has 0 image placeholders, but there are 1 images"),
        ({}, vlm.VIDEO, "text has 1 video placeholders, but there are 0 videos"),
        ({"videos": [vlm.canvases()] * 2}, vlm.VIDEO, "text has 1 video placeholders, but there are 2 videos"),
        ({}, f"a {PAD}", "outside of"),
        ({"videos": vlm.canvases(), "video_backend": "dcvc"}, vlm.VIDEO, "video_backend must be one of codec, frames"),
        (
            {"videos": vlm.canvases(patch=16)},
            vlm.VIDEO,
            "a picture of 96 x 64 samples cannot be divided into blocks of 28",
        ),
        ({"videos": vlm.canvases(2, 4, 6, 28)}, vlm.VIDEO, r"src_positions must be \(192, 3\).*got int32 \(48, 3\)"),
    ],
)
def test_calls_that_are_refused(what: dict[str, Any], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        processor()(text=text, **what)


def test_canvases_that_are_refused() -> None:
    half, none, torn = vlm.canvases(3), vlm.canvases(2, padding=2), vlm.canvases(1)
    half.src_positions[30] = -1
    with pytest.raises(ValueError, match="in a part of canvas 1"):
        processor()(text=vlm.VIDEO, videos=half)
    with pytest.raises(ValueError, match="all 2 canvases are padding"):
        processor()(text=vlm.VIDEO, videos=none)
    torn.src_positions[::2, 0] = 70  # two frames in every block
    with pytest.raises(ValueError, match="make 6 tokens of 2 x 2, but only"):
        processor()(text=vlm.VIDEO, videos=torn)
    with pytest.raises(ValueError, match="temporal_patch_size must be 1, got 2"):
        LlavaOnevision2ImageProcessor(temporal_patch_size=2)


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """Notes what canvases are asked for, and gives tiny ones."""
    calls: list[tuple[Any, dict[str, Any]]] = []

    def codec_canvases(source: Any, **settings: Any) -> Any:
        calls.append((source, settings))
        return vlm.canvases(2, patch=settings.get("patch", 14))

    module = ModuleType("ove_codec.canvases")
    module.codec_canvases = codec_canvases  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ove_codec.canvases", module)
    return calls


def test_settings_of_codec_videos(maker: list[tuple[Any, dict[str, Any]]]) -> None:
    p = processor()
    p(text=vlm.VIDEO, videos="clip.mp4", codec_config={"target_canvas": 8, "cache_root": "x", "engine": "hevc"})
    p(text=vlm.VIDEO, videos=[b"bytes"], max_pixels=10192)
    assert maker == [
        ("clip.mp4", {"patch": 14, "block": 2, "target_canvas": 8, "max_pixels": 12544}),
        (b"bytes", {"patch": 14, "block": 2, "max_pixels": 10192}),
    ]
    with pytest.raises(ValueError, match="patch 16, but the tower's patch_size is 14"):
        p(text=vlm.VIDEO, videos="clip.mp4", codec_config={"patch": 16})
    with pytest.raises(ValueError, match="fps of a video must be a number, not 'x'"):
        fetch_codec_video({"type": "video", "video": "clip.mp4", "fps": "x"})
    with pytest.raises(ValueError, match="engine must be 'hevc' or 'cv-preinfer', got 'dcvc-rt'"):
        p(text=vlm.VIDEO, videos="clip.mp4", codec_config={"engine": "dcvc-rt"})
    with pytest.warns(UserWarning, match="up to 4000000 samples"):
        processor(max_pixels=None)(text=vlm.VIDEO, videos="clip.mp4")


@pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 makes the clip")
def test_a_codec_video_of_a_file(stream_folder: Path) -> None:
    """From wherever it is read, the same as of canvases that the caller makes."""
    make = pytest.importorskip("ove_codec.canvases").codec_canvases
    clip = clips.moving_clip(stream_folder)
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/clip.mp4", clip.read_bytes())
    p = processor()
    canvases = make(clip, patch=14, block=2, max_pixels=10192)
    expected = p(text=vlm.VIDEO, videos=canvases)
    assert len(canvases.images) >= 4 and len(np.unique(canvases.src_positions[:, 0])) > 4
    for source in (clip, str(clip), clip.read_bytes(), "memory://clip.mp4", ove_codec.open(clip)):
        got = p(text=vlm.VIDEO, videos=source, max_pixels=10192)
        assert all(np.array_equal(got[name], expected[name]) for name in expected)


def messages(**video: Any) -> list[dict[str, Any]]:
    return [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": Image.fromarray(picture(56, 84))},
                {"type": "video", "video": "clip.mp4", **video},
                {"type": "text", "text": "Describe this."},
            ],
        }
    ]


def test_messages(maker: list[tuple[Any, dict[str, Any]]]) -> None:
    p = processor()
    conversation = messages(video_start=1, video_end=2.5, fps=4, max_pixels=10192)
    prompt = p.apply_chat_template(conversation, add_generation_prompt=True)
    assert prompt == (f"<|im_start|>user\n{vlm.IMAGE}{vlm.VIDEO}Describe this.<|im_end|>\n<|im_start|>assistant\n")
    inputs = p.apply_chat_template(
        conversation, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    own = {"sampling": "fps", "sample_fps": 4.0, "start": 1.0, "end": 2.5, "max_pixels": 10192}
    assert maker == [("clip.mp4", {"patch": 14, "block": 2, **own})]
    images, videos = process_video_info(conversation, patch=14)
    assert maker[1] == ("clip.mp4", {"patch": 14, **own})
    again = p(text=prompt, images=images, videos=videos, return_tensors="pt")
    assert all(torch.equal(inputs[name], again[name]) for name in again)
    batch = p.apply_chat_template([conversation, conversation], tokenize=True, return_dict=True, padding=True)
    assert len(batch["input_ids"]) == 2 and batch["image_grid_thw"].tolist() == [[1, 4, 6], [2, 4, 6]] * 2
    assert process_video_info([{"role": "user", "content": "hello"}]) == (None, None)
    ready = vlm.canvases()
    assert fetch_codec_video({"type": "video", "video": ready}) is ready


def test_images_from_everywhere(tmp_path: Path) -> None:
    image = Image.fromarray(picture(56, 84))
    image.save(tmp_path / "image.png")
    content = (tmp_path / "image.png").read_bytes()
    data = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    p = processor()
    expected = p(text=vlm.IMAGE, images=image)["pixel_values"]
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/image.png", content)
    sources = [tmp_path / "image.png", f"file://{tmp_path}/image.png", content, io.BytesIO(content), data]
    for source in (*sources, "memory://image.png", np.asarray(image)):
        assert np.array_equal(p(text=vlm.IMAGE, images=[source])["pixel_values"], expected)


def test_a_checkpoints_own_template_goes_before(maker: list[tuple[Any, dict[str, Any]]]) -> None:
    p = processor()
    p.tokenizer.chat_template = "{{ messages[0].role }}"  # knows no images
    assert vlm.VIDEO in p.apply_chat_template(messages())
    p.tokenizer.chat_template = f"of the tokenizer: {vlm.VIDEO}"
    assert p.apply_chat_template(messages()) == f"of the tokenizer: {vlm.VIDEO}"
    p.chat_template = "of the processor"
    assert p.apply_chat_template(messages()) == "of the processor"


@pytest.mark.parametrize("model_type", vlm.ARCHITECTURES)
def test_files_survive_a_round_trip(model_type: str, tmp_path: Path, maker: list[tuple[Any, dict[str, Any]]]) -> None:
    vlm.write(tmp_path / "model", model_type)
    first = AutoProcessor.from_pretrained(tmp_path / "model")
    assert type(first) is {"llava_onevision2": LlavaOnevision2Processor, "mage_vl": MageVLProcessor}[model_type]
    first.chat_template = f"mine {vlm.VIDEO}"
    first.save_pretrained(tmp_path / "saved")
    second = AutoProcessor.from_pretrained(tmp_path / "saved")
    assert type(second) is type(first) and second.chat_template == first.chat_template
    assert second.codec_config == first.codec_config == {"target_canvas": 8, "max_pixels": 10192}
    assert second.codec_settings()["max_pixels"] == 10192
    for p in (first, second):
        got = p(text=f"{vlm.IMAGE}", images=[picture(70, 90)])
        assert (
            got["image_grid_thw"].tolist() == first(text=vlm.IMAGE, images=picture(70, 90))["image_grid_thw"].tolist()
        )
    stored = json.loads((tmp_path / "saved" / "preprocessor_config.json").read_text())
    assert (stored["patch_size"], stored["min_pixels"]) == (vlm.ARCHITECTURES[model_type][2], 784)


def test_canvases_are_whatever_has_their_three_attributes() -> None:
    made = vlm.canvases(2)
    mapping = {"images": made.images, "src_positions": made.src_positions, "fps": 25, "meta": {}}
    plain = SimpleNamespace(images=[Image.fromarray(i) for i in made.images], src_positions=made.src_positions, fps=25)
    one, *others = (processor()(text=vlm.VIDEO, videos=v) for v in (made, plain, mapping, [mapping]))
    assert all(np.array_equal(one["pixel_values"], other["pixel_values"]) for other in others)
