"""Canvases as files."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec.canvases.reading import Canvases

FORMATS = ("jpg", "png", "npy")


def canvas_files(canvases: Canvases, image_format: str = "jpg", **facts: Any) -> dict[str, bytes]:
    """Contents by name: the canvases, ``src_patch_position.npy`` (rows, 3) int32, ``frame_ids.npy`` int32, and
    ``meta.json``, which also holds the `facts`.

    JPEG has quality 95 and 4:2:0 chroma; npy is (H, W, 3) uint8 R'G'B'. Raises ValueError for another format.
    """
    if image_format not in FORMATS:
        raise ValueError(f"the format of canvases must be one of {', '.join(FORMATS)}, not {image_format!r}")
    files = {f"canvas_{i:03}.{image_format}": _encoded(image, image_format) for i, image in enumerate(canvases.images)}
    meta = {**facts, **canvases.meta, "canvas_format": image_format, "canvas_files": list(files)}
    files["src_patch_position.npy"] = _npy(canvases.src_positions)
    files["frame_ids.npy"] = _npy(canvases.frame_ids.astype(np.int32))
    files["meta.json"] = json.dumps(meta, indent=1).encode()
    return files


def write_canvases(
    canvases: Canvases, out_dir: str | os.PathLike[str], image_format: str = "jpg", **facts: Any
) -> list[Path]:
    """Writes the files of ``canvas_files`` into a folder, which is created if missing; ``meta.json`` comes last.

    Raises ValueError for another format and OSError if the folder cannot be written.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in canvas_files(canvases, image_format, out_dir=os.fspath(out_dir), **facts).items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    return paths


def _encoded(image: NDArray[np.uint8], image_format: str) -> bytes:
    if image_format == "npy":
        return _npy(image)
    from PIL import Image

    out = io.BytesIO()
    picture = Image.fromarray(image)
    if image_format == "jpg":
        picture.save(out, "JPEG", quality=95, subsampling="4:2:0")
    else:
        picture.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
