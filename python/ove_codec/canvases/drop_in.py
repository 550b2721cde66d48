"""``process_codec_video`` as the processors of LLaVA-OneVision-2 and Mage-VL call it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ove_codec.canvases.reading import codec_canvases

# Attributes of a CodecConfig that have a part in the canvases; caches, time-outs and masks have none.
_SETTINGS = (
    "target_canvas", "group_size", "images_per_group", "patch", "max_pixels", "min_group_frames", "max_group_frames",
)  # fmt: skip
_ENGINES = ("hevc", "cv-preinfer")
_HELPERS = ("codec_video_processing_llava_onevision2", "codec_video_processing_mage_vl")


def process_codec_video(video: Any, cfg: Any = None) -> dict[str, Any]:
    """Returns the canvases of a video as a processor's helper does. Nothing is written or cached.

    Args:
        video: a path, bytes, or a binary file object.
        cfg: an object or a mapping with ``target_canvas``, ``group_size``, ``images_per_group``, ``patch``,
            ``max_pixels``, ``min_group_frames`` and ``max_group_frames``; missing values have the defaults of
            ``CanvasConfig``, and other values are ignored.

    Returns:
        "images": list of PIL images, R'G'B'; "src_positions": (n * rows * columns, 3) int32, raster order in each
        canvas; "fps": float; "out_dir": "", because there are no files; "meta": dict.

    Raises:
        ValueError: a setting out of range, or another engine than "hevc".
        UnsupportedStreamError, DecodeError: as of ``codec_canvases``.
    """
    from PIL import Image

    values = cfg if isinstance(cfg, Mapping) else _Attributes(cfg)
    engine = values.get("engine")
    if engine not in (None, "", *_ENGINES):
        raise ValueError(f"engine {engine!r} is not part of ove_codec; use 'hevc', or unset CODEC_ENGINE")
    settings = {name: values.get(name) for name in _SETTINGS}
    canvases = codec_canvases(video, **{name: value for name, value in settings.items() if value is not None})
    return {
        "images": [Image.fromarray(image) for image in canvases.images],
        "src_positions": canvases.src_positions,
        "fps": canvases.fps,
        "out_dir": "",
        "meta": canvases.meta,
    }


class _Attributes:
    """The attributes of an object by name."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def get(self, name: str) -> Any:
        return getattr(self._value, name, None)


def patch_processor(processor: Any, process: Callable[..., Any] = process_codec_video) -> list[str]:
    """Makes a processor of LLaVA-OneVision-2 or Mage-VL, loaded from a checkpoint's code, read videos by `process`.

    Returns the names of the changed modules; empty if the processor has no such helper.

    The helper is a module next to that of the processor's class. The change affects all processors of this checkpoint.
    """
    package = type(processor).__module__.rpartition(".")[0]
    changed = []
    for helper in _HELPERS:
        name = f"{package}.{helper}" if package else helper
        try:
            module = sys.modules.get(name) or import_module(name)
        except ImportError:
            continue
        module.process_codec_video = process  # type: ignore[attr-defined]
        changed.append(name)
    return changed
