"""Map-style data sets: an index gives the tokens of a clip."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import Unpack

import ove_codec
from ove_codec.data.batch import BatchIndices, ClipSample, SkippedClip
from ove_codec.data.inputs import UNREADABLE, UnreadableSample, reason_of
from ove_codec.data.shards import DataError
from ove_codec.datasets import places
from ove_codec.datasets.clips import COLUMNS, NAMES, Clip, list_clips
from ove_codec.limits import Limits
from ove_codec.presets import Parameters, resolve, with_parameters
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD, Color, Tokens
from ove_codec.transcoding import Recipe, in_hevc

ON_ERROR = ("raise", "skip")
_MOST_LOST = 100  # clips that are skipped before any is read
logger = logging.getLogger("ove_codec.data")


@dataclass(frozen=True)
class Entry:
    """A clip's entry, read.

    Attributes:
        name: what the clip is called.
        row: its other columns in the table.
        content: what ``TokenDataset.tokens`` makes tokens of.
    """

    name: str
    row: dict[str, Any]
    content: Any = field(repr=False)


class TokenDataset(torch.utils.data.Dataset["ClipSample | SkippedClip"], ABC):
    """Base class of data sets: an index gives the tokens of a clip. Subclass it for your own data.

    Clips are decoded in the calling thread only. Only a few shards stay open, and each process opens them itself, so
    workers may be forked or spawned, and may be persistent.

    Args:
        counts: (S,) int64, clips of each shard, in order; a shard is a unit that is best read together.
        lengths: the largest number of tokens of each clip, (N,) int64, or one number for all; None if unknown.
        label, transform, on_error: as with ``ClipDataset``.

    Attributes:
        counts, lengths, on_error: as given.
    """

    def __init__(
        self,
        counts: NDArray[np.int64],
        lengths: NDArray[np.int64] | int | None = None,
        *,
        label: str | Callable[[dict[str, Any]], Any] | None = "label",
        transform: Callable[[ClipSample], ClipSample] | None = None,
        on_error: str = "raise",
    ) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error must be one of {', '.join(ON_ERROR)}, not {on_error!r}")
        self.counts, self.lengths, self.on_error = counts, lengths, on_error
        self._label, self._transform = label, transform
        self._starts = np.cumsum(counts) - counts
        self._lost: set[int] | None = set()  # clips skipped in this process; None once one was read

    def __len__(self) -> int:
        return int(self.counts.sum())

    def __getitem__(self, index: int) -> ClipSample | SkippedClip:
        """The tokens of clip `index`; with `on_error` "skip", a ``SkippedClip`` for one that cannot be read.

        Raises:
            IndexError: the data set has no clip of this index.
            DataError: the clip cannot be read and `on_error` is "raise", its label cannot be found, a shard is damaged,
                or with "skip" none of the first 100 clips (or of all, if there are fewer) can be read in this process.
        """
        number = int(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"clip {number} is not in the data set, which has {len(self)}")
        number %= len(self)
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        name = self.called(shard, number - int(self._starts[shard]))
        try:
            entry = self.read(shard, number - int(self._starts[shard]))
            name = entry.name
            tokens = self.tokens(entry)
            if not len(tokens):
                raise UnreadableSample("none of its patches is selected")
        except DataError:
            raise
        except UNREADABLE as error:
            if self.on_error == "raise":
                raise DataError(f"{name} cannot be read: {reason_of(error)}; on_error='skip' skips it") from error
            logger.warning("%s is skipped: %s", name, reason_of(error))
            self._count_lost(number, name, reason_of(error))
            return SkippedClip(name, reason_of(error))
        self._lost = None
        sample = ClipSample(name, tokens, self._label_of(entry), entry.row)
        return sample if self._transform is None else self._transform(sample)

    def _count_lost(self, number: int, name: str, reason: str) -> None:
        if self._lost is None:
            return
        self._lost.add(number)
        if len(self._lost) == min(len(self), _MOST_LOST):
            raise DataError(
                f"none of {len(self._lost)} clips can be read; the last one is {name}: {reason}. As every clip was "
                "skipped, look for a common cause, such as a wrong path or codec"
            )

    def __getitems__(self, indices: Sequence[int]) -> list[ClipSample | SkippedClip]:
        """The clips of a batch, which know its number where `indices` are of a ``ClipSampler``."""
        place = indices.place if isinstance(indices, BatchIndices) else None
        return [replace(self[index], place=place) for index in indices]

    @abstractmethod
    def called(self, shard: int, number: int) -> str:
        """What an entry is called before it is read."""

    @abstractmethod
    def read(self, shard: int, number: int) -> Entry:
        """The entry `number` of a shard.

        Raises:
            DataError: no entry of the shard can be read. Other errors are of this one, and skipped if so wanted.
        """

    @abstractmethod
    def tokens(self, entry: Entry) -> Tokens:
        """The tokens of an entry, one sequence. Raises as ``read``."""

    def _label_of(self, entry: Entry) -> Any:
        if callable(self._label):
            try:
                return self._label({"name": entry.name, **entry.row})
            except Exception as error:
                raise DataError(f"the label of {entry.name} cannot be found in {entry.row}: {error!r}") from error
        if self._label is None:
            return None
        return _number(entry.row.get(self._label), self._label, entry.name)


class ClipDataset(TokenDataset):
    """Raw clips, whose tokens are selected on demand.

    Args:
        source: what ``ove_codec.datasets.list_clips`` takes: a folder, a pattern, a table (.csv, .jsonl, .parquet),
            shards (.tar), videos, or a list of these, local or at fsspec URLs. Or a sequence with one row per clip,
            such as a list of dicts or a Hugging Face data set: the column `column` holds a path, a URL, bytes, or
            {"bytes", "path"}. Or a sequence of bytes.
        preset, params: of ``ove_codec.select``.
        transcode: as with ``ove_codec.select``; patches are of the converted video as well.
        dtype, mean, std: of the patches, as with ``ove_codec.tokenize``.
        limits: as with ``ove_codec.open``.
        threads: of the decoders, 0 for all cores; use one in workers.
        column: with the videos; if None, the first of video, path, file, filename, url and video_path.
        label: the column with the label, a number or numbers, which may be missing; or a function of a dict with the
            clip's `name` and its other columns; None for no labels.
        transform: applied last to every ``ClipSample``.
        on_error: what happens to a clip that cannot be read. "raise": a DataError names it. "skip": it is left out of
            its batch, listed in ``ClipBatch.skipped``, and logged by name (logger "ove_codec.data"); no other clip
            replaces it. If no clip can be read, a DataError ends the iteration.

    Attributes:
        failures: ``ove_codec.datasets.Failure`` for every table line and shard that names no clip; empty unless
            `on_error` is "skip".

    Raises:
        ValueError, TypeError: a bad parameter, or no clips. FileNotFoundError: nothing is at `source`.
        DataError: a line of a table names no clip, and `on_error` is "raise".
    """

    @with_parameters
    def __init__(
        self,
        source: str | os.PathLike[str] | Iterable[Any],
        preset: str = "paper",
        *,
        transcode: bool | str | Recipe = False,
        dtype: torch.dtype | str | None = None,
        mean: Color = CLIP_MEAN,
        std: Color = CLIP_STD,
        limits: Limits | None = None,
        threads: int = 1,
        column: str | None = None,
        label: str | Callable[[dict[str, Any]], Any] | None = "label",
        transform: Callable[[ClipSample], ClipSample] | None = None,
        on_error: str = "raise",
        **params: Unpack[Parameters],
    ) -> None:
        self.preset, self.transcode = preset, transcode
        self.params: dict[str, Any] = dict(params)
        budget = resolve(preset, self.params)["budget"]
        self._opening: dict[str, Any] = {"threads": threads, "limits": limits}
        self._pixels: dict[str, Any] = {"threads": threads, "dtype": dtype, "mean": mean, "std": std}
        self._column = column
        self.failures: tuple[Any, ...] = ()
        self._entries: Any = source
        if _names_files(source):
            listing = list_clips(source, column, keep_repeated=True)
            if listing.failures and on_error == "raise":
                first = listing.failures[0]
                raise DataError(f"{first.where} names no clip: {first.reason}; on_error='skip' skips it")
            for failure in listing.failures:
                logger.warning("%s is skipped: %s: %s", failure.where, failure.error, failure.reason)
            self.failures = tuple(listing.failures)
            self._entries = listing.clips
        elif not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
            raise TypeError(f"source must be paths of clips or a sequence of rows, not a {type(source).__name__}")
        counts = np.array([len(self._entries)], np.int64)
        super().__init__(counts, budget, label=label, transform=transform, on_error=on_error)
        if not len(self):
            raise ValueError("source holds no clips")

    def called(self, shard: int, number: int) -> str:
        return f"clip {number}"

    def read(self, shard: int, number: int) -> Entry:
        entry = self._entries[number]
        if isinstance(entry, Clip):
            return Entry(places.printable(entry.name), entry.row, entry)
        if isinstance(entry, bytes | bytearray | memoryview):
            return Entry(f"clip {number}", {}, entry)
        if not isinstance(entry, Mapping):
            raise DataError(f"clip {number} is a {type(entry).__name__}: rows must be dicts, paths or bytes")
        column = self._column or next((name for name in COLUMNS if name in entry), None)
        if column is None or column not in entry:
            raise DataError(
                f"clip {number} has no column {column or ' or '.join(COLUMNS)}, only {', '.join(map(str, entry))}: "
                f"name one with column"
            )
        video = entry[column]
        where = video.get("path") if isinstance(video, Mapping) else video
        given = [entry[key] for key in NAMES if key != column and entry.get(key) not in (None, "")]
        named = given or ([os.fspath(where)] if isinstance(where, str | os.PathLike) else [])
        row = {key: value for key, value in entry.items() if key != column}
        return Entry(places.printable(str(named[0])) if named else f"clip {number}", row, video)

    def tokens(self, entry: Entry) -> Tokens:
        source = _source(entry.content)
        with closing(source) if hasattr(source, "close") else nullcontext():
            video = ove_codec.open(in_hevc(source, self.transcode, **self._opening), **self._opening)
            selection = ove_codec.select(video, self.preset, **self._opening, **self.params)
            return ove_codec.tokenize(video, selection, **self._pixels)


def _names_files(source: Any) -> bool:
    """Whether it is what ``list_clips`` takes."""
    if isinstance(source, list | tuple):
        return all(isinstance(one, str | os.PathLike) for one in source) and bool(source)
    return isinstance(source, str | os.PathLike)


def _source(video: Any) -> Any:
    """What ``ove_codec.open`` takes, of a clip or of what a row holds."""
    if isinstance(video, Clip):
        return video.read()
    if isinstance(video, Mapping) and {"bytes", "path"} & video.keys():
        data = video.get("bytes")
        video = video.get("path") if data is None else data
    if isinstance(video, str | os.PathLike):
        return Clip("", places.local(video)).read()
    if isinstance(video, bytes | bytearray | memoryview):
        return video
    raise DataError(
        f"a video must be a path, a URL, bytes, or a dict with bytes and path, not a {type(video).__name__}; for a "
        "Hugging Face data set, call cast_column(name, Video(decode=False)) first"
    )


def _number(value: Any, column: str, name: str) -> Any:
    """A label as a number or a list of numbers; tables without types hold them as text."""
    if isinstance(value, list | tuple | np.ndarray):
        return [_number(item, column, name) for item in value]
    if isinstance(value, str) and value:
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
        raise DataError(
            f"the {column} of {name} is {value!r}, not a number: pass as label a function from the row to its number"
        )
    return None if value == "" else value
