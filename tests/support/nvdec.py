"""Tokens by NVDEC's twin: `python nvdec.py TWIN CLIP PARAMS` with libcuda.so.1 and libnvcuvid.so.1 being TWIN.

Writes what TWIN was asked for, and the largest difference from the CPU's tokens, as JSON. Launches run when an event
behind them is waited for, and no earlier, so that pictures which went back too early are read.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("decoders", "decoded", "mapped", "most_mapped", "now_mapped", "copied", "other_contexts", "stream", "streams")
STREAM = 0xBEEF


def write_pictures(clip: Path, depth: int, size: tuple[int, int], unit: int, path: Path) -> None:
    """The pictures of the clip as NVDEC would give them: of sides that are multiples of `unit`, the last samples
    repeated."""
    from support import ffmpeg

    form = "nv12" if depth == 8 else "p010le"
    out, _ = ffmpeg.run(["-v", "error", "-i", clip, "-f", "rawvideo", "-pix_fmt", form, "-"])
    width, height = size
    samples = np.frombuffer(out, np.uint8 if depth == 8 else "<u2").reshape(-1, height * 3 // 2, width)
    more = [(0, -side % unit) for side in (height, width)]
    with path.open("wb") as file:
        for picture in samples:
            file.write(np.pad(picture[:height], more, "edge").tobytes())
            chroma = picture[height:].reshape(height // 2, width // 2, 2)
            half = [(0, n // 2) for _, n in more]
            file.write(np.pad(chroma, [*half, (0, 0)], "edge").tobytes())


def run(twin: Path, clip: Path, pictures: Path, folder: Path, **params: Any) -> dict[str, Any]:
    """What a process with TWIN as the driver finds."""
    for name in ("libcuda.so.1", "libnvcuvid.so.1"):
        (folder / name).symlink_to(twin)
    here = Path(__file__).resolve()
    paths = {
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")])),
        "PYTHONPATH": os.pathsep.join([str(here.parents[1]), *filter(None, sys.path)]),
        "OVE_NVDEC_TWIN": str(pictures),
    }
    command = [sys.executable, str(here), str(twin), str(clip), json.dumps(params)]
    done = subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    import pytest

    import ove_codec
    from ove_codec import cuda
    from ove_codec._cuda_backend import Cuda
    from support import twin as kernels

    library, clip, params = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    patch = pytest.MonkeyPatch()
    device = kernels.put_in_place(patch)
    selection = ove_codec.select(clip, **params)
    here = ove_codec.tokenize(clip, selection, device=device).patches

    class Upload(cuda.Upload):  # a stream gives memory to others only behind the launches
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            uploads.append(self)

    uploads: list[Upload] = []
    waiting: list[Callable[[], None]] = []
    launch = Cuda._launch

    class Event:
        def __init__(self) -> None:
            self._count = len(waiting)

        def synchronize(self) -> None:
            for position in range(self._count):
                waiting[position]()
                waiting[position] = lambda: None

    patch.setattr(Cuda, "_launch", lambda self, *arguments: waiting.append(lambda: launch(self, *arguments)))
    patch.setattr(cuda, "Upload", Upload)
    patch.setattr(cuda, "record", lambda device: Event())
    patch.setattr(kernels, "STREAM", STREAM)
    there = ove_codec.tokenize(clip, selection, device=device, decoder="nvdec").patches
    Event().synchronize()
    calls = (ctypes.c_int64 * len(NAMES))()
    ctypes.CDLL(library).ove_nvdec_twin_calls(calls)
    found = dict(zip(NAMES, calls, strict=True))
    print(json.dumps({**found, "launches": len(waiting), "difference": float((there - here).abs().max())}))


if __name__ == "__main__":
    main()
