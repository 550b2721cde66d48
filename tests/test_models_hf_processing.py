"""Image and video processors for Hugging Face's transformers, against its own and against recorded pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from support.published import CONFIG, PREPROCESSOR, write

transformers = pytest.importorskip("transformers", reason="the extra 'hf' is not installed")

from ove_codec.models.hf import (  # noqa: E402
    OneVisionEncoderImageProcessor,
    OneVisionEncoderModel,
    OneVisionEncoderVideoProcessor,
)

AutoImageProcessor = transformers.AutoImageProcessor
GOLDEN = Path(__file__).parents[2] / "shared" / "golden_model"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A directory of the published form."""
    write(tmp_path / "onevision-encoder-large")
    return tmp_path / "onevision-encoder-large"


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no ../shared/golden_model")
def test_images_as_recorded() -> None:
    tensors = load_file(GOLDEN / "extra" / "extra.safetensors")
    processor = OneVisionEncoderImageProcessor(size=56, crop_size=56)
    for name in ("160x120", "97x133"):
        image = tensors[f"clip.{name}.image_uint8_hwc"]
        forms: list[Any] = [image, image.numpy(), image.permute(2, 0, 1), Image.fromarray(image.numpy()), [image]]
        for form in forms:
            got = processor(form, return_tensors="pt")["pixel_values"]
            assert torch.equal(got, tensors[f"clip.{name}.pixel_values"])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("size", [(448, 448), (500, 333), (30, 61)])
def test_images_as_transformers_makes_them(published: Path, mode: str, size: tuple[int, int]) -> None:
    theirs = AutoImageProcessor.from_pretrained(published, **({"use_fast": False} if _version() < 5 else {}))
    if "Pil" not in type(theirs).__name__ and _version() >= 5:
        pytest.skip("transformers takes torchvision's resize here")
    ours = OneVisionEncoderImageProcessor.from_pretrained(published)
    random = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(random).convert(mode)
    for options in ({}, {"size": {"height": 300, "width": 500}}, {"do_center_crop": False, "do_normalize": False}):
        expected = theirs(image, return_tensors="np", **options)["pixel_values"]
        np.testing.assert_array_equal(ours(image, return_tensors="np", **options)["pixel_values"], expected)


def _version() -> int:
    return int(transformers.__version__.split(".")[0])


def test_image_processor_round_trip(published: Path, tmp_path: Path) -> None:
    processor = OneVisionEncoderImageProcessor.from_pretrained(published, size={"shortest_edge": 100})
    processor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(again) is OneVisionEncoderImageProcessor
    assert again.size == {"shortest_edge": 100} and again.crop_size == {"height": 448, "width": 448}
    images = [np.full((120, 100, 3), 7, np.uint8), np.full((300, 100), 200, np.uint8)]
    got = again(images, return_tensors="pt", crop_size=28)["pixel_values"]
    assert got.shape == (2, 3, 28, 28)
    mean, std = PREPROCESSOR["image_mean"], PREPROCESSOR["image_std"]
    torch.testing.assert_close(
        got[1, :, 5, 5], torch.tensor([(200 / 255 - m) / s for m, s in zip(mean, std, strict=True)])
    )


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), {}, "uint8"),
        (np.zeros((5, 4, 2), np.uint8), {}, "channels"),
        (np.zeros((0, 4, 3), np.uint8), {}, "at least one sample"),
        ([], {}, "at least one"),
        (np.zeros((4, 4, 3), np.uint8), {"size": {"longest_edge": 3}}, "size must be"),
        (np.zeros((4, 4, 3), np.uint8), {"crop_size": {"height": 0, "width": 3}}, "crop_size must be"),
        (np.zeros((4, 4, 3), np.uint8), {"colour": 1}, "unknown options"),
        (np.zeros((4, 4, 3), np.uint8), {"image_mean": [0.5]}, "image_mean"),
        (np.zeros((4, 4, 3), np.uint8), {"input_data_format": "last"}, "input_data_format"),
    ],
)
def test_bad_images_are_named(images: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OneVisionEncoderImageProcessor()(images, **options)


def test_video_processor(published: Path, tmp_path: Path) -> None:
    processor = OneVisionEncoderVideoProcessor.from_pretrained(published, num_frames=4)
    assert processor.size == {"shortest_edge": 224} and processor.patch_size == 14
    video = np.random.default_rng(0).integers(0, 256, (10, 60, 80, 3), np.uint8)
    forms: list[Any] = [video, torch.from_numpy(video).permute(0, 3, 1, 2), list(video), [video], video[None]]
    forms += [[Image.fromarray(frame) for frame in video]]
    expected = processor(video, return_tensors="pt")
    assert expected["pixel_values"].shape == (1, 3, 4, 224, 224)
    assert expected["patch_positions"].shape == (1, 4 * 256, 3)
    assert expected["patch_positions"][0, ::256, 0].tolist() == [0, 21, 42, 63]  # frames 0, 3, 6, 9 of 10
    assert expected["patch_positions"][0, 17].tolist() == [0, 1, 1]
    image = OneVisionEncoderImageProcessor(size=224, crop_size=224)(video[3], return_tensors="pt")["pixel_values"]
    assert torch.equal(expected["pixel_values"][0, :, 1], image[0])
    for form in forms:
        got = processor(form, return_tensors="pt")
        assert all(torch.equal(got[name], expected[name]) for name in expected)
    with torch.no_grad():
        assert OneVisionEncoderModel.from_pretrained(published)(**expected).pooler_output.shape == (1, 64)

    processor.save_pretrained(tmp_path)
    again = OneVisionEncoderVideoProcessor.from_pretrained(tmp_path)
    assert torch.equal(again([video, video[::-1]], return_tensors="pt")["pixel_values"][:1], expected["pixel_values"])
    single = again(video[:1], num_frames=1, return_tensors="pt")
    assert not single["patch_positions"][..., 0].any()
    assert len(again([video, video[:5]], num_frames=3)["pixel_values"]) == 2
    with pytest.raises(ValueError, match="give num_frames"):
        OneVisionEncoderVideoProcessor()([video, video[:5]], return_tensors="pt")
    with pytest.raises(FileNotFoundError, match="video_preprocessor_config"):
        OneVisionEncoderVideoProcessor.from_pretrained(tmp_path / "none")


def test_auto_video_processor(published: Path) -> None:
    """`transformers.AutoVideoProcessor` is there with torchvision only; the class behind it is always."""
    from transformers.models.auto.video_processing_auto import AutoVideoProcessor

    assert type(AutoVideoProcessor.from_pretrained(published)) is OneVisionEncoderVideoProcessor
