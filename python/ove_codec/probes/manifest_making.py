"""A manifest from the official annotation files of a data set and the folder of its videos."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ove_codec.datasets.clips import SUFFIXES
from ove_codec.probes.annotations import FORMS, Annotated, Options, read_annotations
from ove_codec.probes.datasets import known_datasets
from ove_codec.probes.manifest import Segment

_COLUMNS = ("path", "label", "split", "start", "end")


@dataclass
class Made:
    """What `make_manifest` found.

    Attributes:
        rows: path from the folder of the videos on, number of the class, split, and segment, of every clip.
        missing: where clips stand whose videos are missing, and the names of these.
        bad: entries that are left out: where they stand, and what is wrong.
    """

    rows: list[tuple[str, int, str, Segment]] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)

    def splits(self) -> dict[str, int]:
        """Clips by split."""
        return dict(Counter(row[2] for row in self.rows))

    def write(self, file: Path) -> None:
        """Writes the rows as CSV, for `read_manifest`."""
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(_COLUMNS)
            for path, label, split, segment in self.rows:
                writer.writerow([path, label, split, *("" if time is None else f"{time:.6f}" for time in segment)])

    def left_out(self) -> list[str]:
        """A line for every clip that is left out: where it stands, and why."""
        missing = [f"{where}: there is no video named {video}" for where, video in self.missing]
        return missing + [f"{where}: {error}" for where, error in self.bad]


def make_manifest(
    key: str,
    annotations: Path,
    videos: Path,
    *,
    options: Options | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
) -> Made:
    """Finds the video of every entry of the annotation files.

    Videos are known by their names without suffixes, wherever they lie in the folder, so transcoded copies are found,
    too. Clips without a video and entries that are not as they should be are left out and told.

    Args:
        key: of the data set.
        annotations: one of its files, or a folder with all of them.
        videos: folder.
        options: how the files are read.
        split: "train" or "val" alone; both where None.
        classes: names of the classes in the order of their numbers, where the files have names; their alphabetical
            order where None.

    Raises:
        FileNotFoundError: a file, or the folder, is missing.
        ValueError: a file is not of the form at all, no clip has a video, or the classes are not all there.
    """
    info = known_datasets()[key]
    places = _places(videos)
    made = Made()
    found: list[tuple[str, Annotated]] = []
    numbered = FORMS[key].named and classes is None and annotations.is_dir()  # by the names of both splits
    for where, entry in read_annotations(key, annotations, options, None if numbered else split):
        if isinstance(entry, str):
            made.bad.append((where, entry))
        else:
            found.append((where, entry))
    names = sorted({entry.label for _, entry in found if isinstance(entry.label, str)}) if classes is None else classes
    if names and len(names) != info.classes:
        raise ValueError(
            f"{annotations} names {len(names)} classes, and {info.name} has {info.classes}: a class number is the "
            "position in the full list, so give --class-names with the full list"
        )
    numbers = {name: number for number, name in enumerate(names)}
    for where, entry in found:
        if split not in (None, entry.split):
            continue
        label = numbers.get(entry.label, -1) if isinstance(entry.label, str) else entry.label
        if not 0 <= label < info.classes:
            made.bad.append((where, f"its class {entry.label!r} is not one of the {info.classes}"))
            continue
        candidates = next((places[name] for name in entry.videos if name in places), [])
        if len(candidates) > 1:
            candidates = [c for c in candidates if PurePosixPath(c).parent.name == entry.folder] or candidates
        if not candidates:
            made.missing.append((where, entry.videos[0]))
        elif len(candidates) > 1:
            made.bad.append((where, f"{candidates[0]} and {candidates[1]} both match its video: remove one"))
        else:
            made.rows.append((candidates[0], label, entry.split, entry.segment))
    if not made.rows:
        first = made.missing or made.bad
        told = f"; the first, {first[0][0]}: {first[0][1]}" if first else ""
        raise ValueError(
            f"no clip is left: {len(made.missing)} without a video in {videos}, {len(made.bad)} bad entries{told}"
        )
    return made


def _places(folder: Path) -> dict[str, list[str]]:
    """Paths of the videos below a folder, from it on, by their names without suffixes."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    places: dict[str, list[str]] = {}
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            stem, _, suffix = name.rpartition(".")
            if suffix.lower() in SUFFIXES:
                place = Path(parent, name).relative_to(folder).as_posix()
                places.setdefault(stem, []).append(place)
    return places
