"""What is done with one clip: the same function of a clip and the settings, whoever calls it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import ove_codec
from ove_codec.datasets import canvases, places, reference
from ove_codec.datasets.clips import Clip, Failure
from ove_codec.datasets.statistics import statistics, worker_name
from ove_codec.presets import resolve
from ove_codec.transcoding import in_hevc, recipe_of

FORMATS = ("parquet", "webdataset", "reference", "canvases")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Job:
    """The settings of a run: plain values, which are kept beside the results.

    format: "parquet", "webdataset", "reference" or "canvases".
    preset, params: of ``select``; for canvases, the score and the settings of ``codec_canvases``.
    transcode: as with ``select``.
    tokens: dtype of the patches that are kept too, "float16" or "float32"; None for none.
    video: whether the shards hold the (transcoded) clips themselves, for format "webdataset".
    device: as with ``select``, for scores and patches; None for the CPU.
    """

    format: str = "parquet"
    preset: str = "paper"
    params: dict[str, Any] = field(default_factory=dict)
    transcode: bool | str = True
    tokens: str | None = None
    video: bool = False
    device: str | None = None

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {self.format!r}")
        if self.tokens not in (None, "float16", "float32"):
            raise ValueError(f"tokens must be None, 'float16' or 'float32', not {self.tokens!r}")
        if self.video and self.format != "webdataset":
            raise ValueError("video=True needs format='webdataset': only shards hold the clips themselves")
        if isinstance(self.transcode, str):
            recipe_of(self.transcode)
        if self.format == "canvases" and (self.tokens is not None or self.device is not None):
            raise ValueError("format='canvases' has no tokens and runs on the CPU: leave out tokens and device")
        params = self._resolved()
        if self.format == "reference":
            reference.check(params, self.tokens)

    def as_dict(self) -> dict[str, Any]:
        """The settings in JSON's types, all parameters of the selection with their values, but not the device."""
        settings = asdict(self) | {"params": self._resolved()}
        del settings["device"]
        return settings

    def process(self, clip: Clip, known: tuple[str, ...] = ()) -> Result | Unchanged | Failure:
        """``fetch`` and ``finish``."""
        return finish(fetch(clip, self, known), self)

    def _resolved(self) -> dict[str, Any]:
        make = canvases.resolved if self.format == "canvases" else resolve
        return make(self.preset, self.params)


@dataclass
class Fetched:
    """A clip, read: its content's key, and a video to select from.

    codec: of the clip. transcoded: whether the video is another one, made from it. seconds: that it took.
    """

    clip: Clip
    key: str
    size: int
    stamp: str
    codec: str
    video: Any
    transcoded: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Unchanged:
    """A clip that lies elsewhere, or was touched, and whose content is finished already."""

    clip: Clip
    key: str


@dataclass(frozen=True)
class Result:
    """What came of a clip.

    size, stamp: of its place, to know it again without reading it.
    facts: name, key (SHA-256 of its bytes), where, codec, pictures, width, height, rows, columns, patch_size, geometry
        (JSON), tokens, the number of patches, and row, the other columns of its table, in JSON's types.
    arrays: for tables. files: contents by suffix or name, for shards and the reference's files.
    statistics: for the manifest: see ``datasets.statistics``; and seconds, that the clip took, ended, the time of day
        (Unix) when it was done, and worker, by whom.
    """

    clip: Clip
    size: int
    stamp: str
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray[Any, Any]]
    files: dict[str, bytes]
    statistics: dict[str, Any] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        return sum(a.nbytes for a in self.arrays.values()) + sum(map(len, self.files.values()))


def fetch(clip: Clip, job: Job, known: tuple[str, ...] = ()) -> Fetched | Unchanged | Failure:
    """Reads a clip and transcodes it where that is wanted. `known` are keys of this name that are finished."""
    began = time.perf_counter()
    try:
        size, stamp = places.stamp(clip.place)
        source: Any = clip.read(size)
        key = _key(source)
        if key in known:
            return Unchanged(clip, key)
        codec = ove_codec._core.stream_info(source)["codec"]
        video = in_hevc(source, job.transcode, threads=1)
        return Fetched(clip, key, size, stamp, codec, video, video is not source, time.perf_counter() - began)
    except Exception as error:  # whatever is wrong with one clip must not end the others
        return Failure.of(clip.name, clip.where, error)


