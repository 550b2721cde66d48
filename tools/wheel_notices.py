"""Puts the licences of what a repaired wheel bundles into it, and into its metadata.

    wheel_notices.py WHEEL TEXTS OUT

TEXTS has a folder of texts for each component that FFmpeg was built with (tools/build-ffmpeg makes it). They come to
.dist-info/licenses/COMPONENT/, and the metadata gets the SPDX expression of the whole (PEP 639).
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from shell import run

SPDX = {
    "ffmpeg": "LGPL-2.1-or-later",
    "dav1d": "BSD-2-Clause",
    "nv-codec-headers": "MIT",
    "cuda": "LicenseRef-NVIDIA-CUDA-EULA",
}
LIBRARIES = {
    "libavcodec": "ffmpeg",
    "libavformat": "ffmpeg",
    "libavutil": "ffmpeg",
    "libswscale": "ffmpeg",
    "libdav1d": "dav1d",
}  # what auditwheel may put into the wheel, by component

CUDA_NOTICE = """\
ove_codec/_cuda holds NVIDIA's CUDA runtime (cudart_static), (c) NVIDIA Corporation, which Attachment A of the CUDA
Toolkit's licence, https://docs.nvidia.com/cuda/eula/, lists as distributable.
"""


def components(tree: Path, texts: Path) -> list[str]:
    """What an unpacked wheel bundles. SystemExit for a library of which no licence is at hand."""
    found = {"ffmpeg"}
    for library in (tree / "ove_codec.libs").iterdir():
        name = re.split(r"[-.]", library.name)[0]
        if name not in LIBRARIES:
            raise SystemExit(f"error: {library.name} is bundled, and its licence is not known; see {__file__}")
        found.add(LIBRARIES[name])
    if (texts / "nv-codec-headers").exists():
        found.add("nv-codec-headers")
    for component in found:
        if not (texts / component).is_dir():
            raise SystemExit(f"error: {component} is bundled, and {texts} has no licence of it")
    if any((tree / "ove_codec").glob("_cuda*.so")):
        found.add("cuda")
    return [name for name in SPDX if name in found]


def amended(metadata: str, bundled: list[str], files: list[str]) -> str:
    """METADATA with the licences of these components and these files of them."""
    head, blank, body = metadata.partition("\n\n")
    lines, listed = [], False
    for line in head.split("\n"):
        if line.startswith("License-Expression: "):
            line = " AND ".join([line, *(SPDX[name] for name in bundled)])
        if line.startswith("License-File: ") and not listed:
            lines += [f"License-File: {name}" for name in files]
            listed = True
        lines.append(line)
    if not listed or "License-Expression: " not in head:
        raise SystemExit("error: METADATA has no License-Expression or no License-File")
    return "\n".join(lines) + blank + body


def add_notices(wheel: Path, texts: Path, out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run([sys.executable, "-m", "wheel", "unpack", "--dest", folder, wheel])
        (tree,) = Path(folder).iterdir()
        (info,) = tree.glob("*.dist-info")
        bundled = components(tree, texts)
        files = []
        for component in bundled:
            target = info / "licenses" / component
            if component == "cuda":
                target.mkdir()
                (target / "NOTICE").write_text(CUDA_NOTICE, encoding="utf-8")
            else:
                shutil.copytree(texts / component, target)
            files += [f"{component}/{path.name}" for path in sorted(target.iterdir())]
        metadata = info / "METADATA"
        metadata.write_text(amended(metadata.read_text(encoding="utf-8"), bundled, files), encoding="utf-8")
        out.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "wheel", "pack", "--dest-dir", out, tree])


if __name__ == "__main__":
    add_notices(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
