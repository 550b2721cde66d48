"""Clips as backbones take them: uniformly sampled frames, or the patches that the codec marks."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

import ove_codec
from ove_codec._pixels import PixelSource
from ove_codec._renames import renamed
from ove_codec._sampling import shown_between
from ove_codec.models import temporal_slots
from ove_codec.probes.manifest import WHOLE, LabelledClip, Segment
from ove_codec.tokenizer import Color

_DECODED_BYTES = 1 << 27  # of whole frames that are in memory at a time
# Errors of the machine, not of the clip.
_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
_GRAY = (0.299, 0.587, 0.114)  # BT.601


class UnreadableClip(Exception):
    """A clip without what a probe needs; as what `ove_codec` raises for damaged ones."""


@dataclass(frozen=True)
class FrameRequest:
    """Uniformly sampled frames on a square canvas: shorter side to `side`, centre crop.

    Attributes:
        frames: how many.
        side: of the canvas in samples.
        mean, std: of R, G and B in [0, 1].
        interpolation: "bicubic" or "bilinear", antialiased, on 8-bit samples.
    """

    frames: int
    side: int
    mean: Color
    std: Color
    interpolation: str = "bicubic"


@dataclass(frozen=True)
class CodecRequest:
    """The patches that `ove_codec.select` keeps.

    Attributes:
        patches: budget of the clip.
        grid: patches along a side of the canvas.
        patch_size: side of a patch in samples.
        mean, std: of R, G and B in [0, 1].
        preset: of the selection.
        params: overrides of its parameters, as pairs.
    """

    patches: int
    grid: int
    patch_size: int
    mean: Color
    std: Color
    preset: str = "probe"
    params: tuple[tuple[str, Any], ...] = ()


def view_rng(key: str, view: int) -> np.random.Generator | None:
    """The chance of a view of the clip of this key, the same in every run; None for view 0, which has none."""
    if view == 0:
        return None
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([view, int.from_bytes(digest[:8], "little")])


def sample_segments(count: int, wanted: int, rng: np.random.Generator | None = None) -> npt.NDArray[np.int64]:
    """Numbers of `wanted` frames of `count`: one from each of as many equal segments, its middle or a random one.

    A clip with fewer frames gives them all, then its last one again.
    """
    if count < wanted:
        return np.minimum(np.arange(wanted), count - 1)
    bounds = np.arange(wanted + 1) * count // wanted
    first, length = bounds[:-1], np.diff(bounds)
    offset = length // 2 if rng is None else rng.integers(length)
    return np.asarray(first + offset, np.int64)


def read_frames(
    path: str | os.PathLike[str],
    wanted: FrameRequest,
    rng: np.random.Generator | None = None,
    segment: Segment = WHOLE,
) -> tuple[Tensor, Tensor]:
    """Frames of a clip of any codec that libavcodec knows.

    Args:
        path: of the video.
        wanted: which frames, and on which canvas.
        rng: chance of the offsets and the colours; the plain view where None.
        segment: the part of the video that is the clip.

    Returns:
        (T, 3, side, side) float32 frames, normalised, and (T,) int64 time positions 0..63.

    Raises:
        ove_codec.Error, OSError: the clip cannot be read.
        UnreadableClip: it has no frames, or none is shown in the segment.
    """
    pixels = PixelSource(os.fspath(path), 1, None)
    if len(pixels.packets) == 0:
        raise UnreadableClip(f"{os.fspath(path)}: it has no frames")
    try:
        shown = shown_between(np.asarray(pixels.video._table.pts, np.float64), *segment)
    except ValueError as error:
        raise UnreadableClip(f"{os.fspath(path)}: {error}") from None
    count = len(shown)
    places = sample_segments(count, wanted.frames, rng)
    ids = shown[places]
    info = pixels.video.info
    at_once = max(1, _DECODED_BYTES // max(1, 3 * 4 * info["width"] * info["height"]))
    canvases = []
    for start in range(0, len(ids), at_once):
        part = ids[start : start + at_once]
        raw = ove_codec.frames(pixels.video, part, resize="native", normalize=False, threads=1)
        canvases.append(on_canvas(raw, wanted.side, wanted.interpolation))
    small = torch.cat(canvases).float() / 255
    if rng is not None:
        small = jitter_colors(small, rng)
    return _normalised(small, wanted.mean, wanted.std), temporal_slots(places, count)


def read_codec(
    path: str | os.PathLike[str],
    wanted: CodecRequest,
    rng: np.random.Generator | None = None,
    segment: Segment = WHOLE,
) -> tuple[Tensor, Tensor]:
    """The selected patches of an HEVC or H.264 clip.

    Args:
        path: of the video.
        wanted: how many patches, and how they are chosen.
        rng: chance of the colours; the plain view where None.
        segment: the part of the video that is the clip; instead of `start` and `end` of the parameters.

    Returns:
        (N, 3*p*p) float32 patch rows, normalised, and (N, 3) int64 positions: slot of the picture, row, column.

    Raises:
        ove_codec.Error, OSError: the clip cannot be read, or is neither HEVC nor H.264.
        UnreadableClip: it has no pictures, none is shown in the segment, or no patch of it is kept.
    """
    video = ove_codec.open(os.fspath(path), threads=1)
    if len(video) == 0:
        raise UnreadableClip(f"{os.fspath(path)}: it has no pictures")
    params = dict(wanted.params)
    if segment != WHOLE:
        params["start"], params["end"] = segment
        try:
            shown_between(np.asarray(video._table.pts, np.float64), *segment)
        except ValueError as error:
            raise UnreadableClip(f"{os.fspath(path)}: {error}") from None
    selection = ove_codec.select(
        video,
        wanted.preset,
        budget=wanted.patches,
        size=wanted.grid * wanted.patch_size,
        patch_size=wanted.patch_size,
        **params,
    )
    if len(selection) == 0:
        raise UnreadableClip(f"{os.fspath(path)}: no patch is selected")
    plain: Color = (0.0, 0.0, 0.0)
    tokens = ove_codec.tokenize(video, selection, threads=1, mean=plain, std=(1.0, 1.0, 1.0))
    colors = tokens.patches.unflatten(1, (3, -1))
    if rng is not None:
        colors = jitter_colors(colors, rng)
    return _normalised(colors, wanted.mean, wanted.std).flatten(1), tokens.positions


def read_clip(clip: LabelledClip, wanted: FrameRequest | CodecRequest, view: int) -> tuple[Tensor, Tensor] | str:
    """A clip of a manifest as `read_frames` or `read_codec` gives it; or why it cannot be read.

    Raises OSError for what is wrong with the machine (no memory, too many open files) rather than with the clip.
    """
    read: Any = read_codec if isinstance(wanted, CodecRequest) else read_frames
    try:
        found: tuple[Tensor, Tensor] = read(clip.path, wanted, view_rng(clip.key, view), clip.segment)
    except (ove_codec.Error, OSError, UnreadableClip) as error:
        if getattr(error, "errno", None) in _MACHINE:
            raise
        return " ".join(str(error).split()) or type(error).__name__
    return found


def jitter_colors(rgb: Tensor, rng: np.random.Generator) -> Tensor:
    """Colours of a clip, (N, 3, ...) in [0, 1], changed alike: brightness, contrast and saturation by 0.6 to 1.4.

    Contrast turns about the clip's mean luma, saturation about the luma of each sample; in one clip of ten R and B are
    exchanged.
    """
    brightness, contrast, saturation = rng.uniform(0.6, 1.4, 3).tolist()
    swap = rng.random() < 0.1

    def luma(x: Tensor) -> Tensor:
        weights = torch.tensor(_GRAY, dtype=x.dtype).reshape(1, 3, *(1,) * (x.ndim - 2))
        return (x * weights).sum(1, keepdim=True)

    rgb = (rgb * brightness).clamp(0, 1)
    rgb = torch.lerp(luma(rgb).mean(), rgb, contrast).clamp(0, 1)
    rgb = torch.lerp(luma(rgb), rgb, saturation).clamp(0, 1)
    return rgb.flip(1) if swap else rgb


def on_canvas(frames: Tensor, side: int, interpolation: str) -> Tensor:
    """uint8 frames (T, 3, H, W), shorter side to `side`, the other rounded down, then the centre cut out."""
    height, width = frames.shape[-2:]
    shorter = min(height, width)
    size = (height * side // shorter, width * side // shorter)
    if size != (height, width):
        frames = F.interpolate(frames, size, mode=interpolation, antialias=True, align_corners=False)
    top, left = ((length - side) // 2 for length in size)
    return frames[..., top : top + side, left : left + side]


def _normalised(rgb: Tensor, mean: Color, std: Color) -> Tensor:
    shape = (1, 3, *(1,) * (rgb.ndim - 2))
    return (rgb - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape)


__getattr__ = renamed(__name__, FrameInput="FrameRequest", CodecInput="CodecRequest")
