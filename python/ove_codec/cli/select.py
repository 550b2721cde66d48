"""`ove-codec select`: the patches of a video that are kept; and the options of every command that selects."""

from __future__ import annotations

import argparse
import re
import typing
from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any

import numpy as np

from ove_codec import presets
from ove_codec.cli import common
from ove_codec.selection import Selection
from ove_codec.selection import select as select_patches
from ove_codec.transcoding import RECIPES

_PREFIX = "selection_"  # of the parameters among the parsed arguments


def add_commands(commands: common.Commands[Any]) -> None:
    parser = common.add_command(
        commands,
        "select",
        select,
        "select patches by motion, residual or bits",
        description="Samples pictures, scores their patches by what the codec spent on them, and keeps the best. "
        "Prints what is kept; writes it with -o for ove_codec.Selection.load.",
    )
    parser.add_argument("-o", "--out", metavar="OUT.npz", help="write the selection: positions, scores, mask, ...")
    parser.add_argument(
        "--transcode",
        nargs="?",
        const=True,
        default=False,
        metavar="RECIPE",
        help="convert to HEVC in memory first what is neither HEVC nor H.264; with the name of a recipe "
        f"({', '.join(RECIPES)}), whatever it is",
    )
    add_selection_options(parser)
    common.add_threads(parser)
    common.add_json(parser)


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
    group = parser.add_argument_group("selection", "Values that are not given are the preset's.")
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
        options["help"] = texts.get(name, "").replace("%", "%%")
        if isinstance(default, bool):
            options["action"] = argparse.BooleanOptionalAction
        elif name == "frame_ids":
            options |= {"metavar": "LIST"}  # read when the number of pictures is known
        else:
            kind: Callable[[str], Any] = float if default is None else type(default)
            options |= {"type": kind, "metavar": {float: "X", int: "N"}.get(typing.cast(type, kind), "NAME")}
        group.add_argument(_option(name), **options)


def overrides_of(args: argparse.Namespace) -> dict[str, Any]:
    """The parameters that were given, `frame_ids` still as text."""
    given = vars(args).items()
    return {name.removeprefix(_PREFIX): value for name, value in given if name.startswith(_PREFIX)}


def selection_of(args: argparse.Namespace) -> Selection:
    """Selects from the file as the arguments say; raises as `ove_codec.select` does."""
    overrides = overrides_of(args)
    presets.resolve(args.preset, overrides | ({"frame_ids": [0]} if "frame_ids" in overrides else {}))
    video = common.open_video(args, getattr(args, "transcode", False))
    if "frame_ids" in overrides:
        overrides["frame_ids"] = common.frame_list(overrides["frame_ids"], len(video))
    return select_patches(video, args.preset, **overrides)


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
    with common.replacing(args.out) if args.out else nullcontext() as part:
        selection = selection_of(args)
        if part is not None:
            selection.save(part)
    facts = {"file": args.file, "out": args.out, **selection_facts(selection), "params": selection.params}
    lines = selection_lines(selection)
    common.print_facts(facts, args.json, [*lines, ("file", args.out)] if args.out else lines)
