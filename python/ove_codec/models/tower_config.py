"""Configuration of the vision towers of LLaVA-OneVision-2 and Mage-VL, from a checkpoint's `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ove_codec.models.config import MODEL_TYPES, OVEncoderConfig

# What a file that leaves a key out means by it, by `model_type` of the tower.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "onevision_encoder": {"spatial_merge_size": 3},
    "mage_vl_vision": {"spatial_merge_size": 2},
    "mage_vit": {},
}
# Keys that every configuration of transformers may have, none of which changes what a tower computes.
_GENERAL = """
    add_cross_attention architectures attn_implementation auto_map bad_words_ids begin_suppress_tokens bos_token_id
    chunk_size_feed_forward cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample dtype
    early_stopping encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty finetuning_task
    forced_bos_token_id forced_eos_token_id id2label is_decoder is_encoder_decoder label2id length_penalty max_length
    min_length model_type name_or_path no_repeat_ngram_size num_beam_groups num_beams num_return_sequences
    output_attentions output_hidden_states output_scores pad_token_id prefix problem_type pruned_heads
    remove_invalid_values repetition_penalty return_dict return_dict_in_generate sep_token_id suppress_tokens
    task_specific_params temperature text_hidden_size tf_legacy_loss tie_encoder_decoder tie_word_embeddings
    tokenizer_class tokens_per_second top_k top_p torch_dtype torchscript transformers_version typical_p use_bfloat16
    use_cache
"""
# Options that towers do not have, and the values that leave them off.
_FIXED: dict[str, tuple[Any, ...]] = {
    "temporal_patch_size": (1,),
    "patch_position_encoding_type": ("absolute",),
}


@dataclass(frozen=True)
class OVTowerConfig(OVEncoderConfig):
    """Sizes and options of an `OVTower`: those of its encoder, the attention windows and the merger.

    Attributes:
        spatial_merge_size: m; the merger makes one token of m x m patches.
        out_hidden_size: channels of a merged token; None for a tower without merger, such as a OneVision-Encoder.
        frame_windows_size: a grid row of more frames attends within windows of so many; 0 or less: no windows.
        use_patch_position_encoding: add a learned vector for the row and one for the column to every merged token.
        max_position_embeddings: rows of each of those two tables.
        fused_qkv: the weights keep queries, keys and values in one matrix.

    Raises:
        ValueError: a size or option is not allowed; the message names it.
    """

    use_head: bool = False
    rope_temporal_size: int | None = None
    spatial_merge_size: int = 2
    out_hidden_size: int | None = 1024
    frame_windows_size: int = 4
    use_patch_position_encoding: bool = False
    max_position_embeddings: int = 8192
    fused_qkv: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least, most in (
            ("spatial_merge_size", 1, 64),
            ("out_hidden_size", 1, 65536),
            ("frame_windows_size", -(1 << 31), 1 << 31),
            ("max_position_embeddings", 1, 1 << 20),
        ):
            value = getattr(self, name)
            if name == "out_hidden_size" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ValueError(f"{name} must be an integer from {least} to {most}, got {value!r}")
        for name in ("use_patch_position_encoding", "fused_qkv"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if self.hidden_size * self.spatial_merge_size**2 > 1 << 20:
            raise ValueError(
                f"hidden_size {self.hidden_size} times the square of spatial_merge_size {self.spatial_merge_size} must "
                f"be at most {1 << 20}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The content of a `config.json`."""
        values = asdict(self)
        del values["fused_qkv"]  # told by the names of the tensors
        return {"model_type": MODEL_TYPES[self.rope_layout], **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, merger: bool = True, fused_qkv: bool = True) -> OVTowerConfig:
        """Reads a tower's `config.json`, or the `vision_config` of a whole model.

        Args:
            values: its content. Keys that are missing have the values of the model's own configuration class.
            merger: the weights have a merger; without one the tower is a OneVision-Encoder.
            fused_qkv: the weights keep queries, keys and values in one matrix.

        Raises:
            ValueError: `model_type` is of no such tower, a key is not known and may change results, or a value is not
                allowed.
        """
        model_type = values.get("model_type", "onevision_encoder")
        known_types = {*_DEFAULTS, *MODEL_TYPES.values()}
        if not isinstance(model_type, str) or model_type not in known_types:
            raise ValueError(
                f"model_type must be {', '.join(map(repr, sorted(known_types)))} for a tower, got {model_type!r}"
            )
        refuse_unknown(values)
        known = {field.name for field in fields(cls)} - {"fused_qkv"}
        given = {key: value for key, value in values.items() if key in known}
        if merger:
            given = {**_DEFAULTS.get(model_type, {}), **given}
        else:
            plain = {"use_head": True, "rope_temporal_size": 64, "spatial_merge_size": 1, "frame_windows_size": 0}
            if given.get("spatial_merge_size", 1) != 1:
                raise ValueError(
                    f"spatial_merge_size is {given['spatial_merge_size']!r}, but the weights have no merger"
                )
            given = {**plain, **given, "out_hidden_size": None}
        return cls(**given, fused_qkv=fused_qkv)


def refuse_unknown(values: Mapping[str, Any]) -> None:
    """Raises ValueError where a configuration has a key that is not known and is not off: null, false, 0 or empty."""
    known = {field.name for field in fields(OVTowerConfig)} | set(_GENERAL.split())
    for name, value in values.items():
        if name in _FIXED:
            if value is not None and value not in _FIXED[name]:
                raise ValueError(
                    f"{name}={value!r} is not supported, as results would be wrong; it must be {_FIXED[name][0]!r}"
                )
        elif name not in known and not name.startswith("_") and value:
            raise ValueError(f"{name}={value!r} is unknown and may change the results, so the tower is not loaded")
