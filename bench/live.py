"""How fast a stream of pushed packets is followed, on one core.

`python bench/live.py [--readme docs/measurements.md] CLIP ...` pushes the packets of each clip as fast as they are
taken, with a window of four seconds every second, and prints a line of JSON, by the time of the processor: times real
time for the syntax alone (motion and residual of all pictures), with selections, and with tokens; the longest time that
one packet and what it completes took; and peak memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # PyTorch imports a package of NVIDIA's that is called as cuda.py here is
    HERE = Path(__file__).resolve().parent
    sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]

MARKS = ("<!-- live -->", "<!-- /live -->")
WAYS = ("syntax", "selections", "tokens")


def measure(path: str, way: str) -> dict[str, Any]:
    """One pass over the packets, in this process and on one core."""
    import torch

    import ove_codec
    from ove_codec import _core

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    reader = _core.Packets(path)
    base = reader.info["time_base"][0] / reader.info["time_base"][1]
    packets = [(packet["data"], packet["pts"] * base) for packet in reader]
    options: dict[str, Any] = {"window": 4.0, "stride": 1.0, "fps": 8.0, "budget": 1024}
    live: Any = ove_codec.Stream(reader.info["codec"], reader.extradata, pixels=way == "tokens", **options)
    if way == "syntax":
        live = _core.LiveStream(reader.info["codec"], reader.extradata, packed=True)
    longest, tokens = 0.0, 0
    clock = time.process_time  # of one thread: other programs have no part in it
    begin = last = clock()
    for data, pts in packets:
        windows = live.push(data, pts)
        if way == "syntax":
            while live.next() is not None:
                pass
        for window in windows or ():
            tokens += len(window.tokens if way == "tokens" else window.selection)
        now = clock()
        longest, last = max(longest, now - last), now
    seconds = clock() - begin
    shown = [pts for _, pts in packets]
    length = (max(shown) - min(shown)) * len(shown) / max(1, len(shown) - 1)
    return {
        "times_real_time": round(length / seconds, 2),
        "longest_ms": round(1000 * longest, 1),
        "tokens": tokens,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def table(results: list[dict[str, Any]]) -> str:
    head = ["clip", *(f"{way}: times real time (longest packet, peak)" for way in WAYS)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for result in results:
        cells = [
            f"{way['times_real_time']} ({way['longest_ms']} ms, {way['peak_mb']} MB)"
            for way in (result[name] for name in WAYS)
        ]
        lines.append(f"| {' | '.join([result['clip'], *cells])} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="videos, such as those of build/bench")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--readme", type=Path, help=f"put the table there, between {MARKS[0]} and {MARKS[1]}")
    args = parser.parse_args(arguments)
    results = []
    for clip in args.clips:
        if args.way:
            print(json.dumps(measure(clip, args.way)))
            continue
        result: dict[str, Any] = {"clip": Path(clip).name}
        for way in WAYS:
            command = [sys.executable, __file__, clip, "--way", way]
            result[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(json.dumps(result), flush=True)
        results.append(result)
    if args.readme:
        sys.path.append(str(Path(__file__).parent))
        import_module("report").fill_readme(table(results), args.readme, MARKS)


if __name__ == "__main__":
    main()
