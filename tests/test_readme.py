"""What the README says: its code runs and prints what it shows, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ove_codec.cli import main
from support import ffmpeg
from support.documentation import LANGUAGES, ROOT, Page, check_command

README = Page(ROOT / "README.md")
LINES = 250

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")


def test_languages() -> None:
    assert {language for language, _ in README.blocks} == LANGUAGES


@needs_x265
@pytest.mark.usefixtures("beside_a_clip")
def test_python(capsys: pytest.CaptureFixture[str]) -> None:
    names, missing = README.run_python()
    assert missing == []
    said = next(code for language, code in README.blocks if language == "text")
    assert capsys.readouterr().out == said + "hevc 60\n"
    assert names["out"].last_hidden_state.shape == (512, 64)
    assert names["padded"].patches.shape == (2, 512, 588)


def test_length() -> None:
    """The README can be read in minutes; what is longer has a page in docs/."""
    assert len(README.text.splitlines()) <= LINES
    assert len(README.blocks[1][1].splitlines()) <= 10  # the first code


@needs_x265
def test_commands(beside_a_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about_one_clip = README.about_one_clip()
    assert [argv[0] for argv in about_one_clip] == [
        "info", "framecrc", "extract", "select", "encode", "viz", "transcode",
    ]  # fmt: skip
    for argv in about_one_clip:
        assert main(argv) == 0, capsys.readouterr().err
    assert {path.name for path in beside_a_clip.iterdir()} == {
        "clip.mp4", "arrays.npz", "selection.npz", "features.npz", "panels.png", "hevc.mp4",
    }  # fmt: skip


def test_verbs() -> None:
    for command in README.commands:
        check_command(command)
    verbs = re.findall(r"`make (\w+)", README.text)
    assert {"demo", "test", "bench"} <= {*verbs, *re.findall(r"^make (\w+)", README.text, re.MULTILINE)}
    for verb in verbs:
        check_command(f"make {verb}")


def test_links() -> None:
    for target in README.links():
        assert (ROOT / target).exists(), target
