"""What the README says: its code runs, its commands exist, its table is that of the presets."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import ove_codec
from ove_codec.cli import main, make_parser
from ove_codec.presets import COMMON, PRESETS
from support import clips, ffmpeg

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
COMMANDS = [
    line.split("#")[0].strip()
    for language, code in BLOCKS
    if language == "sh"
    for line in code.replace("\\\n", "").splitlines()
    if line
]

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
    match = re.search(f"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    assert match, f"README.md lacks the marks of {name}"
    return match[1]


@pytest.fixture
def beside_a_clip(stream_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder has a clip.mp4, and named encoders are small."""
    config = ove_codec.models.OVEncoderConfig
    small = config(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, patch_size=14)
    monkeypatch.setattr(config, "named", classmethod(lambda cls, name: {"ov-encoder-large": small}[name]))
    (tmp_path / "clip.mp4").write_bytes(clips.moving_clip(stream_folder, frames=60, name="readme.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)


def test_languages() -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "python", "text"}


@needs_x265
@pytest.mark.usefixtures("beside_a_clip")
def test_python() -> None:
    """The blocks run one after another, as a reader would type them."""
    pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    from support import lmm

    ove_codec.models.OVEncoder.from_config("ov-encoder-large").save_pretrained("onevision-encoder-large")
    model = lmm.model()
    model.save_pretrained("my-lmm")
    lmm.processor(model.config).save_pretrained("my-lmm")
    names: dict[str, Any] = {}
    for code in [code for language, code in BLOCKS if language == "python"]:
        exec(compile(code, "README.md", "exec"), names)
    assert names["picture"].index == 59
    n = len(names["sel"].positions)
    assert n == 2048 and names["tokens"].patches.shape == (n, 3 * 14 * 14)
    assert len(names["batch"].cu_seqlens) == 5
    assert names["out"].last_hidden_state.shape == ((1 + 4 + 4) * 256 + n, 64)  # image, frames, collage, tokens
    assert names["hf_out"].last_hidden_state.shape[-1] == 64
    assert names["answer"].shape[0] == 1


@needs_x265
@pytest.mark.usefixtures("beside_a_clip")
def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = [shlex.split(command)[1:] for command in COMMANDS if command.startswith("ove-codec ")]
    about_one_clip = [argv for argv in ours if "clip.mp4" in argv]
    assert [argv[0] for argv in about_one_clip] == [
        "info", "framecrc", "extract", "select", "encode", "viz", "transcode",
    ]  # fmt: skip
    for argv in about_one_clip:
        assert main(argv) == 0, capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {
        "clip.mp4", "arrays.npz", "selection.npz", "features.npz", "panels.png", "hevc.mp4",
    }  # fmt: skip
    for argv in ours:  # the others want data sets: that they are written as the parser has them
        make_parser().parse_args(argv)


def test_verbs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = [shlex.split(command)[1] for command in COMMANDS if command.startswith("make ")]
    verbs += re.findall(r"`make (\w+)`", README)
    assert {"demo", "test", "bench"} <= set(verbs)
    for verb in verbs:
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE), verb
    assert all(command.split()[0] in ("make", "ove-codec", "python") for command in COMMANDS)


def test_presets() -> None:
    assert between("presets") == presets_table()


def test_places() -> None:
    for name in ("bench", "encoder", "motion-probe"):
        between(name)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target
