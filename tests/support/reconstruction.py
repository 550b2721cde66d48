"""Luma inter prediction of H.265 in plain NumPy: the oracle for motion vectors and residuals.

With the loop filters off, clip(prediction + residual) is the decoded luma of every inter block. The prediction comes
from decoded reference pictures (8.5.3.3.3 fractional sample interpolation, 8.5.3.3.4 weighted sample prediction).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

# Table 8-11: luma interpolation filter coefficients by quarter-sample phase; phase 0 is the identity (64 / 64).
LUMA_FILTER = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ],
    np.int32,
)


def interpolate(
    reference: NDArray[np.integer], x: NDArray[np.integer], y: NDArray[np.integer], mv: NDArray[np.integer], depth: int
) -> NDArray[np.int32]:
    """Returns the 14-bit prediction samples (n, 4, 4) of 4x4 blocks at luma (x, y), each displaced by its mv.

    `mv` is (n, 2) in quarter samples, x first. Samples outside of the picture repeat its border (8.5.3.3.3.1).
    Both filters always run: with a phase of 0, 64 * s >> (depth - 8) equals s << (14 - depth) and the vertical filter's
    right shift by 6 takes its factor of 64 back, so this equals the four separate cases of (8-228) ff. for depth <= 12.
    """
    height, width = reference.shape
    mv = mv.astype(np.int64)
    taps = np.arange(-3, 8)  # four samples, three before and four after
    rows = np.clip((y + (mv[:, 1] >> 2))[:, None] + taps, 0, height - 1)
    columns = np.clip((x + (mv[:, 0] >> 2))[:, None] + taps, 0, width - 1)
    window = reference.astype(np.int32)[rows[:, :, None], columns[:, None, :]]
    horizontal = LUMA_FILTER[mv[:, 0] & 3]
    vertical = LUMA_FILTER[mv[:, 1] & 3]
    lines = np.zeros((len(rows), 11, 4), np.int32)
    for k in range(8):
        lines += window[:, :, k : k + 4] * horizontal[:, k, None, None]
    lines >>= depth - 8
    samples = np.zeros((len(rows), 4, 4), np.int32)
    for k in range(8):
        samples += lines[:, k : k + 4, :] * vertical[:, k, None, None]
    return samples >> 6


def predict_inter(
    pred: NDArray[np.uint8],
    mv: NDArray[np.int16],
    ref_poc: NDArray[np.int32],
    references: Mapping[int, NDArray[np.integer]],
    depth: int,
    weights: NDArray[np.int32] | None = None,
    explicit: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Returns the luma prediction (H, W) of all inter 4x4 blocks; 0 in intra blocks.

    `pred` (h4, w4), `mv` (h4, w4, 2, 2) and `ref_poc` (h4, w4, 2) are a picture's motion arrays, `references` its
    reference pictures by POC. `weights` (h4, w4, 2, 3) holds (log2 of the denominator, weight, offset at `depth` bits)
    per list and counts where `explicit` (h4, w4) is true.
    """
    rows, columns = np.nonzero(pred)
    used = np.stack([pred[rows, columns] & 1, pred[rows, columns] >> 1 & 1], axis=1).astype(bool)
    samples = np.zeros((2, rows.size, 4, 4), np.int32)
    for side in (0, 1):
        for poc in np.unique(ref_poc[rows, columns, side][used[:, side]]):
            n = np.flatnonzero(used[:, side] & (ref_poc[rows, columns, side] == poc))
            samples[side, n] = interpolate(
                references[int(poc)], columns[n] * 4, rows[n] * 4, mv[rows[n], columns[n], side], depth
            )

    single = np.where(used[:, 0, None, None], samples[0], samples[1])
    both = np.asarray(used.all(axis=1))[:, None, None]
    shift = 14 - depth
    default = np.where(
        both, (samples[0] + samples[1] + (1 << shift)) >> (shift + 1), (single + (1 << shift >> 1)) >> shift
    )
    if weights is not None and explicit is not None:
        block = weights[rows, columns].astype(np.int32)[:, :, :, None, None]
        log2_wd = (
            block[:, :, 0] + shift
        )  # (8-265); at least 2 here, so the rounding of the one-list case always applies
        weight, offset = block[:, :, 1], block[:, :, 2]
        one = np.where(used[:, 0, None, None], 0, 1)
        single_log2, single_weight, single_offset = (
            np.where(one == 0, value[:, 0], value[:, 1]) for value in (log2_wd, weight, offset)
        )
        weighted_single = ((single * single_weight + (1 << single_log2 >> 1)) >> single_log2) + single_offset
        total = samples[0] * weight[:, 0] + samples[1] * weight[:, 1]
        total += (offset[:, 0] + offset[:, 1] + 1) << log2_wd[:, 0]
        weighted = np.where(both, total >> (log2_wd[:, 0] + 1), weighted_single)
        default = np.where(explicit[rows, columns][:, None, None], weighted, default)

    prediction = np.zeros((pred.shape[0], 4, pred.shape[1], 4), np.int32)
    prediction[rows, :, columns] = np.clip(default, 0, (1 << depth) - 1)
    return prediction.reshape(pred.shape[0] * 4, pred.shape[1] * 4)


def mismatches(
    luma: NDArray[np.integer],
    prediction: NDArray[np.int32],
    residual: NDArray[np.int16],
    pred: NDArray[np.uint8],
    depth: int,
) -> NDArray[np.int64]:
    """Returns the (row, column) of the inter 4x4 blocks where clip(prediction + residual) is not the decoded luma."""
    reconstructed = np.clip(prediction + residual.astype(np.int32), 0, (1 << depth) - 1)
    wrong = (reconstructed != luma).reshape(pred.shape[0], 4, pred.shape[1], 4).any(axis=(1, 3))
    return np.argwhere(wrong & (pred > 0))
