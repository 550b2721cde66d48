"""The commands: what they print and write, against the Python API, and how they fail."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ove_codec
from ove_codec.cli import common, extract, main, make_parser
from ove_codec.cli import select as select_command
from ove_codec.presets import COMMON, PRESETS
from support import clips, ffmpeg

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

ARRAYS = ("pred", "mv", "ref_poc", "residual", "qp", "cu_size", "skip", "bits")
COMMANDS = ("info", "framecrc", "extract", "transcode", "select", "encode", "viz")
FEW = ["--num-frames", "5", "--size", "56", "--budget", "30"]


@pytest.fixture(scope="session")
def clip(stream_folder: Path) -> str:
    return str(clips.moving_clip(stream_folder))


def printed(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """What a command that succeeds prints; nothing else may be said."""
    assert main([str(argument) for argument in argv]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """The one line of a command that fails."""
    assert main([str(argument) for argument in argv]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ove-codec: ") and err.count("\n") == 1 and err.endswith("\n")
    return err


# Usage


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "--json" in text and "FILE" in text


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["info"], ["select", "f", "--preset", "none"], ["viz", "f"]])
def test_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_typos_get_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, meant in (
        (["slect", "f"], "did you mean select?"),
        (["select", "f", "--bugdet", "3"], "did you mean --budget?"),
        (["select", "f", "--preset", "papr"], "did you mean paper?"),
        (["probe", "tabels", "r"], "did you mean tables?"),
        (["help", "vis"], "did you mean viz?"),
    ):
        with pytest.raises(SystemExit) as end:
            main(argv)
        assert end.value.code == 2
        assert capsys.readouterr().err.endswith(f"{meant}\n"), argv


def test_help_command_and_module(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "help", "probe", "run")
    assert text.startswith("usage: ove-codec probe run")
    assert "COMMAND" in printed(capsys, "help")
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err == printed(capsys, "help")
    done = subprocess.run([sys.executable, "-m", "ove_codec", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ove-codec {ove_codec.__version__}\n"


@pytest.mark.parametrize("command", [*COMMANDS, "probe run", "select-dataset"])
def test_help_fits_a_screen(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = printed(capsys, "help", *command.split()).splitlines()
    assert len(lines) <= 48
    if command == "select":
        assert any("(default: 2048, llava 10368)" in line for line in lines)
        with pytest.raises(SystemExit):
            main(["select", "--help-all"])
        everything = capsys.readouterr().out
        assert all(f"--{name.replace('_', '-')}" in everything for name in COMMON)
        assert "--static-level" not in "".join(lines)


def test_errors_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "gone.mp4"), "--json"]) == 1
    out, err = capsys.readouterr()
    error = json.loads(err)["error"]
    assert out == "" and error["type"] == "DecodeError" and "gone.mp4" in error["message"]
    with pytest.raises(SystemExit):
        main(["select", "f", "--json", "--bugdet", "3"])
    assert json.loads(capsys.readouterr().err)["error"]["type"] == "UsageError"


def test_completion(capsys: pytest.CaptureFixture[str]) -> None:
    script = printed(capsys, "completion", "bash")
    for words, expected in (
        (["sel"], {"select", "select-dataset"}),
        (["select", "clip.mp4", "--bud"], {"--budget"}),
        (["probe", "r"], {"run"}),
        (["probe", "run", "--prot"], {"--protocol"}),
    ):
        line = " ".join(f"'{word}'" for word in ["ove-codec", *words])
        code = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _ove_codec; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        assert set(done.stdout.split()) == expected, words
    assert printed(capsys, "completion", "zsh").endswith(script)
    assert "-l budget" in printed(capsys, "completion", "fish")


# info and framecrc


@needs_x265
def test_info(clip: str, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(printed(capsys, "info", clip, "--json"))
    pictures = list(ove_codec.open(clip))
    kinds = "".join(picture.type for picture in pictures)
    assert (facts["width"], facts["height"]) == clips.SIZE
    assert (facts["coded_width"], facts["coded_height"]) == (pictures[0].coded_width, pictures[0].coded_height)
    assert facts["pictures"] == clips.PICTURES == len(pictures)
    assert facts["types"] == {kind: kinds.count(kind) for kind in "IPB"}
    assert facts["gop"]["random_access_points"] == 2
    assert facts["gop"]["distance_min"] == facts["gop"]["distance_max"] == 12
    assert facts["gop"]["pattern"] == kinds[:12]
    assert facts["gop"]["b_run_max"] == 2
    assert facts["duration"] == pytest.approx(clips.PICTURES / 25)
    assert facts["frame_rate"] == 25
    assert facts["bytes"] == os.path.getsize(clip)
    assert (facts["bit_depth"], facts["rotation"], facts["ctb_size"]) == (8, 0, 32)

    text = printed(capsys, "info", clip)
    assert "168x104 shown" in text and f"24: {kinds.count('I')} I" in text and kinds[:12] in text


@needs_x265
def test_info_of_a_raw_stream(stream_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = clips.moving_clip(stream_folder, "clip.h265")
    facts = json.loads(printed(capsys, "info", path, "--json"))
    assert facts["container"] == "hevc"
    assert facts["pictures"] == clips.PICTURES
    assert facts["duration"] == pytest.approx(clips.PICTURES / facts["frame_rate"])


@needs_x265
def test_framecrc(clip: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "framecrc", clip).splitlines()
    assert [json.loads(line) for line in lines] == list(ove_codec.framecrc(clip))
    first = json.loads(lines[0])
    assert list(first) == ["poc", "structure", "width", "height", "motion_crc32", "residual_crc32", "qp_crc32"]
    assert first["structure"] == "frame"


@needs_x265
def test_framecrc_prints_what_precedes_damage(clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = printed(capsys, "framecrc", clip).splitlines()
    packets = list(ove_codec._core.Packets(clip))
    data = bytearray(Path(clip).read_bytes())
    at = packets[15]["position"]
    data[at + 4 : at + len(packets[15]["data"])] = bytes(len(packets[15]["data"]) - 4)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    assert main(["framecrc", str(damaged)]) == 1
    out, err = capsys.readouterr()
    assert 0 < len(out.splitlines()) <= 15
    assert out.splitlines() == whole[: len(out.splitlines())]
    assert err.startswith("ove-codec: ") and err.count("\n") == 1 and "damaged.mp4" in err


@needs_x265
def test_reader_that_leaves_early(clip: str) -> None:
    command = [sys.executable, "-m", "ove_codec.cli", "framecrc", clip]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


# extract


def stacked(clip: str, frame_ids: list[int], name: str) -> np.ndarray:
    pictures = list(ove_codec.open(clip))
    return np.stack([getattr(pictures[i], name) for i in frame_ids])


@needs_x265
@pytest.mark.parametrize(
    ("options", "frame_ids", "names"),
    [
        ([], list(range(clips.PICTURES)), ARRAYS),
        (["--frames", "5,0:20:7,-1", "--arrays", "mv,qp"], [0, 5, 7, 14, 23], ("mv", "qp")),
        (["--frames", "3", "--arrays", "residual"], [3], ("residual",)),
    ],
)
def test_extract(
    clip: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    frame_ids: list[int],
    names: tuple[str, ...],
) -> None:
    out = tmp_path / "out.npz"
    facts = json.loads(printed(capsys, "extract", clip, out, "--json", *options))
    index = ove_codec.open(clip).index
    with np.load(out, allow_pickle=False) as z:
        assert {"frame_ids", "pts", "poc", "type", *names} <= set(z.files)
        assert not set(ARRAYS) - set(names) & set(z.files)
        assert z["frame_ids"].tolist() == frame_ids
        for name in ("pts", "poc", "type"):
            np.testing.assert_array_equal(z[name], getattr(index, name)[frame_ids])
        for name in names:
            expected = stacked(clip, frame_ids, name)
            np.testing.assert_array_equal(z[name], expected, strict=True)
            assert facts["arrays"][name] == list(expected.shape)
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_extract_holds_one_picture_at_a_time(tmp_path: Path) -> None:
    count = 50
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Picture:
        coded_width, coded_height, window, rotation, mirrored = 16, 8, (0, 0, 16, 8), 0, False
        bit_depth, ctb_size = 8, 16

        def __init__(self, index: int) -> None:
            self.index = index
            self.residual = np.full((8, 16), index, np.int16)
            self.pred = np.full((2, 4), index % 4, np.uint8)

    def read(frame_ids: list[int], residual: bool) -> Iterator[Picture]:
        nonlocal most
        for index in frame_ids:
            picture = Picture(index)
            alive.add(picture)
            most = max(most, len(alive))
            yield picture

    numbers = np.arange(count)
    video: Any = SimpleNamespace(
        source="made", read=read, index=SimpleNamespace(pts=numbers / 25, poc=numbers, type=np.full(count, "P"))
    )
    extract.write_npz(tmp_path / "a.npz", video, range(count), ["pred", "residual"])
    assert most <= 3  # the first one stays
    with np.load(tmp_path / "a.npz") as z:
        assert z["residual"][:, 0, 0].tolist() == list(range(count))
        assert z["pred"][:, 0, 0].tolist() == [index % 4 for index in range(count)]


@needs_x265
def test_extract_refuses_a_change_of_size(
    stream_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = clips.moving_clip(stream_folder, "first.h265", frames=4)
    second = clips.moving_clip(stream_folder, "second.h265", size=(128, 96), frames=4)
    both = tmp_path / "both.h265"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    out = tmp_path / "out.npz"
    out.write_text("precious")
    message = refused(capsys, "extract", both, out)
    assert "picture 4 is 128x96" in message and "168x104" in message
    assert out.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.h265", "out.npz"]
    printed(capsys, "extract", both, out, "--frames", "4:")
    assert np.load(out)["residual"].shape == (4, 96, 128)


# select and encode


@needs_x265
@pytest.mark.parametrize("preset", PRESETS)
def test_select(preset: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "selection.npz"
    options = [] if preset == "llava" else FEW
    facts = json.loads(printed(capsys, "select", clip, "--preset", preset, *options, "-o", out, "--json"))
    few: dict[str, Any] = {} if preset == "llava" else {"num_frames": 5, "size": 56, "budget": 30}
    expected = ove_codec.select(clip, preset, **few)
    loaded = ove_codec.Selection.load(out)
    np.testing.assert_array_equal(loaded.positions, expected.positions)
    np.testing.assert_array_equal(loaded.scores, expected.scores)
    np.testing.assert_array_equal(loaded.heat(1), expected.heat(1))
    assert facts["tokens"] == len(expected)
    assert facts["tokens_dense"] == expected.mask.size
    assert facts["frame_ids"] == expected.frame_ids.tolist()
    assert facts["tokens_per_frame"] == expected.mask.sum(axis=(1, 2)).tolist()
    assert facts["params"] == expected.params


@needs_x265
@pytest.mark.parametrize("suffix", [".npy", ".json", ".parquet", ".safetensors"])
def test_select_writes_what_the_suffix_says(
    suffix: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.numpy import load_file

    out = tmp_path / f"selection{suffix}"
    printed(capsys, "select", clip, *FEW, "-o", out)
    expected = ove_codec.select(clip, num_frames=5, size=56, budget=30)
    t, row, column = expected.positions.T
    found: dict[str, Any]
    if suffix == ".npy":
        np.testing.assert_array_equal(np.load(out), expected.positions)
        return
    if suffix == ".json":
        found = {name: np.array(value) for name, value in json.loads(out.read_text()).items()}
    elif suffix == ".parquet":
        table = pytest.importorskip("pyarrow.parquet").read_table(out)
        assert json.loads(table.schema.metadata[b"ove_codec"])["preset"] == "paper"
        found = {name: np.array(table[name].to_pylist()) for name in table.column_names}
    else:
        found = load_file(out)
        np.testing.assert_array_equal(found["mask"], expected.mask)
    np.testing.assert_array_equal(found["positions"], expected.positions)
    np.testing.assert_allclose(found["patch_scores"], expected.scores[t, row, column])
    np.testing.assert_array_equal(found["patch_frame_ids"], expected.frame_ids[t])


@needs_x265
def test_select_for_people(clip: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "select", clip, *FEW)
    assert "30 of 80 (37.5 %)" in text and "4 x 4 patches of 14 samples" in text


def test_every_parameter_is_an_option() -> None:
    values: dict[str, Any] = {}
    argv = ["select", "file"]
    for name, default in COMMON.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            values[name] = not default
            argv.append(option if values[name] else f"--no{option[1:]}")
        elif isinstance(default, str):
            values[name] = "cubic"
            argv += [option, "cubic"]
        elif name == "frame_ids":
            values[name] = "1,2"
            argv += [option, "1,2"]
        else:
            values[name] = 7 if isinstance(default, int) else 0.25
            argv += [option, str(values[name])]
    parsed = select_command.overrides_of(make_parser().parse_args(argv))
    assert parsed == values
    assert all(isinstance(parsed[name], type(COMMON[name])) for name in COMMON if COMMON[name] is not None)
    assert select_command.overrides_of(make_parser().parse_args(["select", "file"])) == {}
    texts = select_command.parameter_help()
    assert texts.keys() == COMMON.keys() and all(texts.values())
    assert texts["end"] == texts["start"] and "--static-fallback" in texts["static_level"]
    assert texts["tau"].startswith("keep patches whose mean heat") and "(t, h, w)" in texts["budget"]


@needs_x265
def test_select_some_frames(clip: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--frame-ids", "20,2:8:3", "--size", "56", "--json"]
    assert json.loads(printed(capsys, "select", clip, *options))["frame_ids"] == [2, 5, 20]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    config = ove_codec.models.OVEncoderConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, patch_size=14
    )
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("model")
    ove_codec.models.OVEncoder(config).save_pretrained(folder)
    return folder


@needs_x265
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_encode(clip: str, model: Path, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.numpy import load_file

    out = tmp_path / f"features{suffix}"
    facts = json.loads(printed(capsys, "encode", clip, "--model", model, *FEW, "-o", out, "--json"))
    selection = ove_codec.select(clip, num_frames=5, size=56, budget=30)
    tokens = ove_codec.tokenize(clip, selection)
    with torch.inference_mode():
        expected = ove_codec.models.OVEncoder.from_pretrained(model)(tokens.patches, tokens.positions)
    found: Any = np.load(out) if suffix == ".npz" else load_file(out)
    np.testing.assert_allclose(found["last_hidden_state"], expected.last_hidden_state, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["pooler_output"], expected.pooler_output, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["positions"], selection.positions)
    np.testing.assert_array_equal(found["frame_ids"], selection.frame_ids)
    assert facts["last_hidden_state"] == [30, 64] and facts["pooler_output"] == [1, 64]


@needs_x265
def test_encode_with_random_weights(
    clip: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ove_codec.models.OVEncoderConfig
    tiny = config.from_file(model)
    monkeypatch.setattr(config, "named", classmethod(lambda cls, name: tiny))
    features = []
    for seed in ("1", "1", "2"):
        out = tmp_path / "f.npz"
        assert main(["encode", clip, "--model", "tiny", *FEW, "-o", str(out), "--seed", seed]) == 0
        text, warning = capsys.readouterr()
        assert warning.startswith("ove-codec: warning: tiny is a configuration without weights")
        assert "features" in text
        features.append(np.load(out)["last_hidden_state"])
    np.testing.assert_array_equal(features[0], features[1])
    assert not np.allclose(features[0], features[2])


@needs_x265
def test_encode_refusals(clip: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--patch-size 14" in refused(capsys, "encode", clip, "--model", model, "--preset", "llava")
    assert "ov-encoder-large" in refused(capsys, "encode", clip, "--model", "unheard-of")
    assert "config.json" in refused(capsys, "encode", clip, "--model", tmp_path)
    assert "no patch" in refused(
        capsys, "encode", clip, "--model", model, "--tau", "1e9", "--no-keep-first-frame", "--num-frames", "3"
    )
    assert ".safetensors" in refused(capsys, "encode", clip, "--model", model, "-o", tmp_path / "x.bin")


@needs_x265
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_encode_to_a_full_disk(
    clip: str, model: Path, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"full{suffix}"
    out.symlink_to("/dev/full")
    message = refused(capsys, "encode", clip, "--model", model, *FEW, "-o", out)
    assert f"full{suffix}: No space left on device: make room" in message


def test_a_missing_package_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.mp4").touch()
    message = refused(capsys, "select-dataset", tmp_path, tmp_path / "out")
    assert "pyarrow: pip install 'ove_codec[dataset]'" in message


# viz


@needs_x265
def test_viz(clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    for name in ("strip.png", "moving.webp"):
        facts = json.loads(printed(capsys, "viz", clip, "-o", tmp_path / name, *FEW, "--steps", "3", "--json"))
        with Image.open(tmp_path / name) as image:
            assert image.size == (facts["width"], facts["height"])
            assert getattr(image, "n_frames", 1) == (1 if name == "strip.png" else 5)
        assert facts["tokens"] == 30


@needs_x265
def test_viz_and_encode_take_every_codec(
    clip: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.mp4"
    ffmpeg.run(["-v", "error", "-i", clip, "-c:v", "mpeg4", "-q:v", "3", other])
    options = [*FEW, "--panels", "motion,blocks", "--steps", "2"]
    assert "30 of 80" in printed(capsys, "viz", other, "-o", tmp_path / "strip.svg", *options)
    assert "30 of 80" in printed(capsys, "encode", other, "--model", model, *FEW, "-o", tmp_path / "features.npy")
    assert np.load(tmp_path / "features.npy").shape == (30, 64)
    assert "ove-codec transcode" in refused(capsys, "viz", other, "-o", tmp_path / "x.png", "--transcode", "off")


# Failures


@needs_x265
def test_refusals(clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.touch()
    text.write_text("This is no video.\n" * 100)
    for command in ("info", "framecrc", "select"):
        assert "missing.mp4" in refused(capsys, command, tmp_path / "missing.mp4")
        assert "empty.mp4" in refused(capsys, command, empty)
        assert "text.mp4" in refused(capsys, command, text)
    assert "fuse" in refused(capsys, "select", clip, "--fuse", "no")
    assert "give either tau or budget" in refused(capsys, "select", clip, "--tau", "0.5", "--budget", "9")
    assert "99" in refused(capsys, "select", clip, "--frame-ids", "99")
    assert "give either frame_ids or num_frames" in refused(
        capsys, "select", clip, "--frame-ids", "1", "--num-frames", "3"
    )
    assert "threads" in refused(capsys, "info", clip, "--threads", "-1")
    assert "'mvs'" in refused(capsys, "extract", clip, tmp_path / "x.npz", "--arrays", "mv,mvs")
    assert "nowhere" in refused(capsys, "extract", clip, tmp_path / "nowhere" / "x.npz")
    assert "directory" in refused(capsys, "select", clip, "-o", tmp_path)
    assert "suffix" in refused(capsys, "select", clip, "-o", tmp_path / "x.txt")
    assert "suffix" in refused(capsys, "extract", clip, tmp_path / "x.npy")
    assert "suffix" in refused(capsys, "viz", clip, "-o", tmp_path / "x.jpg")
    assert "--steps" in refused(capsys, "viz", clip, "-o", tmp_path / "x.png", "--steps", "0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.mp4", "text.mp4"]


@pytest.mark.skipif(not ffmpeg.available(), reason="ffmpeg is not installed")
def test_other_codecs_are_told_how_to_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5:duration=1"]
    ffmpeg.run(["-v", "error", *source, "-c:v", "mpeg4", path])
    for command in ("framecrc", "select", "extract"):
        message = refused(capsys, command, path, *([tmp_path / "x.npz"] if command == "extract" else []))
        assert "mpeg4" in message and "ove-codec transcode" in message


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ove_codec, "framecrc", interrupted)
    assert main(["framecrc", "clip.mp4"]) == 130
    assert capsys.readouterr() == ("", "")


def test_defects_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(ove_codec, "framecrc", defective)
    with pytest.raises(AssertionError):
        main(["framecrc", "clip.mp4"])


# What commands share


@given(
    count=st.integers(1, 30),
    bounds=st.lists(
        st.tuples(*[st.none() | st.integers(-40, 40)] * 2, st.sampled_from([None, 1, 2, 5, -3])), max_size=3
    ),
    single=st.lists(st.integers(0, 29), max_size=3),
)
def test_frame_list(count: int, bounds: list[tuple[int | None, ...]], single: list[int]) -> None:
    numbers = list(range(count))
    wanted = {i for bound in bounds for i in numbers[slice(*bound)]} | set(single)
    parts = [":".join("" if b is None else str(b) for b in bound) for bound in bounds] + [str(i) for i in single]
    text = ",".join(parts)
    if not wanted or max(wanted) >= count:
        with pytest.raises(ValueError, match=r"there is no picture|names no|not a list of pictures"):
            common.frame_list(text, count)
    else:
        assert common.frame_list(text, count) == sorted(wanted)


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1:2:3:4", "1.5", "::0", "-31"])
def test_frame_list_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="picture"):
        common.frame_list(text, 30)


def test_output_takes_its_place_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    link = tmp_path / "link.npz"
    link.symlink_to(target)
    with common.replacing(str(link)) as part:
        part.write_text("new")
        assert not target.exists() and part.suffix == ".npz"
    assert target.read_text() == "new" and link.is_symlink()
    with pytest.raises(IsADirectoryError), common.replacing(str(target)) as part:
        part.write_text("half") and tmp_path.read_text()
    assert target.read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2
    with common.replacing("/dev/null") as part:
        part.write_text("gone")
    assert not Path("/dev/null").is_file()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "pause", "shown"), [(Terminal(), 0.3, True), (Terminal(), 0, False)])
def test_progress_bar(stream: Terminal, pause: float, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in common.progress(range(3), 3):
        time.sleep(pause)
    assert ("3 pictures" in stream.getvalue() or "2/3" in stream.getvalue()) == shown


def test_no_progress_bar_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in common.progress(range(3), 3):
        time.sleep(0.25)
    assert stream.getvalue() == ""
