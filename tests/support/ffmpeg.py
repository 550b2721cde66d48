"""The ffmpeg command line as encoder of test clips (libx265) and as decoder of luma samples."""

import functools
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def available() -> bool:
    return shutil.which("ffmpeg") is not None


@functools.cache
def has_encoder(name: str) -> bool:
    return (
        available()
        and name.encode()
        in subprocess.run(["ffmpeg", "-hide_banner", "-encoders"], capture_output=True, check=True).stdout
    )


def has_libx265() -> bool:
    return has_encoder("libx265")


def has_libx264() -> bool:
    return has_encoder("libx264")


@functools.cache
def _passthrough() -> tuple[str, ...]:
    """The option that keeps every decoded frame, under its name before or after FFmpeg 5.1."""
    text = subprocess.run(["ffmpeg", "-hide_banner", "-h", "long"], capture_output=True, check=True).stdout
    return ("-fps_mode", "passthrough") if b"-fps_mode" in text else ("-vsync", "passthrough")


def run(arguments: Sequence[str | Path], stdin: bytes | None = None) -> tuple[bytes, str]:
    """Runs ffmpeg and returns its standard output and its messages; a failure raises with the messages."""
    command = ["ffmpeg", "-hide_banner", "-nostats", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    messages = done.stderr.decode(errors="replace")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {messages}")
    return done.stdout, messages


def encode(
    frames: Sequence[NDArray[np.uint8]] | bytes,
    size: tuple[int, int],
    pixel_format: str,
    params: str,
    path: Path,
    options: Sequence[str] = (),
    encoder: str = "x265",
) -> Path:
    """Encodes raw frames of `size` (width, height) with libx265 or libx264; the name of `path` gives the container."""
    raw = frames if isinstance(frames, bytes) else b"".join(frame.tobytes() for frame in frames)
    source = ["-f", "rawvideo", "-pix_fmt", pixel_format, "-s", f"{size[0]}x{size[1]}", "-r", "25", "-i", "-"]
    params = ":".join(filter(None, ["log-level=error" if encoder == "x265" else "", params]))
    codec = ["-c:v", f"lib{encoder}", *([f"-{encoder}-params", params] if params else [])]
    run(["-v", "error", *source, *codec, *options, "-y", path], raw)
    return path


def decode_luma(path: Path | str, depth: int, options: Sequence[str] = ()) -> tuple[list[NDArray[np.integer]], str]:
    """Decodes all frames with libavcodec; returns the luma of the coded pictures, and the decoder's complaints.

    The conformance window is not applied, so a frame has the size of the coded picture. Frames must share one size.
    `options` are those of the decoder.
    """
    luma_format = "gray" if depth == 8 else f"gray{depth}le"
    # extractplanes copies the luma samples; a conversion to gray would go through a range conversion.
    out, messages = run(
        [
            "-v",
            "info",
            "-apply_cropping",
            "0",
            "-threads",
            "1",
            *options,
            "-i",
            path,
            "-map",
            "0:v:0",
            "-vf",
            "extractplanes=y",
        ]
        + [*_passthrough(), "-f", "rawvideo", "-pix_fmt", luma_format, "-"]
    )
    sizes = re.findall(r"Output #0.*?, (\d+)x(\d+)", messages, re.DOTALL)
    if not sizes:
        raise RuntimeError(f"{path}: no frame size in: {messages}")
    width, height = map(int, sizes[-1])
    samples = np.frombuffer(out, np.uint8 if depth == 8 else "<u2")
    complaints = "\n".join(line for line in messages.splitlines() if re.match(r"\[(hevc|h264) @|Error", line))
    return list(samples.reshape(-1, height, width)), complaints
