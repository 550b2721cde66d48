"""What 64 frames of a long video cost, beside other ways to them, and what the heat of all its pictures costs.

`python bench/long.py [--minutes 30] [--whole-minutes 2] [--encoder h264 --encoder hevc] [--readme FILE]` encodes some
seconds of a test picture and repeats them. Each measurement is a process of its own, with two threads: for `time` and
`anchors` the coded pictures that their pixels take, processor seconds and peak memory of `select` and of `tokenize`;
`time, whole index` reads all headers first, as videos are read whose container does not tell where pictures lie;
torchcodec takes 64 frames at even distances, at 224, with either of its seek modes. On a shorter part the preset `ove`,
which reads all pictures, is measured beside reading motion and residual of all of them.

Processor seconds are those of all threads: other programs have little part in them.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # PyTorch imports a package of NVIDIA's that is called as cuda.py here is
    HERE = Path(__file__).resolve().parent
    sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]

FRAMES, TOKENS, RATE, SECONDS, SIZE, THREADS = 64, 2048, 30, 40, 224, 2
MARKS = ("<!-- long -->", "<!-- /long -->")
RESULTS = Path(__file__).parent / "results" / "long.json"
# As encoders do by themselves, but for their speed.
ENCODERS = {
    "h264": ["-c:v", "libx264", "-preset", "veryfast"],
    "hevc": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:open-gop=0:bframes=4"],
}


def made(folder: Path, encoder: str, height: int, minutes: float) -> Path:
    """The clip, encoded where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    short = folder / f"long-{encoder}-{height}p-{SECONDS}s.mp4"
    if not short.exists():
        source = f"testsrc2=size={height * 16 // 9 // 2 * 2}x{height}:rate={RATE}:duration={SECONDS}"
        run(["-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", *ENCODERS[encoder]], short)
    path = folder / f"long-{encoder}-{height}p-{minutes:g}min.mp4"
    if not path.exists():
        loops = max(1, round(minutes * 60 / SECONDS))
        run(["-stream_loop", str(loops - 1), "-i", str(short), "-c", "copy"], path)
    return path


def run(arguments: list[str], out: Path) -> None:
    part = out.with_suffix(".part.mp4")
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments, str(part)], check=True)
    part.rename(out)


def sampled(path: str, sampling: str, whole_index: bool = False) -> dict[str, Any]:
    import ove_codec

    clock = time.process_time
    begin = clock()
    video = ove_codec.open(path, threads=THREADS)
    if whole_index:
        len(video.index)
    options: Any = {"num_frames": FRAMES, "budget": TOKENS, "sampling": sampling}
    selection = ove_codec.select(video, **options)
    selected = clock()
    tokens = ove_codec.tokenize(video, selection, threads=THREADS)
    done = clock()
    peak = peak_mb()
    return {
        "pictures": len(video),
        "decoded": video.index.num_decoded(selection.frame_ids),
        "select": round(selected - begin, 2),
        "tokenize": round(done - selected, 2),
        "seconds": round(done - begin, 2),
        "tokens": len(tokens),
        "peak_mb": peak,
    }


def torchcodec(path: str, seek_mode: str) -> dict[str, Any]:
    decoders, transforms = import_module("torchcodec.decoders"), import_module("torchcodec.transforms")
    resize = [transforms.Resize((SIZE, SIZE))]
    begin = time.process_time()
    video = decoders.VideoDecoder(path, num_ffmpeg_threads=THREADS, seek_mode=seek_mode, transforms=resize)
    last = len(video) - 1
    frames = video.get_frames_at([round(i * last / (FRAMES - 1)) for i in range(FRAMES)]).data
    return {"seconds": round(time.process_time() - begin, 2), "frames": len(frames), "peak_mb": peak_mb()}


def whole(path: str, work: str) -> dict[str, Any]:
    import ove_codec

    begin = time.process_time()
    video = ove_codec.open(path, threads=THREADS)
    if work == "ove":
        ove_codec.select(video, "ove", num_frames=FRAMES, budget=TOKENS)
    else:
        for picture in video:
            picture.mv, picture.residual  # noqa: B018
    return {"seconds": round(time.process_time() - begin, 2), "pictures": len(video), "peak_mb": peak_mb()}


def peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


Way = Callable[[str], dict[str, Any]]
SAMPLED: dict[str, Way] = {
    "time": lambda path: sampled(path, "time"),
    "time, whole index": lambda path: sampled(path, "time", whole_index=True),
    "anchors": lambda path: sampled(path, "anchors"),
    "torchcodec, approximate": lambda path: torchcodec(path, "approximate"),
    "torchcodec, exact": lambda path: torchcodec(path, "exact"),
}
WHOLE: dict[str, Way] = {"read": lambda path: whole(path, "read"), "ove": lambda path: whole(path, "ove")}


def table(results: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| clip | way | pictures decoded | select, s | tokenize, s | together, s | speed over torchcodec | peak, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for found in results:
        of_clip = [other for other in results if other["clip"] == found["clip"]]
        times = [other["seconds"] for other in of_clip if other["way"].startswith("torchcodec")]
        ours = found["way"] in SAMPLED and "select" in found
        speed = f"{min(times) / found['seconds']:.1f}x" if times and ours else ""
        cells = [found.get(name, "") for name in ("decoded", "select", "tokenize", "seconds")]
        lines.append(f"| {' | '.join(map(str, (found['clip'], found['way'], *cells, speed, found['peak_mb'])))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--whole-minutes", type=float, default=2)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--encoder", action="append", choices=list(ENCODERS))
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    parser.add_argument("--only", default="", metavar="REGEX", help="ways to measure; others keep their results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to write (default: %(default)s)")
    parser.add_argument("--readme", type=Path, help=f"put the table there, between {MARKS[0]} and {MARKS[1]}")
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        path, way = args.measure
        print(json.dumps({**SAMPLED, **WHOLE}[way](path)))
        return
    known = json.loads(args.results.read_text()) if args.results.exists() else []
    for encoder in args.encoder or list(ENCODERS):
        for minutes, ways in ((args.minutes, SAMPLED), (args.whole_minutes, WHOLE)):
            clip = made(args.folder, encoder, args.height, minutes)
            for way in (way for way in ways if re.search(args.only, way)):
                command = [sys.executable, __file__, "--measure", str(clip), way]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode and "torchcodec" in done.stderr:  # it is not installed, or does not load
                    print(f"{way}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                    continue
                done.check_returncode()
                name = f"{minutes:g} min, {encoder}"
                found = {"clip": name, "way": way, **json.loads(done.stdout)}
                print(json.dumps(found), flush=True)
                known = [one for one in known if (one["clip"], one["way"]) != (name, way)] + [found]
                order = [*SAMPLED, *WHOLE]
                known.sort(key=lambda one: (one["clip"].split(", ")[1], order.index(one["way"])))
                args.results.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    if args.readme:
        sys.path.append(str(Path(__file__).parent))
        import_module("report").fill_readme(table(known), args.readme, MARKS)


if __name__ == "__main__":
    main()
