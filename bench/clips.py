"""The clips of the benchmark, encoded with the system's ffmpeg and libx265 into a folder that keeps them."""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import scene

FRAME_RATE = 30
SECONDS = 4
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
# kbit/s that the encoder aims at
RATES = {
    "360p": {"low": 300, "medium": 800, "high": 1600},
    "720p": {"low": 1000, "medium": 2500, "high": 5000, "very high": 45000},
    "1080p": {"low": 2000, "medium": 5000, "high": 10000},
}


@dataclass(frozen=True)
class Clip:
    """One slice a picture; without wavefronts (WPP), nothing inside a picture can be parsed in parallel."""

    size: str
    rate: str
    b_frames: bool = True
    wpp: bool = False
    seconds: int = SECONDS

    @property
    def name(self) -> str:
        length = f", {self.seconds} s" if self.seconds != SECONDS else ""
        return f"{self.size} {self.rate}, {'B' if self.b_frames else 'no B'}{', WPP' if self.wpp else ''}{length}"

    def path(self, folder: Path) -> Path:
        kind = f"{self.size}-{self.rate.replace(' ', '-')}-{'b' if self.b_frames else 'p'}{'-wpp' if self.wpp else ''}"
        return folder / f"{kind}-{self.seconds}s.mp4"


# The usual length of a data set's clips, where 64 frames are a part of the pictures; and the hardest one, where they are
# more than half of them.
ALL = (
    Clip("360p", "medium"),
    Clip("360p", "medium", seconds=10),
    Clip("720p", "medium"),
    Clip("720p", "medium", wpp=True),
    *(Clip("720p", rate, seconds=10) for rate in ("low", "medium", "high")),
    Clip("720p", "medium", b_frames=False, seconds=10),
    Clip("720p", "very high"),
    Clip("1080p", "low"),
    Clip("1080p", "medium", seconds=10),
    Clip("1080p", "medium", b_frames=False),
    Clip("1080p", "high"),
)
LONG = Clip("1080p", "medium")
QUICK = Clip("360p", "low", seconds=1)


def encode(clips: Iterable[Clip], folder: Path) -> None:
    """Makes what is missing; the clips of one size and length are encoded from one rendering."""
    missing = [clip for clip in clips if not clip.path(folder).exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for size, seconds in dict.fromkeys((clip.size, clip.seconds) for clip in missing):
        raw = folder / "scene.yuv"
        try:
            with raw.open("wb") as file:
                file.writelines(scene.frames(*SIZES[size], seconds * FRAME_RATE, FRAME_RATE))
            for clip in missing:
                if (clip.size, clip.seconds) == (size, seconds):
                    print(f"encoding {clip.name}", file=sys.stderr, flush=True)
                    encode_one(clip, raw, clip.path(folder))
        finally:
            raw.unlink(missing_ok=True)


def encode_one(clip: Clip, raw: Path, path: Path) -> None:
    width, height = SIZES[clip.size]
    # Frame threads change the stream; their number is fixed, so that every machine makes the same one.
    params = f"log-level=error:bitrate={RATES[clip.size][clip.rate]}:keyint=60:frame-threads=2:wpp={int(clip.wpp)}"
    params += "" if clip.b_frames else ":bframes=0"
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", str(FRAME_RATE), "-i", str(raw)]
    part = path.with_suffix(".part.mp4")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *source, "-c:v", "libx265", "-preset", "medium", "-x265-params", params, part],
        check=True,
    )
    part.rename(path)


def repeated(path: Path, times: int) -> Path:
    """The clip over and over, as one file; nothing is encoded anew."""
    out = path.with_name(f"{path.stem}-x{times}.mp4")
    if not out.exists():
        part, names = out.with_suffix(".part.mp4"), out.with_suffix(".txt")
        names.write_text(f"file '{path.resolve()}'\n" * times)
        join = ["-f", "concat", "-safe", "0", "-i", str(names), "-c", "copy"]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *join, part], check=True)
        names.unlink()
        part.rename(out)
    return out
