"""A slow, obvious twin of the gathering of patches, and small clips to compare it on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ove_codec import _core

FFMPEG = shutil.which("ffmpeg")


def _can_encode() -> bool:
    if FFMPEG is None:
        return False
    encoders = subprocess.run([FFMPEG, "-v", "error", "-encoders"], capture_output=True, check=True).stdout
    return b"libx265" in encoders and b"libx264" in encoders


needs_ffmpeg = pytest.mark.skipif(not _can_encode(), reason="needs the ffmpeg program with libx265 and libx264")
MATRICES = {
    "bt709": (0.2126, 0.0722),
    "bt601": (0.299, 0.114),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
    "bt2020": (0.2627, 0.0593),
}


# Planes are turned before they are sampled, and colours come from the inverse of the forward matrix.


def canvas_of(width: int, height: int, resize: str, size: int) -> tuple[int, int, int, int, int, int]:
    """Canvas width and height, resized width and height, offset x and y."""
    if resize == "native":
        return width, height, width, height, 0, 0
    if resize == "stretch":
        return size, size, size, size, 0, 0
    reference = min(width, height) if resize == "crop" else max(width, height)
    w, h = (max(1, round(length * (size / reference))) for length in (width, height))
    return size, size, w, h, int((size - w) / 2), int((size - h) / 2)


def turn(plane: np.ndarray, turns: int, mirrored: bool = False) -> np.ndarray:
    return np.rot90(plane[:, ::-1] if mirrored else plane, -turns)


def first_chroma(luma: int, chroma: int, shift: int, site: float, turned_over: bool) -> float:
    """Luma position of the first chroma sample along an axis, after turning it over where asked."""
    step = 1 << shift
    first = site * (step - 1)
    return luma - 1 - (step * (chroma - 1) + first) if turned_over else first


def sample(plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    h, w = plane.shape
    y, x = np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    y1, x1 = np.minimum(y0 + 1, h - 1), np.minimum(x0 + 1, w - 1)
    fy, fx = (y - y0)[:, None], (x - x0)[None, :]
    p = plane.astype(np.float64)
    top = p[y0][:, x0] * (1 - fx) + p[y0][:, x1] * fx
    bottom = p[y1][:, x0] * (1 - fx) + p[y1][:, x1] * fx
    return top * (1 - fy) + bottom * fy


def to_rgb(ycc: np.ndarray, matrix: str, depth: int, full: bool) -> np.ndarray:
    """(3, H, W) sample values to R'G'B' in [0, 1], by inverting R'G'B' to sample values."""
    unit, peak = 2.0 ** (depth - 8), 2.0**depth - 1
    luma, luma_zero = (peak, 0.0) if full else (219 * unit, 16 * unit)
    chroma, chroma_zero = (peak if full else 224 * unit), 128 * unit
    if matrix == "rgb":
        forward, zero = luma * np.eye(3), np.full(3, luma_zero)
    elif matrix == "ycgco":
        forward = np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])
        forward, zero = forward * [[luma], [chroma], [chroma]], np.array([luma_zero, chroma_zero, chroma_zero])
    else:
        kr, kb = MATRICES[matrix]
        y = np.array([kr, 1 - kr - kb, kb])
        cb, cr = ([0, 0, 1] - y) / (2 * (1 - kb)), ([1, 0, 0] - y) / (2 * (1 - kr))
        forward, zero = np.stack([luma * y, chroma * cb, chroma * cr]), np.array([luma_zero, chroma_zero, chroma_zero])
    rgb = np.linalg.inv(forward) @ (ycc.reshape(3, -1) - zero[:, None])
    return np.clip(rgb, 0, 1).reshape(ycc.shape)


def twin_canvas(planes: list[np.ndarray], options: dict[str, Any]) -> np.ndarray:
    """The whole normalised canvas (3, H, W), with the arguments of _core.gather_planes."""
    turns, mirrored = options.get("quarter_turns", 0), options.get("mirrored", False)
    shift, site = options.get("chroma_shift", (1, 1)), options.get("chroma_site", (0, 0.5))
    luma = turn(planes[0], turns, mirrored)
    height, width = luma.shape
    canvas_w, canvas_h, w, h, dx, dy = canvas_of(width, height, options["resize"], options["size"])
    x = np.clip((np.arange(canvas_w) - dx + 0.5) * width / w - 0.5, 0, width - 1)
    y = np.clip((np.arange(canvas_h) - dy + 0.5) * height / h - 0.5, 0, height - 1)
    depth, full = options.get("bit_depth", 8), options.get("full_range", False)
    ycc = np.empty((3, canvas_h, canvas_w))
    ycc[0] = sample(luma, y, x)
    if len(planes) == 1:
        ycc[1:] = 128 * 2.0 ** (depth - 8)
    for k, plane in enumerate(planes[1:], 1):
        stored_w = first_chroma(planes[0].shape[1], plane.shape[1], shift[0], site[0], (turns in (2, 3)) != mirrored)
        stored_h = first_chroma(planes[0].shape[0], plane.shape[0], shift[1], site[1], turns in (1, 2))
        first_x, first_y, step_x, step_y = stored_w, stored_h, 1 << shift[0], 1 << shift[1]
        if turns % 2:
            first_x, first_y, step_x, step_y = first_y, first_x, step_y, step_x
        ycc[k] = sample(turn(plane, turns, mirrored), (y - first_y) / step_y, (x - first_x) / step_x)
    rgb = to_rgb(ycc, options.get("matrix", "bt601"), depth, full)
    outside = np.ones((canvas_h, canvas_w), bool)
    outside[max(0, dy) : max(0, dy + h), max(0, dx) : max(0, dx + w)] = False
    rgb[:, outside] = 0
    mean, std = (
        np.array(options.get(n, d))[:, None, None] for n, d in (("mean", _core.CLIP_MEAN), ("std", _core.CLIP_STD))
    )
    return (rgb - mean) / std


def cut(canvas: np.ndarray, positions: np.ndarray, p: int) -> np.ndarray:
    rows = [canvas[:, r * p : (r + 1) * p, c * p : (c + 1) * p].reshape(-1) for r, c in positions]
    return np.stack(rows) if rows else np.empty((0, 3 * p * p))


def grid_of(canvas: np.ndarray, p: int) -> np.ndarray:
    return np.argwhere(np.ones((canvas.shape[1] // p, canvas.shape[2] // p)))


def encode(path: Path, *arguments: str, source: str = "testsrc2=s=192x112:r=25:d=1.2", codec: str = "libx265") -> Path:
    """A small clip; more arguments of ffmpeg as given."""
    assert FFMPEG is not None
    x265 = ["-x265-params", "log-level=none"] if codec == "libx265" else []
    command = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", source, "-c:v", codec, *x265, *arguments, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def av_pictures(path: Path) -> list[tuple[list[np.ndarray], dict[str, Any]]]:
    """All shown pictures by PyAV in display order, with the arguments of gather_planes that describe them."""
    av = pytest.importorskip("av")
    kinds = {
        "yuv420p": (8, (1, 1)), "yuvj420p": (8, (1, 1)), "yuv422p": (8, (1, 0)), "yuv444p": (8, (0, 0)),
        "yuv420p10le": (10, (1, 1)), "yuv422p10le": (10, (1, 0)), "yuv420p12le": (12, (1, 1)),
        "yuv444p12le": (12, (0, 0)), "gray": (8, (0, 0)), "gbrp": (8, (0, 0)),
    }  # fmt: skip
    matrices = {0: "rgb", 1: "bt709", 2: "bt601", 5: "bt601", 6: "bt601", 9: "bt2020"}
    info = _core.stream_info(path)
    sites = {"center": (0.5, 0.5), "topleft": (0, 0)}
    pictures = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            depth, shift = kinds[frame.format.name]
            rgb = frame.format.name == "gbrp"
            dtype = np.dtype("<u2" if depth > 8 else "u1")
            planes = []
            for k, plane in enumerate(frame.planes):
                rows = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
                width = frame.width if k == 0 else -(-frame.width >> shift[0])
                height = frame.height if k == 0 else -(-frame.height >> shift[1])
                planes.append(rows[:height, :width].copy())
            if rgb:
                planes = [planes[2], planes[0], planes[1]]  # stored as G, B, R
            options = {
                "bit_depth": depth,
                "chroma_shift": shift,
                "chroma_site": sites.get(info["chroma_location"], (0, 0.5)),
                "matrix": "rgb" if rgb else matrices[int(frame.colorspace)],
                "full_range": frame.format.name == "yuvj420p" or int(frame.color_range) == 2,
                "quarter_turns": info["rotation"] // 90,
                "mirrored": info["mirrored"],
            }
            pictures.append((planes, options))
    return pictures
