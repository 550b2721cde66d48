"""What must hold for the arrays of any picture, and the reconstruction oracle over the pictures of a stream."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support import reconstruction

Picture = Any  # ove_codec's Picture
Luma = NDArray[np.integer]


def coded_video_sequences(pocs: Sequence[int]) -> list[int]:
    """The number of the coded video sequence of each picture in output order: POC starts again with each."""
    numbers = [0]
    for last, poc in itertools.pairwise(pocs):
        numbers.append(numbers[-1] + (poc <= last))
    return numbers[: len(pocs)]


def slice_weights(
    picture: Picture, ctb_order: Sequence[int] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Explicit luma weights per 4x4 block, (h4, w4, 2, 3) of (log2 denominator, weight, offset), and where they hold.

    A slice holds the CTBs from its address to that of the next one in `ctb_order` (decoding order, raster by default).
    """
    rows, columns = picture.bits.shape
    order = np.arange(rows * columns) if ctb_order is None else np.asarray(ctb_order)
    rank = np.empty(rows * columns, np.int64)
    rank[order] = np.arange(rows * columns)
    starts = [rank[info.address] for info in picture.slices]
    number = np.searchsorted(starts, rank, "right").reshape(rows, columns) - 1
    number = np.kron(number, np.ones((picture.ctb_size // 4,) * 2, int))[
        : picture.pred.shape[0], : picture.pred.shape[1]
    ]
    weights = np.zeros((*picture.pred.shape, 2, 3), np.int32)
    explicit = np.zeros(picture.pred.shape, bool)
    for n, info in enumerate(picture.slices):
        if info.weights is None:
            continue
        explicit |= number == n
        for side, (pocs, entries) in enumerate(zip(info.ref_poc, info.weights, strict=True)):
            chosen: dict[int, tuple[int, int, int]] = {}
            for poc, entry in zip(pocs, entries, strict=True):
                assert chosen.setdefault(int(poc), tuple(entry)) == tuple(entry), "one picture with two weights"
            for poc, (log2_denom, weight, offset) in chosen.items():
                blocks = (number == n) & (picture.pred >> side & 1 == 1) & (picture.ref_poc[:, :, side] == poc)
                weights[blocks, side] = (log2_denom, weight, offset << (picture.bit_depth - 8))
    return weights, explicit


def predictions(
    pictures: Sequence[Picture], luma: Sequence[Luma], ctb_orders: Mapping[int, Sequence[int]] | None = None
) -> Iterator[NDArray[np.int32]]:
    """The luma prediction of each picture, in output order, from the decoded `luma` of its sequence."""
    assert len(pictures) == len(luma)
    sequence = coded_video_sequences([picture.poc for picture in pictures])
    for picture, number in zip(pictures, sequence, strict=True):
        references = {
            other.poc: samples for other, samples, n in zip(pictures, luma, sequence, strict=True) if n == number
        }
        weights, explicit = slice_weights(picture, (ctb_orders or {}).get(picture.poc))
        yield reconstruction.predict_inter(
            picture.pred, picture.mv, picture.ref_poc, references, picture.bit_depth, weights, explicit
        )


def assert_reconstructs(
    pictures: Sequence[Picture], luma: Sequence[Luma], ctb_orders: Mapping[int, Sequence[int]] | None = None
) -> int:
    """clip(prediction + residual) is the decoded luma on every inter block; returns the number of blocks compared."""
    blocks = 0
    for picture, samples, prediction in zip(pictures, luma, predictions(pictures, luma, ctb_orders), strict=True):
        assert samples.shape == picture.residual.shape == (picture.coded_height, picture.coded_width)
        wrong = reconstruction.mismatches(samples, prediction, picture.residual, picture.pred, picture.bit_depth)
        blocks += int((picture.pred > 0).sum())
        if len(wrong):
            y, x = wrong[0]
            motion = f"pred {picture.pred[y, x]}, mv {picture.mv[y, x].tolist()}, POC {picture.ref_poc[y, x].tolist()}"
            raise AssertionError(
                f"POC {picture.poc}: {len(wrong)} of {(picture.pred > 0).sum()} inter blocks differ, "
                f"first at luma ({4 * x}, {4 * y}): {motion}"
            )
    return blocks


def assert_consistent(picture: Picture) -> None:
    """Invariants that hold in every H.265 picture without looking at samples."""
    assert_arrays(picture)
    sizes = (8, 16, 32, 64)
    assert set(np.unique(picture.cu_size)) <= set(sizes)
    for size in sizes:  # a coding block lies at a multiple of its size, and is of one kind
        n = size // 4
        for y, x in np.argwhere(picture.cu_size == size):
            if y % n or x % n:
                assert picture.cu_size[y - y % n, x - x % n] == size
                continue
            area = np.s_[y : y + n, x : x + n]
            assert y + n <= picture.pred.shape[0] and x + n <= picture.pred.shape[1]
            assert (picture.cu_size[area] == size).all()
            assert len(np.unique(picture.skip[area])) == len(np.unique(picture.pred[area] > 0)) == 1


def assert_arrays(picture: Picture) -> None:
    """Invariants of the arrays of a picture of any codec."""
    h4, w4 = picture.coded_height // 4, picture.coded_width // 4
    shapes = {"pred": (h4, w4), "mv": (h4, w4, 2, 2), "ref_poc": (h4, w4, 2), "qp": (h4, w4)}
    shapes |= {"cu_size": (h4, w4), "skip": (h4, w4), "residual": (4 * h4, 4 * w4)}
    dtypes: dict[str, type] = {"pred": np.uint8, "mv": np.int16, "ref_poc": np.int32, "qp": np.int8}
    dtypes |= {"cu_size": np.uint8, "skip": np.bool_, "residual": np.int16, "bits": np.int32}
    ctbs = (-(-picture.coded_height // picture.ctb_size), -(-picture.coded_width // picture.ctb_size))
    for name, shape in (shapes | {"bits": ctbs}).items():
        array = getattr(picture, name)
        assert array.shape == shape, name
        assert array.dtype == dtypes[name], name

    assert picture.pred.max(initial=0) <= 3
    for side in (0, 1):
        unused = picture.pred >> side & 1 == 0
        assert not picture.mv[unused, side].any()
        assert not picture.ref_poc[unused, side].any()
        used = picture.ref_poc[~unused & (picture.field == 0), side]  # fields have order counts of their own
        assert set(np.unique(used)) <= {poc for info in picture.slices for poc in info.ref_poc[side : side + 1][0]}
    if picture.type == "I":
        assert not picture.pred.any()
    if picture.type == "P":
        assert picture.pred.max(initial=0) <= 1

    assert (picture.pred[picture.skip] > 0).all()
    coded = picture.residual.reshape(h4, 4, w4, 4).any(axis=(1, 3))
    if not picture.field.any():  # where rows of both fields lie in turn, a block touches both
        assert not (coded & picture.skip).any()
    assert picture.qp.min() >= -6 * (picture.bit_depth - 8) and picture.qp.max() <= 51
    assert (picture.bits >= 0).all()  # a CTU may fit into what is left of the last bit


def assert_same(picture: Picture, other: Picture) -> None:
    for name in ("pred", "mv", "ref_poc", "residual", "qp", "cu_size", "skip", "bits"):
        np.testing.assert_array_equal(getattr(picture, name), getattr(other, name), err_msg=name)
    for name in ("poc", "pts", "type", "coded_width", "coded_height"):
        assert getattr(picture, name) == getattr(other, name), name
