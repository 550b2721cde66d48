"""A map-style data set of the output of `ove-codec select-dataset`."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ove_codec
from ove_codec.data.batch import ClipSample
from ove_codec.data.clips import Entry, TokenDataset
from ove_codec.data.inputs import SELECTION, UnreadableSample
from ove_codec.data.parquet import ParquetRows
from ove_codec.data.shards import DataError, ShardSet, name_of
from ove_codec.datasets import places
from ove_codec.datasets.clips import SUFFIXES, Clip, list_clips
from ove_codec.datasets.layout import read_manifests
from ove_codec.limits import Limits
from ove_codec.ops.inputs import float_dtype
from ove_codec.selection import Geometry
from ove_codec.tokenizer import Tokens
from ove_codec.transcoding import in_hevc

_FACTS = ("name", "where", "codec", "pictures", "geometry", "row", "frame_ids", "positions")
_TOKENS = "tokens.npy"


@dataclass(frozen=True)
class StoredSelection:
    """What ``ove_codec.tokenize`` needs of a selection."""

    frame_ids: NDArray[np.int64]
    positions: NDArray[np.int32]
    geometry: Geometry
    on_damage: str = "raise"


@dataclass(frozen=True)
class _Stored:
    """facts: of the clip. selection: of it. patches: of the selection, where stored. video: where stored."""

    facts: dict[str, Any]
    selection: StoredSelection
    patches: NDArray[Any] | None
    video: bytes | None


class PreparedDataset(TokenDataset):
    """The clips of an output of ``ove_codec.datasets.select_dataset``, formats "parquet" and "webdataset".

    If patches are stored, nothing is decoded. Otherwise only the pixels of the stored selections are decoded, from the
    clips in the shards or from their original places. Only finished shards are read; to see new shards of a running
    selection, open the data set again.

    Args:
        folder: the output, local or at an fsspec URL.
        source: where the clips are now, if they have moved: a folder or table, as for ``select_dataset``. Clips are
            found by their names; columns of a table take precedence over stored ones.
        column: with the videos in `source`, as in ``list_clips``.
        stored: False to decode even if patches are stored.
        dtype: of the patches; if None, that of the stored ones, or float32.
        limits: as with ``ove_codec.open``.
        threads: of the decoders, 0 for all cores; one is right in workers.
        label, transform, on_error: as with ``ClipDataset``.

    Attributes:
        settings: of the selection: preset, params, transcode, tokens and the others of ``select_dataset``.

    Raises:
        FileNotFoundError: the folder is not such an output. ValueError: it has no clips, or another format.
        DataError: the list of its shards is damaged. ImportError: pyarrow or fsspec is missing.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
        column: str | None = None,
        stored: bool = True,
        dtype: torch.dtype | str | None = None,
        limits: Limits | None = None,
        threads: int = 1,
        label: str | Callable[[dict[str, Any]], Any] | None = "label",
        transform: Callable[[ClipSample], ClipSample] | None = None,
        on_error: str = "raise",
    ) -> None:
        place = places.local(folder).rstrip("/") or "/"
        try:
            self.settings, shards = read_manifests(place)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"the list of shards in {place} is damaged: {error!r}") from error
        if not any(shards.values()):
            raise ValueError(f"{place} holds no clips: check that select-dataset finished and found clips")
        files = [places.join(place, name) for name in shards]
        counts = [len(tokens) for tokens in shards.values()]
        self._stored = stored and self.settings["tokens"] is not None
        self._dtype = None if dtype is None else float_dtype(dtype)
        self._opening: dict[str, Any] = {"threads": threads, "limits": limits}
        self._clips: dict[str, Clip] | None = None
        if source is not None:
            self._clips = {places.printable(clip.name): clip for clip in list_clips(source, column).clips}
        self._shards: ParquetRows | ShardSet
        if self.settings["format"] == "parquet":
            self._shards = ParquetRows(files, counts, (*_FACTS, "tokens") if self._stored else _FACTS)
        elif self.settings["format"] == "webdataset":
            self._shards = ShardSet(files, counts)
        else:
            raise ValueError(
                f"{place} is of the format {self.settings['format']!r}, which has no shards: run select-dataset with "
                "format 'parquet' or 'webdataset', or read the videos with ClipDataset"
            )
        lengths = np.concatenate([np.array(tokens, np.int64) for tokens in shards.values()])
        super().__init__(np.array(counts, np.int64), lengths, label=label, transform=transform, on_error=on_error)

    def called(self, shard: int, number: int) -> str:
        return f"{name_of(self._shards.files[shard])}, clip {number}"

    def read(self, shard: int, number: int) -> Entry:
        if isinstance(self._shards, ParquetRows):
            stored = _of_row(self._shards.read(shard, number))
        else:
            wanted = {"json", SELECTION, _TOKENS} if self._stored else {"json", SELECTION, *SUFFIXES}
            stored = _of_members(self._shards.read(shard, number, wanted).members)
        name = stored.facts["name"]
        clip = None if self._clips is None else self._clips.get(name)
        return Entry(name, {**stored.facts["row"], **({} if clip is None else clip.row)}, stored)

    def tokens(self, entry: Entry) -> Tokens:
        stored: _Stored = entry.content
        if not self._stored:
            return self._decoded(stored)
        if stored.patches is None or len(stored.patches) != len(stored.selection.positions):
            raise UnreadableSample("its patches are missing, or their number is not that of its positions")
        patches = torch.from_numpy(np.require(stored.patches, requirements=("C", "W")))
        return Tokens(
            patches if self._dtype is None else patches.to(self._dtype),
            torch.from_numpy(np.asarray(stored.selection.positions, np.int64)),
            torch.tensor([0, len(patches)], dtype=torch.int32),
        )

    def _decoded(self, stored: _Stored) -> Tokens:
        """The patches of the stored selection, from the clip's pixels."""
        transcode = self.settings["transcode"]
        source: Any = stored.video
        if source is None:
            source = self._clip(stored.facts).read()
        else:
            transcode = False  # it is stored as it was selected from
        with closing(source) if hasattr(source, "close") else nullcontext():
            video = ove_codec.open(in_hevc(source, transcode, **self._opening), **self._opening)
            if len(video) != stored.facts["pictures"]:
                raise UnreadableSample(
                    f"it has {len(video)} pictures, but had {stored.facts['pictures']} when it was selected: the clip "
                    "has changed"
                )
            selection: Any = stored.selection
            return ove_codec.tokenize(video, selection, threads=self._opening["threads"], dtype=self._dtype)

    def _clip(self, facts: dict[str, Any]) -> Clip:
        if self._clips is not None:
            if facts["name"] not in self._clips:
                raise UnreadableSample("source has no clip with this name")
            return self._clips[facts["name"]]
        _, shard, member = facts["where"].rpartition("::")
        if shard and member.rpartition(".")[0] == facts["name"]:
            raise DataError(f"{facts['where']} is in a shard: pass as source what was given to select_dataset")
        return Clip(facts["name"], facts["where"])


def _of_row(row: dict[str, Any]) -> _Stored:
    row["row"] = json.loads(row.get("row") or "{}")
    selection = StoredSelection(row["frame_ids"], row["positions"], _geometry(json.loads(row["geometry"])))
    return _Stored(row, selection, row.pop("tokens", None), None)


def _of_members(members: dict[str, bytes]) -> _Stored:
    facts = json.loads(members["json"])
    with np.load(io.BytesIO(members[SELECTION]), allow_pickle=False) as npz:
        selection = StoredSelection(npz["frame_ids"], npz["positions"], _geometry(json.loads(facts["geometry"])))
    patches = np.load(io.BytesIO(members[_TOKENS]), allow_pickle=False) if _TOKENS in members else None
    video = next((data for suffix, data in members.items() if suffix in SUFFIXES), None)
    return _Stored({**facts, "row": facts.get("row") or {}}, selection, patches, video)


def _geometry(values: dict[str, Any]) -> Geometry:
    try:
        return Geometry(**{**values, "window": tuple(values["window"])})
    except TypeError as error:
        raise UnreadableSample(f"its geometry is damaged: {error}") from error
