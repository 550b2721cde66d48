"""The files that the reference implementation's two offline stages write for a clip, and its trainer reads."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np

import ove_codec
from ove_codec.datasets import places
from ove_codec.datasets.clips import Clip
from ove_codec.datasets.names import folder_of, path_of, plain, stem_of


def check(params: dict[str, Any], tokens: str | None) -> None:
    """Raises ValueError where a selection by these parameters cannot be written as the reference's files."""
    if tokens is not None:
        raise ValueError("format='reference' has no tokens: leave tokens=None")
    side = params["size"] // params["patch_size"]
    if params["size"] % params["patch_size"] or params["resize"] not in ("letterbox", "crop", "stretch"):
        raise ValueError("format='reference' needs a square canvas of whole patches: use the preset 'llava'")
    if params["budget"] is None or params["budget"] % side**2:
        raise ValueError(f"format='reference' needs a budget of whole mosaics, a multiple of {side**2}")


def names(clip: Clip, selection: ove_codec.Selection) -> tuple[str, str, str]:
    """The folder of a clip, the stem of the arrays' names, and that of the mosaics'."""
    identity, folder = plain(clip.row.get("id", clip.name)), folder_of(clip)
    frames, patch = len(selection.frame_ids), selection.geometry.patch_size
    size = selection.geometry.canvas_width
    # The reference's key has the number of the line too, which moves when clips are added: the name stands for it.
    key = hashlib.sha1(f"{path_of(clip)}|{identity}|{places.printable(clip.name)}".encode()).hexdigest()[:8]
    return folder, f"{folder}__{key}_T{frames}_square{size}_p{patch}_K{len(selection)}", stem_of(clip)


def files(clip: Clip, video: Any, selection: ove_codec.Selection) -> dict[str, bytes]:
    """Contents by name, in the clip's folder; and under "" its line of ``data.jsonl``.

    STEM.visidx_thw.npy: (K, 3) int32, t, h, w: the first picture in raster order, then by score descending.
    STEM.frame_ids.npy: (T,) int32. STEM.meta.json. positions_thw.npy: (K, 3) int32, ascending; row j is patch j % S of
    mosaic j // S, S patches making a picture. NAME_000.jpg, ...: the mosaics, JPEG of quality 95.
    """
    folder, stem, mosaics = names(clip, selection)
    geometry, params = selection.geometry, selection.params
    rows, columns = geometry.rows, geometry.columns
    whole = rows * columns
    positions = selection.positions
    first = int(np.count_nonzero(positions[:, 0] == 0)) if params["keep_first_frame"] else 0
    t, h, w = positions[first:].T
    order = np.argsort(-selection.scores[t, h, w], kind="stable")
    visible = np.concatenate([positions[:first], positions[first:][order]])
    result = {
        f"{folder}/{stem}.visidx_thw.npy": _npy(visible.astype(np.int32)),
        f"{folder}/{stem}.frame_ids.npy": _npy(selection.frame_ids.astype(np.int32)),
        f"{folder}/positions_thw.npy": _npy(positions.astype(np.int32)),
    }
    pictures = []
    for number, mosaic in enumerate(_mosaics(video, selection)):
        name = f"{folder}/{mosaics}_{number:03}.jpg"
        result[name] = mosaic
        pictures.append(name)
    inside = np.argwhere(selection.valid)
    meta = {
        "sample_id": clip.row.get("id", places.printable(clip.name)),
        "sample_key": stem,
        "video": places.printable(clip.place),
        "T": len(selection.frame_ids),
        "square_size": geometry.canvas_width,
        "patch": geometry.patch_size,
        "keep_frames_equiv": len(selection) // whole,
        "padding_policy": params["padding"],
        "keep_first_full_frame": params["keep_first_frame"] and params["first_frame_share"] == 1,
        "H0": geometry.source_height,
        "W0": geometry.source_width,
        "pad_info": {
            "scale": geometry.resized_width / geometry.source_width,
            "Hn": geometry.resized_height,
            "Wn": geometry.resized_width,
            "pad_top": max(0, geometry.offset_y),
            "pad_left": max(0, geometry.offset_x),
            "pad_bottom": max(0, geometry.canvas_height - geometry.offset_y - geometry.resized_height),
            "pad_right": max(0, geometry.canvas_width - geometry.offset_x - geometry.resized_width),
            "out_size": geometry.canvas_width,
            "H0": geometry.source_height,
            "W0": geometry.source_width,
        },
        "hb": rows,
        "wb": columns,
        "S_total": whole,
        "S_valid": len(inside),
        "K": len(selection),
        "padding_patch_filtered": params["padding"] == "exclude",
        "valid_ranges": {
            "valid_h_start": int(inside[:, 0].min()),
            "valid_h_end": int(inside[:, 0].max()) + 1,
            "valid_w_start": int(inside[:, 1].min()),
            "valid_w_end": int(inside[:, 1].max()) + 1,
        },
        "frame_ids": selection.frame_ids.tolist(),
    }
    result[f"{folder}/{stem}.meta.json"] = json.dumps(meta, indent=1).encode()
    talk = _conversations(clip.row.get("conversations"), len(pictures))
    line = {
        "id": meta["sample_id"],
        "conversations": talk,
        "image": pictures,
        "positions_thw": f"{folder}/positions_thw.npy",
    }
    result[""] = json.dumps(line, default=str).encode()
    return result


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _mosaics(video: Any, selection: ove_codec.Selection) -> list[bytes]:
    """The selected patches in raster order, a picture's worth at a time; what is left over of the last one is black."""
    from PIL import Image

    geometry = selection.geometry
    patch, rows, columns = geometry.patch_size, geometry.rows, geometry.columns
    tokens = ove_codec.tokenize(video, selection, threads=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    samples = (tokens.patches.clamp(0, 1) * 255 + 0.5).byte().numpy().reshape(-1, 3, patch, patch)
    count = -(-len(samples) // (rows * columns))
    grid = np.zeros((count * rows * columns, 3, patch, patch), np.uint8)
    grid[: len(samples)] = samples
    grid = grid.reshape(count, rows, columns, 3, patch, patch).transpose(0, 1, 4, 2, 5, 3)
    mosaics = []
    for picture in grid.reshape(count, rows * patch, columns * patch, 3):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "JPEG", quality=95, subsampling="4:2:0")
        mosaics.append(out.getvalue())
    return mosaics


def _conversations(talk: Any, pictures: int) -> Any:
    """The conversations with as many images as there are mosaics where the video was."""
    if not isinstance(talk, list):
        return [] if talk is None else talk
    image = "<image>\n" * pictures
    return [
        {**turn, "value": turn["value"].replace("<video>\n", image).replace("<video>", image)}
        if isinstance(turn, dict) and isinstance(turn.get("value"), str)
        else turn
        for turn in talk
    ]
