"""A made data set of small pictures and clips, to try the whole loop on: `python -m ove_codec.data.synthetic FOLDER`.

Pictures show one of eight shapes in one of four colours, somewhere on a noisy ground; clips, in HEVC, a textured square
that moves in one of four directions. Concepts of the bank are shape, colour and quarter, 128 of them, and direction and
texture, 16; a picture has the concepts of its shape and quarter in every colour as labels, its own first, a clip those
of its direction in every texture. Test sets have the shape as their only label.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ove_codec.data.shards import write_shards

SIDE = 64
SHAPES = ("disc", "square", "ring", "cross", "bars", "columns", "triangle", "checks")
COLOURS = np.array([[230, 60, 50], [60, 200, 80], [70, 90, 230], [230, 210, 60]], np.float32)
PICTURE_CONCEPTS = len(SHAPES) * len(COLOURS) * 4
DIRECTIONS = ((2, 0), (-2, 0), (0, 2), (0, -2))
TEXTURES = 4
CLIP_CONCEPTS = len(DIRECTIONS) * TEXTURES

_Image = NDArray[np.uint8]


def picture(shape: int, colour: int, quarter: int, rng: np.random.Generator) -> _Image:
    """(SIDE, SIDE, 3) samples."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    radius = rng.uniform(14, 18)
    cx = SIDE * (0.36 + 0.28 * (quarter % 2)) + rng.uniform(-3, 3)
    cy = SIDE * (0.36 + 0.28 * (quarter // 2)) + rng.uniform(-3, 3)
    u, v = (x - cx) / radius, (y - cy) / radius
    inside = np.maximum(abs(u), abs(v)) < 1
    distance = np.hypot(u, v)
    masks = {
        "disc": distance < 1,
        "square": inside,
        "ring": (distance < 1) & (distance > 0.6),
        "cross": inside & (np.minimum(abs(u), abs(v)) < 0.3),
        "bars": inside & (np.floor(v * 2.5) % 2 == 0),
        "columns": inside & (np.floor(u * 2.5) % 2 == 0),
        "triangle": (v < 0.9) & (abs(u) < (v + 1) / 1.9),
        "checks": inside & ((np.floor(u * 2) + np.floor(v * 2)) % 2 == 0),
    }
    ground = rng.uniform(40, 140) + rng.normal(0, 10, (SIDE, SIDE, 3))
    tint = COLOURS[colour] * rng.uniform(0.7, 1.0)
    out = np.where(masks[SHAPES[shape]][..., None], tint + rng.normal(0, 8, (SIDE, SIDE, 3)), ground)
    return out.clip(0, 255).astype(np.uint8)


def clip(direction: int, texture: int, rng: np.random.Generator, frames: int = 16) -> bytes:
    """An HEVC clip in MP4. Needs PyAV."""
    try:
        import av
    except ImportError as error:
        raise ModuleNotFoundError("clips are made with PyAV: pip install 'ove_codec[video]'") from error
    ground = np.clip(rng.uniform(60, 160) + rng.normal(0, 14, (SIDE, SIDE, 3)), 0, 255)
    y, x = np.mgrid[:20, :20]
    waves = (np.sin(x), np.sin(y), np.sin(x + y), np.sin(x) * np.sin(y))[texture]
    square = np.clip(COLOURS[rng.integers(4)] * (0.75 + 0.25 * waves[..., None]), 0, 255)
    dx, dy = DIRECTIONS[direction]
    left, top = rng.integers(0, SIDE, 2)
    file = io.BytesIO()
    container: Any
    with av.open(file, "w", format="mp4") as container:
        options = {"crf": "22", "x265-params": "log-level=none:pools=none:frame-threads=1:bframes=2:keyint=16"}
        stream = container.add_stream("libx265", rate=15, options=options)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for n in range(frames):
            frame = ground.copy()
            rows, columns = (top + dy * n + np.arange(20)) % SIDE, (left + dx * n + np.arange(20)) % SIDE
            frame[np.ix_(rows, columns)] = square
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame.astype(np.uint8), "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file.getvalue()


def picture_samples(count: int, seed: int, test: bool) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Pictures with labels, all shapes equally often; `test` for the shape as the only label."""
    rng = np.random.default_rng([seed, int(test)])
    for number in range(count):
        shape, colour, quarter = number % len(SHAPES), int(rng.integers(4)), int(rng.integers(4))
        file = io.BytesIO()
        Image.fromarray(picture(shape, colour, quarter, rng)).save(file, "png", compress_level=1)
        concepts = [(shape * len(COLOURS) + (colour + i) % 4) * 4 + quarter for i in range(4)]
        yield f"{number:06}", _members("png", file.getvalue(), [shape] if test else concepts)


def clip_samples(count: int, seed: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Clips with labels."""
    rng = np.random.default_rng([seed, 2])
    for number in range(count):
        direction, texture = number % len(DIRECTIONS), int(rng.integers(TEXTURES))
        concepts = [direction * TEXTURES + (texture + i) % TEXTURES for i in range(TEXTURES)]
        yield f"{number:06}", _members("mp4", clip(direction, texture, rng), concepts)


def write(folder: Path, pictures: int, tests: int, clips: int, seed: int = 0) -> None:
    """Shards `pictures-*` and `clips-*` for training, `neighbours-*` (twice `tests`) and `test-*` for the accuracy."""
    for prefix, samples in (
        ("pictures", picture_samples(pictures, seed, False)),
        ("neighbours", picture_samples(2 * tests, seed + 1, True)),
        ("test", picture_samples(tests, seed + 2, True)),
        ("clips", clip_samples(clips, seed)),
    ):
        list(write_shards(samples, folder, prefix, 1 << 24))


def _members(suffix: str, data: bytes, labels: list[int]) -> dict[str, bytes]:
    return {suffix: data, "json": json.dumps({"labels": labels}).encode()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m ove_codec.data.synthetic", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--pictures", type=int, default=8000, metavar="N", help="for training (default: %(default)s)")
    parser.add_argument("--tests", type=int, default=800, metavar="N", help="test pictures (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=400, metavar="N", help="for training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args()
    write(args.folder, args.pictures, args.tests, args.clips, args.seed)


if __name__ == "__main__":
    main()
