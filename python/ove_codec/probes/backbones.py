"""Frozen backbones behind one interface: clips in, token features out.

Weights come from local directories only: those of transformers (`config.json`, safetensors,
`preprocessor_config.json`), of timm (`config.json` with `architecture` and `pretrained_cfg`, `model.safetensors`), and
of the OneVision-Encoder.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ove_codec.models import OVEncoder, frame_tokens, pack
from ove_codec.models.config import read_json_object
from ove_codec.models.inputs import SLOTS
from ove_codec.models.pixels import patchify
from ove_codec.probes.families import PATCHES_PER_FRAME, Family, family
from ove_codec.probes.optional import need
from ove_codec.probes.reading import CodecRequest, FrameRequest
from ove_codec.tokens import CLIP_MEAN, CLIP_STD, Color, Tokens

_FRAMES_AT_ONCE = 64
_RESAMPLING = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}  # PIL's numbers, timm's names
_VISION_CLASSES = {
    "clip": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",
    "siglip2": "Siglip2VisionModel",
    "metaclip_2": "MetaClip2VisionModel",
    "aimv2": "Aimv2VisionModel",
    "dinov3_vit": "DINOv3ViTModel",
}

Clip = tuple[Tensor, Tensor]


class Backbone(ABC):
    """A frozen model on a device.

    Attributes:
        name: as in `families.BACKBONES`.
        family: the row of the tables.
        hidden_size: channels of the features.
        patch_size: side of a patch in samples.
        mean, std, interpolation: of its preprocessing.
        about: what the features depend on: the kind of model and a checksum of its files.
    """

    def __init__(
        self, name: str, directory: Path, config: dict[str, Any], device: torch.device, precision: str
    ) -> None:
        self.name, self.family = name, family(name)
        self.device, self.precision = device, precision
        self.mean, self.std, self.interpolation = preprocessing(directory, optional=self.takes_packed_tokens)
        self.about: dict[str, Any] = {
            "model": config.get("model_type") or config.get("architecture"),
            "files": directory_digest(directory),
            "precision": precision,
        }
        self.hidden_size = 0
        self.patch_size = 0

    takes_packed_tokens = False

    def input_for(
        self,
        budget: int,
        *,
        patches_per_frame: int = PATCHES_PER_FRAME,
        preset: str = "probe",
        params: dict[str, Any] | None = None,
    ) -> FrameRequest | CodecRequest:
        """What a clip has to be read as for a budget of patches; `preset` and `params` are for the codec's patches.

        Raises:
            ValueError: the budget is no whole number of frames, or the model cannot take frames of that size.
        """
        grid = math.isqrt(patches_per_frame)
        if grid < 1 or grid * grid != patches_per_frame:
            raise ValueError(f"patches_per_frame must be a square number, got {patches_per_frame}")
        if budget < 1:
            raise ValueError(f"budget must be positive, got {budget}")
        if self.family.takes == "codec":
            chosen = tuple(sorted((params or {}).items()))
            return CodecRequest(budget, grid, self.patch_size, self.mean, self.std, preset, chosen)
        if budget % patches_per_frame:
            raise ValueError(
                f"budget must be a multiple of the {patches_per_frame} patches of a frame for {self.family.title}, "
                f"got {budget}"
            )
        self._prepare(grid * self.patch_size)
        frames = budget // patches_per_frame
        return FrameRequest(frames, grid * self.patch_size, self.mean, self.std, self.interpolation)

    @abstractmethod
    def _prepare(self, side: int) -> None:
        """Makes the model ready for frames of this side; ValueError if it cannot take them."""

    @abstractmethod
    def encode(self, clips: Sequence[Clip]) -> list[Tensor]:
        """Features (L, hidden) of every clip, as `read_frames` or `read_codec` gave it; on the device."""

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


class OVBackbone(Backbone):
    """The OneVision-Encoder, on frames or on the codec's patches; several clips are packed into one sequence."""

    takes_packed_tokens = True

    def __init__(
        self, name: str, directory: Path, config: dict[str, Any], device: torch.device, precision: str
    ) -> None:
        super().__init__(name, directory, config, device, precision)
        self.model = OVEncoder.from_pretrained(directory).to(device).requires_grad_(False)
        self.hidden_size = self.model.config.hidden_size
        self.patch_size = self.model.config.patch_size

    def _prepare(self, side: int) -> None:
        pass  # it takes any grid

    @torch.inference_mode()
    def encode(self, clips: Sequence[Clip]) -> list[Tensor]:
        batch = pack([self._tokens(*clip) for clip in clips])
        with self.autocast(), warnings.catch_warnings():
            # Of the pooling head's norm, whose result is not used.
            warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
            out = self.model(batch.patches, batch.positions, batch.cu_seqlens)
        return list(out.last_hidden_state.split(batch.cu_seqlens.diff().tolist()))

    def _tokens(self, pixels: Tensor, places: Tensor) -> Tokens:
        """Tokens of whole frames with their slots, or of patches with their positions."""
        if pixels.ndim == 4:
            return frame_tokens(pixels, self.patch_size, frame_ids=places, num_frames=SLOTS)
        return Tokens(pixels, places, torch.tensor([0, len(pixels)], dtype=torch.int32))


