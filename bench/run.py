"""The benchmark of the CPU path: `make bench`, or `python bench/run.py [--quick] [FILE ...]`.

Every figure is the median of several runs, each in a process of its own; the runs of one clip take turns, so that a
machine whose speed drifts does not favour one side. Ratios compare wall times of jobs that took turns.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import clips

HERE = Path(__file__).resolve().parent
MARKS = ("<!-- bench -->", "<!-- /bench -->")
# (job, threads); the first is the baseline of decoding with one thread
RUNS = (("decode", 1), ("read", 1), ("read", 2), ("select", 1), ("tokens", 1), ("decode", 2), ("tokens", 2))


def child(job: str, path: Path | str, threads: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "jobs.py"), job, str(path), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{job} of {path} failed:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def median(results: list[dict[str, float]], key: str = "wall") -> float:
    return statistics.median(r[key] for r in results)


def measure(name: str, path: Path, runs: int) -> dict[str, Any]:
    """All jobs on one clip, in turns."""
    results: dict[str, list[dict[str, float]]] = {}
    for _ in range(runs):
        for job, threads in RUNS:
            results.setdefault(f"{job}{threads}", []).append(child(job, path, threads))
    times = {key: median(values) for key, values in results.items()}
    spread = {key: [min(r["wall"] for r in v), max(r["wall"] for r in v)] for key, v in results.items()}
    pictures = int(results["read1"][0]["count"])
    return {
        "clip": name,
        "pictures": pictures,
        "kbit_per_second": path.stat().st_size * 8 / 1000 / (pictures / 30),
        "wall_seconds": times,
        "spread": spread,
        "read_vs_decode": times["decode1"] / times["read1"],
        "read_two_threads": times["read1"] / times["read2"],
        "select_vs_read": times["select1"] / times["read1"],
        "tokens_vs_decode": times["tokens1"] / times["decode1"],
        "tokens_vs_decode_two_threads": times["tokens2"] / times["decode2"],
    }


def memory(clip: clips.Clip, folder: Path, short: int, long: int) -> dict[str, Any]:
    """Peak memory of reading a stream of `short` and of `long` copies of the clip."""
    path = clips.encode(clip, folder)
    peaks = {}
    for times in (short, long):
        stream = clips.repeated(path, times, folder)
        peaks[times] = {job: child(job, stream, 2)["peak_mb"] for job in ("read", "decode")}
    return {
        "clip": clip.name,
        "seconds": [short * clip.seconds, long * clip.seconds],
        "read_peak_mb": [peaks[short]["read"], peaks[long]["read"]],
        "decode_peak_mb": [peaks[short]["decode"], peaks[long]["decode"]],
    }


def machine() -> dict[str, Any]:
    import av

    import ove_codec

    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    ffmpeg = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "ove_codec": ove_codec.__version__,
        "system_ffmpeg": ffmpeg,
        "pyav": av.__version__,
        "pyav_libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
    }


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    facts = report["machine"]
    rows = [
        f"{facts['cpu']}, {facts['cores']} cores; Python {facts['python']}; PyAV {facts['pyav']} "
        f"(libavcodec {facts['pyav_libavcodec']}); medians of {report['runs']} runs; seconds a clip.",
        "",
        "| clip | kbit/s | PyAV decode | motion + residual | 2 threads | select | select + tokenize | 2 threads |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for c in report["clips"]:
        t = c["wall_seconds"]
        rows.append(
            f"| {c['clip']} | {c['kbit_per_second']:.0f} | {t['decode1']:.2f} "
            f"| {t['read1']:.2f} ({c['read_vs_decode']:.1f} times as fast) "
            f"| {t['read2']:.2f} ({c['read_two_threads']:.2f} times one) "
            f"| {t['select1']:.2f} ({c['select_vs_read']:.2f} of reading) "
            f"| {t['tokens1']:.2f} ({c['tokens_vs_decode']:.2f} of decoding) "
            f"| {t['tokens2']:.2f} ({c['tokens_vs_decode_two_threads']:.2f} of decoding) |"
        )
    m = report["memory"]
    rows += [
        "",
        f"Peak memory of reading {m['clip']} with two threads: {m['read_peak_mb'][0]:.0f} MB for {m['seconds'][0]} s, "
        f"{m['read_peak_mb'][1]:.0f} MB for {m['seconds'][1]} s of video "
        f"(PyAV decoding: {m['decode_peak_mb'][0]:.0f} and {m['decode_peak_mb'][1]:.0f} MB). "
        f"`import ove_codec`: {report['import']['seconds']:.2f} s, "
        f"{'with' if report['import']['torch'] else 'without'} PyTorch.",
    ]
    return "\n".join(rows)


def fill_readme(text: str, readme: Path) -> None:
    before, rest = readme.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    readme.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "files", nargs="*", type=Path, help="HEVC files to measure instead of the benchmark's own clips"
    )
    parser.add_argument("--quick", action="store_true", help="one clip, and a short one for memory")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--clips", type=Path, default=Path("build/bench"), help="folder that keeps the encoded clips")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "cpu.json")
    parser.add_argument("--readme", type=Path, help="README in which to replace the table")
    arguments = parser.parse_args()

    chosen = clips.QUICK if arguments.quick else clips.ALL
    files = [(f.name, f) for f in arguments.files] or [(c.name, clips.encode(c, arguments.clips)) for c in chosen]
    report: dict[str, Any] = {"machine": machine(), "runs": arguments.runs, "clips": []}
    for name, path in files:
        print(f"{name} ...", file=sys.stderr, flush=True)
        report["clips"].append(measure(name, path, arguments.runs))
    lengths = (2, 10) if arguments.quick else (15, 150)
    report["memory"] = memory(clips.Clip("720p", "medium", True), arguments.clips, *lengths)
    imports = [child("import", "-", 1) for _ in range(arguments.runs)]
    report["import"] = {"seconds": median(imports), "torch": bool(imports[0]["count"])}

    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    text = table(report)
    print(text)
    if arguments.readme:
        fill_readme(text, arguments.readme)


if __name__ == "__main__":
    main()
