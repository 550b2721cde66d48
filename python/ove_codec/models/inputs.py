"""Inputs of the encoder from images, uniformly sampled frames and collages; codec tokens come from `tokenize`.

All kinds are `ove_codec.Tokens`: patch rows, their (t, h, w), and the bounds of the sequences. So sequences of any
kind and length can be mixed in one batch:

    batch = pack([image_tokens(image, 14), frame_tokens(frames, 14), collage_tokens(frames, 14), codec_tokens])
    out = model(batch.patches, batch.positions, batch.cu_seqlens)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ove_codec.models.pixels import patchify
from ove_codec.tokenizer import Tokens

SLOTS = 64


def temporal_slots(frame_ids: Any, num_frames: int, slots: int = SLOTS) -> Tensor:
    """Time slots (n,) int64 of frames of a clip: round(id / (num_frames - 1) * (slots - 1)), halves to even.

    Args:
        frame_ids: (n,) integers from 0 to num_frames - 1, in any order.
        num_frames: length of the clip. If it is 1, the frame has slot 0.
        slots: number of slots that the model was trained with.

    Raises:
        ValueError: an id is not in the clip, or slots is not positive.
    """
    ids = torch.as_tensor(frame_ids)
    if ids.ndim != 1 or ids.is_floating_point():
        raise ValueError(f"frame_ids must be (n,) integers, got {ids.dtype} {tuple(ids.shape)}")
    if slots < 1 or num_frames < 1:
        raise ValueError(f"slots and num_frames must be positive, got {slots} and {num_frames}")
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= num_frames):
        raise ValueError(f"frame_ids must be from 0 to {num_frames - 1} (num_frames - 1), got {ids.tolist()}")
    return (ids.double() / max(1, num_frames - 1) * (slots - 1)).round().long()


def image_tokens(images: Any, patch_size: int) -> Tokens:
    """Each image becomes one sequence of all its patches, row by row, at t = 0.

    Args:
        images: (C, H, W), or (B, C, H, W), normalised pixels. Images of several sizes are packed with `pack`.
        patch_size: of the model; samples beyond the last whole patch are left out.

    Raises:
        ValueError: the shape is another, or there is no whole patch.
    """
    images = torch.as_tensor(images)
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4:
        raise ValueError(f"images must be (C, H, W) or (B, C, H, W), got {tuple(images.shape)}")
    rows, grid = _patches(images, patch_size, "images")
    batch, length = rows.shape[:2]
    bounds = torch.arange(batch + 1, dtype=torch.int32) * length
    return Tokens(rows.flatten(0, 1), _positions(torch.zeros(1), grid, images).repeat(batch, 1), bounds)


def frame_tokens(
    frames: Any, patch_size: int, *, frame_ids: Any = None, num_frames: int | None = None, slots: int = SLOTS
) -> Tokens:
    """A clip's sampled frames as one sequence of all their patches, frame by frame, in time slots.

    Args:
        frames: (T, C, H, W) normalised pixels, e.g. of `ove_codec.frames(path, num_frames=8)`.
        patch_size: of the model.
        frame_ids: (T,) their indices in the clip; 0 to T - 1 if None.
        num_frames: of the whole clip; needed with `frame_ids`, T without. Uniform samples from the first to the last
            frame have the same slots whichever way they are given.
        slots: number of slots that the clip spans.

    Raises:
        ValueError: a shape is another, there is no whole patch, or see `temporal_slots`.
    """
    frames, times = _clip(frames, frame_ids, num_frames, slots)
    rows, grid = _patches(frames, patch_size, "frames")
    return _one(rows.flatten(0, 1), _positions(times, grid, frames))


def collage_tokens(
    frames: Any,
    patch_size: int,
    *,
    columns: int = 1,
    places: str = "clip",
    frame_ids: Any = None,
    num_frames: int | None = None,
    slots: int = SLOTS,
) -> Tokens:
    """Frames tiled into one image, left to right and top to bottom; one sequence in the order of the image's patches.

    Args:
        frames: (T, C, H, W) normalised pixels, H and W multiples of the patch size. Empty places in the last row have
            no tokens.
        patch_size: of the model.
        columns: frames per row; 1 stacks them.
        places: "clip" gives every patch its (t, h, w) in the clip; "image" gives its place in the collage, at t = 0,
            as in the training of the published weights.
        frame_ids, num_frames, slots: as for `frame_tokens`.

    Raises:
        ValueError: a shape is another, columns or places are not allowed, or see `temporal_slots`.
    """
    frames, times = _clip(frames, frame_ids, num_frames, slots)
    if columns < 1 or places not in ("clip", "image"):
        raise ValueError(f"columns must be positive and places 'clip' or 'image', got {columns} and {places!r}")
    if frames.shape[2] % patch_size or frames.shape[3] % patch_size:
        raise ValueError(f"frames of a collage must be multiples of {patch_size} samples, got {tuple(frames.shape)}")
    rows, (height, width) = _patches(frames, patch_size, "frames")
    count = len(frames)
    tile_rows = -(-count // columns)
    numbers = torch.full((tile_rows * columns, height, width), -1, device=rows.device)
    numbers[:count] = torch.arange(count * height * width, device=rows.device).view(count, height, width)
    collage = numbers.view(tile_rows, columns, height, width).transpose(1, 2).reshape(tile_rows * height, -1)
    order = collage[collage >= 0]
    if places == "clip":
        positions = _positions(times, (height, width), frames)[order]
    else:
        positions = torch.nn.functional.pad((collage >= 0).nonzero(), (1, 0))
    return _one(rows.flatten(0, 1)[order], positions)


def pack(parts: Sequence[Tokens]) -> Tokens:
    """Joins the sequences of all parts, in order, into one batch on the device and in the type of the first.

    Raises:
        ValueError: there are no parts, or patches differ in size.
    """
    if not parts:
        raise ValueError("there must be at least one part")
    sizes = {part.patches.shape[1] for part in parts}
    if len(sizes) > 1:
        raise ValueError(f"patches of one batch must have the same size, got rows of {sorted(sizes)} values")
    first = parts[0].patches
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    bounds = [part.cu_seqlens[1:].cpu().int() + int(start) for part, start in zip(parts, starts, strict=True)]
    return Tokens(
        torch.cat([part.patches.to(first) for part in parts]),
        torch.cat([part.positions.to(first.device, torch.int64) for part in parts]),
        torch.cat([torch.zeros(1, dtype=torch.int32), *bounds]).to(parts[0].cu_seqlens.device),
    )


def _clip(frames: Any, frame_ids: Any, num_frames: int | None, slots: int) -> tuple[Tensor, Tensor]:
    frames = torch.as_tensor(frames)
    if frames.ndim != 4 or not len(frames):
        raise ValueError(f"frames must be (T, C, H, W), got {tuple(frames.shape)}")
    if frame_ids is None:
        frame_ids, num_frames = range(len(frames)), len(frames)
    if len(frame_ids) != len(frames) or num_frames is None:
        raise ValueError(
            f"frame_ids must have one entry for each of the {len(frames)} frames, and num_frames must be the length of "
            f"the clip, got {len(frame_ids)} and {num_frames}"
        )
    return frames, temporal_slots(frame_ids, num_frames, slots)


def _patches(images: Tensor, patch_size: int, name: str) -> tuple[Tensor, tuple[int, int]]:
    """Rows (B, h*w, C*p*p) of images (B, C, H, W), and (h, w)."""
    grid = images.shape[2] // patch_size, images.shape[3] // patch_size
    if images.numel() == 0 or 0 in grid:
        raise ValueError(f"{name} {tuple(images.shape)} hold no whole patch of {patch_size} samples")
    return patchify(images[:, :, None], patch_size), grid


def _positions(times: Tensor, grid: tuple[int, int], like: Tensor) -> Tensor:
    """(T*h*w, 3) int64."""
    axes = [times.long(), *(torch.arange(side) for side in grid)]
    return torch.cartesian_prod(*axes).to(like.device)


def _one(rows: Tensor, positions: Tensor) -> Tokens:
    return Tokens(rows, positions, torch.tensor([0, len(rows)], dtype=torch.int32))
