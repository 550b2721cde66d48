#!/usr/bin/env python3
"""The whole way on one clip: motion and residual, selection, tokens, features, and a picture of the four panels.

    tools/demo.py [VIDEO] [--budget 512] [--model ov-encoder-large] [--out demo]

Without VIDEO a clip is made with the ffmpeg program (libx265).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

import ove_codec
from ove_codec.viz import Panels, save_strip

T = TypeVar("T")

WIDTH, HEIGHT, RATE, SECONDS = 640, 360, 25, 6


def main() -> int:
    parser = argparse.ArgumentParser(description="The whole way on one clip, from its bits to features.")
    parser.add_argument("video", nargs="?", metavar="VIDEO", help="HEVC video; one is made if none is given")
    parser.add_argument("--num-frames", type=int, default=32, help="pictures to sample (default: %(default)s)")
    parser.add_argument("--budget", type=int, default=512, help="tokens to keep (default: %(default)s)")
    parser.add_argument("--preset", choices=list(ove_codec.PRESETS), default="paper")
    parser.add_argument("--model", default="ov-encoder-large", help="configuration, or directory of trained weights")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write to (default: %(default)s)")
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        run(args)
    except (ove_codec.Error, OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(args: argparse.Namespace) -> None:
    clip = args.video
    if clip is None:
        clip = args.out / "clip.mp4"
        stage(f"making a clip, {WIDTH}x{HEIGHT}, {SECONDS} s", lambda: make_clip(clip))
    video = ove_codec.open(clip)
    pictures = stage("reading motion and residual of every picture", lambda: sum(1 for _ in video))
    selection = stage(
        f"selecting patches, preset {args.preset}",
        lambda: ove_codec.select(clip, args.preset, num_frames=args.num_frames, budget=args.budget),
    )
    tokens = stage("reading the pixels of the selected patches", lambda: ove_codec.tokenize(clip, selection))
    model = stage(f"loading {args.model}", lambda: load(args.model))
    output = stage("encoding", lambda: encode(model, tokens))
    picture = args.out / "panels.png"
    stage("drawing the four panels", lambda: save_strip(Panels(clip, selection), picture))

    frames, rows, columns = selection.mask.shape
    dense = selection.mask.size
    random = "" if Path(args.model).is_dir() else "  (random weights)"
    print()
    print(f"clip      {clip}")
    print(f"pictures  {pictures}, {frames} of them sampled, {rows} x {columns} patches each")
    print(f"tokens    {len(tokens)} of {dense} ({100 * len(tokens) / dense:.1f} %)")
    pooled = None if output.pooler_output is None else tuple(output.pooler_output.shape)
    print(f"features  {tuple(output.last_hidden_state.shape)}, pooled {pooled}{random}")
    print(f"panels    {picture.resolve()}")


def stage(name: str, work: Callable[[], T]) -> T:
    """Does the work and prints how long it took."""
    print(f"{name:<48}", end=" ", flush=True)
    start = time.perf_counter()
    try:
        result = work()
    except BaseException:
        print(flush=True)
        raise
    print(f"{time.perf_counter() - start:7.2f} s", flush=True)
    return result


def load(model: str) -> ove_codec.models.OVEncoder:
    if Path(model).is_dir():
        return ove_codec.models.OVEncoder.from_pretrained(model)
    return ove_codec.models.OVEncoder.from_config(model).eval()


def encode(model: ove_codec.models.OVEncoder, tokens: ove_codec.Tokens) -> ove_codec.models.OVEncoderOutput:
    import torch

    with torch.inference_mode():
        output: ove_codec.models.OVEncoderOutput = model(tokens.patches, tokens.positions, tokens.cu_seqlens)
    return output


def make_clip(path: Path) -> None:
    """Encodes a still, textured room in which a ball bounces and a card slides and turns, with B-frames."""
    if shutil.which("ffmpeg") is None:
        raise OSError("the ffmpeg program is needed to make a clip: install it, or pass VIDEO=path of an HEVC video")
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}"]
    command += ["-r", str(RATE), "-i", "-", "-c:v", "libx265", "-preset", "fast", "-crf", "25", "-pix_fmt", "yuv420p"]
    command += ["-x265-params", "log-level=error:keyint=100:bframes=3", "-tag:v", "hvc1", "-y", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None and encoder.stderr is not None
        try:
            for frame in scene():
                encoder.stdin.write(frame.tobytes())
            encoder.stdin.close()
        except BrokenPipeError:
            pass  # what is wrong stands in its messages
        messages = encoder.stderr.read().decode(errors="replace").strip()
    if encoder.returncode:
        raise OSError(f"ffmpeg could not make the clip: {messages}")


def scene() -> Iterator[NDArray[np.uint8]]:
    """RGB frames (HEIGHT, WIDTH, 3)."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    floor = y > 0.72 * HEIGHT
    ground = np.where(floor[..., None], (122, 96, 74), (92, 116, 128)) * (0.55 + 0.5 * noise(rng, 5)[..., None])
    ground += 26 * (noise(rng, 40)[..., None] - 0.5)
    ground *= np.where(floor & ((x - WIDTH / 2) / (y - 0.55 * HEIGHT + 1e-6) % 0.9 < 0.04), 0.7, 1)[..., None]
    skin, sensor = noise(rng, 4), rng.normal(0, 1.0, ground.shape)
    for frame in range(RATE * SECONDS):
        t = frame / RATE
        picture = ground + np.roll(sensor, rng.integers(HEIGHT), axis=0)

        # A card slides to and fro, turning.
        cx, cy, angle = WIDTH * (0.5 - 0.16 * np.cos(1.3 * t)), 0.3 * HEIGHT, 0.5 * np.sin(1.7 * t)
        area, x, y = around(cx, cy, 76, 76)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        card = np.clip(np.minimum(62 - abs(u), 40 - abs(v)), 0, 1)[..., None]
        checks = ((u // 16 + v // 16) % 2)[..., None]
        paint(picture[area], card, checks * (226, 196, 84) + (1 - checks) * (52, 88, 150))

        # A ball bounces and rolls over its shadow.
        r = 34
        bx = WIDTH * (0.3 + 0.4 * abs((t / 2.6) % 2 - 1))
        by = 0.86 * HEIGHT - r - 150 * abs(np.sin(2.2 * t))
        area, x, y = around(bx, 0.87 * HEIGHT, 60, 12)
        paint(picture[area], 0.5 * np.clip(1.4 - np.hypot(x / 40, y / 8), 0, 1)[..., None], (20, 18, 16))
        area, x, y = around(bx, by, r + 2, r + 2)
        light = np.clip(1.15 - np.hypot(x + 12, y + 14) / 52, 0.2, 1)
        stripe = np.where(np.sin(x * 0.11 + bx * 0.05) > 0.3, 1.0, 0.55)
        turned = skin[(y % HEIGHT).astype(int), ((x + bx * 0.8) % WIDTH).astype(int)]
        color = ((0.5 + turned) * light * stripe)[..., None] * (214, 74, 58)
        paint(picture[area], np.clip(r - np.hypot(x, y), 0, 1)[..., None], color)

        yield np.clip(picture, 0, 255).astype(np.uint8)


def around(
    cx: float, cy: float, rx: int, ry: int
) -> tuple[tuple[slice, slice], NDArray[np.float32], NDArray[np.float32]]:
    """The area of the picture about a point, and the distances x and y of its samples from there."""
    area = (slice(max(0, int(cy) - ry), int(cy) + ry), slice(max(0, int(cx) - rx), int(cx) + rx))
    y, x = np.mgrid[area].astype(np.float32)
    return area, x - np.float32(cx), y - np.float32(cy)


def paint(picture: NDArray[np.floating], alpha: NDArray[np.floating], color: object) -> None:
    """Blends a colour, or colours by sample, over the picture."""
    picture += alpha * (np.asarray(color) - picture)


def noise(rng: np.random.Generator, scale: int) -> NDArray[np.float32]:
    """Smooth noise of 0..1, its grains about `scale` samples wide."""
    from PIL import Image

    grains = rng.random((HEIGHT // scale + 2, WIDTH // scale + 2), np.float32)
    return np.asarray(Image.fromarray(grains).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    sys.exit(main())
