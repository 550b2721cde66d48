#!/usr/bin/env python3
"""Checks the CUDA path on a machine with a GPU, PyTorch, nvcc and CMake: `make check-cuda`, in nine minutes at most.

It builds for that GPU, runs the tests marked cuda and some of them under compute-sanitizer, and checks that batches,
streams, forked processes and torch.compile give what the CPU gives; then it measures. A line of PASS or FAIL for each
check, with its output in FOLDER/NAME.log, and all in FOLDER/check-cuda.json. It exits with 1 if anything fails.

FFmpeg's development files may lie in a prefix (`--ffmpeg`), such as tools/build-ffmpeg makes. Where there is no
encoder, streams come from a folder (`--streams`) that `--prepare FOLDER` has filled on a machine with one. `--dry-run`
does all but the launches where there is no GPU: the kernels are compiled, the GPU's tests collected, and the other
checks run on the kernels' twin. `--seconds` gives a slow machine more time, to every check alike.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = [f"tests/test_{name}.py" for name in ("cuda", "cuda_arrays", "ops", "nvdec")]
MODEL_TESTS = ["tests/test_models_attention.py", "tests/test_models_tower.py"]  # skipped without their packages
SECONDS = 530  # of all checks
FEW = {
    "memcheck": "test_selections and b or test_tokens and odd or test_rows or test_arrays_there and torch",
    "racecheck": "test_selections and odd or test_tokens and b or test_random_mixes",
}


@dataclass(frozen=True)
class Check:
    """A command, or several, each of which must succeed, and the seconds that they may take."""

    name: str
    commands: Sequence[Sequence[str]]
    seconds: int


def environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Where the built package, its tests, FFmpeg and the streams are."""
    more = {
        "PYTHONPATH": [str(arguments.build / "package"), str(ROOT / "tests")],
        "PKG_CONFIG_PATH": [str(arguments.ffmpeg / "lib" / "pkgconfig")] if arguments.ffmpeg else [],
        "LD_LIBRARY_PATH": [str(arguments.ffmpeg / "lib")] if arguments.ffmpeg else [],
    }
    joined = {
        name: os.pathsep.join([*values, *filter(None, [os.environ.get(name)])])
        for name, values in more.items()
        if values
    }
    streams = {"OVE_TEST_STREAMS": str(arguments.streams)} if arguments.streams else {}
    return {**os.environ, **joined, **streams, "OVE_TEST_MODULES": str(arguments.build / "tests" / "cpp")}


def build(arguments: argparse.Namespace) -> Check:
    """The extension and the kernels in a folder that is a package with the sources of the repository."""
    where = arguments.build
    package = where / "package" / "ove_codec"
    package.mkdir(parents=True, exist_ok=True)
    for source in (ROOT / "python" / "ove_codec").iterdir():
        link = package / source.name
        if source.suffix != ".so" and source.name != "__pycache__" and not link.exists():
            link.symlink_to(source)
    ninja = ["-G", "Ninja"] if shutil.which("ninja") else []
    defines = {
        "CMAKE_BUILD_TYPE": "Release",
        "OVE_CUDA": "ON",
        "OVE_TESTS": "ON" if arguments.dry_run else "OFF",
        "CMAKE_CUDA_ARCHITECTURES": capability(arguments),
        "CMAKE_LIBRARY_OUTPUT_DIRECTORY": str(package),
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11_folder(),
    }
    configure = ["cmake", "-S", str(ROOT), "-B", str(where), *ninja, *(f"-D{k}={v}" for k, v in defines.items())]
    targets = ["_core", "_cuda", *(["ove_cuda_twin", "ove_nvdec_twin"] if arguments.dry_run else [])]
    make = ["cmake", "--build", str(where), "-j", str(arguments.jobs), "--target", *targets]
    return Check("build", [configure, make], 300)


def capability(arguments: argparse.Namespace) -> str:
    if arguments.dry_run:
        return "90"
    import torch

    return "".join(map(str, torch.cuda.get_device_capability()))


