"""Configuration of the encoder, stored as a Hugging Face style `config.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

MODEL_TYPE = "onevision_encoder"
# By rope_layout. Other readers of the published type know its layout only, so the other layout has a type of its own:
# they refuse it by name instead of computing wrong features.
MODEL_TYPES = {"legacy": MODEL_TYPE, "interleaved": "ove_encoder"}
CONFIG_FILE = "config.json"

# Named configurations: inside an installed package, or in `models/` at the top of a source tree.
_NAMED = (Path(__file__).parent / "configs", Path(__file__).parents[3] / "models")


def read_json_object(file: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or holds something else.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not a JSON file: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} must hold a JSON object")
    return values


# Keys of later models of the same `model_type`, and the most that leaves the results as they are.
_SUCCESSORS = {
    "frame_windows_size": 0,
    "spatial_merge_size": 1,
    "temporal_patch_size": 1,
    "use_patch_position_encoding": 0,
}


def refuse_successors(values: Mapping[str, Any]) -> None:
    """Raises ValueError where a configuration is of a later model, whose attention or positions are other ones."""
    for name, most in _SUCCESSORS.items():
        value = values.get(name)
        if isinstance(value, int | float) and value > most:
            raise ValueError(
                f"{name}={value} belongs to a later model than the OneVision-Encoder, such as LLaVA-OneVision-2 or "
                "Mage-VL: load its tower with ove_codec.models.load_tower"
            )


@dataclass(frozen=True)
class OVEncoderConfig:
    """Sizes and options of an `OVEncoder`; the defaults are those of `ov-encoder-large`.

    `head_dim = hidden_size / num_attention_heads` must be a multiple of 32, so that the rotary frequencies split into
    shares of 4/16 (time), 6/16 (height) and 6/16 (width). `layer_norm_type` is "layer_norm" or "rms_norm" (the
    pooling head always uses RMSNorm), `rope_layout` is "legacy" (as the published weights were trained) or
    "interleaved" (a proper rotation, for new training; its `model_type` is "ove_encoder", so that code which knows the
    published layout alone does not load it). `use_head=False` leaves out the final norm and the pooling
    head. `image_size` is kept for other readers of the file; `rope_temporal_size` is the number of time slots that were
    trained, beyond which positions are warned about. Both change no result here.

    Raises:
        ValueError: a size or option is not allowed; the message names it.
    """

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    num_channels: int = 3
    image_size: int = 448
    patch_size: int = 14
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    layer_norm_type: str = "layer_norm"
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    rope_theta: float = 10000.0
    rope_temporal_size: int | None = 64
    rope_layout: str = "legacy"
    use_head: bool = True

    def __post_init__(self) -> None:
        for name, most in (
            ("hidden_size", 65536),
            ("intermediate_size", 1 << 20),
            ("num_hidden_layers", 1024),
            ("num_attention_heads", 2048),
            ("num_channels", 1024),
            ("patch_size", 1024),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise ValueError(f"{name} must be an integer from 1 to {most}, got {value!r}")
        for name, low, high in (
            ("layer_norm_eps", 0.0, 1.0),
            ("attention_dropout", 0.0, 1.0),
            ("initializer_range", 0.0, 1e3),
            ("rope_theta", 1.0, 1e12),
        ):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
        if not isinstance(self.use_head, bool):
            raise ValueError(f"use_head must be true or false, got {self.use_head!r}")
        for name, allowed in (
            ("hidden_act", ("gelu",)),
            ("layer_norm_type", ("layer_norm", "rms_norm")),
            ("rope_layout", ("legacy", "interleaved")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.hidden_size % self.num_attention_heads or self.head_dim % 32:
            raise ValueError(
                "hidden_size / num_attention_heads must be a multiple of 32, "
                f"got {self.hidden_size} / {self.num_attention_heads}"
            )

    @property
    def fused_qkv(self) -> bool:
        """The weights keep queries, keys and values in one matrix."""
        return False

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def patch_dim(self) -> int:
        """Values in one patch, C * p * p."""
        return self.num_channels * self.patch_size**2

    def to_dict(self) -> dict[str, Any]:
        """The content of `config.json`."""
        return {"architectures": ["OneVisionEncoderModel"], "model_type": MODEL_TYPES[self.rope_layout], **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OVEncoderConfig:
        """Reads the content of a `config.json`; keys that are none of the fields are left aside.

        Raises:
            ValueError: `model_type` or a key names another architecture, or a value is not allowed.
        """
        model_type = values.get("model_type", MODEL_TYPE)
        if model_type not in MODEL_TYPES.values():
            raise ValueError(f"model_type must be {' or '.join(map(repr, MODEL_TYPES.values()))}, got {model_type!r}")
        refuse_successors(values)
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> OVEncoderConfig:
        """Reads a `config.json`, given as the file or as the directory that holds it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a JSON object or holds a value that is not allowed.
        """
        file = Path(path)
        if file.is_dir():
            file = file / CONFIG_FILE
        values = read_json_object(file)
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error

    @classmethod
    def named(cls, name: str) -> OVEncoderConfig:
        """One of the named configurations, e.g. "ov-encoder-large".

        Raises:
            ValueError: there is none of that name; the message lists those that exist.
        """
        found = {file.parent.name: file for root in reversed(_NAMED) for file in root.glob(f"*/{CONFIG_FILE}")}
        if name not in found:
            raise ValueError(f"unknown configuration {name!r}; choose from {', '.join(sorted(found))}")
        return cls.from_file(found[name])

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes `config.json` into an existing directory."""
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True)
        (Path(directory) / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
