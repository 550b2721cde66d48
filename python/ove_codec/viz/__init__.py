"""Pictures of a selection: the video dense, uniformly sampled at the same cost, as heat, and as the patches kept.

The four panels are those of the OneVision-Encoder page, section 3. Drawn with Pillow; MP4 files need PyAV.
"""

from __future__ import annotations

import os
from pathlib import Path

from ove_codec._drawing import KINDS, Pixels, colors
from ove_codec.viz.animation import pyav, save_animation
from ove_codec.viz.panels import Panels, PanelSet
from ove_codec.viz.strip import busy_slots, save_strip

__all__ = [
    "KINDS",
    "MOVING",
    "STILL",
    "PanelSet",
    "Panels",
    "Pixels",
    "busy_slots",
    "check_output",
    "colors",
    "save_animation",
    "save_strip",
]

MOVING = (".mp4", ".gif", ".webp", ".apng")
STILL = (".png", ".svg")


def check_output(path: str | os.PathLike[str]) -> None:
    """Raises ValueError for a suffix that cannot be written, ModuleNotFoundError for MP4 without PyAV."""
    suffix = Path(path).suffix
    if suffix not in STILL + MOVING:
        raise ValueError(f"{os.fspath(path)}: its suffix must be one of {', '.join(STILL + MOVING)}")
    if suffix == ".mp4":
        pyav()
