"""Conversations to tokens, labels and patches; images and videos to patches; files of the reference's pipeline."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

pytest.importorskip("transformers", reason="ove_codec[lmm] is not installed")

import ove_codec
from ove_codec.lmm import LlavaDataset, LMMProcessor, LMMSample, Unreadable, VisionReader, read_mosaics, select_blocks
from ove_codec.lmm.images import image_size
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD
from support import clips, ffmpeg
from support import lmm as tiny

P = tiny.PATCH


@pytest.fixture(scope="session")
def clip(stream_folder: Path) -> Path:
    if not ffmpeg.has_libx265():
        pytest.skip("ffmpeg with libx265 makes the clip")
    return clips.moving_clip(stream_folder)


def made(**options: Any) -> LMMProcessor:
    return tiny.processor(tiny.config(merge_size=options.pop("merge_size", 2)), **options)


def targets(p: LMMProcessor, sample: LMMSample) -> list[str]:
    """The texts that are trained, turn by turn."""
    runs = itertools.groupby(zip(sample.input_ids, sample.labels, strict=True), lambda pair: pair[1] != -100)
    found = []
    for is_target, run in runs:
        pairs = list(run)
        if is_target:
            assert all(token == label for token, label in pairs)
            found.append(p.tokenizer.decode([token for token, _ in pairs]))
    return found


def test_only_the_assistant_is_trained() -> None:
    p = made()
    turns = [
        {"from": "system", "value": "be brief"},
        {"from": "human", "value": "<image>\nwhat is seen?"},
        {"from": "gpt", "value": "a box"},
        {"from": "human", "value": "is a box a box?"},
        {"from": "gpt", "value": "a box"},
    ]
    sample = p.sample(turns, [tiny.picture(size=(48, 32))])
    assert targets(p, sample) == ["a box<|im_end|>", "a box<|im_end|>"]
    text = p.tokenizer.decode(sample.input_ids)
    image = "<|vision_start|>" + "<|image_pad|>" * 6 + "<|vision_end|>"
    assert text == (
        f"<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\n{image}\nwhat is seen?<|im_end|>\n"
        "<|im_start|>assistant\na box<|im_end|>\n<|im_start|>user\nis a box a box?<|im_end|>\n"
        "<|im_start|>assistant\na box<|im_end|>\n"
    )


def test_training_and_generation_share_their_tokens() -> None:
    p = made()
    question = tiny.question("<image>")
    prompt = p.sample(question, [tiny.picture()], add_generation_prompt=True)
    whole = p.sample([*question, {"role": "assistant", "content": "a box"}], [tiny.picture()])
    assert whole.input_ids[: len(prompt.input_ids)] == prompt.input_ids
    assert whole.labels[: len(prompt.input_ids)] == [-100] * len(prompt.input_ids)
    assert set(prompt.labels) == {-100}
    batch = p(p.apply_chat_template(question, add_generation_prompt=True), [tiny.picture()])
    assert batch["input_ids"][0].tolist() == prompt.input_ids
    assert torch.equal(batch["patches"], prompt.vision[0].patches)


THINKING = (  # as Qwen3's: thoughts are put before the last answer only
    "{% set last = namespace(at=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set last.at = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.index0 > last.at %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_templates_that_change_the_last_answer() -> None:
    p = made()
    p.tokenizer.chat_template = THINKING
    turns = [*tiny.question("", "a box"), *tiny.question("", "box")]
    assert targets(p, p.sample(turns)) == ["a box<|im_end|>", "<think>\n\n</think>\n\nbox<|im_end|>"]
    p.tokenizer.chat_template = "{% for m in messages | reverse %}{{ m.content }}\n{% endfor %}"
    with pytest.raises(ValueError, match="the chat template changes the turns before turn 1"):
        p.sample(turns)
    p.tokenizer.chat_template = None
    with pytest.raises(ValueError, match=r"the tokenizer has no chat template: set tokenizer\.chat_template"):
        p.sample(turns)


def test_plain_prompts() -> None:
    p = made(prompt="plain")
    sample = p.sample(tiny.question("<image>", "a box moves"), [tiny.picture()])
    text = p.tokenizer.decode(sample.input_ids)
    assert text == "<|vision_start|>" + "<|image_pad|>" * 6 + "<|vision_end|>a box moves<|im_end|>"
    assert targets(p, sample) == ["a box moves<|im_end|>"]


def test_content_of_parts() -> None:
    p = made()
    parts = [{"type": "image"}, {"type": "text", "text": "what?"}, {"type": "image"}]
    sample = p.sample([{"role": "user", "content": parts}], [tiny.picture(), tiny.picture(1)])
    assert p.tokenizer.decode(sample.input_ids).count("<|vision_start|>") == 2 and len(sample.vision) == 2


def test_timestamps_stand_before_every_slot(clip: Path) -> None:
    p = made(timestamps=True)
    sample = p.sample(tiny.question("<video><image>"), [tiny.picture()], [clip])
    item = sample.vision[0]
    text = p.tokenizer.decode(sample.input_ids)
    slots = [
        f"<{seconds:.1f} seconds><|vision_start|>" + "<|image_pad|>" * (length // 4) + "<|vision_end|>"
        for seconds, length in zip(item.seconds or (), item.slot_lengths(), strict=True)
    ]
    assert len(slots) > 1 and "".join(slots) + "<|vision_start|>" in text
    assert sample.input_ids.count(p.vision_token_id) == sum(len(v.patches) for v in sample.vision) // 4


@pytest.mark.parametrize(
    ("text", "images", "videos", "message"),
    [
        ("<image> and <image>", 1, 0, "the text has 2 <image> placeholders, but there are 1 images"),
        ("nothing", 1, 0, "the text has 0 <image> placeholders, but there are 1 images"),
        ("<video>", 0, 0, "the text has 1 <video> placeholders, but there are 0 videos"),
        ("<|image_pad|>", 0, 0, "a text holds the vision token"),
    ],
)
def test_placeholders_that_do_not_match(text: str, images: int, videos: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made().sample([{"role": "user", "content": text}], [tiny.picture()] * images, ["x"] * videos)


def test_a_string_is_a_path(clip: Path) -> None:
    p = made()
    text = p.apply_chat_template(tiny.question("<image><video>"))
    batches = [
        p(text, images, videos)
        for images, videos in ((tiny.picture(), str(clip)), ([tiny.picture()], [clip]), ([[tiny.picture()]], clip))
    ]
    for batch in batches[1:]:
        assert torch.equal(batch["patches"], batches[0]["patches"])
    sample = p.sample(tiny.question("<video>"), videos=str(clip))
    assert len(sample.vision) == 1
    with pytest.raises(ove_codec.Error, match=r"none\.mp4"):
        p.sample(tiny.question("<video>"), videos="none.mp4")


def test_padding() -> None:
    p = made()
    texts = ["a box", "a box moves in the clip"]
    batch = p(texts)
    length = batch["input_ids"].shape[1]
    assert batch["attention_mask"].sum(1).tolist() != [length, length] and batch["attention_mask"][0, 0] == 0
    longer = p(texts, padding="max_length", max_length=length + 3, padding_side="right")
    assert longer["input_ids"].shape == (2, length + 3) and longer["attention_mask"][1, length:].sum() == 0
    assert p(texts[1], padding=False)["input_ids"].shape == (1, length)
    for options, message in (
        ({"padding": False}, "padding must be True: the texts have"),
        ({"padding": "max"}, "padding must be True, False, 'longest' or 'max_length', not 'max'"),
        ({"padding": "max_length"}, "with padding='max_length', max_length must be at least"),
        ({"padding": "max_length", "max_length": 1}, f"must be at least {length}, not 1"),
        ({"max_length": 50}, "with padding='max_length', max_length must"),
    ):
        with pytest.raises(ValueError, match=message):
            p(texts, **options)


def test_settings_of_videos_for_one_call(clip: Path) -> None:
    p = made()
    text = p.apply_chat_template(tiny.question("<video>"))
    plain, small = p(text, videos=clip), p(text, videos=clip, budget=16)
    assert len(plain["patches"]) == 48 and len(small["patches"]) == 16
    assert (small["input_ids"] == p.vision_token_id).sum() == 4
    two = p(text, videos=clip, videos_kwargs={"num_frames": 2, "budget": 24, "video_size": 64})
    assert len(two["patches"]) == 24 and two["patch_positions"][:, 1].max() > 5
    frames = p(text, videos=clip, videos_kwargs={"video_mode": "frames", "num_frames": 2, "frame_slots": None})
    assert len(frames["patches"]) == 2 * 36 and p.reader == made().reader
    for wrong, message in (
        ({"budgett": 3}, "budgett"),
        (
            {"video_mode": "frames", "budget": 3},
            "whole frames have no setting budget; choose from frame_slots",
        ),
        ({"budget": 2}, "budget must hold a block of 2 x 2 patches, not 2"),
    ):
        with pytest.raises(ValueError, match=message):
            p(text, videos=clip, videos_kwargs=wrong)


def test_conversations_to_model_inputs(clip: Path, tmp_path: Path) -> None:
    p = made()
    tiny.picture().save(tmp_path / "a.png")
    image, video = {"type": "image", "image": str(tmp_path / "a.png")}, {"type": "video", "path": str(clip)}
    text = {"type": "text", "text": "what is seen?"}
    one = [{"role": "user", "content": [video, text, image]}]
    two = [{"role": "user", "content": [image, text]}, {"role": "assistant", "content": "a box"}]
    inputs = p.apply_chat_template(one, add_generation_prompt=True, tokenize=True, return_dict=True, budget=16)
    prompt = p.apply_chat_template(one, add_generation_prompt=True)
    expected = p(prompt, tiny.picture(), clip, budget=16)
    assert inputs.keys() == expected.keys() and all(torch.equal(inputs[k], expected[k]) for k in inputs)
    both = p.apply_chat_template([one, two], tokenize=True, processor_kwargs={"padding_side": "right"})
    texts = p.apply_chat_template([one, two])
    assert torch.equal(both, p(texts, [tiny.picture()] * 2, clip, padding_side="right")["input_ids"])
    with pytest.raises(ValueError, match="a part of type video must have a video"):
        p.apply_chat_template([{"role": "user", "content": [{"type": "video"}]}], tokenize=True)


@pytest.mark.skipif(not ffmpeg.has_libx264(), reason="ffmpeg with libx264 makes the clip")
@pytest.mark.parametrize("mode", ["codec", "frames"])
def test_h264(mode: str, tmp_path: Path) -> None:
    source = clips.moving_clip(tmp_path, encoder="x264")
    p = made(reader={"video_mode": mode})
    item = p.reader.video(source)
    assert item.seconds is not None and list(item.seconds) == sorted(item.seconds)
    options: dict[str, Any] = {"size": 48, "patch_size": 8, **p.reader.select}
    if mode == "codec":
        chosen = select_blocks(ove_codec.select(source, **options), 2)
        assert sorted(map(tuple, item.positions.tolist())) == sorted(map(tuple, chosen.positions.tolist()))
        shown = np.asarray(ove_codec.open(source)._table.pts, np.float64)[chosen.frame_ids]
        assert set(item.seconds) <= set(shown.tolist()) and len(item.patches) == 48
    else:
        assert len(item.patches) == 3 * 36
    batch = p(p.apply_chat_template(tiny.question("<video>")), videos=source)
    assert torch.equal(batch["patches"], item.patches)


def test_batches_of_texts() -> None:
    p = made()
    texts = ["a <image>", "box", "<image><image> moves"]
    pictures = [tiny.picture(i) for i in range(3)]
    batch = p(texts, pictures)
    assert batch["patch_cu_seqlens"].tolist() == [0, 24, 48, 72]
    for i, picture in enumerate(pictures):
        rows = batch["patches"][24 * i : 24 * (i + 1)]
        assert torch.equal(rows, p.reader.image(picture).patches)
    lengths = batch["attention_mask"].sum(1).tolist()
    assert batch["attention_mask"][1].tolist() == [0] * (max(lengths) - lengths[1]) + [1] * lengths[1]
    with pytest.raises(ValueError, match="fewer <image> placeholders than there are images: 1 are left"):
        p(texts, [*pictures, tiny.picture()])
    with pytest.raises(ValueError, match="the text has 2 <image> placeholders, but there are 1 images"):
        p(texts, pictures[:2])


def test_long_samples() -> None:
    p = made()
    turns = tiny.question("<image>", "a box moves and moves and moves")
    whole = p.sample(turns, [tiny.picture()])
    for length in (len(whole.input_ids) - 5, whole.input_ids.index(p.vision_token_id) + 7):
        cut = made(max_length=length).sample(turns, [tiny.picture()])
        assert cut.input_ids == whole.input_ids[:length] and cut.labels == whole.labels[:length]
    prompt = made(max_length=8).sample(turns[:1], [tiny.picture()], add_generation_prompt=True)
    assert len(prompt.input_ids) > 8  # prompts are not cut
    with pytest.raises(ValueError, match=r"the images and videos end at token \d+, beyond max_length 8"):
        made(max_length=8).sample(turns, [tiny.picture()])


def test_settings_are_kept(tmp_path: Path) -> None:
    p = made(timestamps=True, max_length=99, reader={"mean": (0.1, 0.2, 0.3)})
    p.save_pretrained(tmp_path)
    back = LMMProcessor.from_pretrained(tmp_path)
    assert back.reader == p.reader and back.timestamps and back.max_length == 99
    turns = tiny.question("<image>", "a box")
    assert back.sample(turns, [tiny.picture()]).input_ids == p.sample(turns, [tiny.picture()]).input_ids
    assert LMMProcessor.from_pretrained(tmp_path, max_length=7).max_length == 7
    other = p.changed(prompt="plain", reader={"video_size": 64})
    assert other.prompt == "plain" and other.timestamps and other.reader.video_size == 64
    assert other.reader.mean == (0.1, 0.2, 0.3)
    with pytest.raises(ValueError, match="unknown processor setting prompts"):
        p.changed(prompts="x")
    with pytest.raises(FileNotFoundError, match=r"none.processor_config\.json is missing"):
        LMMProcessor.from_pretrained(tmp_path / "none")
    (tmp_path / "processor_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"processor_config\.json is not a processor file"):
        LMMProcessor.from_pretrained(tmp_path)


def test_tokenizers_without_a_vision_token() -> None:
    plain = tiny.tokenizer()
    before = len(plain)
    p = LMMProcessor(plain, {"patch_size": 7}, vision_token="<v>")
    assert p.vision_token_id == before and p.tokenizer.encode("a<v>b")[1] == before


def rows_of(samples: Tensor, cells: list[tuple[int, int]]) -> Tensor:
    """Patch rows of a picture (C, H, W) by slicing."""
    return torch.stack([samples[:, h * P : (h + 1) * P, w * P : (w + 1) * P].flatten() for h, w in cells])


def test_an_image_of_whole_blocks_is_taken_as_it_is() -> None:
    picture = tiny.picture(size=(48, 32))
    item = made().reader.image(picture)
    order = [(2 * r + y, 2 * c + x) for r in range(2) for c in range(3) for y in range(2) for x in range(2)]
    samples = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    torch.testing.assert_close(item.patches, rows_of((samples - mean) / std, order))
    assert item.positions.tolist() == [[0, h, w] for h, w in order] and item.seconds is None
    array = np.array(picture)
    assert torch.equal(made().reader.image(array).patches, item.patches)


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 3), st.integers(9, 400), st.integers(0, 9))
def test_images_fit_their_bounds(width: int, height: int, merge: int, most: int, least: int) -> None:
    reader = VisionReader(patch_size=P, merge_size=merge, max_image_patches=most, min_image_patches=least)
    bounds = (reader.min_image_patches, reader.max_image_patches)
    w, h = image_size(width, height, reader.patch_size, reader.merge_size, bounds)
    unit = P * merge
    assert w % unit == h % unit == 0 and w > 0 and h > 0
    assert w * h <= most * P * P
    if unit**2 * 16 <= w * h and min(w, h) > 4 * unit:  # the shape is kept as far as blocks allow
        assert 0.7 < (w / h) / (width / height) < 1.4


def test_files_are_read_upright(tmp_path: Path) -> None:
    picture = tiny.picture(size=(48, 32))
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    assert torch.equal(made().reader.image(tmp_path / "turned.png").patches, made().reader.image(picture).patches)
    with pytest.raises(OSError, match=r"missing\.png"):
        made().reader.image(tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(OSError, match=r"text\.png"):
        made().reader.image(tmp_path / "text.png")
    with pytest.raises(ValueError, match="images must be Pillow images or uint8 arrays"):
        made().reader.image(np.zeros((4, 4)))


@pytest.mark.parametrize("merge_size", [1, 2, 3])
def test_codec_tokens_are_those_of_the_library(clip: Path, merge_size: int) -> None:
    p = made(merge_size=merge_size)
    item = p.reader.video(clip)
    parameters: dict[str, Any] = {"size": 48, "patch_size": P, "budget": 48, "num_frames": 6, "keep_first_frame": False}
    selection = select_blocks(ove_codec.select(clip, **parameters), merge_size)
    assert {tuple(x) for x in item.positions.tolist()} == {tuple(x) for x in selection.positions.tolist()}
    assert len(item.patches) == 48 // merge_size**2 * merge_size**2
    tokens = ove_codec.tokenize(clip, selection)
    where = {tuple(x): i for i, x in enumerate(tokens.positions.tolist())}
    assert torch.equal(item.patches, tokens.patches[[where[tuple(x)] for x in item.positions.tolist()]])
    times = np.asarray(ove_codec.open(clip).index.pts)[selection.frame_ids]
    assert item.seconds == tuple(times[np.unique(selection.positions[:, 0])].tolist())
    if merge_size == 1:
        assert torch.equal(item.positions, tokens.positions)


def test_windows_of_a_video(clip: Path) -> None:
    for reader in (made().reader, VisionReader(patch_size=P, video_mode="frames", video_size=48, num_frames=4)):
        item = reader.video(clip, start=0.3, end=0.7)
        assert item.seconds is not None and min(item.seconds) >= 0.3 and max(item.seconds) < 0.7
        with pytest.raises(ValueError, match="no picture is displayed from start=50"):
            reader.video(clip, start=50.0)
    with pytest.raises(ove_codec.Error, match=r"missing\.mp4"):
        reader.video("missing.mp4")


def test_times_are_those_of_the_pictures(clip: Path, tmp_path: Path) -> None:
    reader = VisionReader(patch_size=P, video_mode="frames", video_size=48, num_frames=4)
    codec = VisionReader(
        patch_size=P, video_size=48, select={"num_frames": 4, "budget": 144, "keep_first_frame": False}
    )
    for name, options in (("later.ts", ["-output_ts_offset", "7"]), ("raw.h265", ["-bsf:v", "hevc_mp4toannexb"])):
        ffmpeg.run(["-v", "error", "-y", "-i", clip, "-c", "copy", *options, tmp_path / name])
        pts = np.asarray(ove_codec.open(tmp_path / name).index.pts)
        assert (pts[0] > 6) == (name == "later.ts")
        item = reader.video(tmp_path / name)
        assert item.seconds == tuple(pts[np.linspace(0, clips.PICTURES - 1, 4).astype(int)].tolist())
        assert set(codec.video(tmp_path / name).seconds or ()) <= set(item.seconds)
        late = reader.video(tmp_path / name, start=float(pts[12]))
        assert late.seconds is not None and late.seconds[0] == pts[12]
    ffmpeg.run(["-v", "error", "-y", "-i", clip, "-c:v", "mpeg4", "-f", "m4v", tmp_path / "raw.m4v"])
    times = reader.video(tmp_path / "raw.m4v").seconds
    assert times is not None and np.all(np.diff(times) > 0)


@pytest.mark.parametrize("name", ["clip", "other codec"])
@pytest.mark.parametrize("frames_in_a_patch", [1, 2])
@pytest.mark.parametrize("pair", [True, False])
def test_frames_are_those_of_the_library(
    clip: Path, tmp_path: Path, name: str, frames_in_a_patch: int, pair: bool
) -> None:
    if name == "other codec":
        other = tmp_path / "other.mp4"
        ffmpeg.run(["-v", "error", "-y", "-i", clip, "-c:v", "mpeg4", other])
        clip = other
    reader = VisionReader(
        patch_size=P, merge_size=2, temporal_patch_size=frames_in_a_patch, pair_frames=pair, video_mode="frames",
        video_size=40, num_frames=5, frame_slots=64,
    )  # fmt: skip
    item = reader.video(clip)
    pictures = ove_codec.frames(clip, num_frames=5, size=40)[..., :32, :32]  # what blocks of 16 hold of 40
    order = [(2 * r + y, 2 * c + x) for r in range(2) for c in range(2) for y in range(2) for x in range(2)]
    if frames_in_a_patch == 1:
        groups = [[i] for i in range(5)]
    else:
        groups = [[0, 1], [2, 3], [4, 4]] if pair else [[i, i] for i in range(5)]
    expected = []
    for group in groups:
        cells = torch.stack([rows_of(pictures[i], order).unflatten(1, (3, -1)) for i in group], dim=2)
        expected.append(cells.flatten(1))
    assert torch.equal(item.patches, torch.cat(expected))
    slots = np.rint(np.linspace(0, 63, len(groups))).astype(int).tolist()
    assert item.positions.tolist() == [[t, h, w] for t in slots for h, w in order]
    ids = np.linspace(0, clips.PICTURES - 1, 5).astype(int)
    assert item.seconds is not None
    np.testing.assert_allclose(item.seconds, [ids[g[0]] / 25 for g in groups], atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 0}, "patch_size must be a positive whole number"),
        ({"mean": (1, 2)}, "mean must be three numbers"),
        ({"max_image_patches": 3}, "be at least one block of 2 x 2 patches"),
        ({"min_image_patches": 5000}, "min_image_patches 5000 and max_image_patches 4096 must ascend"),
        ({"video_mode": "both"}, "video_mode must be one of codec, frames"),
        ({"video_size": 500}, "video_size must be a multiple of the tower's patch_size 14, not 500"),
        ({"whole_frames": True}, "video_mode must be 'frames': this tower takes whole frames"),
        ({"select": {"size": 99}}, "select must not have size"),
        ({"select": {"budget": 3}}, "budget must hold a block of 2 x 2 patches, not 3"),
        ({"preset": "none"}, "unknown preset 'none'"),
        ({"frame_slots": 0}, "frame_slots must be None or positive"),
        ({"sizes": 3}, "unknown reader field sizes"),
    ],
)
def test_bad_reader_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VisionReader.from_dict(options)


def test_readers_fit_their_towers() -> None:
    assert tiny.processor(tiny.config("siglip2")).reader.video_mode == "frames"
    assert tiny.processor(tiny.config("qwen3vl")).reader.temporal_patch_size == 2
    with pytest.raises(ValueError, match="video_mode must be 'frames'"):
        tiny.processor(tiny.config("siglip2"), {"video_mode": "codec"})
    with pytest.raises(ValueError, match="patch_size must be 8, as in the model, not 14"):
        made(reader={"patch_size": 14})


def mosaics(folder: Path, positions: np.ndarray[Any, Any], cell: int, count: int) -> list[str]:
    """Pictures whose cells have one colour each, told from the row's number; beside them their positions."""
    side = int((len(positions) // count) ** 0.5)
    np.save(folder / "positions_thw.npy", positions)
    names = []
    for i in range(count):
        numbers = np.arange(i * side * side, (i + 1) * side * side).reshape(side, side)
        grey = np.stack([numbers % 256, numbers // 256, 0 * numbers], axis=-1).astype(np.uint8)
        Image.fromarray(grey.repeat(cell, 0).repeat(cell, 1)).save(folder / f"mosaic_{i}.png")
        names.append(f"mosaic_{i}.png")
    return names


@pytest.mark.parametrize(("cell", "merge_size"), [(P, 1), (P, 2), (2 * P, 1), (2 * P, 2)])
def test_mosaics_of_the_reference(tmp_path: Path, cell: int, merge_size: int) -> None:
    rng = np.random.default_rng(0)
    every = np.array(list(itertools.product(range(8), range(8), range(8))), np.int32)
    positions = every[np.sort(rng.permutation(len(every))[:316])]
    positions = np.concatenate([positions, positions[-1:].repeat(8, 0)])  # short of patches, the last is repeated
    names = mosaics(tmp_path, positions, cell, 4)
    reader = made(merge_size=merge_size).reader
    item = read_mosaics([tmp_path / n for n in names], tmp_path / "positions_thw.npy", reader)
    number = {tuple(p): i for i, p in reversed(list(enumerate(positions.tolist())))}
    whole = [
        tuple(p)
        for p in number
        if all(
            (p[0], p[1] // merge_size * merge_size + y, p[2] // merge_size * merge_size + x) in number
            for y in range(merge_size)
            for x in range(merge_size)
        )
    ]
    assert whole and sorted(whole) == sorted(map(tuple, item.positions.tolist()))
    mean, std = (torch.tensor(v)[:, None] for v in (reader.mean, reader.std))
    colours = (item.patches.unflatten(1, (3, -1)) * std + mean) * 255
    for p, colour in zip(item.positions.tolist(), colours, strict=True):
        row = number[tuple(p)]
        expected = torch.tensor([row % 256, row // 256, 0.0])[:, None].expand_as(colour)
        torch.testing.assert_close(colour, expected, atol=1e-3, rtol=0)


def test_bad_mosaics(tmp_path: Path) -> None:
    positions = np.array(list(itertools.product(range(1), range(4), range(4))), np.int32)
    names = [tmp_path / name for name in mosaics(tmp_path, positions, P, 1)]
    file = tmp_path / "positions_thw.npy"
    reader = made().reader
    with pytest.raises(ValueError, match="16 positions do not fill 3 square mosaics"):
        read_mosaics(names * 3, file, reader)
    with pytest.raises(OSError, match=r"none\.png"):
        read_mosaics([tmp_path / "none.png"], file, reader)
    with pytest.raises(OSError, match=r"none\.npy"):
        read_mosaics(names, tmp_path / "none.npy", reader)
    np.save(file, positions * 2)
    with pytest.raises(ValueError, match="no block of 2 x 2 patches is complete"):
        read_mosaics(names, file, reader)
    np.save(file, positions.astype(float))
    with pytest.raises(ValueError, match=r"must hold \(K, 3\) whole numbers"):
        read_mosaics(names, file, reader)
    np.save(file, np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"positions_thw\.npy"):
        read_mosaics(names, file, reader)
    tiny.picture(size=(40, 32)).save(names[0])
    np.save(file, positions)
    with pytest.raises(ValueError, match="a mosaic must be a square of 4 x 4 cells, not 40 x 32 samples"):
        read_mosaics(names, file, reader)


def write_lines(file: Path, records: list[Any]) -> Path:
    file.write_text("\n\n".join(r if isinstance(r, str) else json.dumps(r) for r in records) + "\n")
    return file


def talk(text: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": text}, {"from": "gpt", "value": "a box"}]


def test_llava_samples(tmp_path: Path, clip: Path) -> None:
    p = made()
    folder = tmp_path / "images"
    folder.mkdir()
    pictures = [tiny.picture(i) for i in range(2)]
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i}.png")
    positions = np.array(list(itertools.product(range(2), range(4), range(4))), np.int32)
    names = mosaics(folder, positions, P, 2)
    records = [
        {"id": "a", "image": "0.png", "conversations": talk("<image>\nwhat?")},
        {"id": "b", "images": ["0.png", "1.png"], "conversations": talk("<image><image>")},
        {"id": "c", "video": str(clip), "conversations": talk("<video>")},
        {"id": "d", "conversations": talk("what?")},
        {
            "id": "e",
            "image": names,
            "positions_thw": "positions_thw.npy",
            "conversations": talk("<image>\n<image>\nso?"),
        },
    ]
    first = write_lines(tmp_path / "first.jsonl", records[:2])
    second = write_lines(tmp_path / "second.jsonl", records[2:])
    data = LlavaDataset([first, second], p, folder)
    assert len(data) == 5
    expected = [
        p.sample(talk("<image>\nwhat?"), pictures[:1]),
        p.sample(talk("<image><image>"), pictures),
        p.sample(talk("<video>"), (), [clip]),
        p.sample(talk("what?")),
        p.sample(
            talk("<video>\nso?"),
            (),
            [read_mosaics([folder / n for n in names], folder / "positions_thw.npy", p.reader)],
        ),
    ]
    for i in (3, 0, 4, 1, 2):
        got = data[i]
        assert isinstance(got, LMMSample), got
        assert got.input_ids == expected[i].input_ids and got.labels == expected[i].labels
        for item, other in zip(got.vision, expected[i].vision, strict=True):
            assert torch.equal(item.patches, other.patches) and torch.equal(item.positions, other.positions)
    with pytest.raises(IndexError, match="sample 5 is not in the data set, which has 5 samples"):
        data[5]


UNREADABLE = [
    (
        {"id": "a", "image": "none.png", "conversations": talk("<image>")},
        r"FileNotFoundError: .*none\.png: no such image",
    ),
    ({"id": "b", "video": "text.png", "conversations": talk("<video>")}, r"DecodeError: .*text\.png"),
    ({"id": "c", "image": "text.png", "conversations": talk("<image>")}, r"UnidentifiedImageError: .*text\.png"),
    ({"id": "d", "conversations": talk("<image>")}, "1 <image> placeholders, but there are 0 images"),
    ({"id": "e", "image": 5, "conversations": talk("<image>")}, "image must be a path or a list of paths, not 5"),
    ({"id": "f"}, "not an object with a list of conversations"),
    ("{no json", "JSONDecodeError"),
    ({"id": "g", "conversations": [{"from": "cat", "value": ""}]}, "role must be system, user .* not 'cat'"),
    ({"id": "i", "conversations": ["so"]}, "a message must be a mapping with role and content, not 'so'"),
    ({"id": "j", "conversations": [{"from": "human", "value": ["so"]}]}, "the parts of a message must be mappings"),
    ({"id": "h", "conversations": [{"from": "human"}]}, "a message's text must be a string, not NoneType"),
]


def test_unreadable_samples_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    file = write_lines(tmp_path / "data.jsonl", [record for record, _ in UNREADABLE])
    data = LlavaDataset(file, made())
    for i, (record, reason) in enumerate(UNREADABLE):
        got = data[i]
        assert isinstance(got, Unreadable)
        assert (got.file, got.line) == (str(file), 2 * i + 1)
        assert got.id == (record["id"] if isinstance(record, dict) and "conversations" in record else "")
        assert re.search(reason, got.reason) and "\n" not in got.reason, got.reason
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl: no such file"):
        LlavaDataset(tmp_path / "none.jsonl", made())
    with pytest.raises(ValueError, match=r"there are no samples in .*empty\.jsonl"):
        LlavaDataset(write_lines(tmp_path / "empty.jsonl", []), made())
