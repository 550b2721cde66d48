"""What a selection costs by codec and route: `python bench/routes.py [--readme docs/measurements.md]`.

One scene is encoded in every codec that FFmpeg here can encode. For each way from the file to a selection (natively, by
motion vectors alone, through a transcode in memory) it measures the seconds of `select`, beside PyAV's decode of the
whole clip, and which share of the patches that are selected from HEVC is selected again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import ove_codec

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tools")]
from demo import make_clip  # noqa: E402
from report import fill_readme, row  # noqa: E402

MARKS = ("<!-- routes -->", "<!-- /routes -->")
FOLDER = Path("build/bench/routes")
RESULTS = Path(__file__).parent / "results" / "routes.json"
HOW: dict[str, Any] = {"preset": "paper", "num_frames": 64, "budget": 1024}

# Name, encoder and its options.
CODECS = {
    "HEVC": ("libx265", ["-x265-params", "log-level=none:bframes=3", "-crf", "26"]),
    "H.264": ("libx264", ["-crf", "23", "-bf", "3"]),
    "MPEG-4": ("mpeg4", ["-q:v", "4", "-bf", "2"]),
    "MPEG-2": ("mpeg2video", ["-q:v", "4", "-bf", "2"]),
    "VP9": ("libvpx-vp9", ["-crf", "32", "-b:v", "0", "-cpu-used", "5"]),
    "AV1": ("libsvtav1", ["-crf", "35", "-preset", "10"]),
}
ROUTES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "native": (("HEVC", "H.264"), {}),
    "vectors alone": (("MPEG-4", "MPEG-2"), {"residual_weight": 0}),
    "transcode": (("H.264", "MPEG-4", "MPEG-2", "VP9", "AV1"), {"transcode": "saliency"}),
}


def encode(source: Path | None, seconds: int) -> dict[str, Path]:
    """A file for every codec whose encoder is there; a made scene where there is no source."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if source is None:
        source = FOLDER / "scene.mp4"
        make_clip(source)
    files = {}
    for name, (encoder, options) in CODECS.items():
        path = FOLDER / f"{name}.mkv"
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-i",
            source,
            "-an",
            "-t",
            seconds,
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            encoder,
        ]
        done = subprocess.run([*map(str, command), *options, str(path)], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            files[name] = path
        else:
            print(f"{name} is left out: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    return files


def seconds_of(work: Callable[[], Any], runs: int) -> float:
    """The median time of several runs after a warm-up."""
    work()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def decode(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        return sum(1 for _ in container.decode(video=0))


def measure(files: dict[str, Path], runs: int) -> list[dict[str, Any]]:
    """A line for every codec and route."""
    reference = ove_codec.select(files["HEVC"], threads=1, **HOW)
    lines = []
    for route, (codecs, options) in ROUTES.items():
        for codec in codecs:
            if codec not in files:
                continue
            path = files[codec]
            selection = ove_codec.select(path, threads=1, **HOW, **options)
            cost = seconds_of(lambda: ove_codec.select(path, threads=1, **HOW, **options), runs)  # noqa: B023
            plain = seconds_of(lambda: decode(path), runs)  # noqa: B023
            shared = np.count_nonzero(selection.mask[1:] & reference.mask[1:]) / max(1, reference.mask[1:].sum())
            lines.append({"codec": codec, "route": route, "seconds": cost, "decode": plain, "shared": float(shared)})
            print(lines[-1], file=sys.stderr)
    return lines


def table(result: dict[str, Any]) -> str:
    head = ["codec", "route", "select, s", "PyAV's full decode, s", "select over decode", "same patches as from HEVC"]
    rows = [
        [
            line["codec"],
            line["route"],
            f"{line['seconds']:.3f}",
            f"{line['decode']:.3f}",
            f"{line['seconds'] / line['decode']:.2f}",
            f"{100 * line['shared']:.0f} %",
        ]
        for line in result["lines"]
    ]
    about = (
        f"{result['seconds']} s of {result['source']}, one thread, medians of {result['runs']} runs. 64 pictures, 1024 "
        "patches; those of the first picture are left out of the last column.\n"
    )
    return "\n".join([about, *(row(cells) for cells in [head, ["---"] * len(head), *rows])])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, help="a clip to encode; a made scene where there is none")
    parser.add_argument("--seconds", type=int, default=6, help="of it (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file for the figures (default: %(default)s)")
    parser.add_argument("--readme", type=Path, help=f"put the table there, between {MARKS[0]} and {MARKS[1]}")
    args = parser.parse_args()
    files = encode(args.source, args.seconds)
    if "HEVC" not in files:
        sys.exit("ffmpeg with libx265 is needed")
    source = args.source.name if args.source else "the scene of `make demo`, 640x360"
    result = {"source": source, "seconds": args.seconds, "runs": args.runs, "lines": measure(files, args.runs)}
    args.results.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    text = table(result)
    print(text)
    if args.readme:
        fill_readme(text, args.readme, MARKS)


if __name__ == "__main__":
    main()
