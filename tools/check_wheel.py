"""Tries a wheel out: installs it into an empty environment where no other FFmpeg is found, reads clips of many codecs,
and compares with a build on another FFmpeg; then does so with other libraries that bring an FFmpeg, in one process.

    check_wheel.py WHEEL --python PYTHON [--reference PYTHON] [--without-torch] [--build FOLDER]
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import wheel_clips
from shell import install, make_environment, run

ROOT = Path(__file__).resolve().parents[1]
PROBE = ROOT / "tools" / "wheel_probe.py"
CONSTRAINTS = ROOT / "constraints.txt"
FFMPEG = ("libavcodec.so", "libavformat.so", "libavutil.so", "libswscale.so", "libswresample.so", "libdav1d.so")

# In a mount namespace of its own: the files named before "--" are empty, and the rest is run.
_HIDE = 'while [ "$1" != -- ]; do mount --bind /dev/null "$1" || exit 1; shift; done; shift; exec "$@"'


class Check:
    """Counts what is wrong."""

    def __init__(self) -> None:
        self.failures = 0

    def that(self, holds: bool, what: str, detail: object = "") -> None:
        if holds:
            print(f"  {what}", flush=True)
        else:
            self.failures += 1
            print(f"  FAILED: {what}: {detail}", flush=True)


def system_libraries() -> dict[str, Path]:
    """The system's FFmpeg, by the names under which it is loaded."""
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    found = {}
    for line in run([ldconfig, "-p"]).splitlines():
        name, _, path = line.strip().partition(" ")
        if name.startswith(FFMPEG) and " => " in path:
            found[name] = Path(path.rpartition(" => ")[2]).resolve()
    return found


