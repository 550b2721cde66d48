"""Selection of whole data sets: every good clip is in the output exactly once, every bad one in the failures."""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _tar
from ove_codec.cli import main
from support import ffmpeg, scenes

pa = pytest.importorskip("pyarrow", reason="data sets need pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from ove_codec.datasets import Clip, Failure, list_clips, pool, select_dataset, write_report  # noqa: E402 (it needs pyarrow)
from ove_codec.datasets.job import Job, Result  # noqa: E402
from ove_codec.datasets.output import Output  # noqa: E402

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
FEW: dict[str, Any] = {"num_frames": 3, "size": 28, "budget": 6}
OPTIONS = ["--num-frames", "3", "--size", "28", "--budget", "6"]


def distinct(clip: Path, target: Path, number: int) -> Path:
    """The same video, with other bytes at its end that no reader looks at."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(clip.read_bytes() + (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))
    return target


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One clip of each of two codecs."""
    folder = tmp_path_factory.mktemp("videos")
    raw = scenes.moving_scene((64, 48), 6, seed=4)
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "64x48", "-r", "25", "-i", "-"]
    ffmpeg.run(["-v", "error", *source, "-c:v", "mpeg4", folder / "other.mp4"], raw)
    hevc = ffmpeg.encode(raw, (64, 48), "yuv420p", "bframes=0", folder / "hevc.mp4")
    return {"hevc": hevc, "mpeg4": folder / "other.mp4"}


