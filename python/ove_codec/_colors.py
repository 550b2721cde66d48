"""Normalisation of R'G'B'."""

from __future__ import annotations

from typing import TypeAlias

from ove_codec import _core

Color: TypeAlias = tuple[float, float, float]

CLIP_MEAN: Color = _core.CLIP_MEAN
CLIP_STD: Color = _core.CLIP_STD