def hiding(libraries: dict[str, Path]) -> list[str | Path]:
    """The beginning of a command that does not find these libraries; empty where the system does not allow that."""
    command: list[str | Path] = ["unshare", "--mount", "--map-root-user", "sh", "-c", _HIDE, "sh"]
    command += [*sorted(set(libraries.values())), "--"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        allowed = False
    return command if allowed else []


def probe(python: Path, *words: str | Path, before: list[str | Path] | None = None) -> Any:
    """What wheel_probe.py says in an environment."""
    environment = {"PYTHONPATH": "", "LD_LIBRARY_PATH": "", "OMP_NUM_THREADS": "1"}
    return json.loads(
        run([*(before or []), python, "-s", PROBE, *words], env=environment, cwd=Path("/")).splitlines()[-1]
    )


def check_contents(check: Check, found: dict[str, Any], python: Path) -> None:
    """The files of the package, the licences, the CUDA module."""
    files = set(found["files"])
    package = ROOT / "python" / "ove_codec"
    wanted = {str(p.relative_to(package)) for p in package.rglob("*") if p.suffix in (".py", ".pyi", ".typed", ".json")}
    wanted |= {str(Path("models/configs") / p.relative_to(ROOT / "models")) for p in ROOT.glob("models/*/config.json")}
    check.that(wanted <= files, f"all {len(wanted)} files of the package are there", sorted(wanted - files))
    check.that(found["licences"] == ["LGPL version 2.1 or later"], "its FFmpeg is LGPL", found["licences"])
    expression = found["expression"]
    check.that(expression.startswith("Apache-2.0 AND LGPL-2.1-or-later"), f"licence: {expression}", expression)
    (info,) = Path(found["package"]).parent.glob("ove_codec-*.dist-info")
    absent = [name for name in found["licence_files"] if not (info / "licenses" / name).is_file()]
    source = info / "licenses" / "ffmpeg" / "SOURCE"
    check.that(not absent and source.is_file(), "their texts are there, with FFmpeg's source", absent)
    print("    " + source.read_text(encoding="utf-8").strip().replace("\n", "\n    "), flush=True)
    built = any(name.startswith("_cuda.") and name.endswith(".so") for name in files)
    told = str(found["cuda"])
    if built:
        check.that("no CUDA kernels" not in told, f"CUDA kernels are in; here: {told}", told)
    else:
        check.that("no CUDA kernels" in told, f"CUDA kernels are out: {told}", told)
    run([python.parent / "ove-codec", "--version"])


def check_alone(check: Check, python: Path, clips: Path, reference: Path | None) -> None:
    """Without any other FFmpeg, and against a build on another one."""
    libraries = system_libraries()
    before = hiding(libraries)
    where = "hidden" if before and libraries else "in place, as this system cannot hide it" if libraries else "absent"
    print(f"  the system's FFmpeg is {where}", flush=True)
    found = probe(python, "all", clips, *(libraries if before else ()), before=before)
    check.that(not found["found_anyway"], "no other FFmpeg can be loaded", found["found_anyway"])
    home = str(Path(found["package"]).parent / "ove_codec.libs") + "/"
    mapped = found["libraries"]
    kinds = {Path(path).name.split(".so")[0].split("-")[0] for path in mapped}
    inside = all(path.startswith(home) for path in mapped)
    check.that(
        inside and kinds >= {"libavcodec", "libavformat", "libavutil", "libswscale"},
        f"{len(mapped)} libraries are the wheel's own", mapped,
    )  # fmt: skip
    check.that(
        "libx265" in found["transcoding"] and "LGPL" in found["transcoding"],
        f"transcode says: {found['transcoding']}", found["transcoding"],
    )  # fmt: skip
    check_contents(check, found, python)
    codecs = sorted({facts["codec"] for facts in found["clips"].values()})
    print(f"  {len(found['clips'])} clips are read, of {', '.join(codecs)}", flush=True)
    if reference is None:
        print("  not compared with another build: no --reference", flush=True)
        return
    expected = probe(reference, "all", clips)
    check.that(
        not any(path.startswith(home) for path in expected["libraries"]) and bool(expected["libraries"]),
        f"the reference reads with {', '.join(sorted(Path(p).name for p in expected['libraries']))}",
        expected["libraries"],
    )
    for name, facts in found["clips"].items():
        shared = facts.keys() & expected["clips"][name].keys()
        wrong = {key: (facts[key], expected["clips"][name][key]) for key in sorted(shared)
                 if facts[key] != expected["clips"][name][key]}  # fmt: skip
        check.that(not wrong, f"{name}: {', '.join(sorted(shared))} are those of the reference", wrong)


def check_beside(check: Check, python: Path, clip: Path, with_torch: bool) -> None:
    """In one process with libraries that load another FFmpeg, in every order."""
    modules = ["ove_codec", "av"]
    install(python, "av>=12", constraints=CONSTRAINTS)
    if with_torch and system_libraries():
        install(python, "torchcodec", constraints=CONSTRAINTS, alone=True)
        modules.append("torchcodec")
    results = []
    for order in itertools.permutations(modules):
        results.append(probe(python, "beside", clip, *order))
        same = all(result[module] == results[0][module] for result in results for module in modules)
        check.that(same, f"imported as {', '.join(order)}: all decode, and as before", results)


def main() -> int:
    parser = argparse.ArgumentParser(description="Tries a wheel out.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", type=Path, required=True, help="interpreter to make the environment with")
    parser.add_argument("--reference", type=Path, help="interpreter that has a build on another FFmpeg")
    parser.add_argument("--without-torch", action="store_true", help="install without PyTorch, and leave out its part")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "wheel", help="folder to work in")
    args = parser.parse_args()
    print(f"Trying {args.wheel.name}{' without PyTorch' if args.without_torch else ''}", flush=True)
    check = Check()
    check.that("-manylinux_" in args.wheel.name, "its name has a manylinux tag", args.wheel.name)
    clips = args.build / "clips"
    if not clips.is_dir():
        shutil.rmtree(args.build / "clips.part", ignore_errors=True)
        wheel_clips.make(args.build / "clips.part")
        (args.build / "clips.part").rename(clips)
    folder = args.build / "trial"
    python = make_environment(args.python, folder)
    if args.without_torch:
        install(python, args.wheel, alone=True)
        install(python, "numpy", "pillow", "safetensors", "tqdm", "typing_extensions", constraints=CONSTRAINTS)
    else:
        install(python, args.wheel, constraints=CONSTRAINTS)
        run([python, "-m", "pip", "check"])
    start = time.monotonic()
    check_alone(check, python, clips, args.reference)
    check_beside(check, python, clips / "hevc.mp4", not args.without_torch)
    shutil.rmtree(folder)
    if check.failures:
        print(f"{args.wheel.name}: {check.failures} checks failed", file=sys.stderr)
        return 1
    print(f"{args.wheel.name}: all checks passed in {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