class ImageBackbone(Backbone):
    """A model of single images: features of every frame, plus a sin-cos embedding of its number, one after another."""

    @torch.inference_mode()
    def encode(self, clips: Sequence[Clip]) -> list[Tensor]:
        counts = [len(frames) for frames, _ in clips]
        frames = torch.cat([frames for frames, _ in clips])
        parts = []
        for part in frames.split(_FRAMES_AT_ONCE):
            with self.autocast():
                parts.append(self._features(part.to(self.device)).float())
        features = torch.cat(parts)
        if features.ndim != 3 or features.shape[-1] != self.hidden_size:
            raise ValueError(
                f"{self.family.title} gives features {tuple(features.shape)}, not (B, L, {self.hidden_size})"
            )
        return [
            (clip + frame_embedding(len(clip), self.hidden_size).to(clip)[:, None]).flatten(0, 1)
            for clip in features.split(counts)
        ]

    @abstractmethod
    def _features(self, frames: Tensor) -> Tensor:
        """(B, tokens, hidden) of normalised frames (B, 3, S, S); class and register tokens are kept."""


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
        _refuse_missing(directory, [*loaded["missing_keys"], *loaded["mismatched_keys"]])
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
                f"this AIMv2 takes frames of {own} x {own} samples, {(own // self.patch_size) ** 2} patches, only; got "
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
        _refuse_missing(directory, found.missing_keys)
        self.model: Any = model.float().to(device).eval().requires_grad_(False)
        if not hasattr(model, "patch_embed") or not hasattr(model, "set_input_size"):
            raise ValueError(f"{directory}: {config['architecture']} is no vision transformer that takes other sizes")
        self.hidden_size = model.num_features
        self.patch_size = model.patch_embed.patch_size[0]

    def _prepare(self, side: int) -> None:
        self.model.set_input_size(img_size=(side, side))

    def _features(self, frames: Tensor) -> Tensor:
        features: Tensor = self.model.forward_features(frames)
        return features


