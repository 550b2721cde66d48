"""The clips of the benchmark, encoded with the system's ffmpeg and libx265 into a folder that keeps them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
RATES = {"low": 34, "medium": 28, "high": 22, "very high": 12}  # CRF


@dataclass(frozen=True)
class Clip:
    size: str
    rate: str
    b_frames: bool
    seconds: int = 4

    @property
    def name(self) -> str:
        return f"{self.size}, {self.rate} rate, {'B' if self.b_frames else 'no B'} pictures"

    def path(self, folder: Path) -> Path:
        kind = f"{self.size}-{self.rate.replace(' ', '-')}-{'b' if self.b_frames else 'p'}-{self.seconds}s"
        return folder / f"{kind}.mp4"


# Every size at the ordinary rates; the other rates, and clips without B pictures, at 720p.
ALL = (
    Clip("360p", "medium", True),
    Clip("720p", "low", True),
    Clip("720p", "medium", True),
    Clip("720p", "medium", False),
    Clip("720p", "high", True),
    Clip("720p", "very high", True),
    Clip("1080p", "medium", True),
    Clip("1080p", "high", True),
)
QUICK = (Clip("720p", "medium", True),)


def encode(clip: Clip, folder: Path) -> Path:
    """A zoom into a fractal with a textured body that moves across it, and the noise of a sensor."""
    path = clip.path(folder)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    width, height = SIZES[clip.size]
    scene = (
        "[0]format=yuv420p[ground];[1]format=yuv420p[body];"
        "[ground][body]overlay=x='(W-w)*(0.5+0.45*sin(t*1.3))':y='(H-h)*(0.5+0.4*cos(t*0.9))',"
        "noise=c0s=5:c0f=t,format=yuv420p"
    )
    sources = [f"mandelbrot=s={width}x{height}:r=30:end_scale=0.02", f"testsrc2=s={width // 4}x{height // 4}:r=30"]
    params = f"log-level=error:crf={RATES[clip.rate]}:keyint=60:bframes={4 if clip.b_frames else 0}"
    part = path.with_suffix(".part.mp4")
    command = ["ffmpeg", "-v", "error", "-y"]
    for source in sources:
        command += ["-f", "lavfi", "-i", source]
    command += ["-filter_complex", scene, "-t", str(clip.seconds), "-c:v", "libx265", "-preset", "medium"]
    subprocess.run([*command, "-x265-params", params, part], check=True)
    part.rename(path)
    return path


def repeated(path: Path, times: int, folder: Path) -> Path:
    """The clip over and over, as one raw stream; nothing is encoded anew."""
    raw, out = folder / f"{path.stem}.265", folder / f"{path.stem}-x{times}.265"
    if not out.exists():
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", path, "-c", "copy", "-f", "hevc", raw], check=True)
        data = raw.read_bytes()
        part = out.with_suffix(".part")
        with part.open("wb") as file:
            for _ in range(times):
                file.write(data)
        part.rename(out)
    return out
