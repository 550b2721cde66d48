"""The benchmark of the CPU path: `make bench`, or `python bench/run.py [--quick] [FILE ...]`.

Every time is the median of several runs after a warm-up. Each library has a process of its own for each number of
threads, on as many cores; all jobs on a clip take turns, so that a machine whose speed drifts favours nobody. Ratios
are medians too, over the turns, of the ratio of two times in the same turn.
"""

import argparse
import contextlib
import json
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import clips
import jobs
import report

HERE = Path(__file__).resolve().parent
# (library, job, threads)
RUNS = (
    *(("pyav", "decode", n) for n in (1, 2)),
    *(("libavcodec", "decode", n) for n in (1, 2)),
    *((library, "decode", 1) for library in ("torchcodec", "decord", "opencv")),
    *(("ove", job, n) for job in ("read", "select", "tokens") for n in (1, 2)),
    *(("torchcodec", job, n) for job in ("uniform_own", "uniform_torch") for n in (1, 2)),
)
MEMORY = (("ove", "read"), ("ove", "tokens"))
IMPORT = """
import sys, time
start = time.perf_counter()
import numpy
numpy_only = time.perf_counter() - start
import ove_codec
print(time.perf_counter() - start, numpy_only, int("torch" in sys.modules))
"""


class Worker:
    """The process of a library. `missing` says why it cannot be used, where it cannot."""

    def __init__(self, library: str, threads: int) -> None:
        command = [sys.executable, str(HERE / "jobs.py"), library, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        hello = self.answer()
        self.version: str = hello.get("version", "")
        self.missing: str = hello.get("error", "")

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if line:
            return dict(json.loads(line))
        return {"error": f"the process ended with status {self.process.wait()}"}

    def ask(self, job: str, path: Path) -> dict[str, Any]:
        """Runs the job once: seconds, cpu seconds, count and peak_mb, or an error."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):  # an ended process has no answer either
            self.process.stdin.write(json.dumps([job, str(path)]) + "\n")
            self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.process.communicate()


def measure(path: Path, workers: dict[tuple[str, int], Worker], runs: int) -> dict[str, Any]:
    """All jobs on one clip, in turns: wall times by turn and their medians, medians of the CPU times, counts."""
    results: dict[str, list[dict[str, Any]]] = {}
    errors: dict[str, str] = {}
    for turn in range(runs + 1):  # the first is the warm-up
        for library, job, threads in RUNS if turn % 2 else reversed(RUNS):
            key = f"{library} {job} {threads}"
            if (library, threads) not in workers or key in errors:
                continue
            result = workers[library, threads].ask(job, path)
            if "error" in result:
                errors[key] = result["error"]
            elif turn:
                results.setdefault(key, []).append(result)
    results = {key: values for key, values in results.items() if key not in errors}
    return {
        "seconds": {key: statistics.median(r["seconds"] for r in v) for key, v in results.items()},
        "turns": {key: [r["seconds"] for r in v] for key, v in results.items()},
        "cpu_seconds": {key: statistics.median(r["cpu"] for r in v) for key, v in results.items()},
        "counts": {key: v[0]["count"] for key, v in results.items()},
        "errors": errors,
    }


def describe(name: str, path: Path) -> dict[str, Any]:
    import ove_codec

    video = ove_codec.open(path)
    pictures = len(video)
    numerator, denominator = video.info["frame_rate"]
    seconds = pictures * denominator / numerator if numerator else pictures / clips.FRAME_RATE
    uniform = [round(i * (pictures - 1) / (jobs.FRAMES - 1)) for i in range(jobs.FRAMES)]
    return {
        "clip": name,
        "codec": video.info["codec"],
        "width": video.info["width"],
        "height": video.info["height"],
        "pictures": pictures,
        "video_seconds": seconds,
        "kbit_per_second": path.stat().st_size * 8 / 1000 / seconds,
        "b_pictures": int((video.index.type == "B").sum()),
        "pictures_that_64_need": video.index.num_needed(sorted(set(uniform))),
    }


def memory(clip: clips.Clip, folder: Path, times: Sequence[int]) -> dict[str, Any]:
    """Peak memory on the clip repeated, each in a fresh process with two threads."""
    clips.encode([clip], folder)
    peaks: dict[str, list[float | None]] = {}
    for n in times:
        path = clips.repeated(clip.path(folder), n)
        for library, job in MEMORY:
            worker = Worker(library, 2)
            peaks.setdefault(f"{library} {job} 2", []).append(worker.ask(job, path).get("peak_mb"))
            worker.close()
    return {"clip": clip.name, "video_seconds": [n * clip.seconds for n in times], "peak_mb": peaks}


def imports(runs: int) -> dict[str, Any]:
    results = []
    for _ in range(runs + 1):
        done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
        results.append([float(word) for word in done.stdout.split()])
    seconds, numpy_only, torch = zip(*results[1:], strict=True)
    return {
        "seconds": statistics.median(seconds),
        "numpy_seconds": statistics.median(numpy_only),
        "torch": any(torch),
    }


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.*)", info.read_text() if info.exists() else "", re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "cores": len(jobs.cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "files", nargs="*", type=Path, help="HEVC and H.264 files to measure after the benchmark's own clips"
    )
    parser.add_argument("--quick", action="store_true", help="one run on one short clip")
    parser.add_argument(
        "--only", default="", metavar="REGEX", help="of the benchmark's own clips, those of such a name"
    )
    parser.add_argument("--runs", type=int, help="default: 5; with --quick 1")
    parser.add_argument("--clips", type=Path, default=Path("build/bench"), help="folder that keeps the encoded clips")
    parser.add_argument("--results", type=Path, help="folder of cpu.json and cpu.svg; default: bench/results")
    parser.add_argument("--readme", type=Path, help="page in which to replace the table")
    arguments = parser.parse_args()
    runs = arguments.runs or (1 if arguments.quick else 5)
    folder = arguments.results or (arguments.clips if arguments.quick else HERE / "results")

    if arguments.readme and not all(mark in arguments.readme.read_text(encoding="utf-8") for mark in report.MARKS):
        parser.error(f"{arguments.readme} has no marks {' and '.join(report.MARKS)}")

    chosen = [clips.QUICK] if arguments.quick else [c for c in clips.ALL if re.search(arguments.only, c.name)]
    clips.encode(chosen, arguments.clips)
    files = [(c.name, c.path(arguments.clips)) for c in chosen] + [(f.name, f) for f in arguments.files]
    if not files:
        parser.error(f"no clip has a name like {arguments.only!r}, and no file is given")

    workers, versions, missing = {}, {}, {}
    for library, threads in dict.fromkeys((library, threads) for library, _, threads in RUNS):
        if threads > len(jobs.cores()):
            continue
        worker = Worker(library, threads)
        if worker.missing:
            missing[library] = worker.missing
        else:
            versions[library] = worker.version
            workers[library, threads] = worker
    result: dict[str, Any] = {"machine": machine(), "runs": runs, "versions": versions, "missing": missing, "clips": []}
    for number, (name, path) in enumerate(files, 1):
        print(f"{number}/{len(files)}: {name}", file=sys.stderr, flush=True)
        result["clips"].append({**describe(name, path), **measure(path, workers, runs)})
    for worker in workers.values():
        worker.close()
    print("memory and import", file=sys.stderr, flush=True)
    long, times = ([clips.QUICK], (2, 4)) if arguments.quick else (clips.LONG, (15, 150))
    result["memory"] = [memory(clip, arguments.clips, times) for clip in long]
    result["import"] = imports(runs)
    report.finish(result, folder, arguments.readme)


if __name__ == "__main__":
    main()
