"""Canvases of codec-selected blocks: the video input of LLaVA-OneVision-2 and Mage-VL."""

from ove_codec.canvases.config import CanvasConfig
from ove_codec.canvases.planning import CanvasPlan, Group, plan
from ove_codec.canvases.reading import Canvases, codec_canvases

__all__ = ["CanvasConfig", "CanvasPlan", "Canvases", "Group", "codec_canvases", "plan"]
