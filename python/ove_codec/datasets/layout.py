"""Where the results of a run lie in their folder, and what their manifests tell."""

from __future__ import annotations

import json
import re
from typing import Any

from ove_codec.datasets import places

MANIFESTS = "_manifest"
SETTINGS = f"{MANIFESTS}/job.json"
RUNS = f"{MANIFESTS}/runs.jsonl"
SUFFIX = {"parquet": ".parquet", "webdataset": ".tar", "reference": "", "canvases": ""}
# Formats without a suffix have a folder for each clip instead of shards.
MANIFEST = re.compile(r"part-\d{6}\.jsonl")
# Readers of whole folders leave out names that begin with "_", so they meet shards alone.
FAILURES = "_failures.parquet"
OLD_FAILURES = "failures.parquet"  # in outputs of earlier versions


def read_manifests(place: str) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """What tells of an output: its settings, and the number of patches of each clip, by the names of finished shards.

    Raises:
        FileNotFoundError: it is no output of a run. ValueError, KeyError, TypeError: the files are damaged.
    """
    try:
        with places.open_binary(places.join(place, SETTINGS)) as file:
            settings = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"{places.printable(place)} is not an output of select-dataset: it has no {SETTINGS}"
        ) from None
    shards = {}
    for name, manifest in places.files_below(places.join(place, MANIFESTS)):
        if MANIFEST.fullmatch(name):
            with places.open_binary(manifest) as file:
                entries = [json.loads(line) for line in file]
            shards[name.removesuffix(".jsonl") + SUFFIX[settings["format"]]] = [int(e["tokens"]) for e in entries]
    return settings, shards
