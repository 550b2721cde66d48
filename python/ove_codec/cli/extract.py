"""`ove-codec extract`: the arrays of a video's pictures in an npz file."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

import ove_codec
from ove_codec.cli import common
from ove_codec.cli.writing import check_suffix
from ove_codec.video import Video

ARRAYS = ("pred", "mv", "ref_poc", "residual", "qp", "cu_size", "skip", "bits")


def add_commands(commands: common.Commands[Any]) -> None:
    parser = common.add_command(
        commands,
        "extract",
        extract,
        "write motion, residual and more of the pictures as an npz file",
        description="Writes one array per name. The first axis is the T chosen pictures in display order: "
        "numpy.load(OUT)['mv'][i] is the i-th. pred (T,h4,w4) uint8: 0 intra, 1 list 0, 2 list 1, 3 both; mv "
        "(T,h4,w4,2,2) int16: "
        "list, (x, y) in quarter samples; ref_poc (T,h4,w4,2) int32; residual (T,H,W) int16; qp (T,h4,w4) int8; "
        "cu_size (T,h4,w4) uint8; skip (T,h4,w4) bool; bits (T,CTU rows,CTU columns) int32. Arrays cover the coded "
        "picture; h4 and w4 are its height and width divided by 4. Always written: frame_ids, pts (seconds), poc, type "
        "('I', 'P', 'B') of (T,); window (x, y, width, height) of what is shown, rotation (clockwise degrees), "
        "mirrored (1: left and right are exchanged before it is turned), bit_depth and ctb_size. "
        "Memory does not grow with T; arrays besides the largest wait in a temporary file beside OUT, uncompressed.",
    )
    parser.add_argument("out", metavar="OUT.npz", help="file to write; an existing file is replaced only at the end")
    parser.add_argument(
        "--frames", metavar="LIST", default=":", help="display indices or start:stop:step, separated by commas"
    )
    parser.add_argument(
        "--arrays",
        metavar="LIST",
        default=",".join(ARRAYS),
        help="names separated by commas (default: all, %(default)s)",
    )
    common.add_on_damage(parser)
    common.add_threads(parser)
    common.add_json(parser)


def extract(args: argparse.Namespace) -> None:
    check_suffix(args.out, (".npz",))
    names = list(dict.fromkeys(name.strip() for name in args.arrays.split(",")))
    unknown = [name for name in names if name not in ARRAYS]
    if unknown:
        raise ValueError(f"unknown array {unknown[0]!r}; choose from {', '.join(ARRAYS)}")
    with common.replacing(args.out) as part:
        video = common.open_video(args)
        frame_ids = common.frame_list(args.frames, len(video))
        shapes = write_npz(part, video, frame_ids, names)
    facts = {"file": args.file, "out": args.out, "frames": len(frame_ids), "arrays": shapes}
    lines = [("pictures", len(frame_ids)), *((name, f"{shape}") for name, shape in shapes.items()), ("file", args.out)]
    common.print_facts(facts, args.json, lines)


def write_npz(path: Path, video: Video, frame_ids: Sequence[int], names: Sequence[str]) -> dict[str, list[int]]:
    """Writes the arrays of these pictures (display indices, ascending), stacked, and returns their shapes.

    One pass over the video, holding one picture. The members of a zip file can only be written one after the other: the
    largest array goes straight into it, the others by way of temporary files in the same folder.

    Raises UnsupportedStreamError where the size of the pictures changes.
    """
    pictures = common.progress(video.read(frame_ids, residual="residual" in names), len(frame_ids))
    first = next(pictures)
    sizes = {name: getattr(first, name).nbytes for name in names}
    largest = max(sizes, key=sizes.__getitem__)
    shapes = {name: [len(frame_ids), *getattr(first, name).shape] for name in names}
    with ExitStack() as stack:
        out = stack.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1))
        waiting: dict[str, IO[bytes]] = {
            name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in names if name != largest
        }
        with out.open(f"{largest}.npy", "w", force_zip64=True) as member:
            files = {**waiting, largest: member}
            for name in names:
                _write_header(files[name], shapes[name], getattr(first, name).dtype)
            for picture in _of_one_size(first, pictures, frame_ids, video):
                for name in names:
                    files[name].write(np.ascontiguousarray(getattr(picture, name)).data)
        for name, file in waiting.items():
            file.seek(0)
            with out.open(f"{name}.npy", "w", force_zip64=True) as member:
                shutil.copyfileobj(file, member, 1 << 20)
        chosen = np.asarray(frame_ids, np.int64)
        small = {
            "frame_ids": chosen,
            **{name: getattr(video.index, name)[chosen] for name in ("pts", "poc", "type")},
            "window": np.asarray(first.window, np.int32),
            **{
                name: np.asarray(getattr(first, name), np.int32)
                for name in ("rotation", "mirrored", "bit_depth", "ctb_size")
            },
        }
        for name, array in small.items():
            with out.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return shapes


def _write_header(file: IO[bytes], shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
    )


def _of_one_size(
    first: ove_codec.Picture, others: Iterable[ove_codec.Picture], frame_ids: Sequence[int], video: Video
) -> Iterable[ove_codec.Picture]:
    """All pictures, as many as `frame_ids`, or an error that names the one that does not fit."""
    count = 1
    yield first
    layout = (first.coded_width, first.coded_height, first.window, first.bit_depth, first.ctb_size)
    for picture in others:
        if (picture.coded_width, picture.coded_height, picture.window, picture.bit_depth, picture.ctb_size) != layout:
            raise ove_codec.UnsupportedStreamError(
                f"{video.name}: picture {picture.index} is {picture.coded_width}x{picture.coded_height}, "
                f"{picture.bit_depth} bit, those before it are {first.coded_width}x{first.coded_height}, "
                f"{first.bit_depth} bit (or the display window or CTU size differs); use --frames to extract pictures "
                "of one size at a time"
            )
        count += 1
        yield picture
    if count < len(frame_ids):
        raise ove_codec.DecodeError(f"{video.name}: the video ended before picture {frame_ids[count]}")
