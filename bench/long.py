"""What 64 frames of a long video cost, as they are sampled and as its index is read.

`python bench/long.py [--minutes 30] [--encoder h264 --encoder hevc] [--height 1080]` encodes a few seconds of the
benchmark's scene, repeats them, and prints lines of JSON: for `time` and `anchors` the coded pictures that their pixels
take, and seconds and peak memory of `select` and of `tokenize`, each in a process of its own. `time, whole index` reads
all headers first, as videos are read whose container does not tell where pictures lie.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # PyTorch imports a package of NVIDIA's that is called as cuda.py here is
    HERE = Path(__file__).resolve().parent
    sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]

FRAMES, TOKENS, RATE, SECONDS = 64, 2048, 30, 40
WAYS = ("time", "time, whole index", "anchors")
# As encoders do by themselves, but that groups of x265 stand alone.
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


def measure(path: str, way: str, threads: int) -> dict[str, Any]:
    """One selection and its tokens, in this process."""
    import ove_codec

    video = ove_codec.open(path, threads=threads)
    begin = time.perf_counter()
    if way.endswith("whole index"):
        len(video.index)
    indexed = time.perf_counter()
    sampling: Any = way.partition(",")[0]
    selection = ove_codec.select(video, num_frames=FRAMES, budget=TOKENS, sampling=sampling)
    selected = time.perf_counter()
    tokens = ove_codec.tokenize(video, selection, threads=threads)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "sampling": way,
        "pictures": len(video),
        "decoded": video.index.num_decoded(selection.frame_ids),
        "index_seconds": round(indexed - begin, 3),
        "select_seconds": round(selected - indexed, 3),
        "tokenize_seconds": round(done - selected, 3),
        "tokens": len(tokens),
        "peak_mb": round(peak),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--encoder", action="append", choices=list(ENCODERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        path, way = args.measure
        print(json.dumps(measure(path, way, args.threads)))
        return
    for encoder in args.encoder or list(ENCODERS):
        clip = made(args.folder, encoder, args.height, args.minutes)
        for way in WAYS:
            command = [sys.executable, __file__, "--threads", str(args.threads), "--measure", str(clip), way]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            print(json.dumps({"clip": clip.name, **json.loads(found)}), flush=True)


if __name__ == "__main__":
    main()
