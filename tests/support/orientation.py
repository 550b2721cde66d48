"""Files whose container says that their pictures are turned and mirrored for display."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

# Clockwise degrees, and whether left and right are exchanged first.
ORIENTATIONS = [(rotation, mirrored) for mirrored in (False, True) for rotation in (0, 90, 180, 270)]


def display_matrix(rotation: float, mirrored: bool) -> bytes:
    """The matrix of a `tkhd` box: display x is a*x + c*y, display y is b*x + d*y, with y downwards."""
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    a, b = (-cos, -sin) if mirrored else (cos, sin)
    fixed = [round(value * 65536) for value in (a, b, 0, -sin, cos, 0, 0, 0)]
    return struct.pack(">9i", *fixed, 1 << 30)


def put_up(path: Path, out: Path, rotation: float, mirrored: bool) -> Path:
    """Writes the MP4 file `path`, whose boxes are of version 0, with another display matrix."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = display_matrix(rotation, mirrored)
    out.write_bytes(data)
    return out


def shown(picture: Any, rotation: int, mirrored: bool) -> Any:
    """The array (..., rows, columns) as it is displayed."""
    array = np.asarray(picture)
    return np.rot90(array[..., ::-1] if mirrored else array, -rotation // 90, (-2, -1))