@pytest.fixture(scope="module")
def folder(videos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good clips, the last of another codec, and three bad ones."""
    root = tmp_path_factory.mktemp("clips")
    for number in range(4):
        distinct(videos["hevc"], root / ("a" if number < 2 else "b") / f"{number}.mp4", number)
    shutil.copy(videos["mpeg4"], root / "b" / "other.MP4")
    (root / "empty.mp4").touch()
    (root / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(3000))
    (root / "notes.txt").write_text("no clip")
    cut = (root / "a" / "0.mp4").read_bytes()
    (root / "cut.mp4").write_bytes(cut[: len(cut) // 2])
    return root


GOOD = ["a/0.mp4", "a/1.mp4", "b/2.mp4", "b/3.mp4", "b/other.MP4"]
BAD = ["cut.mp4", "empty.mp4", "noise.mkv"]


def rows(output: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(output.glob("part-*.parquet")) for row in pq.read_table(file).to_pylist()]


def failures(output: Path) -> dict[str, str]:
    file = output / "_failures.parquet"
    return {row["name"]: row["reason"] for row in pq.read_table(file).to_pylist()} if file.exists() else {}


def assert_complete(output: Path, good: Iterable[str], bad: Iterable[str] = ()) -> None:
    """Every good clip exactly once, every bad one in the failures, and nothing half-written."""
    assert Counter(row["name"] for row in rows(output)) == Counter(good)
    assert sorted(failures(output)) == sorted(bad)
    assert not [name for _, _, names in os.walk(output) for name in names if name.endswith(".part")]


def test_parquet(folder: Path, tmp_path: Path) -> None:
    seen: list[Any] = []
    summary = select_dataset(
        folder, tmp_path / "out", workers=1, tokens="float16", shard_clips=2, on_outcome=seen.append, **FEW
    )
    assert_complete(tmp_path / "out", GOOD, BAD)
    assert (summary.clips, summary.done, summary.finished, summary.failed, summary.shards) == (8, 5, 0, 3, 3)
    assert summary.tokens == 30 and sum(summary.reasons.values()) == 3 and summary.clips_per_second > 0
    assert Counter(type(outcome).__name__ for outcome in seen) == {"Result": 5, "Failure": 3}
    for row in rows(tmp_path / "out"):
        path = folder / row["name"]
        assert row["key"] == hashlib.sha256(path.read_bytes()).hexdigest()
        selection = ove_codec.select(path, transcode=True, **FEW)
        source = ove_codec.transcode(path) if row["codec"] == "mpeg4" else path
        np.testing.assert_array_equal(row["positions"], selection.positions)
        np.testing.assert_array_equal(row["frame_ids"], selection.frame_ids)
        np.testing.assert_array_equal(np.float32(row["scores"]), selection.scores[tuple(selection.positions.T)])
        np.testing.assert_allclose(row["pts"], ove_codec.open(source).index.pts[selection.frame_ids])
        tokens = ove_codec.tokenize(source, selection).patches.numpy().astype(np.float16)
        np.testing.assert_array_equal(np.array(row["tokens"], np.float16), tokens)
        facts = [row[name] for name in ("pictures", "width", "height", "rows", "columns", "patch_size")]
        assert facts == [6, 64, 48, 2, 2, 14] and json.loads(row["geometry"])["resize"] == "crop"
    write_report(tmp_path / "out", clips=1)
    table = pq.read_table(tmp_path / "out")  # the shards alone, though failures and a page lie beside them
    assert table.column("name").to_pylist() == [row["name"] for row in rows(tmp_path / "out")]
    assert failures(tmp_path / "out") and (tmp_path / "out" / "_report.html").is_file()
    settings = json.loads(table.schema.metadata[b"ove_codec"])
    assert settings["params"]["num_frames"] == 3 and settings["transcode"] is True
    reasons = failures(tmp_path / "out")
    assert "is empty" in reasons["empty.mp4"] and "not a video" in reasons["noise.mkv"]


def test_a_second_run_does_what_is_left(folder: Path, videos: dict[str, Path], tmp_path: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(folder, clips)
    select_dataset(clips, out, workers=2, **FEW)
    before = {path: path.read_bytes() for path in out.glob("part-*")}
    (out / "_failures.parquet").rename(out / "failures.parquet")  # as earlier versions named it
    # Nothing is new; the folder has moved; a file was touched; one was mended, one added, one changed.
    clips.rename(tmp_path / "moved")
    os.utime(tmp_path / "moved" / "a" / "0.mp4", (1, 1))
    distinct(videos["hevc"], tmp_path / "moved" / "cut.mp4", 50)
    distinct(videos["hevc"], tmp_path / "moved" / "new.mp4", 51)
    distinct(videos["hevc"], tmp_path / "moved" / "b" / "2.mp4", 52)
    seen: list[Any] = []
    summary = select_dataset(tmp_path / "moved", out, workers=2, on_outcome=seen.append, **FEW)
    assert (summary.done, summary.finished, summary.failed) == (3, 4, 2)
    assert sorted(o.clip.name for o in seen if isinstance(o, Result)) == ["b/2.mp4", "cut.mp4", "new.mp4"]
    assert_complete(out, [*GOOD, "b/2.mp4", "cut.mp4", "new.mp4"], ["empty.mp4", "noise.mkv"])
    assert all(path.read_bytes() == data for path, data in before.items())
    assert not (out / "failures.parquet").exists()
    for path in ("empty.mp4", "noise.mkv"):
        (tmp_path / "moved" / path).unlink()
    select_dataset(tmp_path / "moved", out, workers=2, **FEW)
    assert not (out / "_failures.parquet").exists()
    with pytest.raises(ValueError, match=r"other settings \(params\)"):
        select_dataset(tmp_path / "moved", out, num_frames=4, size=28)
    with pytest.raises(ValueError, match="other files"):
        select_dataset(tmp_path / "moved", folder, **FEW)


# Formats


def test_webdataset(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    select_dataset(
        folder,
        out,
        format="webdataset",
        tokens="float32",
        video=True,
        transcode="saliency",
        workers=2,
        shard_clips=3,
        **FEW,
    )
    assert sorted(failures(out)) == BAD
    sizes = json.loads((out / "sizes.json").read_text())
    found = {}
    for shard in sorted(out.glob("part-*.tar")):
        with shard.open("rb") as file:
            entries = _tar.index(file)
            assert len(entries) == sizes[shard.name]
            for _, members in entries:
                assert list(members) == ["json", "npz", "tokens.npy", "mp4"]
                data = {}
                for suffix, (offset, size) in members.items():
                    file.seek(offset)
                    data[suffix] = file.read(size)
                found[json.loads(data["json"])["name"]] = data
    assert sorted(found) == GOOD
    for name, data in found.items():
        assert data["mp4"] == ove_codec.transcode(folder / name, recipe="saliency", threads=1)
        selection = ove_codec.Selection.load(io.BytesIO(data["npz"]))
        expected = ove_codec.select(data["mp4"], **FEW)
        np.testing.assert_array_equal(selection.positions, expected.positions)
        np.testing.assert_array_equal(selection.scores, expected.scores)
        tokens = np.load(io.BytesIO(data["tokens.npy"]))
        np.testing.assert_array_equal(tokens, ove_codec.tokenize(data["mp4"], expected).patches.numpy())


def test_webdataset_reads_it(folder: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="checks that its own reader takes the shards")
    select_dataset(folder / "a", tmp_path, format="webdataset", workers=1, **FEW)
    samples = list(webdataset.WebDataset(str(tmp_path / "part-000000.tar"), shardshuffle=False))
    assert len(samples) == 2 and {"json", "npz", "__key__"} <= set(samples[0])


def test_shards_are_input_too(folder: Path, tmp_path: Path) -> None:
    first, out = tmp_path / "first", tmp_path / "out"
    select_dataset(folder, first, format="webdataset", video=True, workers=2, shard_clips=2, **FEW)
    (first / "part-000009.tar").write_bytes(b"no tar file" * 100)
    with tarfile.open(first / "part-000008.tar", "w") as tar:
        _tar.add_sample(tar, "text", {"txt": b"no video"})
    for source in (first, first / "part-{000000..000002}.tar"):
        shutil.rmtree(out, ignore_errors=True)
        select_dataset(source, out, workers=2, transcode=False, **FEW)
        assert len(rows(out)) == 5
        bad = failures(out)
        assert len(bad) == (2 if source == first else 0)
    by_key = {row["key"]: row for row in rows(out)}
    data = (folder / "a" / "0.mp4").read_bytes()
    assert by_key[hashlib.sha256(data).hexdigest()]["name"].startswith("a_0-")
    again = select_dataset(first / "part-{000000..000002}.tar", out, transcode=False, **FEW)
    assert (again.done, again.finished) == (0, 5)


def test_reference_files(folder: Path, tmp_path: Path) -> None:
    """By the contract of the reference's two stages: order, chunks, mosaics, names."""
    from PIL import Image

    table = tmp_path / "clips.jsonl"
    talk = [{"from": "human", "value": "<video>\nWhat is it?"}, {"from": "gpt", "value": "A scene."}]
    table.write_text(
        json.dumps({"id": 7, "video": str(folder / "a" / "0.mp4"), "conversations": talk})
        + "\n"
        + json.dumps({"id": 8, "video": str(folder / "b" / "3.mp4"), "conversations": []})
    )
    out = tmp_path / "out"
    params: dict[str, Any] = {"size": 96, "patch_size": 16, "budget": 72, "num_frames": 4}
    select_dataset(table, out, "llava", format="reference", workers=1, **params)
    lines = [json.loads(line) for line in (out / "data.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [7, 8]
    assert lines[0]["conversations"][0]["value"] == "<image>\n<image>\nWhat is it?"
    path = str(folder / "a" / "0.mp4")
    clip = out / lines[0]["positions_thw"].split("/")[0]
    assert clip.name == f"sample_7__0__{hashlib.sha1(path.encode()).hexdigest()[:8]}"
    selection = ove_codec.select(folder / "a" / "0.mp4", "llava", **params)
    positions = np.load(clip / "positions_thw.npy")
    np.testing.assert_array_equal(positions, selection.positions)
    stem = next(clip.glob("*.visidx_thw.npy")).name.removesuffix(".visidx_thw.npy")
    assert re.fullmatch(rf"{clip.name}__[0-9a-f]{{8}}_T4_square96_p16_K72", stem)
    visible = np.load(clip / f"{stem}.visidx_thw.npy")
    assert visible.dtype == positions.dtype == np.int32
    np.testing.assert_array_equal(visible[:36], np.argwhere(np.ones((1, 6, 6))))
    scores = selection.scores[tuple(visible[36:].T)]
    assert (np.diff(scores) <= 0).all() and {*map(tuple, visible)} == {*map(tuple, positions)}
    ids = np.load(clip / f"{stem}.frame_ids.npy")
    np.testing.assert_array_equal(ids, selection.frame_ids)
    meta = json.loads((clip / f"{stem}.meta.json").read_text())
    assert (meta["K"], meta["S_total"], meta["hb"], meta["wb"], meta["H0"], meta["W0"]) == (72, 36, 6, 6, 48, 64)
    assert meta["pad_info"]["pad_top"] == 12 and meta["valid_ranges"]["valid_h_start"] == 1
    frames = ove_codec.frames(
        folder / "a" / "0.mp4", selection.frame_ids, size=96, resize="letterbox", normalize=False
    ).numpy()
    for number, name in enumerate(lines[0]["image"]):
        with Image.open(out / name) as image:
            mosaic = np.asarray(image, int)
        for j in range(36):
            t, h, w = positions[36 * number + j]
            patch = frames[t, :, 16 * h : 16 * h + 16, 16 * w : 16 * w + 16].transpose(1, 2, 0)
            row, column = divmod(j, 6)
            got = mosaic[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            assert np.abs(got - patch).mean() < 12  # JPEG
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    (out / "sample_left_over").mkdir()
    again = select_dataset(table, out, "llava", format="reference", workers=1, **params)
    assert again.finished == 2 and {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")} == before
    assert not (out / "sample_left_over").exists()
    with pytest.raises(ValueError, match="multiple of 36"):
        select_dataset(table, tmp_path / "x", "llava", format="reference", **{**params, "budget": 70})


# Inputs


def test_tables(folder: Path, tmp_path: Path) -> None:
    places = [str(folder / name) for name in GOOD]
    shutil.copy(folder / "a" / "0.mp4", tmp_path / "beside.mp4")
    with open(tmp_path / "t.csv", "w", newline="") as text:
        csv.writer(text).writerows([["id", "path"], ["one", places[0]], ["two", "beside.mp4"], ["three", ""]])
    (tmp_path / "t.jsonl").write_text(
        f"{json.dumps({'video': places[0], 'extra': [1]})}\nbroken\n\n{json.dumps({'video': 5})}\n[1]\n"
    )
    pq.write_table(pa.table({"clip": places, "label": list(range(5))}), tmp_path / "t.parquet")
    found = list_clips(tmp_path / "t.csv")
    assert [(c.name, c.place) for c in found.clips] == [("one", places[0]), ("two", str(tmp_path / "beside.mp4"))]
    assert [f.name for f in found.failures] == [f"{tmp_path}/t.csv, line 4"]
    found = list_clips(tmp_path / "t.jsonl")
    assert [(c.name, c.row) for c in found.clips] == [(places[0], {"extra": [1]})]
    assert [f.name.rpartition(" ")[2] for f in found.failures] == ["2", "4", "5"]
    found = list_clips(tmp_path / "t.parquet", column="clip")
    assert [c.place for c in found.clips] == places and found.clips[3].row == {"label": 3}
    with pytest.raises(ValueError, match=r"t\.parquet, row 0: there is no column video or .*only clip, label"):
        list_clips(tmp_path / "t.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match=r"bad\.parquet is not a Parquet"):
        list_clips(tmp_path / "bad.parquet")


def test_folders_patterns_and_lists(folder: Path, tmp_path: Path) -> None:
    assert [c.name for c in list_clips(folder).clips] == [*GOOD, *BAD]
    assert [c.name for c in list_clips(f"{folder}/a/*.mp4").clips] == ["0.mp4", "1.mp4"]
    assert [c.name for c in list_clips(f"{folder}/**/*.mp4").clips] == sorted([*GOOD[:4], "cut.mp4", "empty.mp4"])
    assert [c.name for c in list_clips(f"{folder}/a/{{0..1}}.mp4").clips] == ["0.mp4", "1.mp4"]
    both = list_clips([str(folder / "a"), f"{folder}/a/0.mp4", f"file://{folder}/a/1.mp4"])
    assert [c.name for c in both.clips] == ["0.mp4", "1.mp4"] and both.repeated == 2
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        list_clips(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="there are no clips"):
        list_clips(tmp_path)


def test_urls(folder: Path, tmp_path: Path) -> None:
    """Input and output in a file system that is none of this machine's, here fsspec's in memory, without workers."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in GOOD[:3]:
        memory.pipe_file(f"/clips/{name}", (folder / name).read_bytes())
    listing = list_clips("memory://clips")
    assert [c.name for c in listing.clips] == GOOD[:3]
    assert list_clips("memory://clips/a/*.mp4").clips[1].place == "memory:///clips/a/1.mp4"
    job = Job(params=FEW)
    results = [job.process(clip) for clip in listing.clips]
    first: Any = None
    output = Output("memory://out", job, 2, 1 << 20)
    for result in results:
        assert isinstance(result, Result) and output.add(result)
        first = result if result.clip.name == GOOD[0] else first
    output.flush()
    output.write_failures([Failure("x", "memory://x", "OSError", "it is gone")])
    names = sorted(path for path in memory.find("/out"))
    assert [name.removeprefix("/out/") for name in names] == [
        "_failures.parquet", "_manifest/job.json", "_manifest/part-000000.jsonl", "_manifest/part-000001.jsonl",
        "part-000000.parquet", "part-000001.parquet",
    ]  # fmt: skip
    with memory.open("/out/part-000000.parquet") as file:
        assert [row["name"] for row in pq.read_table(file).to_pylist()] == GOOD[:2]
    again = Output("memory://out", job, 2, 1 << 20)
    assert all(again.keys(name) for name in GOOD[:3]) and not again.add(first)


def test_names_that_are_no_text(videos: dict[str, Path], tmp_path: Path) -> None:
    """Names need not be UTF-8, nor differ."""
    clips = os.fsencode(tmp_path / "clips")
    os.makedirs(clips + b"/x")
    os.makedirs(clips + b"/y")
    try:
        with open(clips + b"/caf\xe9 \xff.mp4", "wb") as file:
            file.write(videos["hevc"].read_bytes())
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    distinct(videos["hevc"], tmp_path / "clips" / "x" / "same.mp4", 1)
    distinct(videos["hevc"], tmp_path / "clips" / "y" / "same.mp4", 2)
    for format in ("parquet", "webdataset"):
        summary = select_dataset(tmp_path / "clips", tmp_path / format, format=format, workers=1, **FEW)
        assert (summary.done, summary.failed) == (3, 0)
        assert select_dataset(tmp_path / "clips", tmp_path / format, format=format, workers=1, **FEW).finished == 3
    assert_complete(tmp_path / "parquet", ["caf\\xe9 \\xff.mp4", "x/same.mp4", "y/same.mp4"])
    # One name for two clips, and one clip listed by two names of its place.
    table = tmp_path / "t.jsonl"
    places = ["clips/x/same.mp4", "clips/y/same.mp4", "./clips/x/same.mp4"]
    table.write_text("".join(json.dumps({"id": "twin", "path": place}) + "\n" for place in places))
    summary = select_dataset(table, tmp_path / "twins", workers=1, **FEW)
    assert (summary.done, summary.repeated) == (2, 1)
    assert len({row["key"] for row in rows(tmp_path / "twins")}) == 2


# What goes wrong


def test_a_worker_that_is_killed(videos: dict[str, Path], tmp_path: Path) -> None:
    for number in range(6):
        distinct(videos["hevc"], tmp_path / "clips" / f"{number}.mp4", number)
    killed: list[int] = []

    def kill(_: Any) -> None:
        if len(killed) < 3:
            child = multiprocessing.active_children()[-1]
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            killed.append(child.pid)

    summary = select_dataset(tmp_path / "clips", tmp_path / "out", workers=2, attempts=4, on_outcome=kill, **FEW)
    assert len(killed) == 3 and summary.done == 6
    assert_complete(tmp_path / "out", [f"{n}.mp4" for n in range(6)])


def test_a_clip_that_ends_its_worker(folder: Path, tmp_path: Path) -> None:
    """It is tried again, then called a failure; the clips beside it are not harmed. So is one that takes for ever."""
    fifo = tmp_path / "endless.mp4"
    os.mkfifo(fifo)  # reading waits until somebody writes
    clips = [Clip("endless", str(fifo)), *(Clip(name, str(folder / name)) for name in GOOD[:3])]
    tasks: list[pool.Task] = [(clip, ()) for clip in clips]
    job = Job(params=FEW)

    def end_readers() -> None:
        for _ in range(2):
            with open(fifo, "wb") as writer:  # as soon as a worker reads
                for child in multiprocessing.active_children():
                    if any(os.readlink(fd) == str(fifo) for fd in Path(f"/proc/{child.pid}/fd").iterdir()):
                        child.kill()
                        child.join()
                writer.close()

    thread = threading.Thread(target=end_readers, daemon=True)
    thread.start()
    outcomes = list(pool.run(tasks, job, 2, attempts=2))
    thread.join()
    (failure,) = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert (failure.name, failure.error, failure.attempts) == ("endless", "WorkerDied", 2)
    assert "SIGKILL" in failure.reason
    assert sorted(o.clip.name for o in outcomes if isinstance(o, Result)) == GOOD[:3]

    outcomes = list(pool.run(tasks, job, 2, timeout=3))
    (failure,) = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert (failure.name, failure.error) == ("endless", "TimeoutError") and "3 s" in failure.reason
    assert len(outcomes) == 4


class SlowToStart:
    """Work whose worker takes longer to start than a clip may take."""

    def __setstate__(self, state: object) -> None:
        time.sleep(1.5)

    def __getstate__(self) -> dict[str, bool]:
        return {"slow": True}

    def process(self, clip: Clip, known: tuple[str, ...] = ()) -> str:
        return clip.name


def test_the_start_of_a_worker_counts_for_no_clip() -> None:
    clips: list[pool.Task] = [(Clip(name, name), ()) for name in ("one", "two")]
    assert sorted(map(str, pool.run(clips, SlowToStart(), 2, timeout=1))) == ["one", "two"]


def test_an_exit_code_that_another_thread_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stores it a moment after the process has ended; where nobody does, the run goes on all the same."""

    class Ended:
        def __init__(self, codes: list[int | None]) -> None:
            self.codes = codes

        @property
        def exitcode(self) -> int | None:
            return self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]

    assert pool._exit_code(Ended([None, None, -9])) == -9
    monkeypatch.setattr(pool, "_REAPED", 0.05)
    code = pool._exit_code(Ended([None]))
    assert code is None and "died" in pool._end_of(code)


def run_command(clips: Path, out: Path, *options: str, **popen: Any) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "ove_codec.cli", "select-dataset", str(clips), str(out), *OPTIONS, *options]
    return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "asked to end"])
def test_a_run_that_is_ended(videos: dict[str, Path], tmp_path: Path, end: signal.Signals) -> None:
    """Shards that were whole stay, nothing of them is done again, and the next run completes the set."""
    names = [f"{number:02}.mp4" for number in range(16)]
    for number, name in enumerate(names):
        distinct(videos["hevc"], tmp_path / "clips" / name, number)
    out = tmp_path / "out"
    process = run_command(tmp_path / "clips", out, "--workers", "1", "--shard-clips", "2")
    deadline = time.monotonic() + 60
    while len(list(out.glob("_manifest/part-*.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(end)
    assert process.wait(timeout=30) == (-9 if end == signal.SIGKILL else 130)
    whole = {path: path.read_bytes() for path in out.glob("part-*.parquet") if _has_manifest(path)}
    done = sum(len(pq.read_table(path)) for path in whole)
    assert 4 <= done < 16
    (out / ".part-000099.parquet.part").write_bytes(b"half")
    (out / "part-000098.parquet").write_bytes(b"without a manifest")
    seen: list[Any] = []
    summary = select_dataset(tmp_path / "clips", out, workers=2, shard_clips=2, on_outcome=seen.append, **FEW)
    assert (summary.finished, summary.done) == (done, 16 - done) and len(seen) == 16 - done
    assert all(path.read_bytes() == data for path, data in whole.items())
    assert_complete(out, names)


def _has_manifest(shard: Path) -> bool:
    return (shard.parent / "_manifest" / f"{shard.stem}.jsonl").exists()


def test_a_disk_that_is_full(videos: dict[str, Path], tmp_path: Path) -> None:
    """Here files may only grow so far. The run stops, says what to do, and goes on when there is room."""
    for number in range(3):
        distinct(videos["hevc"], tmp_path / "clips" / f"{number}.mp4", number)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))

    options = ["--workers", "1", "--shard-clips", "2"]
    process = run_command(tmp_path / "clips", tmp_path / "out", *options, preexec_fn=small_files)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "File too large" in errors and "0 clips are in shards" in errors and "run the same command again" in errors
    assert list((tmp_path / "out").glob("*part-*")) == []
    summary = select_dataset(tmp_path / "clips", tmp_path / "out", workers=1, **FEW)
    assert summary.done == 3
    assert_complete(tmp_path / "out", ["0.mp4", "1.mp4", "2.mp4"])


def test_one_run_at_a_time(folder: Path, tmp_path: Path) -> None:
    def again(_: Any) -> None:
        with pytest.raises(BlockingIOError, match="another run"):
            select_dataset(folder / "a", tmp_path, workers=1, **FEW)

    assert select_dataset(folder / "a", tmp_path, workers=1, on_outcome=again, **FEW).done == 2


def test_refusals(folder: Path, tmp_path: Path) -> None:
    for wrong, message in (
        ({"format": "zip"}, "format must be one of parquet"),
        ({"tokens": "int4"}, "tokens must be"),
        ({"video": True}, "webdataset"),
        ({"transcode": "ours"}, "unknown recipe 'ours'"),
        ({"engine": "none"}, "local, ray"),
        ({"workers": 0}, "workers must be positive"),
        ({"device": "cda"}, "device must name a CPU or CUDA device"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used: "),
        ({"engine": "ray", "timeout": 3.0}, "timeout"),
        ({"format": "reference"}, "llava"),
    ):
        settings: dict[str, Any] = {**wrong, "num_frames": 3, "size": 30 if "format" in wrong else 28}
        with pytest.raises(ValueError, match=message):
            select_dataset(folder, tmp_path / "out", **settings)
    with pytest.raises(TypeError, match="bugdet"):
        select_dataset(folder, tmp_path / "out", bugdet=3)  # type: ignore[call-arg]
    assert not (tmp_path / "out").exists()


def test_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["select-dataset", str(folder), str(tmp_path / "out"), "--workers", "2", *OPTIONS]
    assert main([*argv, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["clips"], facts["done"], facts["failed"], facts["tokens"]) == (8, 5, 3, 30)
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "0 done, 5 finished before, 3 failed" in text and "_failures.parquet" in text
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "empty.mp4").touch()
    assert main(["select-dataset", str(tmp_path / "bad"), str(tmp_path / "out2")]) == 1
    assert "none of the 1 clips" in capsys.readouterr().err
    assert main(["select-dataset", str(tmp_path / "nowhere"), str(tmp_path / "out3")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_without_extras(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'ove_codec\[dataset\]'"):
        select_dataset(folder, tmp_path / "out", **FEW)
    for name in ("fsspec", "fsspec.core"):  # others may have imported it
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'ove_codec\[dataset\]'"):
        list_clips("memory://clips")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'ove_codec\[ray\]'"):
        select_dataset(folder, tmp_path / "out", engine="ray", **FEW)


def test_the_benchmark_sees_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[1]
    monkeypatch.syspath_prepend(str(root / "bench"))
    bench = importlib.import_module("dataset")
    monkeypatch.setattr(bench, "BASES", 1)
    monkeypatch.setattr(bench, "PICTURES", 4)
    clips, good, broken = bench.make_clips(tmp_path, 52)
    assert (len(good), broken) == (51, {"0/00050.mp4"})
    out = tmp_path / "out"
    select_dataset(clips, out, workers=2, shard_clips=20, **FEW)
    assert bench.check(out, good, broken) == ""
    shutil.copy(out / "part-000000.parquet", out / "part-000007.parquet")
    assert "20 clips are there twice" in bench.check(out, good, broken)
    (out / "part-000007.parquet").unlink()
    (out / "part-000000.parquet").unlink()
    (out / "_failures.parquet").unlink()
    wrong = bench.check(out, good, broken)
    assert "20 good clips lack" in wrong and "the failures are 0, not the 1" in wrong