def finish(fetched: Fetched | Unchanged | Failure, job: Job) -> Result | Unchanged | Failure:
    """Selects from what ``fetch`` gave."""
    if not isinstance(fetched, Fetched):
        return fetched
    clip = fetched.clip
    try:
        return _finish(fetched, job)
    except Exception as error:
        return Failure.of(clip.name, clip.where, error)


def _key(source: Any) -> str:
    digest = hashlib.sha256()
    if isinstance(source, bytes):
        digest.update(source)
        return digest.hexdigest()
    file = open(source, "rb") if isinstance(source, str) else source  # noqa: SIM115 (what was given stays open)
    try:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    finally:
        if file is not source:
            file.close()
    return digest.hexdigest()


def _finish(fetched: Fetched, job: Job) -> Result:
    began = time.perf_counter()
    clip = fetched.clip
    video = ove_codec.open(fetched.video, threads=1)
    about = {
        "name": places.printable(clip.name),
        "key": fetched.key,
        "where": clip.where,
        "codec": fetched.codec,
        "pictures": len(video),
        "row": json.loads(json.dumps(clip.row, default=str)),
    }
    if job.format == "canvases":
        made = canvases.canvases_of(video, job.preset, job.params)
        facts, figures = about | canvases.facts(made), canvases.statistics(made)
        return Result(
            clip, fetched.size, fetched.stamp, facts, {}, canvases.files(clip, made), figures | _work(fetched, began)
        )
    selection: Any = ove_codec.select(video, job.preset, threads=1, device=job.device, **job.params)
    if not isinstance(selection, ove_codec.Selection):
        selection = selection.cpu()
    geometry = selection.geometry
    t, h, w = selection.positions.T
    facts = {
        **about,
        "width": geometry.source_width,
        "height": geometry.source_height,
        "rows": geometry.rows,
        "columns": geometry.columns,
        "patch_size": geometry.patch_size,
        "geometry": json.dumps(asdict(geometry)),
        "tokens": len(selection),
    }
    arrays: dict[str, Any] = {
        "frame_ids": selection.frame_ids,
        "pts": np.asarray(video._table.pts, np.float64)[selection.frame_ids],
        "positions": selection.positions,
        "scores": selection.scores[t, h, w],
    }
    if job.tokens is not None:
        patches = ove_codec.tokenize(video, selection, threads=1, device=job.device).patches
        arrays["tokens"] = patches.cpu().numpy().astype(job.tokens)
    files: dict[str, bytes] = {}
    if job.format == "webdataset":
        arrays, files = {}, _members(fetched, selection, facts, arrays, job)
    elif job.format == "reference":
        arrays, files = {}, reference.files(clip, video, selection)
    figures = statistics(selection) | _work(fetched, began)
    return Result(clip, fetched.size, fetched.stamp, facts, arrays, files, figures)


def _work(fetched: Fetched, began: float) -> dict[str, Any]:
    """Who did it, when, and in which time."""
    return {
        "seconds": round(fetched.seconds + time.perf_counter() - began, 4),
        "ended": round(time.time(), 3),
        "worker": worker_name(),
    }


def _members(
    fetched: Fetched, selection: ove_codec.Selection, facts: dict[str, Any], arrays: dict[str, Any], job: Job
) -> dict[str, bytes]:
    """The members of a sample: json, npz (``Selection.save``) and, where wanted, tokens.npy and the video."""
    npz = io.BytesIO()
    selection.save(npz)
    members = {"json": json.dumps({**facts, "pts": arrays["pts"].tolist()}).encode(), "npz": npz.getvalue()}
    if "tokens" in arrays:
        out = io.BytesIO()
        np.save(out, arrays["tokens"], allow_pickle=False)
        members["tokens.npy"] = out.getvalue()
    if job.video:
        whole: Any = fetched.video
        if not isinstance(whole, bytes):
            with open(whole, "rb") if isinstance(whole, str | os.PathLike) else whole as file:
                file.seek(0)
                whole = file.read()
        suffix = "mp4" if fetched.transcoded else _suffix(fetched.clip)
        members[suffix] = whole
    return members


def _suffix(clip: Clip) -> str:
    name = clip.place if clip.member is None else clip.member[2]
    return name.rpartition(".")[2].lower()
