"""`ove-codec info` and `ove-codec framecrc`: facts and checksums of a video."""

from __future__ import annotations

import argparse
import json
import os
from itertools import groupby
from typing import Any

import numpy as np

import ove_codec
from ove_codec.cli import common

_COLOR = ("range", "matrix", "primaries", "transfer")


def add_commands(commands: common.Commands[Any]) -> None:
    parser = common.add_command(
        commands,
        "info",
        info,
        "print what the container, the stream and its pictures hold",
        description="Prints what the container, the stream and its pictures hold.",
    )
    common.add_threads(parser)
    common.add_json(parser)
    parser = common.add_command(
        commands,
        "framecrc",
        framecrc,
        "print checksums of the motion and the residual of every picture",
        description='Prints one JSON object per line for every decoded picture, in decoding order: "poc", coded '
        '"width" and "height", and "motion_crc32" and "residual_crc32": the CRC-32 of its motion, (h/4, w/4, 7) '
        "little-endian int32 of pred, mvx0, mvy0, ref_poc0, mvx1, mvy1, ref_poc1, and of its residual, (h, w) "
        "little-endian int16. If the video is damaged, the pictures before the damage are printed, then the error.",
    )
    common.add_threads(parser)
    parser.add_argument("--json", action="store_true", help="no effect: the lines are JSON already")


def info(args: argparse.Namespace) -> None:
    facts = video_facts(args)
    types = ", ".join(f"{count} {kind}" for kind, count in facts["types"].items() if count)
    gop, duration = facts["gop"], facts["duration"]
    distance = f"{gop['distance_min']}..{gop['distance_max']} pictures" if gop["distance_max"] else "none follows"
    color = [f"{name} {facts[f'color_{name}'] or 'unspecified'}" for name in _COLOR]
    lines = [
        ("file", facts["file"]),
        ("container", f"{facts['container']}, {facts['bytes']} bytes"),
        ("stream", f"{facts['codec']} {facts['profile']}, {facts['pixel_format']}, {facts['bit_depth']} bit"),
        ("size", f"{facts['width']}x{facts['height']} shown, {facts['coded_width']}x{facts['coded_height']} coded"),
        ("rotation", f"{facts['rotation']} degrees clockwise for display" + ", mirrored first" * facts["mirrored"]),
        ("colour", ", ".join(color)),
        (
            "CTU",
            f"{facts['ctb_size']}x{facts['ctb_size']}" if facts["ctb_size"] else "none, only motion vectors are read",
        ),
        ("duration", "unknown" if duration is None else f"{duration:.3f} s from {facts['start']:.3f} s"),
        ("frame rate", f"{facts['frame_rate']:.3f} /s" if facts["frame_rate"] else "unknown"),
        ("bit rate", f"{facts['bit_rate'] / 1000:.0f} kbit/s" if facts["bit_rate"] else "unknown"),
        ("pictures", f"{facts['pictures']}: {types}"),
        ("random access", f"{gop['random_access_points']} pictures, to the next {distance}"),
        ("GOP", f"{gop['pattern']} (display order), at most {gop['b_run_max']} B in a row"),
    ]
    common.print_facts(facts, args.json, lines)


def video_facts(args: argparse.Namespace) -> dict[str, Any]:
    """The facts that `info` prints. Reads all headers and decodes one picture; raises as `ove_codec.open` does."""
    file, video = args.file, ove_codec.open(common.source_of(args), threads=args.threads)
    stream, index = video.info, video.index
    first = next(video.read([0], residual=False), None) if len(index) else None
    if first is None:
        raise ove_codec.InvalidBitstreamError(f"{file}: no picture can be decoded")
    kinds = "".join(index.type.tolist())
    access = np.flatnonzero(index.random_access)
    distances = np.diff(access)
    numerator, denominator = stream["frame_rate"]
    return {
        "file": file,
        "bytes": os.path.getsize(file),
        **{name: stream[name] for name in ("container", "codec", "profile", "pixel_format")},
        "bit_depth": first.bit_depth,
        "width": first.width,
        "height": first.height,
        "coded_width": first.coded_width,
        "coded_height": first.coded_height,
        "window": first.window,
        "rotation": first.rotation,
        "mirrored": first.mirrored,
        "sample_aspect_ratio": stream["sample_aspect_ratio"],
        **{name: stream[name] for name in stream if name.startswith("color_")},
        "chroma_location": stream["chroma_location"],
        "ctb_size": None if first.motion_only else first.ctb_size,
        "start": float(index.pts[0]),
        "duration": _duration(stream, index.pts),
        "frame_rate": numerator / denominator if denominator else 0.0,
        "bit_rate": stream["bit_rate"],
        "pictures": len(index),
        "types": {kind: kinds.count(kind) for kind in "IPB"},
        "gop": {
            "random_access_points": len(access),
            "distance_min": int(distances.min()) if len(distances) else None,
            "distance_max": int(distances.max()) if len(distances) else None,
            "b_run_max": max((len(list(run)) for kind, run in groupby(kinds) if kind == "B"), default=0),
            "pattern": _pattern(kinds, access),
        },
    }


def _duration(stream: dict[str, Any], pts: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """Seconds that the container tells, or else from the first picture to the end of the last."""
    if stream["duration"] is not None:
        numerator, denominator = stream["time_base"]
        return float(stream["duration"] * numerator / denominator)
    if len(pts) < 2:
        return None
    return float(pts[-1] - pts[0]) * len(pts) / (len(pts) - 1)


def _pattern(kinds: str, access: np.ndarray[Any, np.dtype[np.int64]], limit: int = 48) -> str:
    """Picture types from the first random access point to the next, in display order."""
    start = int(access[0]) if len(access) else 0
    stop = int(access[1]) if len(access) > 1 else len(kinds)
    return kinds[start:stop] if stop - start <= limit else f"{kinds[start : start + limit]}..."


def framecrc(args: argparse.Namespace) -> None:
    for picture in common.progress(ove_codec.framecrc(common.source_of(args), threads=args.threads), None):
        print(json.dumps(picture), flush=True)
