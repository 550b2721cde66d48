"""Backbones of single images: vision towers of transformers and vision transformers of timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ove_codec.models.pixels import patchify
from ove_codec.probes.base_backbones import ImageBackbone
from ove_codec.probes.model_files import refuse_missing
from ove_codec.probes.optional import need

_VISION_CLASSES = {
    "clip": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",
    "siglip2": "Siglip2VisionModel",
    "metaclip_2": "MetaClip2VisionModel",
    "aimv2": "Aimv2VisionModel",
    "dinov3_vit": "DINOv3ViTModel",
}


class TransformersBackbone(ImageBackbone):
    """A vision tower of transformers; its `last_hidden_state` is taken as it is."""

    def __init__(
        self, name: str, directory: Path, config: dict[str, Any], device: torch.device, precision: str
    ) -> None:
        super().__init__(name, directory, config, device, precision)
        kind = config["model_type"].removesuffix("_vision_model")
        transformers, model_class = need("transformers", self.family.title), _VISION_CLASSES[kind]
        if not hasattr(transformers, model_class):
            raise ModuleNotFoundError(
                f"transformers {transformers.__version__} has no {model_class}: pip install -U 'ove_codec[probe]'"
            )
        model, loaded = getattr(transformers, model_class).from_pretrained(
            directory, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        refuse_missing(directory, [*loaded["missing_keys"], *loaded["mismatched_keys"]])
        self.model: Any = model.float().to(device).eval().requires_grad_(False)
        self.kind = kind
        self.hidden_size = model.config.hidden_size
        self.patch_size = model.config.patch_size
        self._options: dict[str, Any] = {}

    def _prepare(self, side: int) -> None:
        own = getattr(self.model.config, "image_size", side)
        if self.kind in ("clip", "siglip", "metaclip_2"):
            self._options = {"interpolate_pos_encoding": True} if side != own else {}
        elif self.kind == "aimv2" and not self.model.config.is_native and side != own:
            raise ValueError(
                f"this AIMv2 takes only frames of {own} x {own} samples, {(own // self.patch_size) ** 2} patches; got "
                f"{side} x {side}"
            )

    def _features(self, frames: Tensor) -> Tensor:
        if self.kind == "siglip2":  # NaFlex: patches in rows, samples of a patch with the channel last
            p = self.patch_size
            patches = patchify(frames[:, :, None], p).unflatten(2, (3, p * p)).mT.flatten(2)
            side = frames.shape[-1] // p
            shapes = torch.full((len(frames), 2), side, device=frames.device)
            mask = torch.ones(patches.shape[:2], dtype=torch.int32, device=frames.device)
            out = self.model(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=shapes)
        else:
            out = self.model(pixel_values=frames, **self._options)
        features: Tensor = out.last_hidden_state
        return features


class TimmBackbone(ImageBackbone):
    """A vision transformer of timm; its `forward_features` is taken as it is."""

    def __init__(
        self, name: str, directory: Path, config: dict[str, Any], device: torch.device, precision: str
    ) -> None:
        super().__init__(name, directory, config, device, precision)
        timm = need("timm", "a model of timm", "timm")
        from safetensors.torch import load_file

        arguments = {**config.get("model_args", {}), "num_classes": 0}
        model = timm.create_model(config["architecture"], pretrained=False, **arguments)
        file = directory / "model.safetensors"
        if not file.is_file():
            raise FileNotFoundError(f"{directory} holds no model.safetensors")
        found = model.load_state_dict(load_file(file), strict=False)
        refuse_missing(directory, found.missing_keys)
        self.model: Any = model.float().to(device).eval().requires_grad_(False)
        if not hasattr(model, "patch_embed") or not hasattr(model, "set_input_size"):
            raise ValueError(
                f"{directory}: {config['architecture']} is not a vision transformer that takes several sizes"
            )
        self.hidden_size = model.num_features
        self.patch_size = model.patch_embed.patch_size[0]

    def _prepare(self, side: int) -> None:
        self.model.set_input_size(img_size=(side, side))

    def _features(self, frames: Tensor) -> Tensor:
        features: Tensor = self.model.forward_features(frames)
        return features
