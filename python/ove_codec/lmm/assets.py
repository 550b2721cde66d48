"""Clips whose patches were selected and packed into pictures before, as the reference's LLaVA pipeline writes them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ove_codec.lmm.images import load_image
from ove_codec.lmm.merge import order_for_merge, whole_blocks
from ove_codec.lmm.vision import VisionReader, VisionTokens


def read_mosaics(
    mosaics: Sequence[str | os.PathLike[str]], positions_file: str | os.PathLike[str], reader: VisionReader
) -> VisionTokens:
    """The patches of a clip from square pictures of g x g patches each.

    Row j of the positions (K, 3) = (t, h, w), t a sampled slot, lies in cell j % g^2 of mosaic j // g^2, in raster
    order. Every cell is resized on its own where the tower's patches are of another size, so neighbours, which come
    from anywhere in the clip, do not mix. A position that is there twice counts once. These files select patch by
    patch: with merge_size above 1 only whole merge blocks are kept, and the rest is lost.

    Args:
        mosaics: picture files, in order.
        positions_file: an .npy file of (K, 3) whole numbers.
        reader: of the processor.

    Raises:
        OSError: a file is missing or no picture; the message names it.
        ValueError: the positions are of another form, do not divide into the mosaics, or have no whole block.
    """
    if reader.temporal_patch_size > 1 or reader.whole_frames:
        raise ValueError(f"{os.fspath(positions_file)}: this tower takes whole frames, not selected patches")
    try:
        positions = np.load(positions_file, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{os.fspath(positions_file)}: {error}") from error
    if positions.ndim != 2 or positions.shape[1] != 3 or not np.issubdtype(positions.dtype, np.integer):
        raise ValueError(
            f"{os.fspath(positions_file)} must hold (K, 3) whole numbers, not {positions.shape} {positions.dtype}"
        )
    positions = positions.astype(np.int64)
    cells, left = divmod(len(positions), max(1, len(mosaics)))
    side = math.isqrt(cells)
    if not mosaics or left or side * side != cells or not cells:
        raise ValueError(
            f"{os.fspath(positions_file)}: {len(positions)} positions do not fill {len(mosaics)} square mosaics"
        )
    patches = torch.cat([_cells(mosaic, side, reader) for mosaic in mosaics])
    keep = np.sort(np.unique(positions, axis=0, return_index=True)[1])
    keep = keep[whole_blocks(positions[keep], reader.merge_size)]
    if not len(keep):
        raise ValueError(
            f"{os.fspath(positions_file)}: no block of {reader.merge_size} x {reader.merge_size} patches is complete; "
            f"use a model with merge_size 1"
        )
    order = keep[order_for_merge(positions[keep], reader.merge_size)]
    return VisionTokens(patches[torch.from_numpy(order)], torch.from_numpy(positions[order]))


def _cells(file: str | os.PathLike[str], side: int, reader: VisionReader) -> Tensor:
    """Patch rows (side^2, 3 * p * p) of a mosaic."""
    picture = load_image(file)
    if picture.width != picture.height or picture.width % side:
        raise ValueError(
            f"{os.fspath(file)}: a mosaic must be a square of {side} x {side} cells, "
            f"not {picture.width} x {picture.height} samples"
        )
    cell = picture.width // side
    samples = torch.from_numpy(np.array(picture)).float().div_(255)
    cells = samples.reshape(side, cell, side, cell, 3).permute(0, 2, 4, 1, 3).flatten(0, 1)
    if cell != reader.patch_size:
        cells = F.interpolate(cells, (reader.patch_size,) * 2, mode="bicubic", antialias=True).clamp_(0, 1)
    return reader.normalised(cells).flatten(1)
