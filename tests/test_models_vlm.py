"""LLaVA-OneVision-2 and Mage-VL by the Auto classes, against the twin of the tower and a stock Qwen3."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

pytest.importorskip("transformers", "5", reason="ove_codec[hf] with transformers 5 is not installed")

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import ove_codec.models.hf as hf
from ove_codec.models import load_tower
from support import vlm
from support.tower_twin import twin

TYPES = tuple(vlm.ARCHITECTURES)


@pytest.fixture(scope="module", params=TYPES)
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Tensor]]:
    """A whole model's directory and its weights."""
    directory = tmp_path_factory.mktemp("vlm") / request.param
    return directory, vlm.write(directory, request.param)


def read(directory: Path, **options: Any) -> Any:
    return AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32, **options).eval()


def prompt(directory: Path, text: str | None = None, **options: Any) -> Any:
    """Model inputs of an image and a codec video in one prompt."""
    processor = AutoProcessor.from_pretrained(directory)
    patch = processor.image_processor.patch_size
    text = text or f"a {vlm.IMAGE} and {vlm.VIDEO}?"
    images = [vlm.canvases(patch=patch, seed=4).images[0]] * text.count(vlm.IMAGE)
    videos = [vlm.canvases(5, patch=patch, seed=5)] * text.count(vlm.VIDEO)
    return processor(text=text, images=images, videos=videos, return_tensors="pt", **options)


def expected_logits(directory: Path, weights: dict[str, Tensor], inputs: Any) -> Tensor:
    """By the tower's twin and a stock Qwen3 on embeddings."""
    vision = json.loads((directory / "config.json").read_text())["vision_config"]
    tower = {k.removeprefix("model.visual."): v for k, v in weights.items() if k.startswith("model.visual.")}
    grid = inputs["image_grid_thw"].tolist()
    merged = twin(vision, tower, inputs["pixel_values"], grid, inputs["patch_positions"])[1]
    text = Qwen3ForCausalLM(Qwen3Config(**{k: v for k, v in vlm.TEXT.items() if k != "model_type"})).eval()
    text.load_state_dict(
        {k.replace("model.language_model.", "model."): v for k, v in weights.items() if k not in prefixed(tower)}
    )
    embeddings = text.get_input_embeddings()(inputs["input_ids"])
    embeddings[inputs["input_ids"] == vlm.IMAGE_PAD] = merged.float()
    with torch.no_grad():
        return text(inputs_embeds=embeddings).logits


def prefixed(names: Any) -> set[str]:
    return {f"model.visual.{name}" for name in names}


