"""Canvases as files."""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ove_codec.canvases.reading import Canvases

FORMATS = ("jpg", "png", "npy")


def canvas_files(canvases: Canvases, image_format: str = "jpg", **facts: Any) -> dict[str, bytes]:
    """Contents by name: the canvases, ``src_patch_position.npy`` (rows, 3) int32, ``frame_ids.npy`` int32, and
    ``meta.json``, which also holds the `facts`.

    JPEG has quality 95 and 4:2:0 chroma; npy is (H, W, 3) uint8 R'G'B'. Raises ValueError for another format.
    """
    _check_format(image_format)
    files = {}
    for name, image in zip(_names(canvases, image_format), canvases.images, strict=True):
        out = io.BytesIO()
        _save(image, out, image_format)
        files[name] = out.getvalue()
    return {**files, **_others(canvases, image_format, facts)}


def write_canvases(
    canvases: Canvases,
    out_dir: str | os.PathLike[str],
    image_format: str = "jpg",
    *,
    threads: int = 0,
    **facts: Any,
) -> list[Path]:
    """Writes the files of ``canvas_files`` into a folder, which is created if missing; ``meta.json`` comes last.

    `threads` threads write images, 0 for one per core. Raises ValueError for another format, OSError if
    the folder cannot be written.
    """
    _check_format(image_format)
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in _names(canvases, image_format)]

    def write(path: Path, image: NDArray[np.uint8]) -> None:
        with path.open("wb") as file:  # Pillow lets others go on while it encodes into a file of the system
            _save(image, file, image_format)

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        list(pool.map(write, paths, canvases.images))
    for name, content in _others(canvases, image_format, {"out_dir": os.fspath(out_dir), **facts}).items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    return paths


def _check_format(image_format: str) -> None:
    if image_format not in FORMATS:
        raise ValueError(f"the format of canvases must be one of {', '.join(FORMATS)}, not {image_format!r}")


def _names(canvases: Canvases, image_format: str) -> list[str]:
    return [f"canvas_{i:03}.{image_format}" for i in range(len(canvases))]


def _others(canvases: Canvases, image_format: str, facts: dict[str, Any]) -> dict[str, bytes]:
    """The files beside the images."""
    names = _names(canvases, image_format)
    meta = {**facts, **canvases.meta, "canvas_format": image_format, "canvas_files": names}
    return {
        "src_patch_position.npy": _npy(canvases.src_positions),
        "frame_ids.npy": _npy(canvases.frame_ids.astype(np.int32)),
        "meta.json": json.dumps(meta, indent=1).encode(),
    }


def _save(image: NDArray[np.uint8], out: BinaryIO, image_format: str) -> None:
    if image_format == "npy":
        np.save(out, image, allow_pickle=False)
        return
    from PIL import Image

    picture = Image.fromarray(image)
    if image_format == "jpg":
        picture.save(out, "JPEG", quality=95, subsampling="4:2:0")
    else:
        picture.save(out, "PNG", compress_level=1)


def _npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
