"""What selection and tokens read of a clip, whatever gives it and wherever the work is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ove_codec import _core

Array = npt.NDArray[Any]
# Display indices of pictures, ascending, each with the slot that it is scored for, or with None where the next slot
# counts it too.
Reads: TypeAlias = Sequence[tuple[int, int | None]]


@dataclass
class PictureArrays:
    """What a scorer reads of a picture from elsewhere, named and shaped as in a ``Picture``; None is not known.

    On a GPU the arrays are contiguous tensors of the whole clip with `entries` entries, of which `entry` is this
    picture's; `borrowed` are those whose memory is another library's.
    """

    coded_width: int
    coded_height: int
    window: tuple[int, int, int, int]
    rotation: int  # clockwise degrees, after left and right are exchanged where `mirrored`
    mirrored: bool
    intra: bool
    bit_depth: int
    mv: Any = None
    pred: Any = None
    ref_poc: Any = None
    poc: int = 0
    residual: Any = None
    bits: Any = None
    ctb_size: int = 0
    entry: int | None = None
    entries: int = 1
    borrowed: Sequence[Any] = ()


Scorable: TypeAlias = _core.Picture | PictureArrays


def scorer_for(picture: Scorable, params: dict[str, Any]) -> _core.Scorer:
    """A scorer of the clip that the picture is of."""
    return _core.Scorer(params, picture.window, picture.rotation, picture.mirrored)


@dataclass(frozen=True)
class Scored:
    """What a backend has scored of a clip.

    Attributes:
        values: (T, rows, columns) float32 patch sums, on the backend's device.
        scales: (3,) factors of the clip's energies with ``percentile_scope="clip"``, else None.
        scorer: made for the clip; it knows the geometry, the valid patches and the score of a patch that is all heat.
    """

    values: Any
    scales: Any
    scorer: _core.Scorer


class Ranked(NamedTuple):
    """What is kept of a clip; `on_cpu` are the positions in a NumPy array, None where they are not known there."""

    positions: Any
    mask: Any
    valid: Any
    on_cpu: npt.NDArray[np.int32] | None


class Pictures(Protocol):
    """The pictures of a clip by their display indices; each method may be called again and again."""

    @property
    def path(self) -> str | None:
        """Where the source lies, if in a file of its own."""

    @property
    def on_damage(self) -> str:
        """As ``Selection`` has it."""

    def pts(self) -> Array | int:
        """Seconds of every picture, or only their number where no times are known."""

    def sizes(self) -> npt.NDArray[np.int64] | None:
        """Bytes or bits of every picture, None where they are not known."""

    def anchors(self, shown: Array, asked: Array, params: dict[str, Any]) -> Array:
        """Of the pictures `shown` (ascending indices), positions of those near `asked` (positions) that are cheap to
        decode; raises where that is not known."""

    def intra(self, frame_ids: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Which of these pictures are I pictures."""

    def read(self, frame_ids: Sequence[int], params: dict[str, Any]) -> Iterator[Scorable]:
        """The pictures at these ascending indices, with the arrays that `params` need."""

    def score(self, reads: Reads, params: dict[str, Any], scorer: _core.Scorer | None) -> Scored | None:
        """Scores of all slots of `reads`, made in one go; None where pictures are to be scored one by one."""


@dataclass(frozen=True)
class Places:
    """Where the patches of a selection lie: in which frames, and behind which rows of `positions` each begins.

    `request` are arguments of the _core functions that give the pixels of these frames.
    """

    request: dict[str, Any]
    starts: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int32]

    @property
    def patch_size(self) -> int:
        return int(self.request["patch_size"])


def readings(
    pictures: Pictures, frame_ids: npt.NDArray[np.int64], slots: Sequence[int], params: dict[str, Any]
) -> list[tuple[int, int | None]]:
    """What is read for the sampled pictures `slots` (ascending indices of `frame_ids`), in this order."""
    if params["accumulate"] == "none":
        return [(int(frame_ids[t]), t) for t in slots]
    reads: list[tuple[int, int | None]] = []
    for t in slots:
        between = range(int(frame_ids[t - 1]) + 1 if t else int(frame_ids[t]), int(frame_ids[t]))
        # An I picture without heat adds nothing. The sampled one is read nevertheless: it is what is scored.
        skipped = pictures.intra(between) if params["i_pictures"] == "zero" else np.zeros(len(between), bool)
        reads += [(i, None) for i, skip in zip(between, skipped, strict=True) if not skip]
        reads.append((int(frame_ids[t]), t))
    return reads


def read_pictures(pictures: Pictures, frame_ids: Sequence[int], params: dict[str, Any]) -> Iterator[Scorable]:
    """All these pictures; UnsupportedStreamError where their size changes, DecodeError if one lacks."""
    layout = None
    count = 0
    for picture in pictures.read(frame_ids, params):
        width, height = picture.coded_width, picture.coded_height
        found = (width, height, picture.window, picture.rotation, picture.mirrored)
        layout = layout or found
        if layout != found:
            raise _core.UnsupportedStreamError(
                f"the picture changes from {layout[0]}x{layout[1]} to {width}x{height} (or its display "
                f"window or orientation does) at display index {frame_ids[count]}: select from pictures of one size, "
                f"with frame_ids or start and end"
            )
        count += 1
        yield picture
    if count < len(frame_ids):
        raise _core.DecodeError(f"the video ended before the picture of display index {frame_ids[count]}")
