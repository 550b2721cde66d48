"""What the panels of a selection show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ove_codec._drawing import KINDS, Pixels, colors, draw_picture
from ove_codec._source import SourceVideo
from ove_codec._suggest import hint
from ove_codec.presets import COMMON, PRESETS
from ove_codec.selection import Selection
from ove_codec.tokenizer import frames
from ove_codec.video import Source
from ove_codec.video import open as open_video

_LONGEST, _SHORTEST = 320, 200  # side of a panel in samples, where the canvas can be drawn so
_CHUNK = 1 << 28  # bytes of frames held at a time


@dataclass(frozen=True)
class PanelSet:
    """The panels at slot `t` of a selection, (H, W, 3) uint8.

    Attributes:
        t: the slot.
        dense, sampled, heat, selected: the four panels, of one size. Iterating gives these.
        further: more panels by their titles: "Whole", the picture before it was cropped to the canvas, which may be
            smaller than the others, and those of the kinds that were asked for.
    """

    t: int
    dense: Pixels
    sampled: Pixels
    heat: Pixels
    selected: Pixels
    further: dict[str, Pixels] = field(default_factory=dict)

    def __getitem__(self, title: str) -> Pixels:
        """The panel of this title, as in ``Panels.captions``."""
        panels = {"Dense": self.dense, "Sampled": self.sampled, "Heat": self.heat, "Selected": self.selected}
        return {**panels, **self.further}[title]

    def __iter__(self) -> Iterator[Pixels]:
        return iter((self.dense, self.sampled, self.heat, self.selected))


class Panels:
    """The panels of a selection, drawn when asked for.

    Args:
        source: the video that the selection comes from, anything ``ove_codec.open`` takes.
        selection: what ``select`` returned, with its source.
        threads: of the decoders; 0 for all cores.
        kinds: further panels, of ``KINDS``: "motion", "residual", "bits" and "blocks" as the codec has them.
        whole: a further panel of the whole picture, where the canvas is cropped from it.

    Raises what ``ove_codec.open`` and ``ove_codec.frames`` raise, here or when panels are drawn.
    """

    def __init__(
        self,
        source: Source | SourceVideo,
        selection: Selection,
        *,
        threads: int = 0,
        kinds: Sequence[str] = (),
        whole: bool = False,
    ) -> None:
        self.source = source
        self.selection = selection
        self.threads = threads
        self.video: Any = source if isinstance(source, SourceVideo) else open_video(source, threads=threads)
        self.seconds = self.video._table.pts[selection.frame_ids]
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"unknown panel {kind!r}; {hint(kind, KINDS)}")
        geometry = selection.geometry
        self.kinds = tuple(kinds)
        #: Whether there is a panel of the whole picture.
        self.whole = whole and (geometry.offset_x < 0 or geometry.offset_y < 0)
        longest = max(geometry.canvas_width, geometry.canvas_height)
        # A small canvas is drawn larger from the video's own samples, a large one is reduced.
        self._enlarge = 1 if geometry.resize == "native" else max(1, _SHORTEST // longest)
        scale = min(_LONGEST, longest * self._enlarge) / longest
        self.width = max(1, round(geometry.canvas_width * scale))
        self.height = max(1, round(geometry.canvas_height * scale))
        patches = max(1, int(np.count_nonzero(selection.valid)))
        count = min(len(self), max(1, len(selection) // patches))
        #: Slots of the pictures that uniform sampling shows: whole ones, worth as many tokens as are selected.
        self.sampled_slots = (np.arange(count) * len(self) // count).tolist()

    def __len__(self) -> int:
        """The number of sampled pictures, T."""
        return len(self.selection.frame_ids)

    def __iter__(self) -> Iterator[PanelSet]:
        """The panels of every slot in turn, in one pass over the source."""
        return self._panels(range(len(self)), self.selection.heats())

    def at(self, slots: Sequence[int]) -> Iterator[PanelSet]:
        """The panels of these ascending slots."""
        return self._panels(slots, map(self.selection.heat, slots))

    def durations(self) -> list[float]:
        """Seconds for which each picture is shown."""
        steps = np.diff(self.seconds)
        last = float(np.median(steps)) if len(steps) else 1.0
        return [max(0.001, float(step)) for step in [*steps, last]]

    def heading(self) -> tuple[str, str]:
        """A title and a line about the selection."""
        params = self.selection.params
        changed = {name: value for name, value in PRESETS[self.selection.preset].items() if params[name] == value}
        own = [
            f"{name}={value}"
            for name, value in params.items()
            if value != changed.get(name, COMMON[name]) and name not in ("frame_ids", "num_frames")
        ]
        name = Path(self.video.name).name
        count, total = len(self), len(self.video.index)
        return name, ", ".join([f"preset {self.selection.preset}", *own, f"{count} of {total} pictures sampled"])

    def label(self, t: int) -> str:
        """The time and the number of tokens of a picture."""
        tokens = int(np.count_nonzero(self.selection.mask[t]))
        return f"{self.seconds[t]:.2f} s, {tokens} token{'s' if tokens != 1 else ''}"

    def captions(self) -> list[tuple[str, str]]:
        """A title and a line about each panel."""
        selection = self.selection
        params, dense = selection.params, selection.mask.size
        kinds = {"mv": "motion", "residual": "residual", "bits": "bits"}
        signals = " + ".join(kind for name, kind in kinds.items() if params[f"{name}_weight"] > 0)
        if params["mv_weight"] > 0 and params["compensate"] != "none":
            signals += ", camera removed"
        count = len(self.sampled_slots)
        cost = count * int(np.count_nonzero(selection.valid))
        about = {
            "motion": "arrows along the movement",
            "residual": "magnitude of the luma residual",
            "bits": "bits of each coding tree unit",
            "blocks": "orange intra, blue inter, dark skipped",
        }
        return [
            *([("Whole", "the frame marks the canvas")] if self.whole else []),
            ("Dense", f"{len(self)} pictures, {dense} tokens"),
            ("Sampled", f"{count} whole picture{'s' if count > 1 else ''}, {cost} tokens"),
            ("Heat", signals),
            ("Selected", f"{len(selection)} tokens, {100 * len(selection) / dense:.1f} % of dense"),
            *((kind.capitalize(), about[kind]) for kind in self.kinds),
        ]

    def _panels(self, slots: Sequence[int], heats: Iterable[npt.NDArray[np.float32]]) -> Iterator[PanelSet]:
        shown = [max(s for s in self.sampled_slots if s <= t) for t in slots]
        pictures = self._pictures(sorted({*slots, *shown}))
        further = self._further(slots)
        frozen: tuple[int, Pixels] | None = None
        for t, anchor, heat in zip(slots, shown, heats, strict=True):
            slot, picture = next(pictures)
            if frozen is None or frozen[0] != anchor:
                while slot < anchor:
                    slot, picture = next(pictures)
                frozen = (anchor, picture)
            while slot < t:
                slot, picture = next(pictures)
            more = next(further)
            yield PanelSet(t, picture, frozen[1], self._heat(picture, heat), self._selected(picture, t), more)

    def _pictures(self, slots: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
        """Pictures on the canvas, (height, width, 3), of ascending slots."""
        geometry = self.selection.geometry
        k = self._enlarge
        for slot, frame in self._frames(slots, geometry.resize, k * geometry.size):
            canvas = frame[: k * geometry.canvas_height, : k * geometry.canvas_width]
            yield slot, _resized(canvas, self.width, self.height, Image.Resampling.LANCZOS)

    def _frames(self, slots: Sequence[int], resize: str, size: int) -> Iterator[tuple[int, Pixels]]:
        """Frames of ascending slots, not all of them in memory."""
        geometry = self.selection.geometry
        samples = geometry.source_width * geometry.source_height if resize == "native" else size**2
        step = max(1, _CHUNK // (12 * samples))
        for start in range(0, len(slots), step):
            chunk = slots[start : start + step]
            ids = self.selection.frame_ids[chunk]
            pixels = frames(self.video, ids, size=size, resize=resize, normalize=False, threads=self.threads)
            yield from zip(chunk, pixels.permute(0, 2, 3, 1).numpy(), strict=True)

    def _further(self, slots: Sequence[int]) -> Iterator[dict[str, Pixels]]:
        """The further panels of ascending slots."""
        ids = self.selection.frame_ids[list(slots)].tolist()
        coded = self.video.read(ids, residual="residual" in self.kinds) if self.kinds else iter(())
        whole = self._frames(slots, "native", 1) if self.whole else iter(())
        for _ in slots:
            more: dict[str, Pixels] = {}
            if self.whole:
                more["Whole"] = self._whole(next(whole)[1])
            if self.kinds:
                picture = next(coded)
                more |= {kind.capitalize(): self._placed(draw_picture(picture, kind).image) for kind in self.kinds}
            yield more

    def _whole(self, frame: Pixels) -> Pixels:
        """A whole picture in the size of a panel, with a frame around what comes onto the canvas."""
        geometry = self.selection.geometry
        scale = min(self.width / geometry.source_width, self.height / geometry.source_height)
        width = max(1, round(geometry.source_width * scale))
        height = max(1, round(geometry.source_height * scale))
        picture = frame[: geometry.source_height, : geometry.source_width]  # "native" pads to whole patches
        image = Image.fromarray(_resized(picture, width, height, Image.Resampling.LANCZOS))
        across, down = width / geometry.resized_width, height / geometry.resized_height
        left, top = -geometry.offset_x * across, -geometry.offset_y * down
        right, bottom = left + geometry.canvas_width * across - 1, top + geometry.canvas_height * down - 1
        ImageDraw.Draw(image).rectangle((left, top, right, bottom), outline=(255, 196, 0), width=2)
        return np.asarray(image)

    def _placed(self, image: Pixels) -> Pixels:
        """A whole picture, oriented for display, placed on the canvas as its pixels are, at the size of a panel."""
        geometry = self.selection.geometry
        across, down = self.width / geometry.canvas_width, self.height / geometry.canvas_height
        size = max(1, round(geometry.resized_width * across)), max(1, round(geometry.resized_height * down))
        canvas = Image.new("RGB", (self.width, self.height))
        scaled = Image.fromarray(image).resize(size, Image.Resampling.BOX)
        canvas.paste(scaled, (round(geometry.offset_x * across), round(geometry.offset_y * down)))
        return np.asarray(canvas)

    def _heat(self, picture: Pixels, heat: npt.NDArray[np.float32]) -> Pixels:
        """The heat in colour, over a trace of the picture."""
        level = np.clip(heat / (255 if self.selection.params["quantize"] else 1), 0, 1)
        level = np.asarray(
            Image.fromarray(level.astype(np.float32)).resize((self.width, self.height), Image.Resampling.BILINEAR)
        )
        trace = 0.22 * _gray(picture)
        return np.clip(np.maximum(colors(level), trace), 0, 255).astype(np.uint8)

    def _selected(self, picture: Pixels, t: int) -> Pixels:
        """The picture where patches are kept, next to nothing of it elsewhere."""
        mask = self.selection.mask[t].astype(np.uint8) * 255
        kept = np.asarray(Image.fromarray(mask).resize((self.width, self.height), Image.Resampling.NEAREST)) > 0
        rest = 14 + 0.26 * _gray(picture)
        return np.where(kept[..., None], picture, rest).astype(np.uint8)


def _gray(picture: Pixels) -> npt.NDArray[np.float64]:
    """(H, W, 1) brightness, 0..255."""
    return picture.astype(np.float64) @ np.array([[0.299], [0.587], [0.114]])


def _resized(pixels: Pixels, width: int, height: int, how: Image.Resampling) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), how))
