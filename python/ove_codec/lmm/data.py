"""Conversations in LLaVA's JSONL format, read lazily; what cannot be read is listed, never replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ove_codec._core import Error
from ove_codec.lmm.assets import read_mosaics
from ove_codec.lmm.messages import IMAGE, VIDEO
from ove_codec.lmm.processor import LMMProcessor
from ove_codec.lmm.samples import IGNORED, LMMSample

# What a sample at fault can raise: files, formats, and values that do not fit.
SAMPLE_ERRORS = (OSError, ValueError, KeyError, TypeError, SyntaxError, Error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Unreadable:
    """A sample that could not be read.

    Attributes:
        file, line: where it stands (from 1).
        id: its own, where it has one.
        reason: what is wrong, with the name of the image or video.
    """

    file: str
    line: int
    id: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class LlavaDataset(Dataset["LMMSample | Unreadable"]):
    """Samples of JSONL files, one conversation a line.

    A line is {"id", "conversations": [{"from": "human" | "gpt", "value"}]} with "image" or "images", and "video" or
    "videos": a path or a list of paths, one for every placeholder <image> or <video>. With "positions_thw" beside the
    images they are mosaics of a clip's patches (see `read_mosaics`), and their placeholders stand for that one clip.
    Only the places of the lines are held in memory.

    Args:
        files: JSONL files.
        processor: makes samples of the lines.
        root: folder that relative paths of images and videos start from; that of the JSONL file where None.

    Raises:
        FileNotFoundError: a JSONL file is missing.
        ValueError: there is no line at all.
    """

    def __init__(
        self,
        files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        processor: LMMProcessor,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.files = [Path(f) for f in ([files] if isinstance(files, (str, os.PathLike)) else files)]
        self.processor = processor
        self.root = None if root is None else Path(root)
        places = [_line_places(file) for file in self.files]
        self._places = np.concatenate(places) if places else np.empty((0, 2), np.int64)
        self._first = np.cumsum([0, *map(len, places)])
        if not len(self._places):
            raise ValueError(f"there are no samples in {', '.join(map(str, self.files)) or 'no file'}")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> LMMSample | Unreadable:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} is not in the data set, which has {len(self)} samples")
        number = int(np.searchsorted(self._first, index, "right")) - 1
        file = self.files[number]
        offset, line = self._places[index].tolist()
        name = ""
        try:
            with file.open("rb") as lines:
                lines.seek(offset)
                record = json.loads(lines.readline())
            if not isinstance(record, dict) or not isinstance(record.get("conversations"), list):
                raise ValueError("it is not an object with a list of conversations")
            name = str(record.get("id", ""))
            return self._sample(record, file.parent if self.root is None else self.root)
        except SAMPLE_ERRORS as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return Unreadable(str(file), line, name, reason)

    def _sample(self, record: Mapping[str, Any], root: Path) -> LMMSample:
        messages, images, videos = record["conversations"], _paths(record, "image", root), _paths(record, "video", root)
        if record.get("positions_thw") is not None:
            clip = read_mosaics(images, root / str(record["positions_thw"]), self.processor.reader)
            return self.processor.sample(_one_clip(messages, len(images)), (), [clip])
        return self.processor.sample(messages, images, videos)


@dataclass
class Collator:
    """Batches of samples for `Trainer`: see `LMMProcessor.collate`.

    Unreadable samples are left out and passed on under "unreadable". Where a batch has no other, it is one padding
    token without target, which keeps the processes of a distributed run in step and has a loss of 0. With `packed` the
    samples of a batch stand in one row, without padding.
    """

    processor: LMMProcessor
    packed: bool = False

    def __call__(self, samples: Sequence[LMMSample | Unreadable]) -> dict[str, Any]:
        good = [sample for sample in samples if isinstance(sample, LMMSample)]
        unreadable = [sample for sample in samples if isinstance(sample, Unreadable)]
        batch: dict[str, Tensor] = self.processor.collate(
            good or [LMMSample([self.processor.pad_token_id], [IGNORED], [])], packed=self.packed
        )
        return {**batch, "unreadable": unreadable}


def _line_places(file: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(N, 2): offset and number, from 1, of every line that is not blank."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    places = []
    offset = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.isspace():
                places.append((offset, number))
            offset += len(line)
    return np.array(places, np.int64).reshape(-1, 2)


def _paths(record: Mapping[str, Any], name: str, root: Path) -> list[Path]:
    """The files under `name` or its plural."""
    found = record.get(name, record.get(f"{name}s"))
    listed = [] if found is None else [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
        raise ValueError(f"{name} must be a path or a list of paths, not {found!r}")
    paths = [root / path for path in listed]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such {name}")
    return paths


def _one_clip(messages: Sequence[Mapping[str, Any]], mosaics: int) -> list[dict[str, Any]]:
    """The messages with one <video> in the place of the mosaics' placeholders."""
    found = sum(str(m.get("value", "")).count(IMAGE) for m in messages)
    if found != mosaics:
        raise ValueError(f"the text has {found} {IMAGE} placeholders, but there are {mosaics} mosaics")
    changed = []
    placed = False
    for message in messages:
        value = str(message.get("value", ""))
        if IMAGE in value:
            before, _, after = value.partition(IMAGE)
            after = after.replace(f"\n{IMAGE}", "").replace(IMAGE, "")
            value = before + ("" if placed else VIDEO) + after
            placed = True
        changed.append({**message, "value": value})
    return changed
