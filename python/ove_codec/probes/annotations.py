"""The official annotation files of the eight data sets.

Each data set has a reader that turns one of its files into `Annotated` clips. Bad entries are told beside the good
ones, since published files have flaws. Forms and sources are listed in the recipe "Attentive probes".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ove_codec.probes.annotation_files import clock_seconds, csv_rows, json_list, json_object
from ove_codec.probes.manifest import WHOLE, Segment

_TOLERANCE = 1.0  # seconds that an action may outlast its video, by rounding


@dataclass(frozen=True)
class Annotated:
    """A labelled clip of an annotation file.

    Attributes:
        videos: names, without a suffix, that the video's file may have; the first one that there is counts.
        label: number, or name, of the class.
        segment: the part of the video, in seconds.
        folder: of the video's file, where several videos have the name.
        split: "train" or "val"; empty where the file decides.
    """

    videos: tuple[str, ...]
    label: int | str
    segment: Segment = WHOLE
    folder: str = ""
    split: str = ""


@dataclass(frozen=True)
class Options:
    """How files are read.

    Attributes:
        segments: for Charades-Ego, one clip an action, cut at its times, instead of whole videos.
        number: of the split of HMDB51.
    """

    segments: bool = False
    number: int = 1


Entry = tuple[str, Annotated | str]  # where it stands, and what it is or what is wrong with it
Reader = Callable[[Path, Options], Iterator[Entry]]


@dataclass(frozen=True)
class Form:
    """The files of a data set.

    Attributes:
        files: patterns of their names by split ("" where a file has both); the first pattern that fits counts.
        read: gives the entries of one of them.
        named: whether labels are names, whose numbers are their places among those of all files.
    """

    files: dict[str, tuple[str, ...]]
    read: Reader
    named: bool = False

    def find(self, place: Path, options: Options, split: str | None = None) -> list[tuple[str, Path]]:
        """The files in the folder `place`, or the file `place`, with their splits.

        Raises:
            FileNotFoundError: one of them is missing.
            ValueError: `place` is a file of which the name does not tell the split, and `split` is None.
        """
        patterns = {name: [p.format(number=options.number) for p in found] for name, found in self.files.items()}
        if place.is_file():
            told = [name for name, found in patterns.items() if any(place.match(pattern) for pattern in found)]
            if not told and split is None:
                raise ValueError(f"{place}: the file name does not give the split: pass --split train or --split val")
            return [(split or told[0], place)]
        wanted = {name: found for name, found in patterns.items() if name in (split, "") or split is None}
        files = []
        for name, found in wanted.items():
            fitting = next((fit for pattern in found if (fit := sorted(place.rglob(pattern)))), [])
            if not fitting:
                raise FileNotFoundError(f"{place}: it holds no {' or '.join(found)}; pass the file, or its folder")
            if name and len(fitting) > 1:
                raise ValueError(f"{place}: it holds {fitting[0]} and {fitting[1]}; pass the file, or its folder")
            files += [(name, file) for file in fitting]
        return files


def _ssv2(path: Path, options: Options) -> Iterator[Entry]:
    names = ("something-something-v2-labels.json", "labels.json")
    labels = next((file for name in names if (file := path.with_name(name)).is_file()), None)
    if labels is None:
        raise FileNotFoundError(f"{path.with_name(names[1])}: this file is missing, but the class numbers need it")
    numbers = {name: number for _, name, number in json_object(labels)}
    for where, entry in json_list(path):
        try:
            template = _text(entry, "template").replace("[", "").replace("]", "")
            if template not in numbers:
                raise ValueError(f"its template {template!r} is not in {labels.name}")
            yield where, Annotated((_text(entry, "id"),), _whole(numbers[template], "number of the class"))
        except ValueError as error:
            yield where, str(error)


def _diving48(path: Path, options: Options) -> Iterator[Entry]:
    for where, entry in json_list(path):
        try:
            yield where, Annotated((_text(entry, "vid_name"),), _whole(_field(entry, "label"), "label"))
        except ValueError as error:
            yield where, str(error)


def _perception_test(path: Path, options: Options) -> Iterator[Entry]:
    for where, video, entry in json_object(path):
        try:
            facts, actions = _field(entry, "metadata"), _field(entry, "action_localisation")
            frames, rate = _number(facts, "num_frames"), _number(facts, "frame_rate")
            if not isinstance(actions, list) or not rate > 0:
                raise ValueError("action_localisation must be a list, and frame_rate positive")
        except ValueError as error:
            yield where, str(error)
            continue
        for number, action in enumerate(actions, 1):
            try:
                times = _field(action, "timestamps")
                if not isinstance(times, list) or len(times) != 2:
                    raise ValueError(f"timestamps must be two numbers, not {times!r}")
                start, end = (_number({"timestamps": time}, "timestamps") / 1e6 for time in times)
                if end > frames / rate + _TOLERANCE:
                    raise ValueError(f"its action ends at {end:g} s, but the video at {frames / rate:g} s")
                label = _whole(_field(action, "label_id"), "label_id")
                yield f"{where}, action {number}", Annotated((video,), label, (start, end))
            except ValueError as error:
                yield f"{where}, action {number}", str(error)


def _charadesego(path: Path, options: Options) -> Iterator[Entry]:
    for where, row in csv_rows(path, ("id", "actions")):
        if isinstance(row, str):
            yield where, row
            continue
        seen = set()
        for action in filter(None, (part.strip() for part in row["actions"].split(";"))):
            match = re.fullmatch(r"c(\d{3}) (\S+) (\S+)", action)
            try:
                if match is None or not row["id"]:
                    raise ValueError(f"{action!r} is not an action such as c000 0.00 1.00, or the id is missing")
                label = int(match[1])
                if options.segments:
                    start, end = (_number({"time": text}, "time") for text in match.groups()[1:])
                    yield where, Annotated((row["id"],), label, (start, end))
                elif label not in seen:
                    yield where, Annotated((row["id"],), label)
                seen.add(label)
            except ValueError as error:
                yield where, str(error)


def _epic(kind: str) -> Reader:
    column = f"{kind}_class"

    def read(path: Path, options: Options) -> Iterator[Entry]:
        for where, row in csv_rows(path, ("video_id", "start_timestamp", "stop_timestamp", column)):
            try:
                if isinstance(row, str):
                    raise ValueError(row)
                segment = clock_seconds(row["start_timestamp"]), clock_seconds(row["stop_timestamp"])
                yield where, Annotated((_text(row, "video_id"),), _whole(row[column], column), segment)
            except ValueError as error:
                yield where, str(error)

    return read


def _kinetics(path: Path, options: Options) -> Iterator[Entry]:
    for where, row in csv_rows(path, ("label", "youtube_id", "time_start", "time_end")):
        try:
            if isinstance(row, str):
                raise ValueError(row)
            video, label = _text(row, "youtube_id"), _text(row, "label")
            start, end = (_whole(row[name], name) for name in ("time_start", "time_end"))
            yield where, Annotated((f"{video}_{start:06d}_{end:06d}", video), label, folder=label)
        except ValueError as error:
            yield where, str(error)


def _hmdb51(path: Path, options: Options) -> Iterator[Entry]:
    label = path.name.partition("_test_split")[0]
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        video, _, kind = line.strip().rpartition(" ")
        if line.strip() and (kind not in ("0", "1", "2") or not video.strip()):
            yield f"line {number}", f"{line.strip()!r} is not a video name followed by 0, 1 or 2"
        elif line.strip() and kind != "0":
            stem = video.strip().rpartition(".")[0] or video.strip()
            yield f"line {number}", Annotated((stem,), label, folder=label, split="train" if kind == "1" else "val")


def _epic_form(kind: str) -> Form:
    return Form({"train": ("EPIC_100_train.csv",), "val": ("EPIC_100_validation.csv",)}, _epic(kind))


FORMS = {
    "ssv2": Form(
        {
            "train": ("something-something-v2-train.json", "train.json"),
            "val": ("something-something-v2-validation.json", "validation.json"),
        },
        _ssv2,
    ),
    "diving48": Form({"train": ("Diving48_V2_train.json",), "val": ("Diving48_V2_test.json",)}, _diving48),
    "perception_test": Form(
        {
            "train": ("*action_localisation*train*.json", "all_train.json"),
            "val": ("*action_localisation*valid*.json", "all_valid.json"),
        },
        _perception_test,
    ),
    "charadesego": Form({"train": ("CharadesEgo_v1_train.csv",), "val": ("CharadesEgo_v1_test.csv",)}, _charadesego),
    "epic_verb": _epic_form("verb"),
    "epic_noun": _epic_form("noun"),
    "k400": Form({"train": ("*train.csv",), "val": ("*val.csv", "*validate.csv")}, _kinetics, named=True),
    "hmdb51": Form({"": ("*_test_split{number}.txt",)}, _hmdb51, named=True),
}


def read_annotations(
    key: str, place: Path, options: Options | None = None, split: str | None = None
) -> Iterator[tuple[str, Annotated | str]]:
    """The entries of the files of a data set, with the file and line that they stand on.

    Args:
        key: of the data set.
        place: one of its files, or a folder with all of them.
        options: how they are read; the defaults where None.
        split: only files with clips of this one, "train" or "val"; all where None.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not of the form at all.
    """
    form, chosen = FORMS[key], options or Options()
    for told, file in form.find(place, chosen, split):
        try:
            for where, entry in form.read(file, chosen):
                if isinstance(entry, Annotated):
                    entry = replace(entry, split=entry.split or told)
                    start, end = entry.segment
                    if start is not None and end is not None and not 0 <= start < end:
                        entry = f"its part of the video, {start:g} to {end:g} s, is empty or begins before the video"
                yield f"{file}: {where}", entry
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: it is not UTF-8 text: {error}") from None


def _field(entry: Any, name: str) -> Any:
    if not isinstance(entry, dict):
        raise ValueError("it is not an object")
    if name not in entry:
        raise ValueError(f"it has no {name}")
    return entry[name]


def _text(entry: Any, name: str) -> str:
    value = _field(entry, name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be text, not {value!r}")
    return value.strip()


def _number(entry: Any, name: str) -> float:
    value = _field(entry, name)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not abs(number) < 1e15 or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, not {value!r}")
    return number


def _whole(value: Any, name: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value.strip(), re.ASCII):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return value
