"""Combines pretrained towers and language models from local directories."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel
from transformers.models.siglip2.configuration_siglip2 import Siglip2VisionConfig
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionModel

from ove_codec.lmm import tower_configs, towers
from ove_codec.lmm.config import LMMConfig
from ove_codec.lmm.model import LMMForConditionalGeneration
from ove_codec.lmm.projector import SpatialMergeProjector
from ove_codec.models import OVEncoder
from ove_codec.models.checkpoint import WEIGHTS_FILE, weight_files
from ove_codec.models.hf import OneVisionEncoderModel

_TOWER_OF = {"siglip2": "siglip2_vision_model", "qwen3_vl": "qwen3_vl_vision"}  # by the model_type of the whole


def from_parts(
    vision_tower: str | os.PathLike[str],
    language_model: str | os.PathLike[str],
    vision_token_id: int,
    *,
    dtype: torch.dtype = torch.float32,
    attn_implementation: str | None = None,
    **config: Any,
) -> LMMForConditionalGeneration:
    """A model of a pretrained tower, a pretrained language model and a new projector.

    Args:
        vision_tower: directory of an `OVEncoder`, a Qwen3-VL (whole, or its tower) or a SigLIP2 (whole, or its tower).
        language_model: directory of any causal language model of transformers.
        vision_token_id: of the processor; if the language model has fewer embeddings, it is extended up to this token.
        dtype: of the weights. Train in float32 with autocast: bfloat16 weights do not change at small learning rates.
        attn_implementation: of the language model and the tower, as in transformers.
        **config: `merge_size`, `select_layer` and `projector` of `LMMConfig`.

    Raises:
        FileNotFoundError: a directory or its config.json is missing.
        ValueError: an unknown kind of tower, a bad value, or weights that do not match; the message says which.
    """
    if not (Path(language_model) / "config.json").is_file():
        raise FileNotFoundError(f"{Path(language_model) / 'config.json'} is missing: models are read from local files")
    options: dict[str, Any] = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    loaded = AutoModelForCausalLM.from_pretrained(language_model, local_files_only=True, dtype=dtype, **options)
    if loaded.get_input_embeddings().num_embeddings <= vision_token_id:
        loaded.resize_token_embeddings(vision_token_id + 1)
    vision_config = read_vision_config(vision_tower)
    if attn_implementation is not None:  # before the tower is built
        vision_config._attn_implementation = attn_implementation
    tower = load_tower(vision_tower, vision_config, dtype)
    full = LMMConfig(vision_config, loaded.config, vision_token_id, **config)
    with torch.device("meta"):  # the parts take the places of these
        model = LMMForConditionalGeneration._from_config(full, **options)
    model.vision_tower = towers.build(full.vision_config, full.select_layer, tower)
    model.language_model = loaded
    model.projector = SpatialMergeProjector(
        model.vision_tower.feature_size,
        full.merge_size // model.vision_tower.merged,
        full.text_config.hidden_size,
        full.projector,
    ).to(dtype)
    model.projector.apply(model._init_weights)
    model.generation_config = loaded.generation_config
    return model.eval()


def save_tower(model: LMMForConditionalGeneration, directory: str | os.PathLike[str]) -> None:
    """Writes the `OVEncoder` of a model as a separate checkpoint, a language-aligned encoder.

    It has the blocks that the model uses, and with `select_layer` None the final norm. `OVEncoder.from_pretrained`
    reads it; its last_hidden_state are the features that were projected. It has no pooling head: with a final norm the
    head is initialised anew, with a warning, and without one `use_head` is false.

    Raises:
        ValueError: the model has another tower.
    """
    tower = model.vision_tower
    if not isinstance(tower, towers.OVTower):
        raise ValueError(f"only an OVEncoder is saved on its own, not a {type(tower).__name__}")
    norm = {f"layernorm_post.{name}": value for name, value in tower.norm.state_dict().items()}
    layers = len(tower.model.encoder.layers)
    config = replace(tower.model.config.encoder_config(), num_hidden_layers=layers, use_head=bool(norm))
    state = {name: value.detach().contiguous() for name, value in (tower.model.state_dict() | norm).items()}
    root = Path(directory)
    root.mkdir(parents=True, exist_ok=True)
    config.save(root)
    save_file(state, root / WEIGHTS_FILE, metadata={"format": "pt"})


def read_vision_config(directory: str | os.PathLike[str]) -> PretrainedConfig:
    """The configuration of the tower in a directory; that of the vision part of a whole model."""
    file = Path(directory) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: towers are read from local directories only")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(part := values.get("vision_config"), dict):
            values = {"model_type": _TOWER_OF.get(values.get("model_type")), **part}
        return tower_configs.make(values)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: {error}") from error


def load_tower(directory: str | os.PathLike[str], config: PretrainedConfig, dtype: torch.dtype) -> Any:
    """The tower's own model, with the weights of the directory."""
    if isinstance(config, Siglip2VisionConfig):
        model = Siglip2VisionModel._from_config(config).to(dtype)
        # transformers 4 has the layers one module deeper.
        _load_part(Path(directory), getattr(model, "vision_model", model), ("vision_model.", ""), "head.")
        return model
    if isinstance(config, Qwen3VLVisionConfig):
        model = Qwen3VLVisionModel._from_config(config).to(dtype)
        _load_part(Path(directory), model, ("model.visual.", "visual.", ""), "deepstack_merger_list.")
        return model
    model = OneVisionEncoderModel._from_config(config).to(dtype)
    model.load_state_dict(OVEncoder.from_pretrained(directory, dtype=dtype).state_dict())
    return model


def _load_part(directory: Path, model: nn.Module, prefixes: tuple[str, ...], unused: str) -> None:
    """Gives a model its weights from a checkpoint, of which it may be a part under one of `prefixes`.

    Tensors of other parts are not read. Raises ValueError where one is missing or of another shape; those whose names
    begin with `unused` may be.
    """
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    state: dict[str, torch.Tensor] = {}
    wrong = []
    for file in weight_files(directory):
        with safetensors.safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 (not a mapping)
                names = (key[len(prefix) :] for prefix in prefixes if key.startswith(prefix))
                name = next((name for name in names if name in expected), None)
                if name is None:
                    continue
                if tuple(tensors.get_slice(key).get_shape()) == tuple(expected[name]):
                    state[name] = tensors.get_tensor(key)
                elif not name.startswith(unused):
                    wrong.append(name)
    missing = sorted(name for name in expected.keys() - state.keys() - set(wrong) if not name.startswith(unused))
    if missing or wrong:
        raise ValueError(
            f"the tensors in {directory} do not fit its config.json: {len(missing)} are missing {missing[:4]}, "
            f"{len(wrong)} are of another shape {sorted(wrong)[:4]}"
        )
    model.load_state_dict(state, strict=False)
