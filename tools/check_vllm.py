"""Checks the plug-in for vLLM against vLLM's own code: its reading of codec videos, with a stand-in for the code of a
checkpoint.

    OVE_CODEC_VLLM=1 check_vllm.py VIDEO VIDEO

Run it where vLLM and ove_codec are installed, or where the Python files of vLLM's wheel are on PYTHONPATH: neither a
GPU nor a checkpoint is needed. The videos are two HEVC or H.264 files of different lengths.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

HOST = "vllm.model_executor.models.llava_onevision2"
HELPER = "checkpoint.codec_video_processing_llava_onevision2"


def checkpoint() -> Any:
    """A processor whose helper, a module beside that of its class, must not be called as it is."""

    def process_codec_video(video: Any, cfg: Any = None) -> Any:
        raise SystemExit("error: the checkpoint's own process_codec_video was called")

    helper: Any = ModuleType(HELPER)
    helper.process_codec_video = process_codec_video
    helper.CodecConfig = lambda **values: SimpleNamespace(max_pixels=60_000, **values)
    sys.modules["checkpoint"] = ModuleType("checkpoint")
    sys.modules[HELPER] = helper
    return type("Processor", (), {"__module__": "checkpoint.processing_llava_onevision2"})()


def request(processor: Any, paths: list[str]) -> tuple[dict[str, Any], list[int]]:
    """What the processor of a checkpoint gives vLLM for these videos, a grid row a canvas, and how many each has."""
    import torch

    helper = sys.modules[HELPER]
    grids, positions, counts, rates = [], [], [], []
    for path in paths:
        payload = helper.process_codec_video(path, helper.CodecConfig())
        width, height = payload["images"][0].size
        counts.append(len(payload["images"]))
        grids += [[1, height // 14, width // 14]] * counts[-1]
        positions.append(torch.as_tensor(payload["src_positions"]))
        rates.append(payload["fps"])
    rows = sum(h * w for _, h, w in grids)
    return {
        "pixel_values": torch.zeros(rows, 3 * 14 * 14),
        "image_grid_thw": torch.tensor(grids),
        "patch_positions": torch.cat(positions),
        "codec_fps": rates,
    }, counts


def check(paths: list[str]) -> list[str]:
    """What holds, a line each. Ends the program where something does not."""
    host: Any = import_module(HOST)
    processor = checkpoint()
    host._load_ov2_processor = lambda *args, **kwargs: processor
    register = import_module("ove_codec.canvases.vllm").register
    register()
    loader = host._load_ov2_processor
    register()
    lines = []

    def that(holds: bool, what: str) -> None:
        if not holds:
            raise SystemExit(f"error: {what}: it does not hold for this version of vLLM")
        lines.append(what)

    that(host._load_ov2_processor is loader, "the plug-in is applied once, though vLLM calls it in every process")
    that(loader("model") is processor, "vLLM's loader gives the processor of the checkpoint")
    data, counts = request(processor, paths)
    that(all(count > 0 for count in counts), f"videos are read by ove_codec: {counts} canvases")
    that(host._codec_fps_for(paths[0], processor) == data["codec_fps"][0], "the frame rate needs no second reading")
    runs = host._codec_timestamp_runs(data["patch_positions"], data["codec_fps"][0], 2)
    that(bool(runs) and all(seconds >= 0 and tokens > 0 for seconds, tokens in runs), f"{len(runs)} runs have times")
    cls = host.LlavaOnevision2MultiModalProcessor
    renamed = cls._rename_codec_outputs_to_video(cls.__new__(cls), data, paths, processor)
    that(renamed["video_num_frames"].tolist() == counts, "several videos of a request have their own canvases each")
    return lines


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("videos", nargs=2, metavar="VIDEO")
    args = parser.parse_args()
    if os.environ.get("OVE_CODEC_VLLM") != "1":
        raise SystemExit("error: the plug-in is off; set OVE_CODEC_VLLM=1")
    print("\n".join(check(args.videos)))


if __name__ == "__main__":
    main()