def load_backbone(
    name: str,
    directory: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> Backbone:
    """Loads a backbone from a local directory; nothing is downloaded, and only safetensors are read.

    Args:
        name: one of `families.BACKBONES`.
        directory: of its files.
        device: to run it on.
        precision: "float32", or "bfloat16" through autocast.

    Raises:
        FileNotFoundError: the directory or a file in it is missing.
        ModuleNotFoundError: transformers or timm is.
        ValueError: the files are of another kind of model, or lack weights.
    """
    wanted = family(name)
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision must be float32 or bfloat16, got {precision!r}")
    root = Path(directory)
    config = _json(root / "config.json") if root.is_dir() else None
    if config is None:
        raise FileNotFoundError(
            f"{root} is no directory with a config.json; weights are read from local directories only, so download "
            f"them first"
        )
    make = _kind(root, config, wanted)
    return make(name, root, config, torch.device(device), precision)


def _kind(root: Path, config: dict[str, Any], wanted: Family) -> Callable[..., Backbone]:
    """The class for the files of a directory, after checking that they are of the family."""
    found = config.get("model_type")
    if "architecture" in config and "pretrained_cfg" in config:
        if "onevision_encoder" in wanted.model_types:
            raise ValueError(f"{root} holds a model of timm, but {wanted.title} is a model of its own")
        return TimmBackbone
    if found not in wanted.model_types:
        raise ValueError(
            f"{root} holds a model of type {found!r}; {wanted.title} is {' or '.join(map(repr, wanted.model_types))}"
        )
    return OVBackbone if found == "onevision_encoder" else TransformersBackbone


def preprocessing(directory: Path, optional: bool = False) -> tuple[Color, Color, str]:
    """Mean and deviation of R, G and B, and the interpolation, that a directory's files tell.

    Read from `preprocessor_config.json`, the image processor in `processor_config.json`, or timm's `pretrained_cfg`.
    Sizes are not taken from there, because the patch budget decides on them. With `optional`, CLIP's values where there
    is no file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a value is missing or not known.
    """
    config = _json(directory / "config.json") or {}
    processor = _json(directory / "processor_config.json") or {}
    found = _json(directory / "preprocessor_config.json") or processor.get("image_processor")
    if found is None and "pretrained_cfg" in config:
        given = config["pretrained_cfg"]
        found = {"image_mean": given.get("mean"), "image_std": given.get("std"), "resample": given.get("interpolation")}
    if found is None:
        if optional:
            return CLIP_MEAN, CLIP_STD, "bicubic"
        raise FileNotFoundError(
            f"{directory} holds no preprocessor_config.json: mean and deviation of the model's input are not known"
        )
    values = []
    for name in ("image_mean", "image_std"):
        value = found.get(name)
        if not isinstance(value, list | tuple) or len(value) != 3 or not all(isinstance(v, int | float) for v in value):
            raise ValueError(f"{directory}: {name} must be three numbers, got {value!r}")
        values.append(tuple(float(v) for v in value))
    if min(values[1]) <= 0:
        raise ValueError(f"{directory}: image_std must be positive, got {values[1]}")
    resample = found.get("resample", 3)
    if resample not in _RESAMPLING:
        raise ValueError(f"{directory}: resample must be 2 (bilinear) or 3 (bicubic), got {resample!r}")
    return values[0], values[1], _RESAMPLING[resample]  # type: ignore[return-value]


def frame_embedding(frames: int, hidden_size: int) -> Tensor:
    """(frames, hidden) float32: channels 2i and 2i + 1 are sin and cos of frame * 10000^(-2i / hidden)."""
    frequencies = 10000.0 ** (-torch.arange(0, hidden_size, 2) / hidden_size)
    angles = torch.arange(frames)[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)[:, :hidden_size]


def directory_digest(directory: Path) -> str:
    """SHA-256 of the names and contents of a model's JSON and safetensors files."""
    digest = hashlib.sha256()
    for file in sorted(directory.iterdir()):
        if file.suffix in (".json", ".safetensors") and file.is_file():
            own = hashlib.sha256()
            with file.open("rb") as content:
                while block := content.read(1 << 20):
                    own.update(block)
            digest.update(f"{file.name}\0{own.hexdigest()}\n".encode())
    return digest.hexdigest()


def _refuse_missing(directory: Path, keys: Sequence[Any]) -> None:
    names = sorted(str(key) for key in keys)
    if names:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise ValueError(f"{directory} lacks weights, or they are of another shape: {', '.join(names[:8])}{more}")


def _json(file: Path) -> dict[str, Any] | None:
    """The object of a JSON file; None where there is no file."""
    return read_json_object(file) if file.is_file() else None
