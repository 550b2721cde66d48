"""Clips of a few synthetic actions: a textured body that moves, in a way that is its class, before a still ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from support import ffmpeg, scenes

SIZE = (64, 48)
FRAMES = 8
ACTIONS = ("right", "left", "up")
_STEPS = {"right": (4, 0), "left": (-4, 0), "up": (0, -3)}


def action_frames(action: str, seed: int) -> NDArray[np.uint8]:
    """(FRAMES, 48, 64) luma of one clip."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    ground = scenes.smooth_noise(rng, height, width) * 60 + 60
    body = rng.integers(0, 256, (14, 14))
    dx, dy = _STEPS[action]
    x = 34 + rng.integers(-4, 5) - dx * FRAMES // 2
    y = 17 + rng.integers(-4, 5) - dy * FRAMES // 2
    frames = []
    for _ in range(FRAMES):
        frame = ground.copy()
        left, top = int(np.clip(x, 0, width - 14)), int(np.clip(y, 0, height - 14))
        frame[top : top + 14, left : left + 14] = body
        frames.append(frame)
        x, y = x + dx, y + dy
    return np.asarray(frames).astype(np.uint8)


def action_clips(folder: Path, count: int, seed: int = 0) -> list[tuple[str, int]]:
    """Encodes `count` clips (two or more), the classes in turn, into the folder; returns names and labels.

    One run of the encoder makes them all: every clip is a closed group of pictures of its own.
    """
    planes = []
    for number in range(count):
        for luma in action_frames(ACTIONS[number % len(ACTIONS)], seed * 1000 + number):
            planes += [luma.tobytes(), bytes([128]) * (luma.size // 2)]
    params = f"keyint={FRAMES}:min-keyint={FRAMES}:scenecut=0:no-open-gop=1:bframes=0:ctu=16:qp=22"
    whole = ffmpeg.encode(b"".join(planes), SIZE, "yuv420p", params, folder / f"all-{seed}.mp4")
    times = ",".join(str(n * FRAMES) for n in range(1, count))
    split = ["-f", "segment", "-segment_frames", times, "-reset_timestamps", "1"]
    ffmpeg.run(["-v", "error", "-i", whole, "-c", "copy", *split, "-y", folder / f"s{seed}-%03d.mp4"])
    whole.unlink()
    return [(f"s{seed}-{n:03d}.mp4", n % len(ACTIONS)) for n in range(count)]
