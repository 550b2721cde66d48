"""`ove-codec viz`: the four panels, dense, sampled, heat and selected, as a picture or a video."""

from __future__ import annotations

import argparse
from typing import Any

from ove_codec.cli import common, select


def add_commands(commands: common.Commands[Any]) -> None:
    parser = common.add_command(
        commands,
        "viz",
        viz,
        "draw a selection: all pictures, uniform sampling, heat, selected patches",
        reads="video",
        description="Draws four panels of one selection: all sampled pictures (dense); whole pictures with the same "
        "number of tokens (sampled); the fused heat; the patches that are kept (selected). PNG and SVG show the times "
        "with the most heat; MP4 (needs PyAV: pip install 'ove_codec[video]'), GIF, WebP and APNG are animated.",
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="OUT", help="file to write: .png, .svg, .mp4, .gif, .webp or .apng"
    )
    parser.add_argument(
        "--steps", type=int, default=6, metavar="N", help="number of times in a still (default: %(default)s)"
    )
    parser.add_argument(
        "--panels",
        default="",
        metavar="LIST",
        help="further panels: motion, residual, blocks, bits, separated by commas",
    )
    select.add_transcode(parser, default="auto")
    common.add_on_damage(parser)
    select.add_selection_options(parser)
    common.add_threads(parser)
    common.add_json(parser)


def viz(args: argparse.Namespace) -> None:
    from ove_codec import viz as drawing

    drawing.check_output(args.out)
    if args.steps < 1:
        raise ValueError(f"--steps must be 1 or more, not {args.steps}")
    kinds = [kind.strip() for kind in args.panels.split(",") if kind.strip()]
    with common.replacing(args.out) as part:
        video, selection = select.selection_of(args)
        panels = drawing.Panels(video, selection, threads=args.threads, kinds=kinds, whole=True)
        if part.suffix in drawing.STILL:
            size = drawing.save_strip(panels, part, args.steps)
        else:
            size = drawing.save_animation(common.progress(panels, len(panels)), part, panels)
    facts = {"file": args.file, "out": args.out, "width": size[0], "height": size[1]}
    lines = [*select.selection_lines(selection)[:-1], ("file", f"{args.out}, {size[0]}x{size[1]}")]
    common.print_facts(facts | select.selection_facts(selection), args.json, lines)
