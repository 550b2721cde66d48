"""Transcoding a part of a video, and the videos of a folder."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core
from ove_codec.cli import main
from ove_codec.datasets import transcode_folder
from ove_codec.datasets.bulk_transcoding import FAILURES, SETTINGS
from support import ffmpeg
from test_transcoding import PICTURES, QUICK, h264, make, read_times

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
__all__ = ["h264"]

FEW: dict[str, Any] = {"num_frames": 4, "size": 56, "budget": 30}


@pytest.fixture(scope="module")
def mpeg4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("parts") / "clip.mp4", "mpeg4")


@pytest.mark.parametrize(
    ("start", "end", "first", "count"),
    [
        (None, None, 0, PICTURES),
        (0.2, None, 5, 15),
        (None, 0.2, 0, 5),
        (0.2, 0.4, 5, 5),
        (0.21, 0.39, 6, 4),
        (-3.0, 99.0, 0, PICTURES),
        (0.76, 0.77, 19, 1),
        (0.4, 0.48, 10, 2),
        (0.4, 0.52, 10, 3),
    ],
)
@pytest.mark.parametrize("bframes", [0, 4])
@pytest.mark.parametrize("target", [None, "part.mp4", "part.mkv"])
def test_part(
    start: float | None, end: float | None, first: int, count: int, target: str | None, bframes: int, mpeg4: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    """The pictures that are shown then, with their times."""
    recipe = replace(QUICK, params=f"lossless=1:bframes={bframes}")
    part: Any
    if target is None:
        part = ove_codec.transcode(mpeg4, recipe=recipe, start=start, end=end)
    else:
        part = tmp_path / target
        facts = ove_codec.transcode(mpeg4, part, recipe, start=start, end=end)
        assert (facts["pictures"], facts["skipped"], facts["moved"]) == (count, first, 0)
    assert np.allclose(read_times(part), read_times(mpeg4)[first : first + count])
    shown, expected = (
        ove_codec.frames(video, range(at, at + count), normalize=False) for video, at in ((part, 0), (mpeg4, first))
    )
    assert np.array_equal(shown, expected)


def test_no_such_part(mpeg4: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for start, end in ((50.0, None), (None, 0.0), (0.2, 0.2), (0.401, 0.402)):
        with pytest.raises(ValueError, match="no picture is displayed between start and end"):
            ove_codec.transcode(mpeg4, start=start, end=end)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(_core.DecodeError):
        ove_codec.transcode(tmp_path / "empty.mp4", start=50.0)
    out = tmp_path / "out.mp4"
    assert main(["transcode", str(mpeg4), str(out), "--start=0.2", "--end=0.4"]) == 0
    assert "pictures  5, " in capsys.readouterr().out and len(ove_codec.open(out)) == 5


def test_time_stamps_that_repeat(tmp_path: Path) -> None:
    """The part is that of the times which the whole would have."""
    path = make(tmp_path / "clip.avi", "mpeg4", "-bf", "0")
    late = tmp_path / "late.mkv"
    ffmpeg.run(["-v", "error", "-i", path, "-c", "copy", "-bsf:v", r"setts=pts=max(PTS\,8):dts=DTS", late])
    whole = ove_codec.transcode(late, recipe=QUICK)
    at = read_times(whole)
    for start, end in ((at[0], at[6]), (at[3], at[9]), (at[7], None)):
        wanted = [time for time in at if time >= start and (end is None or time < end)]
        assert np.allclose(read_times(ove_codec.transcode(late, recipe=QUICK, start=start, end=end)), wanted)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate": "sum", "i_pictures": "zero"},
        {"sampling": "bits"},
        {"sampling": "anchors"},
        {"compensate": "median", "i_pictures": "keep"},
    ],
)
def test_selection_of_a_part(options: dict[str, Any], mpeg4: Path) -> None:
    """Only the part is transcoded, and the selection is numbered as the source is."""
    part = ove_codec.transcode(mpeg4, start=0.2, end=0.6)
    expected = ove_codec.select(part, **FEW, **options)
    found = ove_codec.select(mpeg4, transcode=True, start=0.2, end=0.6, **FEW, **options)
    np.testing.assert_array_equal(found.frame_ids, expected.frame_ids + 5)
    assert found.frame_ids[0] >= 5 and found.frame_ids[-1] < 15
    for name in ("positions", "scores", "mask"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(found.heat(1), expected.heat(1))
    times = read_times(mpeg4)
    tokens = ove_codec.tokenize(mpeg4, found)  # of the source
    for position, row in zip(tokens.positions.tolist(), tokens.patches, strict=True):
        (same,) = ove_codec.frames(mpeg4, [int(found.frame_ids[position[0]])], size=56)
        y, x = (14 * at for at in position[1:])
        np.testing.assert_allclose(row.reshape(3, 14, 14), same[:, y : y + 14, x : x + 14], atol=1e-5)
    assert times[found.frame_ids[0]] >= 0.2 and times[found.frame_ids[-1]] < 0.6


def test_what_stays_as_it_is(h264: Path, mpeg4: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """H.264 stays with "auto", whatever the recipe for others is; a recipe alone converts it."""
    plain, forced = (ove_codec.select(h264, transcode=how, **FEW) for how in (False, "saliency"))
    kept = ove_codec.select(h264, transcode="auto:saliency", **FEW)
    np.testing.assert_array_equal(kept.scores, plain.scores)
    assert not np.array_equal(forced.scores, plain.scores)
    others = [ove_codec.select(mpeg4, transcode=how, **FEW).scores for how in ("auto:saliency", "saliency")]
    np.testing.assert_array_equal(*others)
    with pytest.raises(ValueError, match="unknown recipe 'auto:ours'"):
        ove_codec.select(h264, transcode="auto:ours", **FEW)
    out = tmp_path / "s.npz"
    argv = ["select", str(mpeg4), "--num-frames=4", "--size=56", "--budget=30", "-o", str(out), "--start=0.2"]
    assert main([*argv, "--transcode=auto:saliency"]) == 0
    expected = ove_codec.select(mpeg4, transcode="saliency", start=0.2, **FEW)
    np.testing.assert_array_equal(ove_codec.Selection.load(out).positions, expected.positions)
    assert ove_codec.Selection.load(out).frame_ids[0] == 5
    assert capsys.readouterr().err == ""


# Folders


@pytest.fixture
def folder(tmp_path: Path, h264: Path, mpeg4: Path) -> Path:
    """Videos of three codecs in two folders, one of them damaged, and what is no video."""
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(h264.read_bytes())
    (folder / "deep" / "b.avi").write_bytes(make(tmp_path / "b.avi", "mpeg4").read_bytes())
    (folder / "deep" / "er" / "c.mp4").write_bytes(mpeg4.read_bytes())
    (folder / "broken.mp4").write_bytes(bytes(range(256)) * 9)
    (folder / "notes.txt").write_text("no video")
    return folder


def listed(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[tuple[int, int]] = []
    done = transcode_folder(folder, out, workers=2, progress=lambda summary, total: seen.append((
        summary.transcoded + summary.kept + len(summary.failures), total)))  # fmt: skip
    assert (done.clips, done.transcoded, done.kept, done.finished) == (4, 2, 1, 0)
    assert seen == [(n, 4) for n in range(1, 5)] and done.pictures == 2 * PICTURES
    assert listed(out) == {"a.mp4", "deep/b.mp4", "deep/er/c.mp4", FAILURES, SETTINGS}
    assert (out / "a.mp4").samefile(folder / "a.mp4")
    assert (out / "deep/b.mp4").read_bytes() == ove_codec.transcode(folder / "deep/b.avi")
    with (out / FAILURES).open(newline="") as file:
        (failure,) = csv.DictReader(file)
    assert failure["name"] == "broken.mp4" and failure["error"] == done.failures[0].error

    # Again: what is there stays; what failed is tried again, and what has changed.
    before = {path: path.stat().st_ino for path in out.rglob("*.mp4")}
    again = transcode_folder(folder, out, workers=1)
    assert (again.transcoded, again.kept, again.finished, len(again.failures)) == (0, 0, 3, 1)
    assert {path: path.stat().st_ino for path in out.rglob("*.mp4")} == before
    (folder / "broken.mp4").write_bytes((folder / "deep/er/c.mp4").read_bytes())
    os.utime(folder / "deep/b.avi", (1, 1))
    third = transcode_folder(folder, out, workers=1)
    assert (third.transcoded, third.finished, third.failures) == (2, 2, [])
    assert not (out / FAILURES).exists()

    with pytest.raises(ValueError, match=r"made with other settings, .*reference"):
        transcode_folder(folder, out, "saliency")
    (out / SETTINGS).write_text("{")
    with pytest.raises(ValueError, match="made with other settings"):
        transcode_folder(folder, out)


def test_everything_and_names(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (folder / "broken.mp4").unlink()
    (folder / "deep" / "b.mkv").write_bytes(b"")
    done = transcode_folder(folder, out, "saliency", everything=True, workers=1)
    assert (done.transcoded, done.kept) == (3, 0)
    assert (out / "a.mp4").read_bytes() == ove_codec.transcode(folder / "a.mp4", recipe="saliency")
    (failure,) = done.failures
    assert failure.name == "deep/b.mkv"
    assert failure.reason == "its output would overwrite that of deep/b.avi: rename one of them"


def test_copied_where_there_are_no_links(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ove_codec.datasets.bulk_transcoding import TranscodingJob
    from ove_codec.datasets.clips import Clip

    def refused(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    job, clip = TranscodingJob(str(tmp_path / "out"), "reference", False), Clip("a.mp4", str(folder / "a.mp4"))
    made: Any = job.process(clip)
    assert made.kind == "copied" and job.finished(clip)
    assert (tmp_path / "out/a.mp4").read_bytes() == (folder / "a.mp4").read_bytes()


def test_bad_folders(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for output in (folder, folder / "deep" / "out"):
        with pytest.raises(ValueError, match="is inside"):
            transcode_folder(folder, output)
    for options, message in (({"recipe": "ours"}, "unknown recipe 'ours'"), ({"workers": 0}, "must be positive"),
                             ({"timeout": 0}, "must be positive")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            transcode_folder(folder, tmp_path / "out", **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="there are no clips"):
        transcode_folder(tmp_path / "empty", tmp_path / "out")
    for argv, message in (
        ([str(folder), str(tmp_path / "out"), "--start=1"], "--start is for a video, and this is a folder"),
        ([str(folder / "a.mp4"), str(tmp_path / "o.mp4"), "--everything"], "--everything is for a folder"),
    ):
        assert main(["transcode", *argv]) == 1
        assert message in capsys.readouterr().err


def test_command_of_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["transcode", str(folder), str(out), "--workers=1"]) == 0
    text, err = capsys.readouterr()
    assert "videos    4: 2 converted, 1 kept as they are, 0 finished before, 1 failed" in text
    assert err.startswith("ove-codec: broken.mp4: ") and err.count("\n") == 1 and f"failures  {out}/{FAILURES}" in text
    assert main(["transcode", str(folder), str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["finished"], [clip["name"] for clip in facts["failures"]]) == (3, ["broken.mp4"])
    only = tmp_path / "only"
    only.mkdir()
    (folder / "broken.mp4").rename(only / "broken.mp4")
    assert main(["transcode", str(only), str(tmp_path / "none")]) == 1
    assert "none of the 1 videos could be converted" in capsys.readouterr().err


def test_killed_and_resumed(folder: Path, tmp_path: Path) -> None:
    """Nothing is left half done, and the next run makes the rest."""
    for number in range(12):
        (folder / f"more{number}.avi").write_bytes((folder / "deep/b.avi").read_bytes())
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "ove_codec.cli", "transcode", str(folder), str(out), "--workers=1"]
    for how in (signal.SIGKILL, signal.SIGTERM):
        already = len(listed(out)) if out.exists() else 0
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while not out.exists() or len(listed(out)) < already + 3:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(how)
        assert process.returncode != 0
    done = transcode_folder(folder, out, workers=1)
    assert done.finished >= 4 and done.finished + done.transcoded + done.kept == 15
    expected = ove_codec.transcode(folder / "deep/b.avi")
    assert all((out / f"more{number}.mp4").read_bytes() == expected for number in range(12))
    assert not [name for name in listed(out) if "part" in name]
