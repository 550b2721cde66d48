"""A plug-in for vLLM: its LLaVA-OneVision-2 reads videos by ``process_codec_video``.

It is off unless the environment variable ``OVE_CODEC_VLLM`` is "1". vLLM calls ``register`` in every process.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ove_codec.canvases import drop_in

VARIABLE = "OVE_CODEC_VLLM"
_HOST = "vllm.model_executor.models.llava_onevision2"
_MARK = "_reads_by_ove_codec"


def register() -> None:
    """Changes vLLM's module of the model, once; does nothing where the variable is not "1" or the module is missing."""
    if os.environ.get(VARIABLE, "") != "1":
        return
    try:
        host: Any = import_module(_HOST)
    except ImportError:
        return
    load = getattr(host, "_load_ov2_processor", None)
    if load is None or getattr(load, _MARK, False):
        return
    seen: dict[str, int] = {}
    host._load_ov2_processor = _loading(load, _recorded(host, seen))
    processor: Any = getattr(host, "LlavaOnevision2MultiModalProcessor", None)
    if hasattr(processor, "_rename_codec_outputs_to_video"):  # other versions count in another way
        processor._rename_codec_outputs_to_video = _counted(processor._rename_codec_outputs_to_video, seen)


def _loading(load: Callable[..., Any], process: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load)
    def loaded(*args: Any, **kwargs: Any) -> Any:
        processor = load(*args, **kwargs)
        drop_in.patch_processor(processor, process)
        return processor

    for name in ("cache_clear", "cache_info"):
        if hasattr(load, name):
            setattr(loaded, name, getattr(load, name))
    setattr(loaded, _MARK, True)
    return loaded


def _recorded(host: Any, seen: dict[str, int]) -> Callable[..., Any]:
    """``process_codec_video`` that notes how many canvases of a path are not empty, and the rate of the video, which
    vLLM would read it once more for."""

    def process(video: Any, cfg: Any = None) -> dict[str, Any]:
        payload = drop_in.process_codec_video(video, cfg)
        if isinstance(video, str | os.PathLike):
            count = len(payload["images"])
            times = payload["src_positions"][:, 0].reshape(count, -1)
            seen[os.fspath(video)] = int(np.count_nonzero((times >= 0).any(1)))
            rates = getattr(host, "_CODEC_FPS_CACHE", None)
            if isinstance(rates, dict):
                rates[os.fspath(video)] = payload["fps"]
        return payload

    return process


def _counted(rename: Callable[..., Any], seen: dict[str, int]) -> Callable[..., Any]:
    """vLLM gives the rows of all videos of a request to the first. Here each has its own: one where the processor joins
    the canvases of a video to one row, else one a canvas."""

    @functools.wraps(rename)
    def renamed(self: Any, data: dict[str, Any], paths: list[str], hf_processor: Any) -> dict[str, Any]:
        out: dict[str, Any] = rename(self, data, paths, hf_processor)
        rows = len(out["video_grid_thw"])
        counts = [1] * len(paths) if rows == len(paths) else [seen.get(path, 0) for path in paths]
        if len(paths) > 1 and sum(counts) == rows:
            out["video_num_frames"] = out["video_num_frames"].new_tensor(counts)
        return out

    return renamed
