"""What selection and tokens read of a clip, whatever gives it and wherever the work is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ove_codec import _core

Array = npt.NDArray[Any]
# Display indices of pictures, ascending, each with the slot that it is scored for, or with None where the next slot
# counts it too.
Reads: TypeAlias = Sequence[tuple[int, int | None]]


class Orientation(NamedTuple):
    """How a coded picture is put up: left and right are exchanged where `mirrored`, then it is turned clockwise."""

    rotation: int = 0  # degrees
    mirrored: bool = False


@dataclass(frozen=True)
class Planes:
    """What a scorer reads of one picture: its arrays by name, or the picture that has them."""

    width: int
    height: int
    window: tuple[int, int, int, int]
    orientation: Orientation
    intra: bool
    arrays: dict[str, Any] | _core.Picture

    @property
    def layout(self) -> tuple[Any, ...]:
        return self.width, self.height, self.window, self.orientation

    @property
    def ctb_size(self) -> int:
        return int(self.arrays["ctb_size"]) if isinstance(self.arrays, dict) else self.arrays.ctb_size

    def give(self, scorer: _core.Scorer, method: Literal["accumulate", "measure", "score", "heat"]) -> Any:
        """What this method of `scorer` says of the picture."""
        if isinstance(self.arrays, dict):
            arguments = {"width": self.width, "height": self.height, "intra": self.intra, **self.arrays}
            return getattr(scorer, method)(**arguments)
        return getattr(scorer, f"{method}_picture")(self.arrays)

    def pack(self, plan: _core.HeatPlan, memory: int, there: int, sampled: int) -> tuple[int, int, bytes]:
        """Writes the picture as it goes up to a GPU; see ``HeatPlan.pack``."""
        if isinstance(self.arrays, dict):
            arguments: dict[str, Any] = {"width": self.width, "height": self.height, "intra": self.intra}
            return plan.pack(memory, there, sampled, **arguments, **self.arrays)
        return plan.pack_picture(memory, there, sampled, self.arrays)


@dataclass(frozen=True)
class Scored:
    """What a backend has scored of a clip.

    Attributes:
        values: (T, rows, columns) float32 patch sums, on the backend's device.
        scales: (3,) factors of the clip's energies with ``percentile_scope="clip"``, else None.
        scorer: made for the clip; it knows the grid, the valid patches and the score of a patch that is all heat.
    """

    values: Any
    scales: Any
    scorer: _core.Scorer
    window: tuple[int, int, int, int]
    orientation: Orientation


class Ranked(NamedTuple):
    """What is kept of a clip; `on_cpu` are the positions in a NumPy array, None where they are not known there."""

    positions: Any
    mask: Any
    valid: Any
    on_cpu: npt.NDArray[np.int32] | None


class Reader(Protocol):
    """Display pictures by their index."""

    def pts(self) -> Array | int:
        """Seconds of every picture, or only their number where no times are known."""

    def sizes(self) -> npt.NDArray[np.int64] | None:
        """Bytes or bits of every picture, None where they are not known."""

    def intra(self, frame_ids: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Which of these pictures are I pictures."""

    def read(self, frame_ids: Sequence[int], params: dict[str, Any]) -> Iterator[Planes]:
        """The pictures at these ascending indices, with the arrays that `params` need."""

    def score(self, frame_ids: Sequence[int], params: dict[str, Any], scorer: _core.Scorer | None) -> Scored | None:
        """Scores made in one go, in the decoder's threads; None where pictures are to be scored one by one."""


class Pictures(Protocol):
    """A source that can be opened again and again."""

    @property
    def path(self) -> str | None:
        """Where the source lies, if in a file of its own."""

    def open(self) -> Reader: ...


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
    reader: Reader, frame_ids: npt.NDArray[np.int64], slots: Sequence[int], params: dict[str, Any]
) -> list[tuple[int, int | None]]:
    """What is read for the sampled pictures `slots` (ascending indices of `frame_ids`), in this order."""
    if params["accumulate"] == "none":
        return [(int(frame_ids[t]), t) for t in slots]
    reads: list[tuple[int, int | None]] = []
    for t in slots:
        between = range(int(frame_ids[t - 1]) + 1 if t else int(frame_ids[t]), int(frame_ids[t]))
        # An I picture without heat adds nothing. The sampled one is read nevertheless: it is what is scored.
        skipped = reader.intra(between) if params["i_pictures"] == "zero" else np.zeros(len(between), bool)
        reads += [(i, None) for i, skip in zip(between, skipped, strict=True) if not skip]
        reads.append((int(frame_ids[t]), t))
    return reads


def read_planes(reader: Reader, frame_ids: Sequence[int], params: dict[str, Any]) -> Iterator[Planes]:
    """The planes of all these pictures; UnsupportedStreamError where their size changes, DecodeError if one lacks."""
    layout = None
    count = 0
    for planes in reader.read(frame_ids, params):
        if layout is None:
            layout = planes.layout
        elif planes.layout != layout:
            raise _core.UnsupportedStreamError(
                f"the picture changes from {layout[0]}x{layout[1]} to {planes.width}x{planes.height} (or its display "
                f"window or orientation does) at display index {frame_ids[count]}: select from pictures of one size, "
                f"with frame_ids or start and end"
            )
        count += 1
        yield planes
    if count < len(frame_ids):
        raise _core.DecodeError(f"the video ended before the picture of display index {frame_ids[count]}")
