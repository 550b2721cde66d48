"""The `ove-cv-preinfer` command: the command line and the files of `cv-preinfer`, for `CV_PREINFER_BIN`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import ove_codec
from ove_codec.canvases import CanvasConfig, codec_canvases
from ove_codec.canvases.files import FORMATS, write_canvases
from ove_codec.cli.common import one_line

_SAMPLING = {"uniform_count": "count", "fps": "fps"}
_THRESHOLDS = {"legacy": "mean", "auto": "mean", "fixed": "fixed", "clamped_sqrt_bpppf": "clamped_sqrt_bpppf"}
# What tells the package how to decode; it has no part in the canvases.
_IGNORED = (
    "--thread_type", "--thread_count", "--decode_backend", "--parallel_segments", "--threads_per_segment",
    "--segment_guard_frames",
)  # fmt: skip
_IGNORED_SWITCHES = ("--disable_target_only", "--parallel_decode_cv_reader", "--save_mask_video")


class _Parser(argparse.ArgumentParser):
    """Ends with 1 for wrong usage too: callers know 0 and 1."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ove-cv-preinfer",
        description="Writes the canvases of a video for LLaVA-OneVision-2 and Mage-VL: canvas_000.jpg and so on, "
        "src_patch_position.npy, frame_ids.npy and meta.json. Replaces cv-preinfer: set CV_PREINFER_BIN to the path of "
        "this program.",
        epilog=f"Accepted and ignored: {', '.join([*_IGNORED, *_IGNORED_SWITCHES])}. Exit status: 0, or 1 after an "
        "error.",
    )
    add = parser.add_argument
    defaults = CanvasConfig()
    add("--video", required=True, metavar="FILE")
    add("--out_dir", required=True, metavar="DIR")
    add("--num_sampled_frames", type=int, default=defaults.frames_wanted(), metavar="N")
    add("--frame_sampling_mode", choices=_SAMPLING, default="uniform_count")
    add("--sample_fps", type=float, default=defaults.sample_fps)
    add("--grouping_mode", choices=("readiness", "fixed"), default=defaults.grouping)
    add("--group_size", type=int, default=defaults.group_size)
    add("--images_per_group", type=int, default=defaults.images_per_group)
    add("--min_group_frames", type=int, default=defaults.min_group_frames)
    add("--max_group_frames", type=int, default=128)
    add("--patch", type=int, default=defaults.patch)
    add("--block_size", type=int, default=defaults.block)
    add("--max_pixels", type=int, default=defaults.max_pixels)
    add("--bitcost_grid", choices=("adaptive", "sub"), default=defaults.bitcost_grid, help="sub: 4x4 blocks")
    add("--bitcost_pct", type=float, default=defaults.percentile)
    add("--readiness_sum_threshold", type=float, default=0.0, help="of legacy and fixed; 0 (default): by the mode")
    add("--readiness_sum_threshold_mode", choices=_THRESHOLDS, default="legacy")
    add("--readiness_norm_sum_threshold", type=float, default=defaults.norm_threshold)
    add("--readiness_coverage_bins", type=int, default=defaults.coverage_bins)
    add("--readiness_delta_ratio", type=float, default=defaults.delta_ratio)
    add("--iframe_score_clip_mode", choices=("none", "non_i_percentile"), default="none")
    add("--iframe_score_clip_percentile", type=float, default=95.0)
    add("--avoid_keyframes", action=argparse.BooleanOptionalAction, default=True, help="default: yes")
    add("--no_avoid_keyframes", dest="avoid_keyframes", action="store_false")
    add("--canvas_format", choices=FORMATS, default="jpg")
    add("--mode", choices=("default", "legacy"), help="default: $OVE_CODEC_CANVAS_MODE, else default")
    add("--score", default="bits", help="bits (default), motion, residual, motion+residual, or a preset")
    add(
        "--transcode",
        metavar="RECIPE",
        help="auto: convert what is neither HEVC nor H.264; or a recipe of ove-codec transcode",
    )
    add("--threads", type=int, default=0, metavar="N", help="decoding threads, 0 for all cores (default)")
    for name in _IGNORED:
        add(name, help=argparse.SUPPRESS)
    for name in _IGNORED_SWITCHES:
        add(name, nargs="?", help=argparse.SUPPRESS)
    return parser


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Settings of ``codec_canvases`` of these arguments."""
    own_threshold = args.readiness_sum_threshold > 0 and args.readiness_sum_threshold_mode in ("legacy", "fixed")
    return {
        "num_frames": args.num_sampled_frames,
        "sampling": _SAMPLING[args.frame_sampling_mode],
        "sample_fps": args.sample_fps,
        "grouping": args.grouping_mode,
        "group_size": args.group_size,
        "images_per_group": args.images_per_group,
        "min_group_frames": args.min_group_frames,
        "max_group_frames": args.max_group_frames,
        "patch": args.patch,
        "block": args.block_size,
        "max_pixels": args.max_pixels,
        "percentile": args.bitcost_pct,
        "bitcost_grid": args.bitcost_grid,
        "threshold": args.readiness_sum_threshold if own_threshold else None,
        "threshold_mode": _THRESHOLDS[args.readiness_sum_threshold_mode],
        "norm_threshold": args.readiness_norm_sum_threshold,
        "coverage_bins": args.readiness_coverage_bins,
        "delta_ratio": args.readiness_delta_ratio,
        "cap_intra": None if args.iframe_score_clip_mode == "none" else args.iframe_score_clip_percentile,
        "avoid_keyframes": args.avoid_keyframes,
        "mode": args.mode,
        "score": args.score,
        "transcode": {None: False, "auto": True}.get(args.transcode, args.transcode),
        "threads": args.threads,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (sys.argv by default) and returns the exit status."""
    args = make_parser().parse_args(argv)
    try:
        canvases = codec_canvases(args.video, **settings_of(args))
        write_canvases(canvases, args.out_dir, args.canvas_format, threads=args.threads, video=args.video)
    except (ove_codec.Error, OSError, ValueError, ImportError) as error:
        print(f"ove-cv-preinfer: {one_line(error)}", file=sys.stderr)
        return 1
    print(f"{len(canvases)} canvases in {args.out_dir}")
    return 0
