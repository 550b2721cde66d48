"""Small clips of several lengths with labels, and outputs of select-dataset made of them, in this process."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from ove_codec.data import synthetic
from ove_codec.datasets import list_clips
from ove_codec.datasets.job import Job, Result
from ove_codec.datasets.output import Output

# 2 x 2 patches a picture, all of them kept: a clip of n pictures has 4 * n tokens, up to 24.
FEW: dict[str, Any] = {"num_frames": 6, "size": 28, "budget": 24}
COUNT = 11


def make_clips(folder: Path, count: int = COUNT) -> Path:
    """`c00.mp4`, ..., of four, five and six pictures in turn, and the table `clips.csv` with labels and notes."""
    rng = np.random.default_rng(5)
    folder.mkdir(exist_ok=True)
    table = folder / "clips.csv"
    with open(table, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "note"])
        for number in range(count):
            name = f"c{number:02}.mp4"
            (folder / name).write_bytes(synthetic.clip(number % 4, number % 3, rng, frames=4 + number % 3))
            writer.writerow([name, number % 5, f"note {number}"])
    return table


def prepare(source: Path | str, output: Path | str, shard_clips: int = 3, **job: Any) -> None:
    """What ``select_dataset`` writes, without its processes."""
    settings = Job(**{"params": FEW, **job})
    target = Output(str(output), settings, shard_clips, 1 << 30)
    for clip in list_clips(source).clips:
        result = settings.process(clip)
        assert isinstance(result, Result), result
        target.add(result)
    target.flush()
    target.write_lists()
    target.close()
