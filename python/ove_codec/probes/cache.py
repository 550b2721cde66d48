"""Features on disk: computed once for a backbone and its input, in shards that are written atomically.

The name of a cache folder is a checksum of the backbone's files and its input (frames, or budget, preset and
parameters). The name of a shard is a checksum of its clips: names, segments, sizes and modification times. So any
change leads to other files, and features are never mixed up.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from ove_codec._renames import renamed
from ove_codec.probes.base_backbones import Backbone, Clip
from ove_codec.probes.features import FeatureBatch, padded
from ove_codec.probes.files import file_state, write_whole
from ove_codec.probes.manifest import LabelledClip
from ove_codec.probes.reading import CodecRequest, FrameRequest, read_clip
from ove_codec.probes.workers import Workers, in_order

_FORMAT = 1  # of the shards, and of what is computed for them: raised when features change for the same input
_SHARD_BYTES = 1 << 28
_SHARD_CLIPS = 512
_OPEN_SHARDS = 32
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class FailedClip:
    """A clip of a manifest without features, and the reason."""

    name: str
    line: int
    error: str


class FeatureCache:
    """Computes missing features of clips, and opens existing ones.

    Args:
        root: folder of all caches.
        backbone: computes the features.
        wanted: its input (`Backbone.input_for`).
        dtype: "bfloat16", "float16" or "float32", the type of stored features.
        views: views of every clip. The first has the middle frames and unaltered colours; others have random frames of
            the segments (for the codec, the same patches) and random colours, as in the training of the released
            evaluation.

    Attributes:
        clip_bytes: largest size of a clip's features on disk.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        backbone: Backbone,
        wanted: FrameRequest | CodecRequest,
        *,
        dtype: str = "bfloat16",
        views: int = 1,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        if views < 1:
            raise ValueError(f"views must be 1 or more, got {views}")
        self.backbone, self.wanted, self.dtype, self.views = backbone, wanted, dtype, views
        self.about = about_input(backbone, wanted) | {"dtype": dtype, "views": views}
        self.key = digest_of(self.about)[:20]
        self.folder = Path(root) / self.key
        tokens = (
            wanted.patches
            if isinstance(wanted, CodecRequest)
            else wanted.frames * (wanted.side // backbone.patch_size) ** 2
        )
        self.clip_bytes = tokens * backbone.hidden_size * DTYPES[dtype].itemsize * views
        self._shard_clips = min(_SHARD_CLIPS, max(1, _SHARD_BYTES // self.clip_bytes))

    def features(
        self,
        samples: Sequence[LabelledClip],
        *,
        workers: int = 1,
        clips_at_once: int = 8,
        report: Callable[[int, int], None] | None = None,
    ) -> CachedFeatures:
        """The features of these clips. Missing ones are computed, one shard at a time.

        Clips that cannot be read are left out and listed in `unreadable`; no other clip replaces them. With several
        processes (torch.distributed's default group) each computes its share of the shards, all in one folder.

        Args:
            samples: of a manifest.
            workers: clips read at the same time, each in a thread.
            clips_at_once: clips per backbone batch.
            report: called with the clips done and those to do (of this process).

        Raises:
            OSError: the disk has too little free space, or writing fails.
            ValueError: no clip can be read; or a shard is damaged.
        """
        if workers < 1 or clips_at_once < 1:
            raise ValueError(f"workers and clips_at_once must be 1 or more, got {workers} and {clips_at_once}")
        clips = {sample.key: sample for sample in samples}  # one that is listed twice is computed once
        keys = list(clips)
        groups = [keys[i : i + self._shard_clips] for i in range(0, len(keys), self._shard_clips)]
        stems = [_shard_name([clips[key] for key in group]) for group in groups]
        shards = [(self.folder / f"{stem}.safetensors", group) for stem, group in zip(stems, groups, strict=True)]
        processes = Workers.current()
        mine = [shard for shard in shards[processes.rank :: processes.size] if not shard[0].exists()]
        if mine:
            self._check_room(sum(len(group) for _, group in mine))
            if processes.rank == 0:
                text = json.dumps(self.about, indent=2, sort_keys=True) + "\n"
                write_whole(self.folder / "about.json", lambda part: _write_text(part, text))
            self._compute(mine, clips, workers, clips_at_once, report)
        processes.wait()
        return CachedFeatures(self, shards, samples)

    def _check_room(self, clips: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        need = clips * self.clip_bytes
        if need > free:
            raise OSError(
                errno.ENOSPC,
                f"features of {clips} clips need {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
                os.fspath(self.folder),
            )

    def _compute(
        self,
        shards: Sequence[tuple[Path, list[str]]],
        clips: dict[str, LabelledClip],
        workers: int,
        clips_at_once: int,
        report: Callable[[int, int], None] | None,
    ) -> None:
        def read(job: tuple[str, int]) -> Clip | str:
            return read_clip(clips[job[0]], self.wanted, job[1])

        jobs = [(key, view) for _, group in shards for key in group for view in range(self.views)]
        read_clips = in_order(read, jobs, workers, workers + clips_at_once)
        done, total = 0, len(jobs) // self.views
        for path, group in shards:
            rows: list[Tensor] = []
            unreadable: dict[int, str] = {}
            count = len(group) * self.views
            for start in range(0, count, clips_at_once):
                found = list(itertools.islice(read_clips, min(clips_at_once, count - start)))
                readable = [clip for clip in found if not isinstance(clip, str)]
                encoded = iter(self.backbone.encode(readable) if readable else ())
                for number, clip in enumerate(found, start):
                    if isinstance(clip, str):
                        unreadable.setdefault(number // self.views, clip)
                        rows.append(torch.empty(0, self.backbone.hidden_size, dtype=DTYPES[self.dtype]))
                    else:
                        rows.append(next(encoded).to("cpu", DTYPES[self.dtype]))
            self._write(path, rows, unreadable)
            done += len(group)
            if report is not None:
                report(done, total)

    def _write(self, path: Path, rows: Sequence[Tensor], unreadable: dict[int, str]) -> None:
        tensors = {
            "tokens": torch.cat(list(rows)).contiguous(),
            "bounds": torch.tensor([0, *map(len, rows)]).cumsum(0),
        }
        metadata = {"unreadable": json.dumps(unreadable), "cache": self.key}
        write_whole(path, lambda part: save_file(tensors, part, metadata))


class CachedFeatures:
    """Features of the readable clips of a manifest, read from the shards on demand.

    Attributes:
        labels: (N,) of the readable ones.
        samples: these.
        unreadable: the others.
        hidden_size, views: of the features.
        key: tells backbone and input from others.
    """

    def __init__(
        self, cache: FeatureCache, shards: Sequence[tuple[Path, list[str]]], samples: Sequence[LabelledClip]
    ) -> None:
        self.hidden_size, self.views = cache.backbone.hidden_size, cache.views
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self.key = cache.key
        places: dict[str, tuple[Path, int]] = {}
        errors: dict[str, str] = {}
        self._bounds: dict[Path, list[int]] = {}
        for path, keys in shards:
            try:
                with safetensors.safe_open(path, framework="pt") as file:
                    self._bounds[path] = file.get_tensor("bounds").tolist()
                    found = {int(row): error for row, error in json.loads(file.metadata()["unreadable"]).items()}
            except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path} is missing or damaged: {error}; remove it and start again") from None
            if len(self._bounds[path]) != len(keys) * self.views + 1:
                raise ValueError(f"{path} does not belong to these {len(keys)} clips; remove it and start again")
            for row, key in enumerate(keys):
                if row in found:
                    errors[key] = found[row]
                else:
                    places[key] = (path, row)
        self.samples = [sample for sample in samples if sample.key in places]
        self.unreadable = [FailedClip(s.name, s.line, errors[s.key]) for s in samples if s.key in errors]
        if not self.samples:
            first = self.unreadable[0]
            raise ValueError(f"none of the {len(samples)} clips can be read; the first, {first.name}: {first.error}")
        self.labels: npt.NDArray[np.int64] = np.array([sample.label for sample in self.samples], np.int64)
        self._places = [places[sample.key] for sample in self.samples]

    @cached_property
    def fingerprint(self) -> str:
        shards = {path.stem for path, _ in self._places}
        labels = hashlib.sha256(np.ascontiguousarray(self.labels, "<i8").data).hexdigest()
        return digest_of([self.key, sorted(shards), [s.key for s in self.samples], labels])

    def batch(self, indices: Sequence[int], views: Sequence[int] | None = None) -> FeatureBatch:
        """See `FeatureSet.batch`."""
        clips = []
        for index, view in zip(indices, views or itertools.repeat(0), strict=False):
            path, row = self._places[index]
            first = row * self.views + view
            start, end = self._bounds[path][first : first + 2]
            clips.append(self._shard(path).get_slice("tokens")[start:end])
        return padded(clips, self.labels[list(indices)])

    def _shard(self, path: Path) -> Any:
        """The open file of a shard; some of those used last are kept open."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if len(self._open) >= _OPEN_SHARDS:
            self._open.popitem(last=False)
        self._open[path] = safetensors.safe_open(path, framework="pt")
        return self._open[path]


def _shard_name(clips: Sequence[LabelledClip]) -> str:
    return digest_of([[clip.key, *file_state(clip.path)] for clip in clips])[:32]


def about_input(backbone: Backbone, wanted: FrameRequest | CodecRequest) -> dict[str, Any]:
    """What features depend on besides the clips and their views."""
    request = {"kind": type(wanted).__name__, **json.loads(json.dumps(asdict(wanted)))}
    return {"format": _FORMAT, "backbone": backbone.about, "input": request}


def digest_of(facts: Any) -> str:
    """A checksum of what JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


__getattr__ = renamed(__name__, Unreadable="FailedClip")
