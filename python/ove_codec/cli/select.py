"""`ove-codec select`: the patches of a video that are kept; and the options of every command that selects."""

from __future__ import annotations

import argparse
import json
import re
import typing
from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ove_codec import presets
from ove_codec.cli import common
from ove_codec.cli.parsing import add_brief, add_help_all, keep_for_help_all
from ove_codec.cli.writing import check_suffix, write_arrays
from ove_codec.live_sources import stream
from ove_codec.selection import Selection
from ove_codec.selection import select as select_patches
from ove_codec.transcoding import RECIPES

_SUFFIXES = (".npz", ".json", ".parquet", ".safetensors", ".npy")
_USUAL = {  # what `--help` says of the options that it shows
    "num_frames": "pictures to sample",
    "fps": "pictures to sample per second, instead of --num-frames",
    "sampling": "how pictures are chosen; see --help-all",
    "frame_ids": "display indices to take instead, as in 0,5,10:20:2",
    "start": "start of the part to sample, seconds",
    "end": "end of the part to sample, seconds",
    "size": "side of the square canvas, samples",
    "patch_size": "side of a patch, samples",
    "resize": "how the picture fills the canvas: crop, letterbox, stretch, native",
    "budget": "patches to keep per clip",
    "tau": "keep patches with at least this mean heat, instead of --budget",
}
_PREFIX = "selection_"  # of the parameters among the parsed arguments


def add_commands(commands: common.Commands[Any]) -> None:
    parser = common.add_command(
        commands,
        "select",
        select,
        "select patches by motion, residual or bits",
        copied=False,
        description="Samples pictures, scores their patches by what the codec spent on them, and keeps the best. "
        "Prints a summary; -o writes the selection for ove_codec.Selection.load. With --window, FILE may be a live "
        "stream or a pipe, and every window prints a line.",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="write .npz (for Selection.load), .json, .parquet, .safetensors or .npy (positions)",
    )
    add_transcode(parser, default="off")
    common.add_on_damage(parser)
    live = parser.add_argument_group("windows")
    live.add_argument("--window", type=float, metavar="X", help="select window by window, each this many seconds long")
    live.add_argument(
        "--stride", type=float, metavar="X", help="seconds from one window to the next (default: --window)"
    )
    add_brief(live, None, "--timeout", type=float, metavar="X", help="stop if no data arrives for this many seconds")
    add_brief(live, None, "--follow", action="store_true", help="keep reading a growing file until --timeout")
    add_selection_options(parser)
    common.add_threads(parser)
    common.add_json(parser)


def add_transcode(parser: argparse.ArgumentParser, default: str) -> None:
    """`--transcode`; `opened` reads it."""
    parser.add_argument(
        "--transcode",
        nargs="?",
        const="auto",
        default=default,
        metavar="RECIPE",
        help="convert to HEVC in memory first. auto or auto:RECIPE: codecs other than HEVC and H.264; "
        f"{' or '.join(RECIPES)}: everything; off (default: {default}, without value: auto)",
    )


def transcoding(value: str) -> bool | str:
    """What `ove_codec.select` calls the value of `--transcode`."""
    known: dict[str, bool | str] = {"auto": True, "off": False}
    return known.get(value, value)


def parameter_help() -> dict[str, str]:
    """What every parameter is, from the list in the documentation of `ove_codec.presets`."""
    items = re.findall(r"^- (``.*?``): (.*(?:\n  .*)*)", presets.__doc__ or "", re.MULTILINE)
    texts = {
        name: " ".join(text.replace("``", "").split()) for names, text in items for name in re.findall(r"\w+", names)
    }
    for name in presets.COMMON.keys() - texts.keys():  # told where another parameter is
        texts[name] = f"see {' '.join(_option(other) for other, text in texts.items() if name in text)}"
    return texts


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def add_selection_options(
    parser: argparse.ArgumentParser, *, preset: str = "paper", without: Collection[str] = ()
) -> None:
    """`--preset`, and an option for every parameter of the presets but some; `selection_of` reads them."""
    add_help_all(parser)
    keep_for_help_all(parser, "--on-damage")
    group = parser.add_argument_group("selection", "--help-all shows every parameter.")
    group.add_argument(
        "--preset",
        choices=list(presets.PRESETS),
        default=preset,
        help="named set of parameters (default: %(default)s)",
    )
    texts = parameter_help()
    for name, default in presets.COMMON.items():
        if name in without:
            continue
        options: dict[str, Any] = {"dest": _PREFIX + name, "default": argparse.SUPPRESS}
        options["help"] = (texts.get(name, "") + _default(name)).replace("%", "%%")
        if isinstance(default, bool):
            options["action"] = argparse.BooleanOptionalAction
        elif name == "frame_ids":
            options |= {"metavar": "LIST"}  # read when the number of pictures is known
        else:
            kind: Callable[[str], Any] = float if default is None else type(default)
            options |= {"type": kind, "metavar": {float: "X", int: "N"}.get(typing.cast(type, kind), "NAME")}
        brief = f"{_USUAL[name]}{_default(name)}" if name in _USUAL else None
        add_brief(group, brief, _option(name), **options)


def _default(name: str) -> str:
    """The default of a parameter, and of the presets where it differs, for the end of its help."""
    default = presets.COMMON[name]
    others = [f"{preset} {changes[name]}" for preset, changes in presets.PRESETS.items() if name in changes]
    known = [str(default)] if default is not None else []
    return f" (default: {', '.join([*known, *others])})" if known or others else ""


