"""The order of tokens for a spatial merge, and selections of whole merge blocks.

A merge block is m x m patches of one frame, at a row and column that are multiples of m. A spatial merge makes one
token of m * m consecutive features, so the patches of a block must be adjacent: blocks are ordered by slot, row and
column, patches within a block row by row. For whole frames, Qwen2-VL and its successors call this window or merge
order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec import _core
from ove_codec.selection import Selection

Index = NDArray[np.int64]


def order_for_merge(positions: Any, merge_size: int, cu_seqlens: Any = None) -> Index:
    """The permutation to merge order: ``positions[order]`` is in merge order.

    Args:
        positions: (N, 3) whole numbers t, h, w of every patch, in any order.
        merge_size: m, the side of a block in patches.
        cu_seqlens: (B + 1,) bounds of packed sequences, which are ordered separately; None for a single one.

    Returns:
        (N,) int64, a permutation of 0 to N - 1; `inverse_order` undoes it.

    Raises:
        ValueError: positions or cu_seqlens have another shape, or a block is incomplete or has a patch twice. Select
            whole blocks (`select_blocks`), or keep only those of `whole_blocks`.
    """
    places, sequence = _checked(positions, merge_size, cu_seqlens)
    order = _sorted_by_block(places, sequence, merge_size)
    if not len(order):
        return order
    area = merge_size**2
    keys = _block_keys(places, sequence, merge_size)[order]
    inside = _in_block(places, merge_size)[order]
    starts = np.arange(len(order)) // area * area
    wrong = (inside != np.arange(len(order)) % area) | np.any(keys != keys[starts], axis=1)
    wrong[area:] |= np.all(keys[area:] == keys[:-area], axis=1)  # a block that follows itself
    if len(order) % area or wrong.any():
        first = int(np.flatnonzero(wrong)[0]) if wrong.any() else len(order) - 1
        _, t, row, column = keys[starts[first]].tolist()
        raise ValueError(
            f"positions must be whole blocks of {merge_size} x {merge_size} patches, each once, but the block at "
            f"t={t}, h={row * merge_size}, w={column * merge_size} is incomplete or has a patch twice: select with "
            "select_blocks, or keep only what whole_blocks returns"
        )
    return order


def inverse_order(order: Any) -> Index:
    """The permutation that undoes `order`: ``x[order][inverse_order(order)]`` is x."""
    order = np.asarray(order, np.int64)
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return inverse


def whole_blocks(positions: Any, merge_size: int, cu_seqlens: Any = None) -> NDArray[np.bool_]:
    """(N,) bool, the patches that belong to a complete block. Arguments as for `order_for_merge`.

    Patches that were selected one by one, for a model without a merge, rarely fill blocks; the others are lost. A
    repeated patch makes its block incomplete.
    """
    places, sequence = _checked(positions, merge_size, cu_seqlens)
    if not len(places):
        return np.zeros(0, bool)
    _, block, counts = np.unique(
        _block_keys(places, sequence, merge_size), axis=0, return_inverse=True, return_counts=True
    )
    block = block.reshape(-1)
    area = merge_size**2
    cells = block * area + _in_block(places, merge_size)
    once = np.bincount(cells, minlength=len(counts) * area).reshape(-1, area) == 1
    return np.asarray(once.all(axis=1)[block])


def select_blocks(selection: Selection, merge_size: int) -> Selection:
    """Selects again by whole merge blocks: the parameters of the selection apply to blocks instead of patches.

    A block's score is the sum of its patches' scores, and it is eligible if all its patches are. `budget` still counts
    patches, so budget // m^2 blocks are kept; `tau` is compared with the mean heat of the block; pictures that are
    kept whole keep their blocks. Patches right of and below the last whole block of the grid are never kept.

    Raises:
        ValueError: merge_size is not positive, the grid holds no block, the budget is less than one, or the types of
            the pictures are needed (``i_pictures="keep"``) and the selection was loaded without its source.
    """
    _check_merge_size(merge_size)
    frames, rows, columns = selection.scores.shape
    block_rows, block_columns = rows // merge_size, columns // merge_size
    if not block_rows or not block_columns:
        raise ValueError(f"merge_size {merge_size} is larger than the selection's grid of {rows} x {columns} patches")
    params = dict(selection.params)
    area = merge_size**2
    if params["budget"] is not None:
        params["budget"] //= area
        if not params["budget"]:
            raise ValueError(
                f"budget must be at least one block of {merge_size} x {merge_size} patches, not "
                f"{selection.params['budget']}"
            )
    size = (block_rows, merge_size, block_columns, merge_size)
    cropped = (slice(None), slice(block_rows * merge_size), slice(block_columns * merge_size))
    scores = selection.scores[cropped].reshape(frames, *size).sum(axis=(2, 4), dtype=np.float64)
    valid = selection.valid[cropped[1:]].reshape(size).all(axis=(1, 3))
    unit = 255.0 if params["quantize"] else 1.0
    kept = _core.keep_patches(
        np.ascontiguousarray(scores, np.float32),
        np.ascontiguousarray(valid),
        _kept_whole(selection),
        unit * area * selection.geometry.patch_size**2,
        params,
    )
    mask = np.zeros_like(selection.mask)
    mask[cropped] = kept.repeat(merge_size, axis=1).repeat(merge_size, axis=2)
    return replace(selection, mask=mask, positions=np.argwhere(mask).astype(np.int32))


def _kept_whole(selection: Selection) -> NDArray[np.bool_]:
    """Which pictures ``i_pictures="keep"`` keeps whole; their types are read from the source again."""
    if selection.params["i_pictures"] != "keep":
        return np.zeros(len(selection.frame_ids), bool)
    if selection._pictures is None:
        raise ValueError('the selection has i_pictures="keep" and no source: load it with Selection.load(..., source=)')
    return selection._pictures.intra(selection.frame_ids.tolist())


def _check_merge_size(merge_size: int) -> None:
    if not isinstance(merge_size, (int, np.integer)) or isinstance(merge_size, bool) or merge_size < 1:
        raise ValueError(f"merge_size must be a positive whole number, not {merge_size!r}")


def _checked(positions: Any, merge_size: int, cu_seqlens: Any) -> tuple[Index, Index]:
    """The positions, and the number of the sequence of each."""
    _check_merge_size(merge_size)
    places = np.asarray(positions)
    if places.ndim != 2 or places.shape[1] != 3 or not np.issubdtype(places.dtype, np.integer):
        raise ValueError(f"positions must be (N, 3) whole numbers, not {places.shape} {places.dtype}")
    places = places.astype(np.int64)
    if len(places) and places.min() < 0:
        raise ValueError("positions must not be negative")
    bounds = np.asarray([0, len(places)] if cu_seqlens is None else cu_seqlens)
    if bounds.ndim != 1 or not np.issubdtype(bounds.dtype, np.integer):
        raise ValueError(f"cu_seqlens must be (B + 1,) whole numbers, not {bounds.shape} {bounds.dtype}")
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != len(places) or np.any(np.diff(bounds) < 0):
        raise ValueError(f"cu_seqlens must ascend from 0 to the {len(places)} positions")
    return places, np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))


def _block_keys(places: Index, sequence: Index, merge_size: int) -> Index:
    """(N, 4): sequence, slot, row and column of each patch's block."""
    return np.column_stack((sequence, places[:, 0], places[:, 1] // merge_size, places[:, 2] // merge_size))


def _in_block(places: Index, merge_size: int) -> Index:
    inside = places[:, 1:] % merge_size
    return np.asarray(inside[:, 0] * merge_size + inside[:, 1])


def _sorted_by_block(places: Index, sequence: Index, merge_size: int) -> Index:
    keys = _block_keys(places, sequence, merge_size)
    return np.lexsort((_in_block(places, merge_size), *keys.T[::-1]))
