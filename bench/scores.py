"""What the scores of a file's pictures cost the CPU: `python bench/scores.py [--runs N] CLIP ...`.

Either the pictures are scored where they are decoded, or their vectors and residuals are packed to go up to a GPU. The
second is all that is left to the CPU where the GPU and the way to it cost nothing, so it bounds what a GPU can bring.
Milliseconds of CPU time for 64 sampled pictures of each clip, in one thread: medians of interleaved runs. No GPU is
needed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import ove_codec
from ove_codec import _core
from ove_codec._backend import CPU
from ove_codec._pictures import VideoPictures
from ove_codec._reading import Reads, read_pictures, readings, scorer_for
from ove_codec._sampling import sampled_frames
from ove_codec.presets import resolve

PRESETS = ("paper", "ove")


def pack(pictures: VideoPictures, reads: Reads, params: dict[str, object]) -> None:
    plan: _core.HeatPlan | None = None
    memory = np.empty(0, np.uint8)
    for picture in read_pictures(pictures, [i for i, _ in reads], params):
        if plan is None:
            plan = _core.HeatPlan(scorer_for(picture, params), picture.ctb_size)
            memory = np.ones(plan.most_bytes, np.uint8)
        plan.pack(memory.ctypes.data, memory.ctypes.data, 0, picture)


def measure(clip: Path, preset: str, runs: int) -> tuple[float, float]:
    """Milliseconds of scoring and of packing."""
    params = resolve(preset, {"num_frames": 64})
    pictures = VideoPictures(clip, threads=1)
    frame_ids, _ = sampled_frames(pictures, params)
    reads = readings(pictures, frame_ids, list(range(len(frame_ids))), params)
    jobs: list[Callable[[], object]] = [
        lambda: CPU.score(pictures, reads, len(frame_ids), params),
        lambda: pack(pictures, reads, params),
    ]
    taken: list[list[float]] = [[], []]
    for run in range(runs + 1):
        for job, times in zip(jobs, taken, strict=True):
            begin = time.process_time()
            job()
            if run:  # the first warms up
                times.append(time.process_time() - begin)
    scoring, packing = (1e3 * statistics.median(times) for times in taken)
    return scoring, packing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    print(f"ove_codec {ove_codec.__version__}, CPU time of {args.runs} runs in one thread")
    print("| clip | preset | scored where decoded (ms) | packed for a GPU (ms) |\n|---|---|---|---|")
    for clip in args.clips:
        for preset in PRESETS:
            scoring, packing = measure(clip, preset, args.runs)
            print(f"| {clip.stem} | `{preset}` | {scoring:.0f} | {packing:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