def pybind11_folder() -> str:
    try:
        import pybind11
    except ImportError:
        sys.exit("check_cuda.py needs pybind11: install it, or put a folder that it was installed to on PYTHONPATH")
    return str(pybind11.get_cmake_dir())


def checks(arguments: argparse.Namespace) -> list[Check]:
    any_test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    pytest = [*any_test, "-m", "cuda"]
    own = [sys.executable, str(Path(__file__).resolve()), "--run"]
    found = [build(arguments)]
    if arguments.dry_run:
        twins = [*any_test, "-m", "not cuda", "-k", "twin and test_rows or from_nvdec and h264"]
        found += [Check("tests", [[*pytest, *MODEL_TESTS, "--collect-only"], twins], 240)]
    else:
        found += [Check("tests", [[*pytest, *MODEL_TESTS]], 200)]
        found += [
            Check(tool, [["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *pytest, "-x", "-k", few]], 90)
            for tool, few in FEW.items()
        ]
    found += [Check(name, [[*own, name, *(["--dry-run"] if arguments.dry_run else [])]], 60) for name in RUNS]
    bench = [sys.executable, str(ROOT / "bench" / "cuda.py")]
    clips = sorted(arguments.streams.glob("bench-*.mp4")) if arguments.streams else []
    measure = [*bench, "--runs", "10", "--presets", "paper", "--results", str(arguments.results), *map(str, clips)]
    return [*found, Check("bench", [[*bench, "--help"] if arguments.dry_run else measure], 150)]


def run_check(check: Check, env: dict[str, str], log: Path, seconds: float) -> str | None:
    """Why the check fails, None where it passes."""
    end = time.monotonic() + seconds
    with log.open("wb") as file:
        for command in check.commands:
            if (left := end - time.monotonic()) <= 0:
                return "no time is left"
            try:
                code = subprocess.run(command, env=env, cwd=ROOT, stdout=file, stderr=file, timeout=left).returncode
            except subprocess.TimeoutExpired:
                return f"it takes more than {seconds:.0f} s"
            except OSError as error:
                return str(error)
            if code:
                return f"exit code {code}; see {log.name}"
    return None


def first_clips() -> list[Path]:
    """Clips of several sizes, depths and codecs."""
    import tempfile

    import test_nvdec

    folder = Path(os.environ.get("OVE_TEST_STREAMS") or tempfile.mkdtemp())
    return [clip.encode(folder) for clip in test_nvdec.CLIPS.values()]


def check_batches(device: Any, dry: bool) -> None:
    """Eight workers, each on a stream of its own; pixels from the CPU, and from NVDEC."""
    import torch

    import ove_codec

    sources = first_clips() * 8
    params: dict[str, Any] = {"budget": 300, "num_frames": 12}
    here = [b.tokens.patches for b in ove_codec.batches(sources, 5, workers=2, **params)]
    for decoder in ["cpu"] if dry else ["cpu", "nvdec"]:
        made = ove_codec.batches(sources, 5, device=device, workers=8, decoder=decoder, **params)
        for batch, expected in zip(made, here, strict=True):
            assert torch.equal(batch.tokens.patches.cpu(), expected)


def check_forked(device: Any, dry: bool) -> None:
    """Processes forked after the parent has asked whether there is a GPU; each uses it."""
    import multiprocessing

    import ove_codec

    assert dry or ove_codec.cuda.available()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        counts = pool.starmap(_count_kept, [(path, device) for path in first_clips()])
    assert counts == [100] * len(counts), counts


def _count_kept(path: Path, device: Any) -> int:
    import ove_codec

    return len(ove_codec.select(path, device=device, budget=100, num_frames=6).cpu())


def check_compiled(device: Any, dry: bool) -> None:
    """Operators inside torch.compile, in graphs where they may be."""
    import torch

    from ove_codec import ops

    where = "cpu" if dry else device
    clip = ops.ClipPlanes([torch.randint(0, 256, (2, n, n), dtype=torch.uint8, device=where) for n in (64, 32, 32)])
    positions = torch.randint(0, 2, (40, 3), device=where)
    bounds = torch.tensor([0, 40], dtype=torch.int32, device=where)

    def step(positions: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        rows = ops.gather_patches([clip], positions, bounds, resize="stretch", size=32, patch_size=8)
        kept = ops.gather_tokens(rows * 2, index)
        return ops.scatter_tokens(rows, kept, index, accumulate=True)

    compiled = torch.compile(step, mode="default" if dry else "reduce-overhead")
    for _ in range(5):
        index = torch.randperm(40, device=where)[:9]
        positions = positions.roll(1, 0)
        torch.testing.assert_close(compiled(positions, index).clone(), step(positions, index))


RUNS: dict[str, Callable[[Any, bool], None]] = {
    "batches": check_batches,
    "forked": check_forked,
    "compiled": check_compiled,
}


def run(name: str, dry: bool) -> None:
    device: Any = "cuda"
    if dry:
        import pytest

        from support import twin

        device = twin.put_in_place(pytest.MonkeyPatch())
    RUNS[name](device, dry)


def prepare(folder: Path) -> None:
    """Fills a folder with the streams of the tests and of the benchmark."""
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "OVE_TEST_STREAMS": str(folder.resolve())}
    subprocess.run([sys.executable, "-m", "pytest", "-q", *TESTS], env=env, cwd=ROOT, check=True)
    sys.path.insert(0, str(ROOT / "bench"))
    import clips

    chosen = [clip for clip in clips.ALL if clip.size == "720p" and clip.seconds == clips.SECONDS]
    clips.encode(chosen, folder)
    for clip in chosen:
        path = clip.path(folder)
        path.rename(path.with_name(f"bench-{path.name}"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "check-cuda-results", metavar="FOLDER")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "check-cuda", metavar="FOLDER")
    parser.add_argument("--ffmpeg", type=Path, metavar="PREFIX", help="where FFmpeg is installed, if not in the system")
    parser.add_argument("--streams", type=Path, metavar="FOLDER", help="made by --prepare")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="of the build")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of all checks; default: %(default)s")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these checks alone")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--prepare", type=Path, metavar="FOLDER")
    parser.add_argument("--run", choices=list(RUNS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.run, arguments.dry_run)
        return 0
    if arguments.prepare:
        prepare(arguments.prepare)
        return 0
    for name in ("results", "build", "ffmpeg", "streams"):
        if (path := getattr(arguments, name)) is not None:
            setattr(arguments, name, path.resolve())
    arguments.results.mkdir(parents=True, exist_ok=True)
    return report(arguments)


def report(arguments: argparse.Namespace) -> int:
    import torch

    device = "no GPU (dry run)" if arguments.dry_run else torch.cuda.get_device_name()
    print(f"{device}, PyTorch {torch.__version__}, Python {sys.version.split()[0]}", flush=True)
    env, begin = environment(arguments), time.monotonic()
    results: list[dict[str, Any]] = []
    for check in checks(arguments):
        if arguments.only and check.name not in arguments.only:
            continue
        started = time.monotonic()
        allowed = min(check.seconds * arguments.seconds / SECONDS, arguments.seconds - (started - begin))
        reason = run_check(check, env, arguments.results / f"{check.name}.log", allowed)
        seconds = time.monotonic() - started
        results.append({"check": check.name, "passed": reason is None, "reason": reason, "seconds": round(seconds, 1)})
        told = f"FAIL {check.name} ({seconds:.0f} s): {reason}" if reason else f"PASS {check.name} ({seconds:.0f} s)"
        print(told, flush=True)
        if reason and check.name == "build":
            break
    passed = all(result["passed"] for result in results)
    facts = {"device": device, "torch": torch.__version__, "python": sys.version, "passed": passed, "checks": results}
    (arguments.results / "check-cuda.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
