"""Tiny towers, a tiny Qwen3 and a tiny tokenizer with a chat template."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ove_codec.lmm import LMMConfig, LMMForConditionalGeneration, LMMProcessor

PATCH = 8
VOCABULARY = 320
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT: dict[str, Any] = {
    "model_type": "qwen3",
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 4096,
}
TOWERS: dict[str, dict[str, Any]] = {
    "ov": {
        "model_type": "onevision_encoder",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 1,
        "patch_size": PATCH,
    },
    "qwen3vl": {
        "model_type": "qwen3_vl_vision",
        "hidden_size": 32,
        "intermediate_size": 48,
        "depth": 3,
        "num_heads": 2,
        "patch_size": PATCH,
        "out_hidden_size": 24,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [1],
    },
    "siglip2": {
        "model_type": "siglip2_vision_model",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "patch_size": PATCH,
        "num_patches": 16,
    },
}


@functools.cache
def _trained_tokenizer() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 8, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=special
    )
    tokenizer.train_from_iterator(["user assistant what is seen in the clip? a box moves"] * 4, trainer)
    text: str = tokenizer.to_str()
    return text


def tokenizer() -> Any:
    """A byte-level BPE tokenizer of Qwen3's special tokens and manner of template."""
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained_tokenizer()), eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    made.chat_template = TEMPLATE
    return made


def config(tower: str = "ov", *, text: dict[str, Any] | None = None, **options: Any) -> LMMConfig:
    token = tokenizer().convert_tokens_to_ids("<|image_pad|>")
    return LMMConfig(TOWERS[tower], {**TEXT, **(text or {})}, token, **options)


def model(tower: str = "ov", seed: int = 0, **options: Any) -> LMMForConditionalGeneration:
    torch.manual_seed(seed)
    return LMMForConditionalGeneration(config(tower, **options)).eval()


def processor(of: LMMConfig, reader: dict[str, Any] | None = None, **options: Any) -> LMMProcessor:
    small: dict[str, Any] = {"min_image_patches": 4, "max_image_patches": 36, "video_size": 48, "num_frames": 3}
    if of.vision_config.model_type == "onevision_encoder":
        small["select"] = {"budget": 48, "num_frames": 6, "keep_first_frame": False}
    return LMMProcessor.for_model(of, tokenizer(), {**small, **(reader or {})}, **options)


def picture(seed: int = 0, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """An image (width, height) of noise."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def question(media: str, answer: str | None = None, text: str = "what is seen?") -> list[dict[str, str]]:
    turns = [{"role": "user", "content": f"{media}\n{text}"}]
    return turns if answer is None else [*turns, {"role": "assistant", "content": answer}]


def batch_of(tower: str, of: LMMForConditionalGeneration, clip: Path, **options: Any) -> dict[str, Tensor]:
    """A left padded batch with labels: a conversation about an image, and one about two images and a clip."""
    p = processor(of.config, **options)
    samples = [
        p.sample(question("<image>", "a box"), [picture(1)]),
        p.sample(question("<image> <video> <image>", "a box moves"), [picture(2, (32, 64)), picture(3)], [clip]),
    ]
    return p.collate(samples, padding_side="left")
