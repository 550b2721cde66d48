"""What the shards hold of single clips, in each of the formats."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ove_codec import _tar
from ove_codec.datasets.arrow import arrow
from ove_codec.datasets.clips import SUFFIXES
from ove_codec.datasets.layout import SUFFIX
from ove_codec.datasets.report.folder import Results
from ove_codec.datasets.shard_files import sample_key

_COLUMNS = ("frame_ids", "pts", "positions", "rows", "columns")


@dataclass(frozen=True)
class Stored:
    """A selection as it was written.

    frame_ids: (T,) int64. positions: (N, 3) int32, t, row, column. rows, columns: of the patch grid. pts: (T,) seconds
    of the sampled pictures; None where the format does not tell. video: the clip itself, where the shards hold it.
    """

    frame_ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int32]
    rows: int
    columns: int
    pts: npt.NDArray[np.float64] | None = None
    video: bytes | None = None

    @property
    def tokens_per_picture(self) -> npt.NDArray[np.int64]:
        """(T,) kept patches of each sampled picture."""
        counts: npt.NDArray[np.int64] = np.bincount(self.positions[:, 0], minlength=len(self.frame_ids))
        return counts

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """(T, rows, columns), the kept patches."""
        mask = np.zeros((len(self.frame_ids), self.rows, self.columns), bool)
        mask[tuple(self.positions.T)] = True
        return mask


def read_stored(results: Results, shard: str, entries: Iterable[dict[str, Any]]) -> Iterator[Stored]:
    """The selections of clips of one shard, given by the lines of its manifest.

    Raises ValueError where the shard is damaged or lacks a clip; the message names the file, the clip and the remedy.
    """
    read = {"parquet": _from_parquet, "webdataset": _from_tar, "reference": _from_files, "canvases": _from_canvases}[
        results.format
    ]
    damaged = (arrow()[0].ArrowException, tarfile.TarError, OSError, EOFError, LookupError, TypeError, ValueError)
    for entry in entries:
        file = shard + SUFFIX[results.format] if SUFFIX[results.format] else str(entry.get("folder"))
        try:
            stored = _checked(read(results, file, entry))
        except damaged as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"{results.named(file)} is damaged at the clip {entry['name']}: {said}. To repair it, "
                f"{results.remedy(shard)}"
            ) from error
        yield stored


def _checked(stored: Stored) -> Stored:
    positions, limits = stored.positions, (len(stored.frame_ids), stored.rows, stored.columns)
    if positions.ndim != 2 or positions.shape[1] != 3 or not len(stored.frame_ids):
        raise ValueError(f"positions have the shape {positions.shape}, frame_ids {stored.frame_ids.shape}")
    if len(positions) and ((positions < 0).any() or (positions.max(axis=0) >= limits).any()):
        raise ValueError(f"a position is outside the {limits[0]} pictures of {limits[1]}x{limits[2]} patches")
    if stored.pts is not None and stored.pts.shape != stored.frame_ids.shape:
        raise ValueError(f"pts have the shape {stored.pts.shape}, frame_ids {stored.frame_ids.shape}")
    return stored


def _from_parquet(results: Results, file: str, entry: dict[str, Any]) -> Stored:
    _, pq = arrow()
    with results.folder.open(file) as data:
        table = pq.ParquetFile(data)
        for group in range(table.num_row_groups):
            names = table.read_row_group(group, columns=["name", "key"]).to_pylist()
            found = [n for n, row in enumerate(names) if (row["name"], row["key"]) == (entry["name"], entry["key"])]
            if found:
                row = table.read_row_group(group, columns=list(_COLUMNS)).slice(found[0], 1)
                positions = row["positions"].combine_chunks().values.flatten().to_numpy().reshape(-1, 3)
                frame_ids, pts = (row[name].combine_chunks().values.to_numpy() for name in ("frame_ids", "pts"))
                return Stored(frame_ids, positions, row["rows"][0].as_py(), row["columns"][0].as_py(), pts)
    raise LookupError("the file has no such row")


def _from_tar(results: Results, file: str, entry: dict[str, Any]) -> Stored:
    wanted = sample_key(entry["name"], entry["key"])
    with results.folder.open(file) as data:
        members = next((found for key, found in _tar.index(data) if key == wanted), None)
        if members is None:
            raise LookupError(f"the file has no sample {wanted}")

        def read(suffix: str) -> bytes:
            offset, size = members[suffix]
            data.seek(offset)
            return data.read(size)

        facts = json.loads(read("json"))
        with np.load(io.BytesIO(read("npz")), allow_pickle=False) as arrays:
            frame_ids, positions, mask = (arrays[name] for name in ("frame_ids", "positions", "mask"))
        video = next((read(suffix) for suffix in members if suffix in SUFFIXES), None)
    rows, columns = mask.shape[1:]
    return Stored(frame_ids, positions, rows, columns, np.array(facts["pts"], np.float64), video)


def _names_in(results: Results, folder: str) -> list[str]:
    if not re.fullmatch(r"sample_[^/\\]+", folder):
        raise ValueError("the manifest names no folder for the sample")
    names = results.folder.names(folder)
    if not names:
        raise FileNotFoundError("the folder is missing")
    return names


def _from_canvases(results: Results, folder: str, entry: dict[str, Any]) -> Stored:
    _names_in(results, folder)

    def array(name: str) -> npt.NDArray[Any]:
        content = io.BytesIO(results.folder.read(f"{folder}/{name}.npy"))
        loaded: npt.NDArray[Any] = np.load(content, allow_pickle=False)
        return loaded

    frame_ids, positions = array("frame_ids").astype(np.int64), array("src_patch_position")
    rows, columns = json.loads(results.folder.read(f"{folder}/meta.json"))["grid_hw"]
    shown = positions[positions[:, 0] >= 0]
    order = np.argsort(frame_ids, kind="stable")
    slots = order[np.minimum(np.searchsorted(frame_ids[order], shown[:, 0]), len(order) - 1)]
    if not np.array_equal(frame_ids[slots], shown[:, 0]):
        raise ValueError("a patch belongs to a frame that was not sampled")
    return Stored(frame_ids, np.column_stack([slots, shown[:, 1:]]).astype(np.int32), int(rows), int(columns))


def _from_files(results: Results, folder: str, entry: dict[str, Any]) -> Stored:
    names = _names_in(results, folder)

    def ending(suffix: str) -> bytes:
        return results.folder.read(f"{folder}/{next(name for name in names if name.endswith(suffix))}")

    try:
        meta = json.loads(ending(".meta.json"))
        frame_ids = np.load(io.BytesIO(ending(".frame_ids.npy")), allow_pickle=False)
        positions = np.load(io.BytesIO(results.folder.read(f"{folder}/positions_thw.npy")), allow_pickle=False)
    except StopIteration:
        raise FileNotFoundError("one of its files is missing") from None
    return Stored(frame_ids.astype(np.int64), positions, int(meta["hb"]), int(meta["wb"]))
