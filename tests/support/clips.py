"""Small clips for tests of what users see: commands, pictures, the README."""

from pathlib import Path

from support import ffmpeg, scenes

SIZE = (168, 104)  # neither side a multiple of 16
PICTURES = 24


def moving_clip(
    folder: Path, name: str = "clip.mp4", size: tuple[int, int] = SIZE, frames: int = PICTURES, encoder: str = "x265"
) -> Path:
    """A clip with B-frames and two GOPs, encoded if it is not in the folder yet."""
    path = folder / name
    if not path.exists():
        raw = scenes.moving_scene(size, frames, seed=3)
        params = "keyint=12:min-keyint=12:scenecut=0:bframes=2" + (":ctu=32" if encoder == "x265" else "")
        ffmpeg.encode(raw, size, "yuv420p", params, path, encoder=encoder)
    return path
