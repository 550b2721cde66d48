"""Synthetic moving scenes, as raw frames of any pixel format that libx265 takes."""

import re

import numpy as np
from numpy.typing import NDArray

CHROMA_SHIFT = {"gray": None, "yuv420p": (1, 1), "yuv422p": (1, 0), "yuv444p": (0, 0)}


def split_format(pixel_format: str) -> tuple[str, int]:
    """Returns the sampling ("gray", "yuv420p", ...) and the bit depth of an FFmpeg pixel format."""
    match = re.fullmatch(r"(gray|yuv4\d\dp)(?:(10|12)le)?", pixel_format)
    if not match:
        raise ValueError(f"pixel format {pixel_format} is not known here")
    return match[1], int(match[2] or 8)


def smooth_noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Noise of two scales in 0..1, periodic at its borders so that it can be rolled."""
    fine = rng.random((height, width), np.float32)
    for axis in (0, 1):
        fine = np.mean([np.roll(fine, k, axis) for k in range(-2, 3)], axis=0, dtype=np.float32)
    coarse = np.kron(rng.random((-(-height // 16), -(-width // 16)), np.float32), np.ones((16, 16), np.float32))
    field = (fine - fine.min()) / np.ptp(fine) * 0.6 + coarse[:height, :width] * 0.4
    return np.asarray(field, np.float32)


def shifted(field: NDArray[np.float32], dx: float, dy: float) -> NDArray[np.float32]:
    """The periodic field moved by a fractional number of samples (bilinear)."""
    x, y = int(np.floor(dx)), int(np.floor(dy))
    fx, fy = np.float32(dx - x), np.float32(dy - y)
    corner = np.roll(field, (y, x), (0, 1))
    right, below = np.roll(corner, 1, 1), np.roll(corner, 1, 0)
    moved = (corner * (1 - fx) + right * fx) * (1 - fy) + (below * (1 - fx) + np.roll(below, 1, 1) * fx) * fy
    return np.asarray(moved, np.float32)


def moving_scene(
    size: tuple[int, int],
    frames: int,
    pixel_format: str = "yuv420p",
    *,
    seed: int = 0,
    speed: float = 1.0,
    fade: bool = False,
    cut: int | None = None,
) -> bytes:
    """Raw frames of `size` (width, height): a panning background, two textured bodies, sensor noise.

    `speed` scales all motion, `fade` darkens towards the end, from frame `cut` on another scene is shown.
    """
    sampling, depth = split_format(pixel_format)
    width, height = size
    rng = np.random.default_rng(seed)
    worlds = [[smooth_noise(rng, height, width) for _ in range(3)] for _ in range(1 if cut is None else 2)]
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    peak = (1 << depth) - 1
    out = []
    for t in range(frames):
        ground, body, chroma = worlds[0 if cut is None or t < cut else 1]
        luma = shifted(ground, speed * 1.3 * t, speed * 0.55 * t)
        cx, cy = width * 0.2 + speed * 2.75 * t, height * 0.35 + speed * 0.8 * t
        box = (abs(xx - cx) < width / 8) & (abs(yy - cy) < height / 5)
        luma = np.where(box, shifted(body, cx, cy), luma)
        angle = 0.07 * speed * t
        radius = np.hypot(xx - width * 0.7, yy - height * 0.55)
        turn = (xx - width * 0.7) * np.cos(angle) + (yy - height * 0.55) * np.sin(angle)
        luma = np.where(radius < height / 4, 0.5 + 0.4 * np.sin(turn * 0.6), luma)
        planes: list[NDArray[np.floating]] = [
            luma * (1 - 0.75 * t / frames if fade else 1) + rng.normal(0, 0.006, luma.shape)
        ]
        shift = CHROMA_SHIFT[sampling]
        if shift is not None:
            sx, sy = shift
            moved = shifted(chroma, speed * 1.3 * t, speed * 0.55 * t)[:: 1 << sy, :: 1 << sx]
            planes += [moved, 1 - moved]
        samples = [np.clip(np.rint(plane * peak), 0, peak).astype("u1" if depth == 8 else "<u2") for plane in planes]
        out += [plane.tobytes() for plane in samples]
    return b"".join(out)


def interlaced_scene(size: tuple[int, int], frames: int, pixel_format: str, *, bottom_first: bool = False) -> bytes:
    """Raw frames whose two fields show the moving scene at different times."""
    twice = np.frombuffer(moving_scene(size, 2 * frames, pixel_format), np.uint8).reshape(frames, 2, -1)
    width, height = size
    sampling, depth = split_format(pixel_format)
    sx, sy = CHROMA_SHIFT[sampling] or (0, 0)
    planes = [(width, height)] + [(width >> sx, height >> sy)] * (2 if CHROMA_SHIFT[sampling] else 0)
    out = twice[:, int(bottom_first)].copy()
    at = 0
    for w, h in planes:
        end = at + w * h * (1 if depth == 8 else 2)
        rows = out[:, at:end].reshape(frames, h, -1)
        rows[:, 1::2] = twice[:, 1 - int(bottom_first), at:end].reshape(frames, h, -1)[:, 1::2]
        out[:, at:end] = rows.reshape(frames, -1)
        at = end
    return out.tobytes()
