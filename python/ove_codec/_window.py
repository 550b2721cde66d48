"""Windows of a live stream: their pictures, what is selected of them, and their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ove_codec import _core
from ove_codec._backend import Backend
from ove_codec._reading import Array, Reads, Scorable, Scored
from ove_codec._source import Loss
from ove_codec.selection import Selection, select_pictures
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD, Color, Tokens

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class StreamSettings:
    """What windows know of their stream.

    `overrides` are the parameters that differ from the preset's; `residual` tells whether pictures have a residual,
    `keeps_all` whether windows have all pictures; `frame_rate` is None where it is not known.
    """

    preset: str
    overrides: dict[str, Any]
    backend: Backend
    pixels: bool
    residual: bool
    keeps_all: bool
    frame_rate: float | None
    sample_aspect_ratio: tuple[int, int]


class WindowPictures:
    """The pictures of a window, as selection reads them, and their scores where each counts alone."""

    path: str | None = None
    on_damage = "raise"

    def __init__(self, pictures: Sequence[_core.Picture], scored: Sequence[Scored | None]) -> None:
        self._pictures = pictures
        self._scored = scored

    def pts(self) -> Array | int:
        return np.array([picture.pts for picture in self._pictures])

    def sizes(self) -> None:
        return None

    def anchors(self, shown: Array, asked: Array, params: dict[str, Any]) -> Array:
        raise ValueError("sampling='anchors' needs a video that can be read again, not a stream: set sampling='time'")

    def intra(self, frame_ids: Sequence[int]) -> npt.NDArray[np.bool_]:
        return np.array([self._pictures[i].type == "I" for i in frame_ids], bool)

    def read(self, frame_ids: Sequence[int], params: dict[str, Any]) -> Iterator[Scorable]:
        return (self._pictures[i] for i in frame_ids)

    def score(self, reads: Reads, params: dict[str, Any], scorer: _core.Scorer | None) -> Scored | None:
        scored = [one for i, _ in reads if (one := self._scored[i]) is not None]
        if len(scored) < len(reads):
            return None
        return Scored(np.stack([one.values for one in scored]), None, scored[0].scorer)


@dataclass(frozen=True, eq=False)
class Window:
    """The pictures of a stream that are shown from `start` to `end`, what is selected of them, and their pixels.

    It stays as it is when the stream goes on, and holds what it needs. Iterating gives `pictures`.

    Attributes:
        start, end: seconds; pictures with start <= pts < end. A window that the stream's end or a change of size has
            cut short ends there.
        pictures: those that are kept: the sampled ones, and with ``accumulate`` all. Each is an ``ove_codec.Picture``,
            whose index counts over the whole stream.
        sampled: (T,) int64, places of the sampled ones in `pictures`.
        lost: what was lost of the window, and why.
        settings: of its stream.
    """

    start: float
    end: float
    pictures: list[_core.Picture]
    sampled: npt.NDArray[np.int64]
    lost: tuple[Loss, ...]
    _scored: list[Scored | None] = field(repr=False)
    _frames: dict[int, _core.LiveFrame] = field(repr=False)
    settings: StreamSettings = field(repr=False)

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[_core.Picture]:
        return iter(self.pictures)

    def __repr__(self) -> str:
        lost = f", {len(self.lost)} losses" if self.lost else ""
        return f"Window({self.start:.3f} to {self.end:.3f} s, {len(self.sampled)} sampled pictures{lost})"

    @property
    def pts(self) -> npt.NDArray[np.float64]:
        """(T,) seconds of the sampled pictures."""
        return np.array([self.pictures[i].pts for i in self.sampled])

    @cached_property
    def selection(self) -> Selection:
        """The patches that are kept of the window; its ``frame_ids`` are `sampled`."""
        settings = self.settings
        overrides = {**settings.overrides, "num_frames": None, "fps": None, "frame_ids": self.sampled.tolist()}
        return select_pictures(
            WindowPictures(self.pictures, self._scored), settings.preset, overrides, settings.backend
        )

    @cached_property
    def tokens(self) -> Tokens:
        """The patches of `selection`, as ``tokenize`` gives them; ValueError where the stream has ``pixels=False``."""
        return self.tokenize()

    def tokenize(
        self, *, dtype: torch.dtype | str | None = None, mean: Color = CLIP_MEAN, std: Color = CLIP_STD
    ) -> Tokens:
        """`tokens` of another type and normalisation; see ``ove_codec.tokenize``."""
        from ove_codec.ops.inputs import float_dtype

        self.check_pixels()
        kind, geometry = float_dtype(dtype), self.selection.geometry
        at = self.selection.positions_on_cpu()
        canvas: dict[str, Any] = {"resize": geometry.resize, "size": geometry.size, "patch_size": geometry.patch_size}
        rows = [
            self.frame(i).patches(at[at[:, 0] == t, 1:], mean=mean, std=std, **canvas)
            for t, i in enumerate(self.sampled)
        ]
        with self.settings.backend.on():
            return Tokens(
                self.settings.backend.tensor(np.concatenate(rows)).to(kind),
                self.settings.backend.tensor(at.astype(np.int64)),
                self.settings.backend.tensor(np.array([0, len(at)], np.int32)),
            )

    def check_pixels(self) -> None:
        """Raises ValueError where the stream decodes no pixels."""
        if not self.settings.pixels:
            raise ValueError("the stream decodes no pixels: make it with pixels=True")

    def frame(self, place: int) -> _core.LiveFrame:
        """The pixels of a sampled picture, by its place in `pictures`."""
        return self._frames[self.pictures[place].packet]
