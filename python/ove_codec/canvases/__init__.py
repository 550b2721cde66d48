"""Canvases of codec-selected blocks: the video input of LLaVA-OneVision-2 and Mage-VL."""

from ove_codec.canvases.config import CanvasConfig
from ove_codec.canvases.drop_in import patch_processor, process_codec_video
from ove_codec.canvases.files import canvas_files, write_canvases
from ove_codec.canvases.planning import CanvasPlan, Group, plan
from ove_codec.canvases.reading import Canvases, codec_canvases
from ove_codec.canvases.windows import canvas_windows

__all__ = [
    "CanvasConfig",
    "CanvasPlan",
    "Canvases",
    "Group",
    "canvas_files",
    "canvas_windows",
    "codec_canvases",
    "patch_processor",
    "plan",
    "process_codec_video",
    "write_canvases",
]
