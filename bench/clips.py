"""The clips of the benchmark, encoded with the system's ffmpeg, libx265 and libx264 into a folder that keeps them."""

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
    """One slice a picture; without wavefronts (WPP), nothing inside a picture of HEVC can be parsed in parallel."""

    size: str
    rate: str
    b_frames: bool = True
    wpp: bool = False
    seconds: int = SECONDS
    codec: str = "HEVC"  # or H.264
    cavlc: bool = False

    @property
    def name(self) -> str:
        tools = [f"{self.size} {self.rate}", "B" if self.b_frames else "no B"]
        tools += ["WPP"] * self.wpp + ["CAVLC"] * self.cavlc
        tools += [f"{self.seconds} s"] * (self.seconds != SECONDS)
        return f"{'H.264 ' if self.codec == 'H.264' else ''}{', '.join(tools)}"

    def path(self, folder: Path) -> Path:
        kind = ["h264"] * (self.codec == "H.264") + [self.size, self.rate.replace(" ", "-")]
        kind += ["b" if self.b_frames else "p"] + ["wpp"] * self.wpp + ["cavlc"] * self.cavlc
        return folder / f"{'-'.join(kind)}-{self.seconds}s.mp4"

    def encoder(self) -> list[str]:
        """Options of ffmpeg. Threads change the stream; their number is fixed, so that every machine makes the same."""
        params = f"log-level=error:bitrate={RATES[self.size][self.rate]}:keyint=60"
        params += "" if self.b_frames else ":bframes=0"
        if self.codec == "H.264":
            return [
                "-c:v",
                "libx264",
                "-preset",
                "medium",
                "-x264-params",
                f"{params}:threads=2:cabac={1 - self.cavlc}",
            ]
        params += f":frame-threads=2:wpp={int(self.wpp)}"
        return ["-c:v", "libx265", "-preset", "medium", "-x265-params", params]


# At 10 s, as data sets mostly have it, 64 frames are a fifth of the pictures; at 4 s they are more than half of them.
HEVC = (
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
H264 = (
    *(Clip("360p", rate, codec="H.264") for rate in ("low", "medium", "high")),
    *(Clip("720p", rate, seconds=10, codec="H.264") for rate in ("low", "medium", "high")),
    Clip("720p", "medium", b_frames=False, seconds=10, codec="H.264"),
    Clip("720p", "medium", seconds=10, codec="H.264", cavlc=True),
    Clip("720p", "very high", codec="H.264"),
    Clip("1080p", "low", codec="H.264"),
    Clip("1080p", "medium", seconds=10, codec="H.264"),
    Clip("1080p", "medium", b_frames=False, codec="H.264"),
    Clip("1080p", "high", codec="H.264"),
)
ALL = HEVC + H264
LONG = Clip("1080p", "medium"), Clip("1080p", "medium", codec="H.264")
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
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", str(FRAME_RATE), "-i", str(raw)]
    part = path.with_suffix(".part.mp4")
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *clip.encoder(), part], check=True)
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