def overrides_of(args: argparse.Namespace) -> dict[str, Any]:
    """The parameters that were given, `frame_ids` still as text."""
    given = vars(args).items()
    return {name.removeprefix(_PREFIX): value for name, value in given if name.startswith(_PREFIX)}


def selection_of(args: argparse.Namespace) -> tuple[Any, Selection]:
    """The video of the arguments, transcoded as they say, and what is selected of it; raises as `ove_codec.select`."""
    overrides = overrides_of(args)
    presets.resolve(args.preset, overrides | ({"frame_ids": [0]} if "frame_ids" in overrides else {}))
    video = common.open_video(args, transcoding(args.transcode))
    if "frame_ids" in overrides:
        overrides["frame_ids"] = common.frame_list(overrides["frame_ids"], len(video))
    return video, select_patches(video, args.preset, threads=args.threads, progress=None, **overrides)


def selected(args: argparse.Namespace) -> Selection:
    """What is selected of the video of the arguments, of which only what they ask for is transcoded."""
    overrides = overrides_of(args)
    if "frame_ids" in overrides:  # counts from the end of the video
        return selection_of(args)[1]
    return select_patches(
        common.source_of(args),
        args.preset,
        threads=args.threads,
        transcode=transcoding(args.transcode),
        on_damage=args.on_damage,
        progress=None,
        **overrides,
    )


def selection_facts(selection: Selection) -> dict[str, Any]:
    """What a selection keeps, of how much."""
    frames, rows, columns = selection.mask.shape
    kept = np.count_nonzero(selection.mask, axis=(1, 2))
    return {
        "preset": selection.preset,
        "frames": frames,
        "grid": [rows, columns],
        "tokens": len(selection),
        "tokens_dense": selection.mask.size,
        "kept": len(selection) / selection.mask.size,
        "frame_ids": selection.frame_ids,
        **({} if selection.asked_ids is None else {"asked_ids": selection.asked_ids}),
        "tokens_per_frame": kept,
    }


def selection_lines(selection: Selection) -> list[tuple[str, Any]]:
    """The same for people."""
    facts = selection_facts(selection)
    rows, columns = facts["grid"]
    counts = facts["tokens_per_frame"]
    return [
        ("preset", selection.preset),
        ("pictures", f"{facts['frames']} sampled, {selection.frame_ids[0]} to {selection.frame_ids[-1]}"),
        ("grid", f"{rows} x {columns} patches of {selection.geometry.patch_size} samples"),
        ("tokens", f"{facts['tokens']} of {facts['tokens_dense']} ({100 * facts['kept']:.1f} %)"),
        ("per picture", " ".join(map(str, counts))),
    ]


def select(args: argparse.Namespace) -> None:
    if args.window is not None:
        return select_windows(args)
    if args.stride is not None or args.timeout is not None or args.follow:
        raise ValueError("--stride, --timeout and --follow need --window")
    args.file = common.input_file(args.file)
    suffix = check_suffix(args.out, _SUFFIXES) if args.out else ""
    with common.replacing(args.out) if args.out else nullcontext() as part:
        selection = selected(args)
        facts = {"file": args.file, "out": args.out, **selection_facts(selection), "params": selection.params}
        if part is not None:
            write(part, suffix, selection, facts)
    lines = selection_lines(selection)
    common.print_facts(facts, args.json, [*lines, ("file", args.out)] if args.out else lines)


def select_windows(args: argparse.Namespace) -> None:
    """Prints what is kept of every window, as it is complete."""
    if args.out is not None or transcoding(args.transcode) or args.stream is not None:
        raise ValueError(
            "--window prints windows as they come: leave out -o, --transcode and --stream, or leave out --window"
        )
    options = {"window": args.window, "stride": args.stride, "timeout": args.timeout, "follow": args.follow}
    for window in stream(args.file, preset=args.preset, pixels=False, **options, **overrides_of(args)):
        selection = window.selection
        losses = [loss._asdict() for loss in window.lost]
        facts = {"start": window.start, "end": window.end, "pts": window.pts, **selection_facts(selection)}
        del facts["frame_ids"]
        if args.json:
            print(json.dumps({**facts, "lost": losses}, default=common.plain), flush=True)
            continue
        kept = f"{facts['tokens']} of {facts['tokens_dense']} tokens in {facts['frames']} pictures"
        print(f"{window.start:.3f} to {window.end:.3f} s  {kept}", flush=True)
        for loss in window.lost:
            print(f"  lost: packets {loss.packet} to {loss.end - 1}: {loss.reason}", flush=True)


def write(path: Path, suffix: str, selection: Selection, facts: dict[str, Any]) -> None:
    """Writes a selection as `suffix` says: .npz for ``Selection.load``, the others as ``write_arrays`` does, with the
    positions first and the score and the display index of each."""
    if suffix == ".npz":
        selection.save(path)
        return
    positions = selection.positions
    t, row, column = positions.T
    arrays = {
        "positions": positions,
        "patch_scores": selection.scores[t, row, column],
        "patch_frame_ids": selection.frame_ids[t],
        "frame_ids": selection.frame_ids,
    }
    if suffix == ".safetensors":
        arrays |= {"scores": selection.scores, "mask": selection.mask}
    write_arrays(path, suffix, arrays, facts)
