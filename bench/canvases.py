"""From a video file to its canvases: seconds, and the most memory, beside `cv-preinfer` where it is installed.

`python bench/canvases.py [--readme docs/measurements.md]` measures 10 s of 1080p HEVC and of 720p H.264, which it
encodes into build/bench, at 150,000 and 4,000,000 pixels a canvas, with one thread and with two;
`python bench/canvases.py FILE` any other video. Each run is a process of its own on as many cores as it has threads;
`cv-preinfer`, whose maps more decoding threads change, has its defaults on as many cores. Start and imports count, and
so does writing JPEG files. libavcodec, which decodes all pixels once and does nothing else, tells what is not ours.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import clips
from report import fill_readme, row

PIXELS = (150_000, 4_000_000)
THREADS = (1, 2)
ARGUMENTS = (
    "--num_sampled_frames=256", "--grouping_mode=readiness", "--group_size=32", "--images_per_group=4", "--patch=14",
    "--readiness_sum_threshold=0", "--min_group_frames=8", "--max_group_frames=64", "--avoid_keyframes",
    "--canvas_format=jpg",
)  # fmt: skip
MARKS = "<!-- canvases -->", "<!-- /canvases -->"
HEVC = clips.Clip("1080p", "medium", seconds=10)
SOURCE = clips.Clip("720p", "medium", seconds=10)


def encoded(folder: Path) -> list[Path]:
    """The two clips, encoded where they are not there yet."""
    clips.encode([HEVC, SOURCE], folder)
    h264 = folder / "720p-medium-h264-10s.mp4"
    if not h264.exists():
        source = str(SOURCE.path(folder))
        command = ["ffmpeg", "-v", "error", "-i", source, "-c:v", "libx264", "-b:v", "3M", "-y", str(h264)]
        subprocess.run(command, check=True)
    return [HEVC.path(folder), h264]


def measure(command: Sequence[str], cores: int) -> dict[str, float]:
    """Seconds on the clock and of the processor, and MiB, of one run on so many cores. Raises where it fails."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {said[-2000:]}")
    return {"seconds": seconds, "processor": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}


def command(program: str, file: Path, pixels: int, threads: int, out: str) -> list[str]:
    """What runs a program on a video; empty where it is not installed."""
    theirs = shutil.which(os.environ.get("CV_PREINFER_BIN", "cv-preinfer"))
    if program == "libavcodec":
        decode = ["ffmpeg", "-v", "error", "-threads", str(threads), "-i", str(file), "-f", "null", "-"]
        return decode if shutil.which("ffmpeg") else []
    ours = [sys.executable, "-c", "import sys; from ove_codec.cli.preinfer import main; sys.exit(main())"]
    preinfer = [*ours, "--threads", str(threads)] if program == "ove_codec" else [theirs] if theirs else []
    work = ["--video", str(file), "--out_dir", out, *ARGUMENTS, "--max_pixels", str(pixels)]
    return [*preinfer, *work] if preinfer else []


def rows(files: Sequence[Path], runs: int) -> list[dict[str, Any]]:
    found = []
    cases = [("libavcodec", 0), *((name, pixels) for pixels in PIXELS for name in ("ove_codec", "codec-video-prep"))]
    for file, (program, pixels), threads in itertools.product(files, cases, THREADS):
        with tempfile.TemporaryDirectory() as out:
            run = command(program, file, pixels, threads, out)
            if not run:
                continue
            measured = [measure(run, threads) for _ in range(runs)]
            canvases = len(list(Path(out).glob("canvas_*")))
        best = min(measured, key=lambda one: one["seconds"])
        facts = {"file": file.name, "pixels": pixels, "threads": threads, "program": program}
        found.append({**facts, "canvases": canvases, **best})
        print(line(found[-1]), flush=True)
    return found


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['file']:<28} {row['pixels']:>9} {row['threads']:>7} {row['program']:<16} {row['canvases']:>8} "
        f"{row['seconds']:>8.2f} {row['processor']:>9.2f} {row['mib']:>6.0f}"
    )


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown. codec-video-prep is compared with ove_codec on as many cores, ove_codec with one core."""
    heads = ["clip", "pixels of a canvas", "cores", "program", "canvases", "seconds", "of the processor", "MiB"]
    lines = [row(heads), row(["---"] * len(heads))]
    ours = {(r["file"], r["pixels"], r["threads"]): r for r in rows if r["program"] == "ove_codec"}
    for r in rows:
        other = ours.get((r["file"], r["pixels"], 1 if r["program"] == "ove_codec" else r["threads"]), r)
        cells = []
        for name, digits in (("seconds", 2), ("processor", 2), ("mib", 0)):
            ratio = f" ({r[name] / other[name]:.2f}x)" if other is not r else ""
            cells.append(f"{r[name]:.{digits}f}{ratio}")
        facts = [f"{r['pixels']:,}" if r["pixels"] else "-", str(r["threads"]), r["program"], str(r["canvases"] or "-")]
        lines.append(row([r["file"], *facts, *cells]))
    return "\n".join(lines)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="videos (default: two that it encodes)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="the best of N counts (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="of the clips (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write the rows, too")
    parser.add_argument("--readme", type=Path, help=f"put the table there, between {MARKS[0]} and {MARKS[1]}")
    args = parser.parse_args()
    files = args.files or encoded(args.folder)
    heads = "file", "pixels", "threads", "program", "canvases", "seconds", "processor", "MiB"
    widths = (28, 9, 7, 16, 8, 8, 9, 6)
    print(
        " ".join(
            f"{head:{'<' if i in (0, 3) else '>'}{w}}" for i, (head, w) in enumerate(zip(heads, widths, strict=True))
        )
    )
    found = rows(files, args.runs)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.readme:
        fill_readme(table(found), args.readme, MARKS)


if __name__ == "__main__":
    main()
