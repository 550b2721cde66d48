"""Sampled clips: where they are read from again, and their four panels as pictures that a page can play."""

from __future__ import annotations

import base64
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

import ove_codec
from ove_codec import _tar, viz
from ove_codec.datasets import places
from ove_codec.datasets.clips import Clip, Failure
from ove_codec.datasets.job import Fetched, Job, fetch
from ove_codec.datasets.report.stored import Stored

_PLAYED = 96  # pictures of a clip, at most
_LONGEST_LOOP = 10.0  # seconds
# What is tried until the pictures of a clip take no more room than they may: size of a panel, quality, every n-th.
_LADDER = ((1.0, 70, 1), (1.0, 45, 1), (0.75, 45, 1), (0.75, 40, 2), (0.5, 35, 2), (0.5, 25, 4))


@dataclass
class Film:
    """The pictures of the panels over time, for the page's player.

    posters: data URIs of the first picture of each panel, which is shown before the sheets are.
    sheets: data URIs of WebP images, each all the pictures of one panel, in rows of `columns`. width, height: of a
        picture, in pixels. Heat and selected have one for each of `slots`, the sampled pictures that are played; dense
        is picture `cells[i]` of its sheet, and sampled, which holds whole pictures for a while, is `held[i]` of it.
    seconds: times of the slots. durations: seconds for which each is shown, sped up by `speed`.
    captions: title and a line about each panel.
    """

    posters: dict[str, str]
    sheets: dict[str, str]
    columns: int
    width: int
    height: int
    slots: list[int]
    cells: list[int]
    held: list[int]
    seconds: list[float]
    durations: list[float]
    speed: float
    captions: list[tuple[str, str]]

    @property
    def num_bytes(self) -> int:
        return sum(map(len, [*self.sheets.values(), *self.posters.values()]))


@dataclass
class Shown:
    """A sampled clip: its line of the manifest, what the shards hold, the film, and what is to be told about it."""

    entry: dict[str, Any]
    stored: Stored
    film: Film | None = None
    notes: list[str] = field(default_factory=list)


class Sources:
    """Where sampled clips lie now.

    Args:
        runs: lines of runs.jsonl, whose folders relative paths count from.
        clips: by name, those of where the data set lies now, if that is known to be elsewhere.
    """

    def __init__(self, runs: list[dict[str, Any]], clips: dict[str, Clip] | None = None) -> None:
        self._folders = {run["began"]: run["folder"] for run in runs if isinstance(run.get("folder"), str)}
        self._clips = clips

    def find(self, entry: dict[str, Any]) -> Clip:
        """The clip of a line of a manifest. Raises OSError or ValueError where it is not to be found."""
        if self._clips is not None:
            clip = self._clips.get(entry["name"])
            if clip is None:
                raise FileNotFoundError("the folder given as --input has no clip with this name")
            return clip
        where, member = entry["where"], entry["member"]
        inside = bool(member) and not where.startswith(tuple(f"{kind}::" for kind in _CHAINS))
        place = where[: -len(member) - 2] if inside else where
        for spelled in _spellings(place):
            known = self._folders.get(entry.get("run"), "")
            place = spelled if places.is_url(spelled) else os.path.join(known, spelled)
            if places.is_url(place) or os.path.isfile(place):  # no pipe, no device
                return _member(place, member, entry["name"]) if inside else Clip(entry["name"], place)
        raise FileNotFoundError("the file is no longer there; give its new place with --input")


_CHAINS = ("simplecache", "filecache", "blockcache", "cached", "zip", "tar", "libarchive")  # URLs of fsspec in URLs


def _spellings(place: str) -> Iterator[str]:
    """The place as it is written, and as it was where it had bytes that are not UTF-8 (see ``places.printable``)."""
    yield place
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), place.encode("utf-8", "replace"))
    if raw != place.encode("utf-8", "replace"):
        yield os.fsdecode(raw)


def _member(place: str, member: str, name: str) -> Clip:
    with places.open_binary(place) as file:
        for key, members in _tar.index(file):
            for suffix, (offset, size) in members.items():
                if places.printable(f"{key}.{suffix}") == member:
                    return Clip(name, place, (offset, size, suffix))
    raise FileNotFoundError("its tar file no longer holds it")


