"""Pixels of a video on the patch grid: normalised patch rows of a selection, and plain sampled frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ove_codec import _core
from ove_codec._backend import backend_for
from ove_codec._colors import CLIP_MEAN as CLIP_MEAN
from ove_codec._colors import CLIP_STD as CLIP_STD
from ove_codec._colors import Color as Color
from ove_codec._jobs import numbered
from ove_codec._pixels import PixelSource
from ove_codec._reading import Places
from ove_codec._sampling import at_rate
from ove_codec.limits import Limits
from ove_codec.selection import Selection
from ove_codec.video import Source, Video

if TYPE_CHECKING:
    import torch


class PaddedTokens(NamedTuple):
    """Patches of B clips, each filled up to N rows.

    Attributes:
        patches: (B, N, 3*p*p) tensor, zeros in rows that are filled up; see ``Tokens``.
        mask: (B, N) bool tensor, True where a row is a patch.
        positions: (B, N, 3) int64 tensor: slot of the frame, patch row, patch column.
    """

    patches: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor


@dataclass(frozen=True, repr=False)
class Tokens:
    """Patches of one or more clips, packed one clip after the other.

    Attributes:
        patches: (N, 3*p*p) tensor, each row is a patch (channel, row, column), flattened like the weight of a patch
            embedding; R'G'B' as coded, scaled to [0, 1], normalised with mean and std.
        positions: (N, 3) int64 tensor: slot of the frame in its clip, patch row, patch column.
        cu_seqlens: (clips + 1,) int32 tensor: clip i has the rows cu_seqlens[i] to cu_seqlens[i + 1].
    """

    patches: torch.Tensor
    positions: torch.Tensor
    cu_seqlens: torch.Tensor

    def __len__(self) -> int:
        return len(self.patches)

    def __repr__(self) -> str:
        clips, (rows, width) = len(self.cu_seqlens) - 1, self.patches.shape
        return (
            f"Tokens({rows} patches of {width} values in {clips} clip{'s' if clips != 1 else ''}, "
            f"{str(self.patches.dtype).removeprefix('torch.')} on {self.patches.device})"
        )

    def padded(self, length: int | None = None) -> PaddedTokens:
        """The tokens with one row per clip, filled with zeros, for models without packed batches.

        Args:
            length: N, the number of tokens per clip; that of the longest clip if None.

        Raises:
            ValueError: a clip has more than `length` tokens.
        """
        import torch

        counts = self.cu_seqlens.diff()
        longest = int(counts.max()) if len(counts) else 0
        length = longest if length is None else length
        if length < longest:
            raise ValueError(f"length must be at least {longest}, the token count of the longest clip, not {length}")
        mask = torch.arange(length, device=counts.device) < counts[:, None]
        patches = self.patches.new_zeros(*mask.shape, self.patches.shape[1])
        positions = self.positions.new_zeros(*mask.shape, 3)
        patches[mask], positions[mask] = self.patches, self.positions
        return PaddedTokens(patches, mask, positions)

    def to(self, device: Any) -> Tokens:
        """The same tokens on another device."""
        return Tokens(self.patches.to(device), self.positions.to(device), self.cu_seqlens.to(device))


def tokenize(
    source: Source | Video | Sequence[Source | Video],
    selection: Selection | Sequence[Selection],
    *,
    device: Any = None,
    decoder: str = "cpu",
    dtype: torch.dtype | str | None = None,
    threads: int = 0,
    limits: Limits | None = None,
    on_damage: str = "raise",
    mean: Color = CLIP_MEAN,
    std: Color = CLIP_STD,
) -> Tokens:
    """The selected patches of a video, read from its pixels.

    Only pictures with selected patches and their references are decoded, and only the selected patches become R'G'B'.
    Every plane is interpolated bilinearly (half-pixel centres, two taps per axis, borders repeated) at the place that
    `selection.geometry` gives, including rotation. Colour matrix and range are the stream's (if unspecified: BT.601,
    limited, as in FFmpeg's libswscale). Outside the picture the canvas is black.

    Args:
        source: path, bytes, binary file object or opened Video; or a list of them, with a list of selections of the
            same length, for one packed batch.
        selection: what `select` returned for the source.
        device: where patches are computed: None or "cpu"; or a GPU as in PyTorch or CuPy: "cuda", a device, or a
            stream on which all work is queued. For selections on a GPU, this waits until they are known, to find the
            pictures to decode.
        decoder: with a GPU: "cpu", which copies only the rows with selected patches to the GPU; or "nvdec", if
            libavcodec has it, whose pictures stay on the GPU. The CPU decodes what NVDEC does not support.
        dtype: of the patches, a floating type of PyTorch or its name; float32 where None.
        threads: threads of the pixel decoder; 0 uses all cores.
        limits: of what `source` may ask for, as with ``ove_codec.open``; an opened Video has its own.
        on_damage: "skip" for a selection that was made so.
        mean, std: of R, G and B in [0, 1]; CLIP's by default.

    Raises:
        ValueError: the selection does not match the video, the lists differ in length, or dtype is not a
            floating-point type.
        DecodeError: the source cannot be opened or decoded; names the file, or its number in a list, and the byte
            position.
        UnsupportedStreamError: the video's size changes between selected pictures, or the pixel format is not
            supported.
        RuntimeError: no kernel can run on the device; the message says why.
    """
    from ove_codec.ops.inputs import float_dtype

    kind = float_dtype(dtype)
    sources: list[Any] = list(source) if isinstance(source, list | tuple) else [source]
    selections: list[Any] = list(selection) if isinstance(selection, list | tuple) else [selection]
    if strays := {type(one).__name__ for one in selections if not hasattr(one, "positions")}:
        raise TypeError(f"selection must be what ove_codec.select returned, not {', '.join(sorted(strays))}")
    if len(sources) != len(selections) or not sources:
        raise ValueError(f"source and selection must have the same length, not {len(sources)} and {len(selections)}")
    backend = backend_for(device)
    if decoder not in ("cpu", "nvdec") or decoder not in backend.decoders:
        raise ValueError(f"decoder must be 'cpu', or 'nvdec' if device is a GPU, not {decoder!r}")
    with backend.on():
        found = [s.positions if isinstance(s.positions, np.ndarray) else s.positions_on_cpu() for s in selections]
        positions = [array.reshape(-1, 3) for array in found]
        chosen = []
        for number, one in enumerate(zip(sources, selections, positions, strict=True)):
            with numbered(number if len(sources) > 1 else None):
                chosen.append(places(PixelSource(one[0], threads, limits, on_damage), *one[1:], mean, std))
        if any(c.patch_size != chosen[0].patch_size for c in chosen):
            raise ValueError("all selections of a batch must have the same patch_size")
        return Tokens(
            backend.patches(chosen, decoder, kind),
            backend.tensor(np.concatenate(positions).astype(np.int64)),
            backend.tensor(np.cumsum([0, *map(len, positions)], dtype=np.int32)),
        )


def frames(
    source: Source | Video,
    frame_ids: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    *,
    num_frames: int | None = None,
    fps: float | None = None,
    size: int = 224,
    resize: str = "crop",
    normalize: bool = True,
    dtype: torch.dtype | str | None = None,
    threads: int = 0,
    limits: Limits | None = None,
    on_damage: str = "raise",
    mean: Color = CLIP_MEAN,
    std: Color = CLIP_STD,
) -> torch.Tensor:
    """Whole frames of a video of any codec that libavcodec decodes, scaled and oriented as in `tokenize`.

    Args:
        source: path, bytes, binary file object or opened Video.
        frame_ids: numbers of the frames in display order; negative ones count from the end.
        num_frames: instead, this many frames from the first to the last at equal distances (np.linspace, truncated);
            all frames of a shorter clip.
        fps: instead, this many frames per second, at equal steps of time from the first frame on, each once. If all
            three are None, all frames.
        size: side of the square canvas; `resize` "native" ignores it.
        resize: "crop", "letterbox", "stretch" or "native", as for `select`.
        normalize: with mean and std, as dtype; otherwise uint8, 0 to 255.
        dtype: of normalised frames, a floating type of PyTorch or its name; float32 where None.
        threads: threads of the pixel decoder; 0 uses all cores.
        limits: of what `source` may ask for, as with ``ove_codec.open``; an opened Video has its own.
        on_damage: "skip" to leave out the frames that damage costs of an HEVC or H.264 video, as ``ove_codec.open``
            does; numbers then count those that are left.

    Returns:
        (T, 3, H, W) tensor of R'G'B' frames, in the requested order.

    Raises:
        ValueError: a frame that is not in the video, no frame, more than one of frame_ids, num_frames and fps, or an
            `fps` that is not positive.
        DecodeError, UnsupportedStreamError: as in `tokenize`.
    """
    import torch

    from ove_codec.ops.inputs import float_dtype

    kind = float_dtype(dtype)
    if not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"size must be a positive whole number, not {size!r}")
    if sum(choice is not None for choice in (frame_ids, num_frames, fps)) > 1:
        raise ValueError("give only one of frame_ids, num_frames and fps")
    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(f"fps must be a positive number, not {fps}")
    video = PixelSource(source, threads, limits, on_damage)
    if fps is not None and len(video.packets):
        frame_ids = at_rate(np.asarray(video.video._table.pts, np.float64), fps)
    ids = _frame_ids(len(video.packets), frame_ids, num_frames)
    unique, back = np.unique(ids, return_inverse=True)
    request = {**video.request(unique), "resize": resize, "size": size}
    if normalize:
        out = torch.from_numpy(_core.gather_frames(**request, mean=mean, std=std))
    else:
        out = torch.from_numpy(_core.gather_byte_frames(**request))
    if len(unique) != len(ids) or np.any(np.diff(back) != 1):
        out = out[torch.from_numpy(back)]
    return out.to(kind) if normalize else out


def places(video: PixelSource, selection: Selection, at: NDArray[Any], mean: Color, std: Color) -> Places:
    """The frames that hold the patches of a selection, which lie `at` positions (N, 3), all checked."""
    if selection.on_damage == "skip" != video.video.on_damage:
        raise ValueError(
            f"{video.video.name}: the selection counts only the pictures that damage has left: pass on_damage='skip' "
            "here too, or the video that was opened with it"
        )
    positions = np.asarray(at, np.int32)
    frame_ids = np.asarray(selection.frame_ids, np.int64)
    slots = positions[:, 0]
    if len(slots) and (slots.min() < 0 or slots.max() >= len(frame_ids) or np.any(np.diff(slots) < 0)):
        raise ValueError("the first column of selection.positions must hold ascending indices into frame_ids")
    if len(frame_ids) and (frame_ids.min() < 0 or frame_ids.max() >= len(video.packets)):
        raise ValueError(f"selection.frame_ids go beyond the {len(video.packets)} frames of this video")
    used, counts = np.unique(slots, return_counts=True)
    geometry = selection.geometry
    request = {
        **video.request(frame_ids[used]),
        "resize": geometry.resize,
        "size": geometry.size,
        "patch_size": geometry.patch_size,
        "source_size": (geometry.source_width, geometry.source_height),
        "mean": mean,
        "std": std,
    }
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Places(request, starts, np.ascontiguousarray(positions[:, 1:]))


def _frame_ids(
    count: int, frame_ids: Sequence[int] | NDArray[np.integer[Any]] | None, num_frames: int | None
) -> NDArray[np.int64]:
    if frame_ids is not None:
        ids = np.asarray(frame_ids)
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError("frame_ids must be a list of whole numbers")
        ids = ids.astype(np.int64)
        if np.any((ids < -count) | (ids >= count)):
            raise ValueError(f"frame_ids must be below the {count} frames of this video")
        ids = ids % max(1, count)
    elif num_frames is not None:
        if num_frames <= 0:
            raise ValueError(f"num_frames must be positive, not {num_frames}")
        ids = np.unique(np.linspace(0, count - 1, num_frames, dtype=np.int64)) if count else np.empty(0, np.int64)
    else:
        ids = np.arange(count)
    if not len(ids):
        raise ValueError("there is no frame to read")
    return ids
