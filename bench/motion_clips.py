"""Clips whose class is how an object moves, encoded to HEVC; appearance, place and background say nothing about it.

Every clip shows a textured background and bright discs, each with its own texture. One of them acts; the others lie
still on the background. Three kinds of clips share the classes:

- "motion": the disc acts all the time, while the background drifts slowly in any direction.
- "brief": a longer clip in which nothing moves but for a short event.
- "pan": as "motion" to one who looks through a fast camera: the background and the other discs sweep by.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scene import between, cloud

KINDS = ("motion", "brief", "pan")
CLASSES = ("right", "left", "down", "up", "clockwise", "counter-clockwise", "to and fro", "up and down")
# What a class becomes where x is mirrored, y is mirrored, x and y change places.
MIRRORED_X = (1, 0, 2, 3, 5, 4, 6, 7)
MIRRORED_Y = (0, 1, 3, 2, 5, 4, 6, 7)
TRANSPOSED = (2, 3, 0, 1, 5, 4, 7, 6)

FRAME_RATE = 30
RADII = (0.085, 0.115)  # of the discs, in sides of the picture
EVENT = 24  # pictures of a brief event
NOISE = 1.5  # of the sensor, standard deviation of 8-bit samples
ENCODER = "log-level=error:crf=26:keyint=48:ctu=32:pools=none:frame-threads=1:wpp=0"


@dataclass(frozen=True)
class Clip:
    """A clip to be made: side in samples, number of pictures, and what decides everything else."""

    kind: str
    label: int
    side: int
    seed: int

    @property
    def frames(self) -> int:
        return 128 if self.kind == "brief" else 64

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.label}-{self.seed}"


def clips(count: int, side: int, seed: int) -> list[Clip]:
    """So many clips, kinds and classes in turn; those of different seeds have nothing in common."""
    return [
        Clip(KINDS[i % len(KINDS)], i // len(KINDS) % len(CLASSES), side, seed * 1_000_000 + i) for i in range(count)
    ]


@dataclass(frozen=True)
class Action:
    """Where the centre of the acting disc is in every picture, and in which of them it moves.

    centres: (frames, 2) x, y in samples; moving: (frames,) bool; radius in samples.
    """

    centres: NDArray[np.float64]
    moving: NDArray[np.bool_]
    radius: float


def _way(label: int, progress: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Offsets (n, 2) from the middle of the way; `length` is the extent of its longer side."""
    turn = 2 * np.pi * progress
    along, still = length * (progress - 0.5), np.zeros_like(progress)
    swing, half = length / 2 * np.sin(2 * turn), length / 2
    x, y = {
        "right": (along, still),
        "left": (-along, still),
        "down": (still, along),
        "up": (still, -along),
        "clockwise": (half * np.cos(turn), half * np.sin(turn)),
        "counter-clockwise": (half * np.cos(turn), -half * np.sin(turn)),
        "to and fro": (swing, still),
        "up and down": (still, swing),
    }[CLASSES[label]]
    return np.stack([x, y], 1)


def action(clip: Clip, rng: np.random.Generator) -> Action:
    """The acting disc. A circle begins anywhere on it, as the mirrored classes demand."""
    frames = np.arange(clip.frames)
    begin, length = 0, clip.frames
    if clip.kind == "brief":
        length = EVENT
        begin = int(rng.integers(length, clip.frames - 2 * length))
    progress = ((frames - begin) / (length - 1)).clip(0, 1)
    moving = (frames >= begin) & (frames < begin + length)
    radius = clip.side * rng.uniform(*RADII)
    extent = clip.side * (0.35 if clip.kind == "brief" else 0.45) * rng.uniform(0.8, 1.2)
    way = _way(clip.label, progress, extent)
    if CLASSES[clip.label].endswith("clockwise"):
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        way = way @ turn
    low, high = radius - way.min(0), clip.side - radius - way.max(0)
    return Action(way + rng.uniform(low, high), moving, radius)


def _texture(rng: np.random.Generator, size: int, mean: float, contrast: float) -> NDArray[np.float32]:
    return np.asarray(mean + contrast * cloud(rng, size, rng.uniform(0.7, 1.1)), np.float32)


def render(clip: Clip) -> tuple[NDArray[np.uint8], Action]:
    """The luma samples (frames, side, side), and what is to be seen on them."""
    rng = np.random.default_rng(clip.seed)
    acting = action(clip, rng)
    side = clip.side
    world_side = 2 * side
    level = rng.uniform(70, 110)
    world = _texture(rng, world_side, level, rng.uniform(9, 15))
    speed = {"motion": rng.uniform(0.1, 0.4), "brief": 0.0, "pan": rng.uniform(1.5, 3.0)}[clip.kind] * side / 112
    angle = rng.uniform(0, 2 * np.pi)
    drift = speed * np.array([np.cos(angle), np.sin(angle)])  # samples a picture
    # The other discs lie in the world, so many that there are about as many in view wherever the camera looks.
    count, reach = (8, world_side) if clip.kind == "pan" else (3, side)
    others = [(rng.uniform(0, reach, 2), side * rng.uniform(*RADII)) for _ in range(count)]
    discs = [(None, acting.radius), *others]
    skins = [_texture(rng, 64, level + rng.uniform(60, 90), rng.uniform(10, 20)) for _ in discs]
    pictures = np.empty((clip.frames, side, side), np.uint8)
    grid = np.arange(side, dtype=np.float32)
    for i in range(clip.frames):
        origin = drift * i
        picture = between(world, grid + np.float32(origin[1] % world_side), grid + np.float32(origin[0] % world_side))
        for (place, radius), skin in reversed(list(zip(discs, skins, strict=True))):  # the acting one in front
            centre = acting.centres[i] if place is None else (place - origin + side / 2) % world_side - side / 2
            _draw(picture, centre, radius, skin)
        noisy = picture + NOISE * rng.standard_normal(picture.shape, np.float32)
        pictures[i] = np.clip(noisy + 0.5, 16, 235).astype(np.uint8)
    return pictures, acting


def _draw(picture: NDArray[np.float32], centre: NDArray[np.float64], radius: float, skin: NDArray[np.float32]) -> None:
    """A disc with its skin, at a place between samples; what lies outside the picture is left out."""
    side = len(picture)
    first = np.maximum(0, np.floor(centre - radius - 1)).astype(int)
    last = np.minimum(side, np.ceil(centre + radius + 2)).astype(int)
    if (first >= last).any():
        return
    x = (np.arange(first[0], last[0]) - centre[0]).astype(np.float32)
    y = (np.arange(first[1], last[1]) - centre[1]).astype(np.float32)
    cover = np.clip(radius + 0.5 - np.hypot(x[None], y[:, None]), 0, 1)
    part = picture[first[1] : last[1], first[0] : last[0]]
    part += cover * (between(skin, y + 32, x + 32) - part)


def encode(clip: Clip, path: Path) -> Action:
    """Writes the clip as an MP4 file of HEVC, 4:2:0 without colour; returns what is to be seen on it."""
    pictures, acting = render(clip)
    chroma = np.full(clip.side * clip.side // 2, 128, np.uint8).tobytes()
    raw = b"".join(picture.tobytes() + chroma for picture in pictures)
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{clip.side}x{clip.side}", "-r", str(FRAME_RATE)]
    part = path.with_suffix(".part.mp4")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *source, "-i", "-", "-threads", "1", "-c:v", "libx265", "-preset", "fast"]
        + ["-x265-params", ENCODER, str(part)],
        input=raw,
        check=True,
    )
    part.rename(path)
    return acting
