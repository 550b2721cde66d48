#!/usr/bin/env python3
"""Builds for aarch64 on a Debian or Ubuntu of x86-64, and tests that under QEMU.

    tools/check_aarch64.py [--build FOLDER]

The libraries of an arm64 system are downloaded and unpacked, not installed. The C++ tests run first. A wheel then reads
clips of every codec, and what it finds must be what the ove_codec of this interpreter finds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

import wheel_clips
from shell import run

ROOT = Path(__file__).resolve().parents[1]
PROBE = ROOT / "tools" / "wheel_probe.py"
TOOLCHAIN = ROOT / "cmake" / "aarch64.cmake"
COMMANDS = {"aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu", "qemu-aarch64-static": "qemu-user-static"}
LIBRARIES = ("libavcodec-dev", "libavformat-dev", "libavutil-dev", "libswscale-dev", "libstdc++-12-dev", "doctest-dev",
             "python3-dev")  # fmt: skip
PACKAGES = ("numpy", "pillow", "safetensors", "tqdm", "typing_extensions")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")


def make_root(build: Path) -> Path:
    """An arm64 system's files, below `build`/root. Lists and state of apt lie beside it: this system's own stay as they
    are, and it needs no superuser."""
    root = build / "root"
    if (root / ".complete").exists():
        return root
    apt = build / "apt"
    for folder in (root, apt / "lists" / "partial", apt / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    settings = {"APT::Architecture": "arm64", "APT::Architectures": "arm64", "APT::Sandbox::User": "",
                "Dir::State::lists": apt / "lists", "Dir::State::status": apt / "status",
                "Dir::Cache": apt / "cache"}  # fmt: skip
    command: list[str | Path] = ["apt-get", "-qq"]
    for name, value in settings.items():
        command += ["-o", f"{name}={value}"]
    run([*command, "update"])
    run([*command, "install", "--yes", "--no-install-recommends", "--download-only", *LIBRARIES])
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        run(["dpkg-deb", "--extract", package, root])
    (root / ".complete").touch()
    return root


def test_core(build: Path, root: Path, launcher: list[str]) -> None:
    """The C++ tests."""
    run(["cmake", "-S", ROOT, "-B", build / "cmake", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DOVE_PYTHON=OFF",
         "-DOVE_CUDA=OFF", "-DOVE_TESTS=ON", f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}", *launcher],
        env={"OVE_SYSROOT": str(root)})  # fmt: skip
    run(["cmake", "--build", build / "cmake", "--target", "ove_tests"], quiet=False)
    run(["qemu-aarch64-static", "-L", root, build / "cmake" / "tests" / "cpp" / "ove_tests"], quiet=False)


def build_wheel(build: Path, root: Path, version: str, launcher: list[str]) -> Path:
    include = root / "usr" / "include" / f"python{version}"
    suffix = f".cpython-{version.replace('.', '')}-aarch64-linux-gnu.so"
    arguments = [f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}", f"-DPython_INCLUDE_DIR={include}",
                 f"-DPYTHON_MODULE_EXTENSION={suffix}", "-DOVE_CUDA=OFF", *launcher]  # fmt: skip
    env = {
        "OVE_SYSROOT": str(root),
        "CMAKE_ARGS": " ".join(arguments),
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "SETUPTOOLS_EXT_SUFFIX": suffix,
    }
    shutil.rmtree(build / "wheel", ignore_errors=True)
    run([sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps",
         "-C", f"build-dir={build / 'python'}", "-w", build / "wheel", ROOT], env=env)  # fmt: skip
    (wheel,) = (build / "wheel").glob("ove_codec-*_aarch64.whl")
    return wheel


def install(build: Path, wheel: Path, version: str) -> Path:
    """A folder of packages for arm64."""
    site = build / "site"
    shutil.rmtree(site, ignore_errors=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install",
                             "--target", site, "--python-version", version, "--only-binary=:all:"]  # fmt: skip
    pip += [word for platform in PLATFORMS for word in ("--platform", platform)]
    run([*pip, *PACKAGES])
    run([*pip, "--platform", "linux_aarch64", "--no-deps", wheel])
    return site


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds for aarch64 and tests under QEMU.")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "aarch64", help="folder to work in")
    build = parser.parse_args().build.resolve()
    absent = [package for command, package in COMMANDS.items() if not shutil.which(command)]
    if absent:
        raise SystemExit(f"error: packages are missing: apt-get install {' '.join(absent)}")
    root = make_root(build)
    version = sysconfig.get_python_version()
    if not (root / "usr" / "bin" / f"python{version}").exists():
        raise SystemExit(f"error: this is Python {version}, and the arm64 system has another; use that version here")
    launcher = [f"-DCMAKE_CXX_COMPILER_LAUNCHER={ccache}"] if (ccache := shutil.which("ccache")) else []
    test_core(build, root, launcher)
    wheel = build_wheel(build, root, version, launcher)
    print(f"{wheel.name} is built", flush=True)
    site = install(build, wheel, version)
    clips = build / "clips"
    if not clips.is_dir():
        shutil.rmtree(build / "clips.part", ignore_errors=True)
        wheel_clips.make(build / "clips.part")
        (build / "clips.part").rename(clips)

    emulated: list[str | Path] = ["qemu-aarch64-static", "-L", root, root / "usr" / "bin" / f"python{version}"]
    found = json.loads(run([*emulated, "-s", PROBE, "clips", clips], env={"PYTHONPATH": str(site)}).splitlines()[-1])
    here = json.loads(run([sys.executable, PROBE, "clips", clips]).splitlines()[-1])
    wrong = 0
    for name, expected in here.items():
        facts: dict[str, Any] = found[name]
        differs = sorted(key for key in facts.keys() & expected.keys() if facts[key] != expected[key])
        wrong += bool(differs)
        print(f"  {name}: {'differs in ' + ', '.join(differs) if differs else 'as here'}", flush=True)
    print(f"{wheel.name}: {len(here) - wrong} of {len(here)} clips are read as on this machine")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
