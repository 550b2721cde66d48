"""What the README says: its code runs, its commands exist, its table is that of the presets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ove_codec.cli import main
from ove_codec.presets import COMMON, PRESETS
from support import ffmpeg
from support.documentation import LANGUAGES, ROOT, Page, check_command

README = Page(ROOT / "README.md")

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")


def presets_table() -> str:
    """Parameters in which presets differ, as Markdown."""
    rows = [["parameter", *(f"`{name}`" for name in PRESETS)], ["---"] * (1 + len(PRESETS))]
    for name, common in COMMON.items():
        values = [params.get(name, common) for params in PRESETS.values()]
        if any(value != values[0] for value in values):
            rows.append([f"`{name}`", *map(str, values)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def between(name: str) -> str:
    match = re.search(f"<!-- {name} -->\n(.*?)<!-- /{name} -->", README.text, re.DOTALL)
    assert match, f"README.md lacks the marks of {name}"
    return match[1]


def test_languages() -> None:
    assert {language for language, _ in README.blocks} == LANGUAGES


@needs_x265
@pytest.mark.usefixtures("beside_models")
def test_python() -> None:
    names, missing = README.run_python()
    assert missing == []
    assert names["picture"].index == 59
    n = len(names["sel"].positions)
    assert n == 2048 and names["tokens"].patches.shape == (n, 3 * 14 * 14)
    assert len(names["batch"].cu_seqlens) == 5
    assert names["out"].last_hidden_state.shape == ((1 + 4 + 4) * 256 + n, 64)  # image, frames, collage, tokens
    assert names["hf_out"].last_hidden_state.shape[-1] == 64
    assert names["answer"].shape[0] == 1


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


def test_presets() -> None:
    assert between("presets") == presets_table()


def test_places() -> None:
    for name in ("bench", "dataset", "encoder", "motion-probe"):
        between(name)
    for target in README.links():
        assert (ROOT / target).exists(), target
