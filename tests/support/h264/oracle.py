"""The reconstruction oracle over the displayed pictures of an H.264 stream: frames, field pairs and MBAFF frames."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.h264.reconstruction import EQUAL, Samples, fractional_planes, implicit_weights, interpolate, weighted

Picture = Any  # ove_codec's Picture
Luma = NDArray[np.integer]
FRAME = 0  # as in picture.field: 1 is a top field, 2 a bottom field
Place = tuple[int, int]  # the number of a picture in display order, and which of its fields


@dataclass(frozen=True)
class Known:
    """What is known of a picture beside its arrays."""

    field_pocs: tuple[int, int]  # of the top and bottom field
    references: Mapping[int, int]  # POC of frames -> number of the picture
    field_references: Mapping[Place, Place]  # field of a block and POC of a field
    mbaff: bool = True  # what is shown as a pair of fields was coded as a frame


def places_by_poc(
    pictures: Sequence[Picture], numbers: Sequence[int], bottom_delta: int = 0
) -> list[Known]:  # fmt: skip
    """What holds where order counts start again with every coded video sequence, which `numbers` gives.

    `bottom_delta` is what the order count of every bottom field has beyond that of its top field.
    """
    known = []
    for picture, number in zip(pictures, numbers, strict=True):
        frames = {other.poc: i for i, (other, n) in enumerate(zip(pictures, numbers, strict=True)) if n == number}
        fields: dict[Place, Place] = {}
        for poc, i in frames.items():
            top = poc - min(bottom_delta, 0)
            for own in (1, 2) if bottom_delta else ():
                fields |= {(own, top): (i, 1), (own, top + bottom_delta): (i, 2)}
        top = picture.poc - min(bottom_delta, 0)
        known.append(Known((top, top + bottom_delta), frames, fields))
    return known


def slice_numbers(picture: Picture, mbaff: bool) -> NDArray[np.int64]:
    """(h4, w4): the number in picture.slices of the slice of each block."""
    rows, columns = picture.bits.shape
    row, column = (grid.ravel() for grid in np.indices((rows, columns)))
    pair = picture.structure == "field pair" and not mbaff
    key: tuple[Any, ...]
    if picture.structure == "frame":
        key = (column, row)
    elif mbaff:
        key = (row % 2, column, row // 2)
    else:  # the first slice is one of the first field
        key = (column, row, row % 2 != picture.slices[0].address // columns % 2)
    rank = np.empty(rows * columns, np.int64)
    rank[np.lexsort(key)] = np.arange(rows * columns)
    starts = [rank[info.address] for info in picture.slices]
    number = np.searchsorted(starts, rank, "right").reshape(rows, columns) - 1
    y4 = np.arange(4 * rows)
    row_of = y4 // 8 * 2 + y4 % 2 if pair else y4 // 4
    return np.asarray(np.repeat(number[row_of], 4, axis=1))


class Part:
    """The inter blocks of a picture that belong to its frame, or to one of its fields; positions are those in it."""

    def __init__(self, picture: Picture, field: int) -> None:
        self.field = field
        self.rows, self.columns = np.nonzero((picture.pred > 0) & (picture.field == field))
        self.used = (picture.pred[self.rows, self.columns][:, None] & [1, 2]) > 0
        self.mv = picture.mv[self.rows, self.columns].astype(np.int64)
        self.ref_poc = picture.ref_poc[self.rows, self.columns]
        self.x, self.y = 4 * self.columns, 4 * self.rows
        if field:  # rows of blocks of both fields lie in turn
            self.y = 4 * (self.rows // 2)
            assert not (self.mv[:, :, 1] & 1).any(), "vertical vectors of fields are even in units of frames"
            self.mv[:, :, 1] >>= 1

    def blocks_of(self, frame: NDArray[np.integer]) -> Samples:
        """The samples (n, 4, 4) of the blocks in a plane of the frame."""
        plane = samples_of(frame, self.field)
        rows = self.y[:, None, None] + np.arange(4)[:, None]
        return np.asarray(plane[rows, self.x[:, None, None] + np.arange(4)].astype(np.int32))


def samples_of(frame: Luma, field: int) -> Luma:
    """A frame, or one of its fields, as a view."""
    return frame[field - 1 :: 2] if field else frame


class Oracle:
    """The luma of a stream's pictures in display order, and predictions from it."""

    def __init__(self, pictures: Sequence[Picture], luma: Sequence[Luma], known: Sequence[Known]) -> None:
        self.pictures, self.luma, self.known = pictures, luma, known
        self._planes: dict[Place, NDArray[np.int32]] = {}

    def planes(self, place: Place) -> NDArray[np.int32]:
        if place not in self._planes:
            self._planes[place] = fractional_planes(
                samples_of(self.luma[place[0]], place[1]), self.pictures[place[0]].bit_depth
            )
        return self._planes[place]

    def assert_reconstructs(self, implicit: bool = False) -> int:
        """clip(prediction + residual) is the luma of every inter block; returns how many blocks were compared."""
        blocks = 0
        for n, picture in enumerate(self.pictures):
            assert self.luma[n].shape == picture.residual.shape == (picture.coded_height, picture.coded_width)
            for field in range(3):
                part = Part(picture, field)
                luma, residual = part.blocks_of(self.luma[n]), part.blocks_of(picture.residual)
                right = np.zeros(len(part.rows), bool)
                for prediction in self._predictions(n, part, implicit):
                    expected = np.clip(prediction + residual, 0, (1 << picture.bit_depth) - 1)
                    right |= (expected == luma).all(axis=(1, 2))
                blocks += len(right)
                if not right.all():
                    first = np.argmin(right)
                    y, x = part.rows[first], part.columns[first]
                    pocs = picture.ref_poc[y, x].tolist()
                    motion = f"pred {picture.pred[y, x]}, mv {picture.mv[y, x].tolist()}, POC {pocs}"
                    raise AssertionError(
                        f"POC {picture.poc}: {(~right).sum()} of {len(right)} inter blocks of kind {field} differ, "
                        f"first at block ({x}, {y}): {motion}"
                    )
        return blocks

    def differences(self, n: int, implicit: bool = False) -> Iterator[tuple[Samples, Samples]]:
        """Of all inter blocks of picture n: the luma less the prediction, and the residual (n, 4, 4)."""
        for field in range(3):
            part = Part(self.pictures[n], field)
            (prediction,) = self._predictions(n, part, implicit)
            yield part.blocks_of(self.luma[n]) - prediction, part.blocks_of(self.pictures[n].residual)

    def _predictions(self, n: int, part: "Part", implicit: bool) -> Iterator[Samples]:
        """The predictions (n, 4, 4) that blocks may have: several where a picture is in a list more than once."""
        picture = self.pictures[n]
        samples = np.zeros((2, len(part.rows), 4, 4), np.int32)
        for side in (0, 1):
            for poc in np.unique(part.ref_poc[part.used[:, side], side]):
                chosen = np.flatnonzero(part.used[:, side] & (part.ref_poc[:, side] == poc))
                planes = self.planes(self._place(n, part.field, int(poc)))
                samples[side, chosen] = interpolate(planes, part.x[chosen], part.y[chosen], part.mv[chosen, side])
        for weights in self._weights(n, part, implicit):
            yield weighted(samples, part.used, weights, picture.bit_depth)

    def _place(self, n: int, field: int, poc: int) -> Place:
        known = self.known[n]
        return known.field_references[field, poc] if field else (known.references[poc], FRAME)

    def _weights(self, n: int, part: "Part", implicit: bool) -> list[NDArray[np.int32]]:
        """The weights (n, 2, 3) that blocks may have."""
        picture, known = self.pictures[n], self.known[n]
        field, used, pocs = part.field, part.used, part.ref_poc
        number = slice_numbers(picture, known.mbaff)[part.rows, part.columns]
        weights = np.empty((len(pocs), 2, 3), np.int32)
        weights[:] = EQUAL
        # By side and how often the picture stands in the list before: blocks, and their weight
        again: list[dict[int, list[tuple[NDArray[np.bool_], Any]]]] = [{0: []}, {0: []}]
        for i, info in enumerate(picture.slices):
            inside = number == i
            if info.weights is None and implicit and info.type == "B":
                long_term = np.zeros(len(pocs), bool)
                for side in (0, 1):
                    for poc, is_long in zip(info.ref_poc[side], info.is_long_term[side], strict=True):
                        long_term |= is_long & (self._of_entry(n, field, poc, pocs[:, side]))
                both = inside & used.all(axis=1)
                poc = known.field_pocs[field - 1] if field else picture.poc
                weights[both, :, 1] = implicit_weights(np.array(poc), pocs[both, 0], pocs[both, 1], long_term[both])
            for side, entries in enumerate(info.weights or ()):
                for k, (poc, entry) in enumerate(zip(info.ref_poc[side], entries, strict=True)):
                    blocks = inside & used[:, side] & self._of_entry(n, field, poc, pocs[:, side])
                    again[side].setdefault(info.ref_poc[side][:k].count(poc), []).append((blocks, entry))
        choices = []
        for repeats in itertools.product(*again):
            choice = weights.copy()
            for side, repeat in enumerate(repeats):
                for blocks, entry in again[side][0] + (again[side][repeat] if repeat else []):
                    choice[blocks, side] = entry
            choices.append(choice)
        return choices

    def _of_entry(self, n: int, field: int, poc: int, pocs: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which references `pocs` of blocks are the entry of a reference list with this POC."""
        known = self.known[n]
        if not field or not known.mbaff:
            return pocs == poc
        frame = known.references[poc]
        return np.isin(
            pocs, [p for (own, p), place in known.field_references.items() if own == field and place[0] == frame]
        )
