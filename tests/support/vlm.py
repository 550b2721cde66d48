"""Tiny LLaVA-OneVision-2 and Mage-VL checkpoints, with the tokenizer and canvases that go with them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
IMAGE_PAD = 260
VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
ARCHITECTURES = {
    "llava_onevision2": ("LlavaOnevision2ForConditionalGeneration", "onevision_encoder", 14),
    "mage_vl": ("MageVLForConditionalGeneration", "mage_vl_vision", 16),
}
VISION: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "out_hidden_size": 48,
    "spatial_merge_size": 2,
    "frame_windows_size": 4,
    "temporal_patch_size": 1,
    "tokens_per_second": 1,
}
TEXT: dict[str, Any] = {
    "model_type": "qwen3",
    "vocab_size": 264,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "eos_token_id": 257,
    "pad_token_id": 257,
    "max_position_embeddings": 4096,
}


def tokenizer() -> Any:
    """One token for every byte of UTF-8, and one for every special string."""
    letters = _letters_of_bytes()
    made = Tokenizer(models.BPE(vocab={letter: byte for byte, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|im_end|>")


def _letters_of_bytes() -> list[str]:
    """The letter by which a byte-level tokenizer writes each byte: printable ones themselves, others from 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def config(model_type: str, **vision: Any) -> dict[str, Any]:
    """The `config.json` of a tiny model."""
    architecture, vision_type, patch = ARCHITECTURES[model_type]
    return {
        "architectures": [architecture],
        "auto_map": {"AutoConfig": f"configuration_{model_type}.Config"},
        "model_type": model_type,
        "image_token_id": IMAGE_PAD,
        "video_token_id": 261,
        "vision_start_token_id": 258,
        "vision_end_token_id": 259,
        "tie_word_embeddings": False,
        "text_config": TEXT,
        "vision_config": {"model_type": vision_type, "patch_size": patch, **VISION, **vision},
    }


def tower_shapes(values: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of a tower, as released checkpoints have them, of its `vision_config`."""
    d, f, p = values["hidden_size"], values["intermediate_size"], values["patch_size"]
    block, out = d * values["spatial_merge_size"] ** 2, values["out_hidden_size"]
    norm = ("weight", "bias") if values.get("layer_norm_type", "layer_norm") == "layer_norm" else ("weight",)
    shapes: dict[str, tuple[int, ...]] = {"embeddings.patch_embedding.weight": (d, 3, p, p)}
    norms = ["layernorm_pre"]
    for layer in range(values["num_hidden_layers"]):
        name = f"encoder.layers.{layer}"
        norms += [f"{name}.layer_norm1", f"{name}.layer_norm2"]
        for part, rows, columns in (
            ("self_attn.qkv", 3 * d, d),
            ("self_attn.proj", d, d),
            ("mlp.fc1", f, d),
            ("mlp.fc2", d, f),
        ):
            shapes |= {f"{name}.{part}.weight": (rows, columns), f"{name}.{part}.bias": (rows,)}
    if values.get("use_head"):
        norms.append("layernorm_post")
        shapes |= {"head.probe": (1, 1, d), "head.norm.weight": (d,)}
        shapes |= {"head.attention.in_proj_weight": (3 * d, d), "head.attention.in_proj_bias": (3 * d,)}
        for part, rows, columns in (("attention.out_proj", d, d), ("mlp.fc1", f, d), ("mlp.fc2", d, f)):
            shapes |= {f"head.{part}.weight": (rows, columns), f"head.{part}.bias": (rows,)}
    shapes |= {f"{name}.{part}": (d,) for name in norms for part in norm}
    shapes |= {"merger.ln_q.weight": (d,), "merger.ln_q.bias": (d,)}
    shapes |= {"merger.mlp.0.weight": (block, block), "merger.mlp.0.bias": (block,)}
    shapes |= {"merger.mlp.2.weight": (out, block), "merger.mlp.2.bias": (out,)}
    if values.get("use_patch_position_encoding"):
        shapes |= {f"merger.pos_emb_{side}.weight": (values["max_position_embeddings"], out) for side in "hw"}
    return shapes


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Values of every tensor; those of norms lie around one."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in sorted(shapes.items()):
        value = torch.randn(shape, generator=generator)
        scaled = value * 0.2 if len(shape) == 1 else value * 1.5 * value[0].numel() ** -0.5
        weights[name] = scaled + 1 if ("norm" in name or "ln_q" in name) and name.endswith("weight") else scaled
    return weights


def write(directory: Path, model_type: str, **vision: Any) -> dict[str, Tensor]:
    """Makes the directory of a whole model with its tokenizer; returns its weights, by their released names."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    values = config(model_type, **vision)
    torch.manual_seed(1)
    text = Qwen3ForCausalLM(Qwen3Config(**{k: v for k, v in TEXT.items() if k != "model_type"})).state_dict()
    weights = {f"model.visual.{k}": v for k, v in random_weights(tower_shapes(values["vision_config"])).items()}
    for name, value in text.items():
        released = name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name
        weights[released] = value.clone() * (1 if "norm" in name else 8)
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(values))
    (directory / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "Qwen2VLImageProcessor",
                "patch_size": values["vision_config"]["patch_size"],
                "merge_size": 2,
                "temporal_patch_size": 1,
                "min_pixels": 784,
                "max_pixels": 12544,
                "codec": {"target_canvas": 8, "max_pixels": 10192},
            }
        )
    )
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    tokenizer().save_pretrained(directory)
    return weights


def canvases(
    count: int = 3, rows: int = 4, columns: int = 6, patch: int = 14, *, padding: int = 0, seed: int = 0
) -> Any:
    """Canvases of 2 x 2 blocks from several frames, the last ones padding."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 60, count * rows * columns // 4))
    t = times.reshape(count, rows // 2, columns // 2).repeat(2, 1).repeat(2, 2)
    places = rng.integers(0, 9, (2, *t.shape))
    positions: NDArray[np.int32] = np.stack((t, *places), axis=-1).astype(np.int32)
    if padding:
        positions[-padding:] = -1
    images = rng.integers(0, 256, (count, rows * patch, columns * patch, 3), dtype=np.uint8)
    return SimpleNamespace(images=images, src_positions=positions.reshape(-1, 3), fps=25.0)