def test_logits(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    directory, weights = checkpoint
    inputs = prompt(directory)
    expected = expected_logits(directory, weights, inputs)
    assert expected.std() > 0.3
    for attention in ("eager", "sdpa"):
        with torch.no_grad():
            got = read(directory, attn_implementation=attention)(**inputs).logits
        assert (got - expected).abs().max() <= 1e-4


def test_generation_has_a_cache_and_beams(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    directory, _ = checkpoint
    model, inputs = read(directory), prompt(directory)
    length = inputs["input_ids"].shape[1]
    options: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    cached = model.generate(**inputs, **options)
    assert cached.shape == (1, length + 8) and torch.equal(cached[:, :length], inputs["input_ids"])
    assert torch.equal(cached, model.generate(**inputs, use_cache=False, **options))
    steps = inputs["input_ids"]
    for _ in range(8):
        with torch.no_grad():
            given = {**inputs, "input_ids": steps, "attention_mask": torch.ones_like(steps)}
            steps = torch.cat([steps, model(**given).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(cached, steps)
    beams = model.generate(**inputs, num_beams=3, num_return_sequences=3, **options)
    assert beams.shape == (3, length + 8) and len({tuple(row.tolist()) for row in beams}) == 3


def test_a_padded_batch_is_its_prompts_alone(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    directory, _ = checkpoint
    model = read(directory)
    texts = [f"{vlm.VIDEO} what?", f"so {vlm.IMAGE} and {vlm.IMAGE}, is it?"]
    processor = AutoProcessor.from_pretrained(directory)
    patch = processor.image_processor.patch_size
    images = list(vlm.canvases(2, patch=patch, seed=6).images)
    video = vlm.canvases(5, patch=patch, seed=7)
    batch = processor(text=texts, images=images, videos=[video], padding=True, padding_side="left", return_tensors="pt")
    alone = [
        processor(text=texts[0], videos=video, return_tensors="pt"),
        processor(text=texts[1], images=images, return_tensors="pt"),
    ]
    with torch.no_grad():
        together = model(**batch).logits
        for row, inputs in enumerate(alone):
            got = together[row, -inputs["input_ids"].shape[1] :]
            assert (got - model(**inputs).logits[0]).abs().max() <= 1e-4


def test_loss_and_gradients(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    directory, _ = checkpoint
    model, inputs = read(directory).train(), prompt(directory)
    model.gradient_checkpointing_enable()
    out = model(**inputs, labels=inputs["input_ids"])
    logits, labels = out.logits[0, :-1], inputs["input_ids"][0, 1:]
    assert torch.allclose(out.loss, torch.nn.functional.cross_entropy(logits, labels))
    out.loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_files_survive_a_round_trip(checkpoint: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    directory, weights = checkpoint
    model = read(directory)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[name], weights[name]) for name in weights)
    before, after = (json.loads((d / "config.json").read_text()) for d in (directory, tmp_path))
    for part in ("vision_config", "text_config"):
        assert {name: after[part].get(name) for name in before[part]} == before[part]
    for name in ("model_type", "image_token_id", "video_token_id", "vision_start_token_id", "tie_word_embeddings"):
        assert after[name] == before[name]
    inputs = prompt(directory)
    with torch.no_grad():
        assert torch.equal(read(tmp_path)(**inputs).logits, model(**inputs).logits)
        tower = load_tower(tmp_path)
        given = (inputs["pixel_values"], inputs["image_grid_thw"], inputs["patch_positions"])
        assert (tower(*given).merged - model.get_image_features(*given)).abs().max() <= 1e-6


def test_the_model_without_its_head(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    directory, _ = checkpoint
    body, whole = AutoModel.from_pretrained(directory, dtype=torch.float32), read(directory)
    inputs = prompt(directory)
    with torch.no_grad():
        hidden = body(**inputs).last_hidden_state
        assert (whole.lm_head(hidden) - whole(**inputs).logits).abs().max() <= 1e-5


def test_tied_embeddings(tmp_path: Path) -> None:
    weights = vlm.write(tmp_path / "model", "llava_onevision2")
    values = vlm.config("llava_onevision2")
    values["tie_word_embeddings"] = True
    values["text_config"] = {**vlm.TEXT, "tie_word_embeddings": True}
    (tmp_path / "model" / "config.json").write_text(json.dumps(values))
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    model = read(tmp_path / "model")
    assert torch.equal(model.lm_head.weight, weights["model.language_model.embed_tokens.weight"])
    assert model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def test_a_tower_is_read_rightly_or_refused_by_the_auto_classes(tmp_path: Path) -> None:
    """Weights of attention never stay random."""
    for kind, changes in (
        ("onevision_encoder", {}),
        ("onevision_encoder", {"frame_windows_size": 0}),
        ("mage_vl_vision", {}),
    ):
        values = {"model_type": kind, "patch_size": 14, **vlm.VISION, **changes}
        weights = vlm.random_weights(vlm.tower_shapes(values))
        folder = tmp_path / f"{kind}{len(changes)}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(values))
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        if kind == "mage_vl_vision":
            state = AutoModel.from_pretrained(folder).state_dict()
            assert all(torch.equal(state[name], weights[name]) for name in weights)
            continue
        with pytest.raises(ValueError, match="load_tower"):
            AutoModel.from_pretrained(folder)
        hidden = ("frame_windows_size", "spatial_merge_size", "temporal_patch_size")
        plain = {name: value for name, value in values.items() if name not in hidden}
        (folder / "config.json").write_text(json.dumps(plain))  # nothing in it tells of the merger
        with pytest.raises(ValueError, match=r"has no encoder\.layers\.0\.self_attn.*load_tower"):
            AutoModel.from_pretrained(folder)


@pytest.mark.parametrize("model_type", TYPES)
def test_a_model_without_all_its_tensors_is_refused(model_type: str, tmp_path: Path) -> None:
    weights = vlm.write(tmp_path / "model", model_type)
    for name in ("model.visual.encoder.layers.1.self_attn.qkv.weight", "lm_head.weight"):
        left = {key: value for key, value in weights.items() if key != name}
        save_file(left, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=f"lacks 1 of the model's tensors.*: {name}"):
            read(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_config": {"out_hidden_size": 40}}, "out_hidden_size 40 of vision_config must be hidden_size 48"),
        ({"vision_config": {"spatial_merge_size": 0}}, "spatial_merge_size must be"),
        ({"vision_config": {"register_tokens": 4}}, "register_tokens=4 is unknown"),
        ({"vision_config": {"model_type": "siglip2_vision_model"}}, "got 'siglip2_vision_model'"),
        ({"image_token_id": 999}, "image_token_id 999 is not one of the 264 tokens"),
    ],
)
def test_configurations_that_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = vlm.config("llava_onevision2")
    values |= {k: {**values[k], **v} if isinstance(v, dict) else v for k, v in change.items()}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        AutoConfig.from_pretrained(tmp_path)


def test_inputs_that_are_refused(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    directory, _ = checkpoint
    model, inputs = read(directory), prompt(directory)
    ids, pixels = inputs["input_ids"], inputs["pixel_values"]
    count = int((ids == vlm.IMAGE_PAD).sum())
    with pytest.raises(ValueError, match=f"hold {count} image tokens, but pixel_values is None"):
        model(input_ids=ids)
    dropped = ids.clone()
    dropped[0, int((dropped[0] == vlm.IMAGE_PAD).nonzero()[0])] = 32
    with pytest.raises(ValueError, match=f"hold {count - 1} image tokens, but {len(pixels)} patches make {count}"):
        model(**{**inputs, "input_ids": dropped, "attention_mask": torch.ones_like(dropped)})
    with pytest.raises(ValueError, match="need image_grid_thw and patch_positions"):
        model(input_ids=ids, pixel_values=pixels)
    with pytest.raises(ValueError, match="pixel_values_videos is not supported"):
        model(**inputs, pixel_values_videos=pixels)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model(pixel_values=pixels)


def test_classes_of_others_are_left_alone() -> None:
    """In a process of its own, where somebody was first."""
    script = """
from transformers import AutoConfig, PretrainedConfig
class Theirs(PretrainedConfig):
    model_type = "mage_vl"
AutoConfig.register("mage_vl", Theirs)
import ove_codec.models.hf as hf
assert type(AutoConfig.for_model("mage_vl")) is Theirs
assert type(AutoConfig.for_model("llava_onevision2")) is hf.LlavaOnevision2Config
hf.register()
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_sizes_of_the_released_models() -> None:
    ov2, mage = hf.LlavaOnevision2Config(), hf.MageVLConfig()
    assert (ov2.vision_config.spatial_merge_size, mage.vision_config.spatial_merge_size) == (3, 2)
    for config in (ov2, mage):
        vision = config.vision_config
        assert (vision.hidden_size, vision.num_hidden_layers, vision.patch_size) == (1024, 24, 14)
        assert config.text_config.model_type == "qwen3" and config.image_token_id == 151655
