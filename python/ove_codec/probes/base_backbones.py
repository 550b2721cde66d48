"""Frozen backbones behind one interface: clips in, token features out; `backbones.load_backbone` loads them."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ove_codec.models import OVEncoder, frame_tokens, pack
from ove_codec.models.inputs import SLOTS
from ove_codec.probes.families import PATCHES_PER_FRAME, family
from ove_codec.probes.model_files import directory_digest, preprocessing
from ove_codec.probes.reading import CodecRequest, FrameRequest
from ove_codec.tokenizer import Tokens

_FRAMES_AT_ONCE = 64

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


def frame_embedding(frames: int, hidden_size: int) -> Tensor:
    """(frames, hidden) float32: channels 2i and 2i + 1 are sin and cos of frame * 10000^(-2i / hidden)."""
    frequencies = 10000.0 ** (-torch.arange(0, hidden_size, 2) / hidden_size)
    angles = torch.arange(frames)[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)[:, :hidden_size]
