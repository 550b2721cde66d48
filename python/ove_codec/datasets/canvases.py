"""Canvases of a clip as the files that ``codec-video-prep`` writes and its readers take."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from ove_codec.canvases import Canvases, canvas_files, codec_canvases
from ove_codec.canvases.config import config_of
from ove_codec.canvases.scoring import score_params
from ove_codec.datasets import places
from ove_codec.datasets.clips import Clip
from ove_codec.datasets.names import folder_of
from ove_codec.datasets.statistics import shares


def resolved(score: str, settings: dict[str, Any]) -> dict[str, Any]:
    """All settings with their values. Raises as ``codec_canvases`` for unknown ones and bad values."""
    score_params(score)
    return asdict(config_of(settings))


def canvases_of(video: Any, score: str, settings: dict[str, Any]) -> Canvases:
    """The canvases of a video, by one thread. The environment has no part in their mode."""
    return codec_canvases(video, score=score, threads=1, **{"mode": "default", **settings})


def facts(canvases: Canvases) -> dict[str, Any]:
    """Facts of a ``Result`` about the canvases."""
    height, width = canvases.meta["orig_hw"]
    rows, columns = canvases.plan.grid
    patch = canvases.plan.config.patch
    return {
        "width": width,
        "height": height,
        "rows": rows,
        "columns": columns,
        "patch_size": patch,
        "geometry": json.dumps({"resize": "stretch", "canvas_hw": canvases.plan.size, "patch_size": patch}),
        "tokens": int(np.count_nonzero(canvases.src_positions[:, 0] >= 0)),
    }


def statistics(canvases: Canvases) -> dict[str, Any]:
    """As ``datasets.statistics.statistics``, by block."""
    scores = canvases.plan.block_scores
    slots, blocks = canvases.plan.blocks[canvases.plan.blocks[..., 0] >= 0].T
    kept = np.zeros(scores.shape, bool)
    kept[slots, blocks] = True
    height, width = canvases.plan.size
    return shares(scores, kept, height * width)


def files(clip: Clip, canvases: Canvases) -> dict[str, bytes]:
    """Contents by name, in the clip's folder; and under "" its line of ``data.jsonl``.

    The line has id, video, fps, the names of the canvases and of the positions of their patches, and the other columns
    of the clip's row.
    """
    folder = folder_of(clip)
    video = places.printable(clip.where)
    contents = canvas_files(canvases, video=video)
    result = {f"{folder}/{name}": content for name, content in contents.items()}
    line = {
        **clip.row,
        "id": clip.row.get("id", places.printable(clip.name)),
        "video": video,
        "fps": canvases.fps,
        "canvases": [f"{folder}/{name}" for name in contents if name.startswith("canvas_")],
        "src_patch_position": f"{folder}/src_patch_position.npy",
    }
    result[""] = json.dumps(line, default=str).encode()
    return result
