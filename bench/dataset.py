"""The benchmark of whole data sets: `python bench/dataset.py [--clips N] [--results FILE] [--readme FILE]`.

Selects from so many clips of its own (HEVC, and one in five H.264, which is transcoded), one in a hundred of them
broken: with one worker, with one a core, and with Ray, where it is installed. Then it makes things go wrong, and looks
each time whether every good clip is in the output exactly once, every broken one in the failures, and no shard half
there: workers are killed; the run is killed and started again; the disk, a small tmpfs where that may be mounted, fills
up and is given room.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import scene
from report import fill_readme

WIDTH, HEIGHT, PICTURES, RATE = 320, 180, 60, 30
BASES = 20
PARAMS: dict[str, Any] = {"num_frames": 16, "budget": 512}
SHARD = 32
MARKS = ("<!-- dataset -->", "<!-- /dataset -->")


def make_base(folder: Path, number: int) -> Path:
    """One of the videos that all clips are copies of."""
    codec = "libx264" if number % 5 == 4 else "libx265"
    path = folder / f"{number}-{codec}.mp4"
    if not path.exists():
        raw = b"".join(scene.frames(WIDTH, HEIGHT, PICTURES, RATE, seed=number))
        size = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE), "-i", "-"]
        quiet = ["-x265-params", "log-level=none"] if codec == "libx265" else []
        part = path.with_suffix(".part.mp4")
        command = ["ffmpeg", "-v", "error", "-y", *size, "-c:v", codec, "-preset", "fast", *quiet, str(part)]
        subprocess.run(command, input=raw, check=True)
        part.rename(path)
    return path


def make_clips(folder: Path, count: int) -> tuple[Path, set[str], set[str]]:
    """A folder of `count` clips of which no two have the same bytes; the names of the good and of the broken ones."""
    bases = folder / "bases"
    bases.mkdir(parents=True, exist_ok=True)
    clips = folder / f"clips-{count}"
    good, broken = set(), set()
    for number in range(count):
        name = f"{number % 10}/{number:05}.mp4"
        path = clips / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # A box at the end that readers pass over.
        data = make_base(bases, number % BASES).read_bytes() + b"\0\0\0\x10free" + number.to_bytes(8, "big")
        if number % 100 == 50:
            kinds: list[bytes] = [b"", data[: len(data) // 3], b"no video\n" * 99, data[:40] + bytes(len(data) - 40)]
            data = kinds[number // 100 % len(kinds)]
            broken.add(name)
        else:
            good.add(name)
        if not path.exists() or path.stat().st_size != len(data):
            path.write_bytes(data)
    return clips, good, broken


def check(output: Path, good: set[str], broken: set[str]) -> str:
    """What is wrong with the output; nothing where every clip is where it must be."""
    pq: Any = import_module("pyarrow.parquet")
    wrong = []
    found = Counter(
        name
        for file in output.glob("part-*.parquet")
        for name in pq.read_table(file, columns=["name"])["name"].to_pylist()
    )
    if set(found) != good:
        wrong.append(f"{len(good - set(found))} good clips lack, {len(set(found) - good)} are too many")
    if repeated := sum(count > 1 for count in found.values()):
        wrong.append(f"{repeated} clips are there twice")
    file = output / "_failures.parquet"
    failed = set(pq.read_table(file)["name"].to_pylist()) if file.exists() else set()
    if failed != broken:
        wrong.append(f"the failures are {len(failed)}, not the {len(broken)} broken clips")
    if parts := list(output.rglob("*.part")):
        wrong.append(f"{len(parts)} files are half-written")
    return "; ".join(wrong)


def run(clips: Path, output: Path, **options: Any) -> Any:
    from ove_codec.datasets import select_dataset

    return select_dataset(clips, output, shard_clips=SHARD, **PARAMS, **options)


def command(clips: Path, output: Path) -> list[str]:
    params = [text for name, value in PARAMS.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    tool = [sys.executable, "-m", "ove_codec.cli", "select-dataset"]
    return [*tool, str(clips), str(output), "--shard-clips", str(SHARD), *params]


def with_workers_killed(clips: Path, output: Path) -> dict[str, Any]:
    """A worker is killed after every tenth of the clips."""
    seen = 0
    killed = 0
    every = max(1, sum(1 for _ in clips.rglob("*.mp4")) // 10)

    def kill(_: Any) -> None:
        nonlocal seen, killed
        seen += 1
        children = multiprocessing.active_children()
        if seen % every == 0 and children:
            children[seen % len(children)].kill()
            killed += 1

    summary = run(clips, output, attempts=5, on_outcome=kill)
    return {"killed": killed, "seconds": summary.seconds}


def with_run_killed(clips: Path, output: Path) -> dict[str, Any]:
    """The whole run is killed when some shards are there, and started again."""
    process = subprocess.Popen(command(clips, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(output.glob("_manifest/part-*.jsonl"))) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    summary = run(clips, output)
    return {"finished_before": summary.finished, "done_again": summary.done}


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[int], None]]:
    """A tmpfs of this size at the folder; gives a function that changes it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], check=True)

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def with_full_disk(clips: Path, folder: Path, good: set[str], broken: set[str]) -> dict[str, Any]:
    """The disk has room for about a third of the results; then for all."""
    whole = folder / "whole"
    run(clips, whole)
    size = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file()) // 1024
    with small_disk(folder / "small", max(64, size // 3)) as resize:
        output = folder / "small" / "out"
        done = subprocess.run(command(clips, output), capture_output=True, text=True, check=False)
        resize(8 * size)
        summary = run(clips, output)
        return {
            "status": done.returncode,
            "said": done.stderr.strip().rpartition("\n")[2],
            "finished_before": summary.finished,
            "wrong": check(output, good, broken),
        }


def describe(good: set[str], broken: set[str]) -> dict[str, Any]:
    return {
        "clips": len(good) + len(broken),
        "broken": len(broken),
        "clip": f"{WIDTH}x{HEIGHT}, {PICTURES} pictures, 4 of 5 HEVC, 1 of 5 H.264",
        "cores": len(os.sched_getaffinity(0)),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "speed": {},
        "faults": {},
    }


def measure_speed(result: dict[str, Any], clips: Path, output: Path, good: set[str], broken: set[str]) -> None:
    cores = max(2, result["cores"])
    engines: dict[str, dict[str, Any]] = {
        "1 worker": {"workers": 1},
        f"{cores} workers": {"workers": cores},
        "Ray, 2 workers": {"engine": "ray", "workers": 2},
    }
    for name, options in engines.items():
        shutil.rmtree(output, ignore_errors=True)
        print(name, file=sys.stderr, flush=True)
        try:
            summary = run(clips, output, **options)
        except ImportError as error:
            result["speed"][name] = {"missing": str(error)}
            continue
        again = run(clips, output, **options)
        result["speed"][name] = {
            "seconds": summary.seconds,
            "clips_per_second": summary.clips_per_second,
            "tokens_per_second": summary.tokens_per_second,
            "seconds_again": again.seconds,
            "wrong": check(output, good, broken),
        }


def make_faults(result: dict[str, Any], clips: Path, folder: Path, good: set[str], broken: set[str]) -> None:
    for name, fault in (("workers killed", with_workers_killed), ("run killed", with_run_killed)):
        print(name, file=sys.stderr, flush=True)
        output = folder / "faults"
        shutil.rmtree(output, ignore_errors=True)
        result["faults"][name] = {**fault(clips, output), "wrong": check(output, good, broken)}
    print("disk full", file=sys.stderr, flush=True)
    shutil.rmtree(folder / "whole", ignore_errors=True)
    try:
        result["faults"]["disk full"] = with_full_disk(clips, folder, good, broken)
    except (OSError, subprocess.CalledProcessError) as error:
        result["faults"]["disk full"] = {"missing": f"no tmpfs can be mounted here: {error}"}


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['clips']} clips ({result['clip']}), {result['broken']} broken; {result['cores']} cores.",
        "",
        "| engine | clips/s | tokens/s | seconds | again, nothing to do | every clip in its place |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, m in result["speed"].items():
        if "missing" in m:
            lines.append(f"| {name} | {m['missing']} | | | | |")
            continue
        lines.append(
            f"| {name} | {m['clips_per_second']:.1f} | {m['tokens_per_second']:.0f} | {m['seconds']:.1f} | "
            f"{m['seconds_again']:.1f} | {m['wrong'] or 'yes'} |"
        )
    lines += ["", "| fault | result | every clip in its place |", "| --- | --- | --- |"]
    for name, m in result["faults"].items():
        known = {key: f"{value:.1f}" if isinstance(value, float) else value for key, value in m.items()}
        told = ", ".join(f"{key} {value}" for key, value in known.items() if key not in ("wrong", "missing"))
        lines.append(f"| {name} | {m.get('missing', told)} | {'-' if 'missing' in m else m['wrong'] or 'yes'} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clips", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, default=Path("build/bench/dataset"), help="default: %(default)s")
    parser.add_argument("--only", choices=("speed", "faults"), help="leave the other part out")
    parser.add_argument("--results", type=Path, help="JSON file to write")
    parser.add_argument("--readme", type=Path, help=f"put the tables there, between {MARKS[0]} and {MARKS[1]}")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    clips, good, broken = make_clips(args.folder, args.clips)
    result = describe(good, broken)
    if args.only != "faults":
        measure_speed(result, clips, args.folder / "out", good, broken)
    if args.only != "speed":
        make_faults(result, clips, args.folder, good, broken)
    print(table(result))
    if args.results:
        args.results.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.readme:
        fill_readme(table(result), args.readme, MARKS)
    wrong = [m for m in (*result["speed"].values(), *result["faults"].values()) if m.get("wrong")]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
