"""Pages for people, the README and the documentation: their code, their commands and their links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ove_codec.cli import make_parser, preinfer

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {"python", "sh", "text"}
_ELSEWHERE = {"lmms_eval"}  # modules of programs that the library plugs in to


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        """Language and code of every fenced block."""
        return re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)

    @cached_property
    def commands(self) -> list[str]:
        """Every command of the `sh` blocks, without comments."""
        return [
            line.split("#")[0].strip()
            for language, code in self.blocks
            if language == "sh"
            for line in code.replace("\\\n", "").splitlines()
            if line
        ]

    @cached_property
    def our_commands(self) -> list[list[str]]:
        """Arguments of every command that begins with `ove-codec`."""
        return [shlex.split(command)[1:] for command in self.commands if command.startswith("ove-codec ")]

    def run_python(self) -> tuple[dict[str, Any], list[str]]:
        """Runs the `python` blocks one after another, as a reader would type them.

        Returns what they have named, and the packages that are not installed: a block that imports one is left out.
        """
        names: dict[str, Any] = {"__name__": "__main__"}
        missing: set[str] = set()
        for block in re.finditer(r"^```python\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE):
            above = "\n" * self.text.count("\n", 0, block.start(1))  # so that tracebacks show the page's lines
            try:
                exec(compile(above + block[1], str(self.path), "exec"), names)
            except ModuleNotFoundError as error:
                if not error.name or find_spec(error.name.partition(".")[0]):
                    raise
                missing.add(error.name)
        return names, sorted(missing)

    def about_one_clip(self) -> list[list[str]]:
        """Those of `our_commands` that can be run beside a clip.mp4."""
        return [argv for argv in self.our_commands if "clip.mp4" in argv]

    def links(self) -> list[str]:
        """Targets of links and pictures that do not lead elsewhere, without the part behind #."""
        text = re.sub(r"^```.*?^```$", "", self.text, flags=re.DOTALL | re.MULTILINE)
        return [target for target in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#[^)]*)?\)", text) if target]


def check_command(command: str) -> None:
    """That a command can be given: its program, verb, module, extra and files are there, its arguments are right."""
    words = shlex.split(command)
    program, arguments = words[0], words[1:]
    for word in words:
        if word.startswith(("bench/", "models/")):
            assert (ROOT / word).exists(), command
    if program == "torchrun":
        launched = next(i for i, word in enumerate(arguments) if word in ("-m", "--no-python"))
        if arguments[launched] == "--no-python":
            program, arguments = arguments[launched + 1], arguments[launched + 2 :]
        else:
            program, arguments = "python", arguments[launched:]
    if program == "ove-codec":
        make_parser().parse_args(arguments)
    elif program == "ove-cv-preinfer":
        preinfer.make_parser().parse_args(arguments)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE), command
    elif program == "python":
        module = arguments[1] if arguments[0] == "-m" else ""
        assert not module or module in _ELSEWHERE or find_spec(module), command
        assert module or (ROOT / arguments[0]).is_file(), command
    elif program == "pip":
        assert arguments[0] == "install", command
        wanted = re.fullmatch(r"\.(?:\[([\w,]+)\])?", arguments[1])
        assert wanted, command
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        for extra in (wanted[1] or "").split(","):
            assert not extra or re.search(rf"^{extra} = \[", project, re.MULTILINE), command
    else:
        raise AssertionError(f"{program} is not known: {command}")
