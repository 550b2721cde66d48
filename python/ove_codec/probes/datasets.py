"""The eight data sets of Table 4: classes, splits, and how long and in what batches their probes are trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that is known by name, or one of the user's own.

    Attributes:
        key: its name on the command line and in results.
        title: its name in the tables.
        name: its full name.
        classes: how many.
        epochs: by who says so: "scripts" (the released evaluation scripts) and "page" (the project page).
        batch_size: clips a step, over all processes.
        splits: what "train" and "val" are called by the data set itself.
        clips: how many clips these have; None where no one number is certain.
        labels: which numbers the labels are.
    """

    key: str
    title: str
    name: str
    classes: int
    epochs: dict[str, int]
    batch_size: int
    splits: dict[str, str]
    clips: dict[str, int | None]
    labels: str


@cache
def data_file(name: str) -> Any:
    """A JSON file of this package."""
    return json.loads((files("ove_codec.probes") / name).read_text(encoding="utf-8"))


@cache
def known_datasets() -> dict[str, DatasetInfo]:
    """The data sets of Table 4 by their keys, in its order."""
    return {key: DatasetInfo(key, **values) for key, values in data_file("datasets.json")["datasets"].items()}


def dataset_info(key: str, classes: int | None = None) -> DatasetInfo:
    """A known data set, or with `classes` a description of another one, trained as most of the known ones are.

    Raises:
        ValueError: the name is not known and `classes` is not given, or it contradicts what is known.
    """
    known = known_datasets().get(key)
    if known is None:
        if classes is None:
            raise ValueError(
                f"unknown data set {key!r}; choose from {', '.join(known_datasets())}; for your own data set, give the "
                "number of its classes"
            )
        if classes < 1:
            raise ValueError(f"classes must be positive, got {classes}")
        splits: dict[str, int | None] = {"train": None, "val": None}
        return DatasetInfo(
            key,
            key,
            key,
            classes,
            {"scripts": 10, "page": 10},
            32,
            {"train": "train", "val": "val"},
            splits,
            "as given",
        )
    if classes is not None and classes != known.classes:
        raise ValueError(f"{known.name} has {known.classes} classes, not {classes}")
    return known
