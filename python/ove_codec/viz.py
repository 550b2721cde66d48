"""Pictures of a selection: the video dense, uniformly sampled at the same cost, as heat, and as the patches kept.

The four panels are those of the OneVision-Encoder page, section 3. Drawn with Pillow; MP4 files need PyAV.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ove_codec.selection import Selection
from ove_codec.tokens import frames
from ove_codec.video import Source
from ove_codec.video import open as open_video

MOVING = (".mp4", ".gif", ".webp", ".apng")
STILL = (".png",)

_LONGEST, _SHORTEST = 320, 200  # side of a panel in samples, where the canvas can be drawn so
_CHUNK = 1 << 28  # bytes of frames held at a time
_PAPER, _INK, _FAINT, _LINE = (255, 255, 255), (24, 26, 32), (112, 116, 128), (208, 211, 219)
_MARGIN, _GAP = 20, 8

# Anchors of the colour map at equal distances, dark to light, so that it reads without colour too.
_ANCHORS = ((6, 6, 24), (52, 16, 96), (128, 30, 108), (204, 58, 66), (246, 128, 28), (252, 206, 84), (255, 255, 224))

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PanelSet:
    """The four panels at slot `t` of a selection: (H, W, 3) uint8, of one size."""

    t: int
    dense: Pixels
    sampled: Pixels
    heat: Pixels
    selected: Pixels

    def __iter__(self) -> Iterator[Pixels]:
        return iter((self.dense, self.sampled, self.heat, self.selected))


class Panels:
    """The panels of a selection, drawn when asked for.

    Args:
        source: the video that the selection comes from, anything ``ove_codec.open`` takes.
        selection: what ``select`` returned, with its source.
        threads: of the decoders; 0 for all cores.

    Raises what ``ove_codec.open`` and ``ove_codec.frames`` raise, here or when panels are drawn.
    """

    def __init__(self, source: Source, selection: Selection, *, threads: int = 0) -> None:
        self.source = source
        self.selection = selection
        self.threads = threads
        self.seconds = open_video(source, threads=threads)._table.pts[selection.frame_ids]
        geometry = selection.geometry
        longest = max(geometry.canvas_width, geometry.canvas_height)
        # A small canvas is drawn larger from the video's own samples, a large one is reduced.
        self._enlarge = 1 if geometry.resize == "native" else max(1, _SHORTEST // longest)
        scale = min(_LONGEST, longest * self._enlarge) / longest
        self.width = max(1, round(geometry.canvas_width * scale))
        self.height = max(1, round(geometry.canvas_height * scale))
        whole = max(1, int(np.count_nonzero(selection.valid)))
        count = min(len(self), max(1, len(selection) // whole))
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

    def captions(self) -> list[tuple[str, str]]:
        """A title and a line about each panel."""
        selection = self.selection
        params, dense = selection.params, selection.mask.size
        kinds = {"mv": "motion", "residual": "residual", "bits": "bits"}
        signals = " + ".join(kind for name, kind in kinds.items() if params[f"{name}_weight"] > 0)
        if params["mv_weight"] > 0 and params["compensate"] != "none":
            signals += ", camera off"
        count = len(self.sampled_slots)
        cost = count * int(np.count_nonzero(selection.valid))
        return [
            ("Dense", f"{len(self)} pictures, {dense} tokens"),
            ("Sampled", f"{count} whole picture{'s' if count > 1 else ''}, {cost} tokens"),
            ("Heat", signals),
            ("Selected", f"{len(selection)} tokens, {100 * len(selection) / dense:.1f} % of dense"),
        ]

    def _panels(self, slots: Sequence[int], heats: Iterable[npt.NDArray[np.float32]]) -> Iterator[PanelSet]:
        shown = [max(s for s in self.sampled_slots if s <= t) for t in slots]
        pictures = self._pictures(sorted({*slots, *shown}))
        frozen: tuple[int, Pixels] | None = None
        for t, anchor, heat in zip(slots, shown, heats, strict=True):
            slot, picture = next(pictures)
            if frozen is None or frozen[0] != anchor:
                while slot < anchor:
                    slot, picture = next(pictures)
                frozen = (anchor, picture)
            while slot < t:
                slot, picture = next(pictures)
            yield PanelSet(t, picture, frozen[1], self._heat(picture, heat), self._selected(picture, t))

    def _pictures(self, slots: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
        """Pictures on the canvas, (height, width, 3), of ascending slots."""
        geometry = self.selection.geometry
        k = self._enlarge
        size = (
            geometry.source_width * geometry.source_height if geometry.resize == "native" else (k * geometry.size) ** 2
        )
        step = max(1, _CHUNK // (12 * size))
        for start in range(0, len(slots), step):
            chunk = slots[start : start + step]
            ids = self.selection.frame_ids[chunk]
            pixels = frames(
                self.source, ids, size=k * geometry.size, resize=geometry.resize, normalize=False, threads=self.threads
            )
            for slot, frame in zip(chunk, pixels.permute(0, 2, 3, 1).numpy(), strict=True):
                canvas = frame[: k * geometry.canvas_height, : k * geometry.canvas_width]
                yield slot, _resized(canvas, self.width, self.height, Image.Resampling.LANCZOS)

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


def colors(level: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Levels 0..1 (...) as red, green and blue, 0..255 (..., 3)."""
    anchors = np.array(_ANCHORS, np.float64)
    at = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(level, at, anchors[:, c]) for c in range(3)], axis=-1)


