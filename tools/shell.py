"""Commands that the tools run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, quiet: bool = True
) -> str:
    """The standard output of a command, with these variables beside those of the process; one that fails ends the
    program with what it wrote. Not `quiet`, it writes to the terminal instead."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        errors="replace",
        check=False,
    )
    output: str = done.stdout or ""
    if done.returncode:
        sys.stderr.write(output)
        raise SystemExit(f"error: {shlex.join(words)} failed ({done.returncode})")
    return output


def make_environment(python: Path, folder: Path, *requirements: str | Path, constraints: Path | None = None) -> Path:
    """A new virtual environment with these packages; its interpreter."""
    run([python, "-m", "venv", "--clear", folder])
    made = folder / "bin" / "python"
    install(made, *requirements, constraints=constraints)
    return made


def install(python: Path, *requirements: str | Path, constraints: Path | None = None, alone: bool = False) -> None:
    """Installs packages, with what they require unless `alone`."""
    if not requirements:
        return
    command: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    if constraints:
        command += ["-c", constraints]
    if alone:
        command.append("--no-deps")
    run([*command, *requirements])