def draw(shown: Shown, settings: dict[str, Any], sources: Sources, max_bytes: int, threads: int = 0) -> None:
    """Gives a clip its film, or a note that says why it has none.

    The clip is read from where it lies and selected from again, for its heat; what is shown as kept is what the shards
    hold.

    Args:
        settings: of the run.
        max_bytes: of the film.
        threads: of the decoders; 0 for all cores.
    """
    if settings["format"] == "canvases":
        shown.notes.append(f"No panels: its canvases are in {shown.entry.get('folder')}.")
        return
    try:
        job = Job(**{name: settings[name] for name in ("format", "preset", "params", "transcode")})
        video = shown.stored.video
        if video is None:
            video = _fetched(shown.entry, sources, job)
        with closing(video) if hasattr(video, "close") else nullcontext():
            shown.film = _film_of(video, job, shown, max_bytes, threads)
    except Exception as error:  # whatever is wrong with one clip must not end the others
        said = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        shown.notes.append(f"No panels: the clip cannot be read again ({(said or type(error).__name__).rstrip('.')}).")
        return
    if shown.film is None:
        shown.notes.append(
            "No panels: its pictures exceed the size limit of the page. Increase --max-size to show them."
        )


def _fetched(entry: dict[str, Any], sources: Sources, job: Job) -> Any:
    """The video that a clip was selected from. Raises ValueError where it cannot be had, or is another one now."""
    fetched = fetch(sources.find(entry), job)
    if isinstance(fetched, Failure):
        raise ValueError(fetched.reason)
    assert isinstance(fetched, Fetched)
    if fetched.key != entry["key"]:
        raise ValueError("its content has changed since")
    return fetched.video


def _film_of(video: Any, job: Job, shown: Shown, max_bytes: int, threads: int) -> Film | None:
    stored = shown.stored
    selection = ove_codec.select(video, job.preset, threads=threads, **job.params)
    if not np.array_equal(selection.frame_ids, stored.frame_ids) or selection.mask.shape != stored.mask.shape:
        raise ValueError("this version of ove_codec samples other pictures")
    agreeing = np.count_nonzero(selection.mask & stored.mask) / max(1, len(stored.positions))
    if agreeing < 1:
        shown.notes.append(
            f"Selected again, it gives {100 * agreeing:.1f} % of the patches that were kept. The panels show those."
        )
    selection = replace(selection, mask=stored.mask, positions=stored.positions)
    return film(viz.Panels(video, selection, threads=threads), max_bytes)


def film(panels: viz.Panels, max_bytes: int) -> Film | None:
    """The panels over time, in no more than so many bytes; None where they cannot be."""
    slots = list(range(0, len(panels), -(-len(panels) // _PLAYED)))
    anchors = {t: max(slot for slot in panels.sampled_slots if slot <= t) for t in slots}
    dense, heat, selected = {}, {}, {}
    for panel_set in panels.at(sorted({*slots, *anchors.values()})):
        dense[panel_set.t] = panel_set.dense
        if panel_set.t in anchors:
            heat[panel_set.t], selected[panel_set.t] = panel_set.heat, panel_set.selected
    durations = panels.durations()
    for scale, quality, every in _LADDER:
        chosen = slots[::every]
        needed = sorted({*chosen, *(anchors[t] for t in chosen)})
        columns = math.ceil(math.sqrt(len(needed)))
        size = max(1, round(panels.width * scale)), max(1, round(panels.height * scale))
        sheets = {
            "dense": _sheet([dense[t] for t in needed], columns, size, quality),
            "heat": _sheet([heat[t] for t in chosen], columns, size, quality),
            "selected": _sheet([selected[t] for t in chosen], columns, size, quality),
        }
        first = {"dense": dense[chosen[0]], "sampled": dense[anchors[chosen[0]]], "heat": heat[chosen[0]]}
        first["selected"] = selected[chosen[0]]
        posters = {kind: _sheet([pixels], 1, size, quality) for kind, pixels in first.items()}
        if sum(map(len, [*sheets.values(), *posters.values()])) > max_bytes:
            continue
        lasting = [sum(durations[t:end]) for t, end in zip(chosen, [*chosen[1:], len(panels)], strict=True)]
        speed = max(1.0, sum(lasting) / _LONGEST_LOOP)
        return Film(
            posters,
            sheets,
            columns,
            *size,
            slots=chosen,
            cells=[needed.index(t) for t in chosen],
            held=[needed.index(anchors[t]) for t in chosen],
            seconds=[float(panels.seconds[t]) for t in chosen],
            durations=[max(0.02, seconds / speed) for seconds in lasting],
            speed=speed,
            captions=panels.captions(),
        )
    return None


def _sheet(pictures: Sequence[viz.Pixels], columns: int, size: tuple[int, int], quality: int) -> str:
    """All pictures in one, in rows of `columns`, as a data URI."""
    width, height = size
    sheet = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for number, pixels in enumerate(pictures):
        picture = Image.fromarray(pixels)
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        sheet.paste(picture, (number % columns * width, number // columns * height))
    out = io.BytesIO()
    sheet.save(out, "WEBP", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
