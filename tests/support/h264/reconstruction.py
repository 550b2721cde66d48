"""Luma inter prediction of H.264 in plain NumPy: the oracle for motion vectors and residuals.

With the loop filter off, clip(prediction + residual) is the decoded luma of every inter block. The prediction comes
from decoded reference pictures (8.4.2.2.1 luma sample interpolation, 8.4.2.3 weighted sample prediction).
"""

import numpy as np
from numpy.typing import NDArray

PADDING = 16  # samples around a reference; beyond 8 of them every sample repeats its neighbour
EQUAL = (5, 32, 0)
Samples = NDArray[np.int32]


def six_taps(samples: Samples, axis: int) -> Samples:
    """(1, -5, 20, 20, -5, 1) around the half-sample position behind each sample; wraps at the ends."""
    taps = {-2: 1, -1: -5, 0: 20, 1: 20, 2: -5, 3: 1}
    return sum((factor * np.roll(samples, -k, axis) for k, factor in taps.items()), np.zeros_like(samples))


def fractional_planes(reference: NDArray[np.integer], depth: int) -> NDArray[np.int32]:
    """(4, 4, H + 32, W + 32): the reference at every quarter position, by yFrac and xFrac (Table 8-12)."""
    peak = (1 << depth) - 1
    whole = np.pad(reference.astype(np.int32), PADDING, mode="edge")
    vertical = six_taps(whole, 0)
    b = np.clip((six_taps(whole, 1) + 16) >> 5, 0, peak)
    h = np.clip((vertical + 16) >> 5, 0, peak)
    j = np.clip((six_taps(vertical, 1) + 512) >> 10, 0, peak)
    below, right = (np.roll(whole, -1, axis) for axis in (0, 1))
    s, m = np.roll(b, -1, 0), np.roll(h, -1, 1)

    def mean(one: Samples, other: Samples) -> Samples:
        return (one + other + 1) >> 1

    rows = [
        [whole, mean(whole, b), b, mean(b, right)],
        [mean(whole, h), mean(b, h), mean(b, j), mean(b, m)],
        [h, mean(h, j), j, mean(j, m)],
        [mean(h, below), mean(h, s), mean(j, s), mean(s, m)],
    ]
    return np.array(rows)


def interpolate(
    planes: NDArray[np.int32], x: NDArray[np.integer], y: NDArray[np.integer], mv: NDArray[np.integer]
) -> Samples:
    """The prediction samples (n, 4, 4) of 4x4 blocks at luma (x, y), each displaced by its mv (n, 2), x first.

    `planes` are the fractional_planes of the reference, whose border repeats (8-227 ff.).
    """
    height, width = (size - 2 * PADDING for size in planes.shape[2:])
    mv = mv.astype(np.int64)
    rows = np.clip((y + (mv[:, 1] >> 2))[:, None] + np.arange(4), -8, height + 7) + PADDING
    columns = np.clip((x + (mv[:, 0] >> 2))[:, None] + np.arange(4), -8, width + 7) + PADDING
    fraction = mv & 3
    return planes[
        fraction[:, 1, None, None], fraction[:, 0, None, None], rows[:, :, None], columns[:, None, :]
    ]  # fmt: skip


def implicit_weights(
    poc: NDArray[np.integer], poc0: NDArray[np.integer], poc1: NDArray[np.integer], long_term: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """(n, 2) weights of blocks in pictures of order count `poc` by the distance of both references (8.4.2.3.1)."""
    tb, td = np.clip(poc - poc0, -128, 127), np.clip(poc1 - poc0, -128, 127)
    divisor = np.where(td == 0, 1, td)
    # The quotient is cut towards zero, where // rounds down.
    tx = np.sign(divisor) * ((16384 + np.abs(divisor) // 2) // np.abs(divisor))
    scale = np.clip((tb * tx + 32) >> 6, -1024, 1023) >> 2
    equal = (td == 0) | long_term | (scale < -64) | (scale > 128)
    second = np.where(equal, 32, scale)
    return np.stack([64 - second, second], axis=1).astype(np.int32)


def weighted(samples: Samples, used: NDArray[np.bool_], weights: NDArray[np.int32], depth: int) -> Samples:
    """The prediction (n, 4, 4) of `samples` (2, n, 4, 4), where `used` (n, 2) says which lists count.

    `weights` (n, 2, 3) holds (log2 of the denominator, weight, offset at 8 bits) per list (8-297 to 8-299). The
    default prediction is that of EQUAL weights.
    """
    log2, factor, offset = (weights[:, :, i, None, None] for i in range(3))
    offset = offset << (depth - 8)
    first = used[:, 0, None, None]
    single, one_log2, one_factor, one_offset = (
        np.where(first, v[0], v[1]) for v in (samples, *(np.moveaxis(v, 1, 0) for v in (log2, factor, offset)))
    )
    alone = ((single * one_factor + (1 << one_log2 >> 1)) >> one_log2) + one_offset
    total = samples[0] * factor[:, 0] + samples[1] * factor[:, 1] + (1 << log2[:, 0])
    pair = (total >> (log2[:, 0] + 1)) + ((offset[:, 0] + offset[:, 1] + 1) >> 1)
    return np.clip(np.where(np.asarray(used.all(axis=1))[:, None, None], pair, alone), 0, (1 << depth) - 1)