def check_output(path: str | os.PathLike[str]) -> None:
    """Raises ValueError for a suffix that cannot be written, ModuleNotFoundError for MP4 without PyAV."""
    suffix = Path(path).suffix
    if suffix not in STILL + MOVING:
        raise ValueError(f"{os.fspath(path)}: its suffix must be one of {', '.join(STILL + MOVING)}")
    if suffix == ".mp4":
        _av()


def save_strip(panels: Panels, path: str | os.PathLike[str], steps: int = 6) -> tuple[int, int]:
    """Writes a PNG of the four panels, one below the other, at `steps` times from left to right; returns its size."""
    slots = np.unique(np.linspace(0, len(panels) - 1, steps).astype(int)).tolist()
    small, large = ImageFont.load_default(13), ImageFont.load_default(20)
    captions = panels.captions()
    gutter = 24 + max(round(max(small.getlength(about), large.getlength(title))) for title, about in captions)
    left, top = _MARGIN + gutter, _MARGIN + 26
    size = (
        left + len(slots) * (panels.width + _GAP) - _GAP + _MARGIN,
        top + 4 * (panels.height + _GAP) - _GAP + _MARGIN,
    )
    image = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(image)
    for row, (title, about) in enumerate(captions):
        middle = top + row * (panels.height + _GAP) + panels.height // 2
        draw.text((_MARGIN, middle - 4), title, _INK, large, anchor="ls")
        draw.text((_MARGIN, middle + 18), about, _FAINT, small, anchor="ls")
        if title == "Heat":
            _color_bar(image, (_MARGIN, middle + 32), 120, small)
    for column, panel_set in enumerate(panels.at(slots)):
        x = left + column * (panels.width + _GAP)
        when = f"{panels.seconds[panel_set.t]:.2f} s"
        draw.text((x + panels.width // 2, top - 10), when, _FAINT, small, anchor="ms")
        for row, pixels in enumerate(panel_set):
            image.paste(Image.fromarray(pixels), (x, top + row * (panels.height + _GAP)))
    image.save(path, optimize=True)
    return size


def save_animation(panel_sets: Iterable[PanelSet], path: str | os.PathLike[str], panels: Panels) -> tuple[int, int]:
    """Writes the four panels side by side over time as MP4, GIF, WebP or APNG, by the suffix; returns the size.

    `panel_sets` is what iterating over `panels` gives. Raises ModuleNotFoundError for MP4 without PyAV.
    """
    images = (_side_by_side(panel_set, panels) for panel_set in panel_sets)
    first = next(images)
    durations = panels.durations()
    if Path(path).suffix == ".mp4":
        _save_mp4(chain([first], images), path, first.size, Fraction(len(durations) / sum(durations)))
        return first.size
    options: dict[str, Any] = {"format": "PNG"} if Path(path).suffix == ".apng" else {}
    milliseconds = [max(20, round(1000 * seconds)) for seconds in durations]  # browsers slow down what is faster
    first.save(path, save_all=True, append_images=list(images), duration=milliseconds, loop=0, **options)
    return first.size


def _side_by_side(panel_set: PanelSet, panels: Panels) -> Image.Image:
    """The four panels with captions above and the time below."""
    small, large = ImageFont.load_default(13), ImageFont.load_default(18)
    top, bottom = _MARGIN + 44, 40
    width = 2 * _MARGIN + 4 * panels.width + 3 * 2 * _GAP
    height = top + panels.height + bottom
    image = Image.new("RGB", (width + width % 2, height + height % 2), _PAPER)  # even, as video codecs want it
    draw = ImageDraw.Draw(image)
    for column, (pixels, (title, about)) in enumerate(zip(panel_set, panels.captions(), strict=True)):
        x = _MARGIN + column * (panels.width + 2 * _GAP)
        draw.text((x, _MARGIN + 14), title, _INK, large, anchor="ls")
        draw.text((x, _MARGIN + 34), about, _FAINT, small, anchor="ls")
        image.paste(Image.fromarray(pixels), (x, top))
    y = top + panels.height + 22
    when = f"{panels.seconds[panel_set.t]:.2f} s"
    draw.text((width - _MARGIN, y), when, _FAINT, small, anchor="rm")
    start, stop = _MARGIN, width - _MARGIN - 64
    draw.line((start, y, stop, y), _LINE, 2)
    reached = start + round((stop - start) * panel_set.t / max(1, len(panels) - 1))
    draw.line((start, y, reached, y), _INK, 2)
    return image


def _save_mp4(
    images: Iterable[Image.Image], path: str | os.PathLike[str], size: tuple[int, int], rate: Fraction
) -> None:
    av = _av()
    with av.open(os.fspath(path), "w", format="mp4") as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = container.add_stream(codec, rate=rate.limit_denominator(1000))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))


def _av() -> Any:
    try:
        return import_module("av")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "MP4 is written with PyAV, which is not installed: pip install 'ove_codec[video]', or write a .webp or .gif"
        ) from None


def _gray(picture: Pixels) -> npt.NDArray[np.float64]:
    """(H, W, 1) brightness, 0..255."""
    return picture.astype(np.float64) @ np.array([[0.299], [0.587], [0.114]])


def _resized(pixels: Pixels, width: int, height: int, how: Image.Resampling) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), how))


def _color_bar(image: Image.Image, corner: tuple[int, int], length: int, font: Any) -> None:
    """What the colours mean, 0 to 1."""
    ramp = colors(np.tile(np.linspace(0, 1, length), (10, 1))).astype(np.uint8)
    x, y = corner
    image.paste(Image.fromarray(ramp), corner)
    draw = ImageDraw.Draw(image)
    draw.text((x, y + 24), "0", _FAINT, font, anchor="ls")
    draw.text((x + length, y + 24), "1", _FAINT, font, anchor="rs")
