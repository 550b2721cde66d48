"""Windows of sources that are still being written: pipes, sockets, files that grow, and those who go away."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import ove_codec
from support import ffmpeg
from test_anchors import encoded as anchor_clip

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="needs ffmpeg with libx265")

OPTIONS: dict[str, Any] = {"window": 1.0, "fps": 5.0, "budget": 40, "size": 56}
Summary = list[tuple[float, list[float], int]]


@pytest.fixture(params=["hevc-open", "h264-closed"])
def clip(request: pytest.FixtureRequest, stream_folder: Path) -> Path:
    """90 pictures at 25 a second in a transport stream."""
    path = stream_folder / f"live_{request.param}.ts"
    if not path.exists():
        source = anchor_clip(stream_folder, request.param)
        ffmpeg.run(["-v", "error", "-i", source, "-c", "copy", "-f", "mpegts", "-y", path])
    return path


def summary(windows: Iterator[ove_codec.Window]) -> Summary:
    return [(w.start, w.pts.tolist(), len(w.tokens)) for w in windows]


@pytest.fixture
def expected(clip: Path) -> Summary:
    found = summary(ove_codec.stream(clip, **OPTIONS))
    assert [len(times) for _, times, _ in found] == [5, 5, 5, 3]
    return found


def writes(target: Any, data: bytes, pause: float = 0.0) -> threading.Thread:
    """Writes half of it, and the rest after a pause, in a thread of its own."""

    def run() -> None:
        with target() as file:
            for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                file.write(part)
                file.flush()
                time.sleep(pause)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_a_named_pipe_and_the_end_of_a_process(clip: Path, expected: Summary, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writes(lambda: pipe.open("wb"), clip.read_bytes(), 0.1)
    assert summary(ove_codec.stream(pipe, timeout=20, **OPTIONS)) == expected
    with subprocess.Popen(["cat", clip], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert summary(ove_codec.stream(process.stdout, timeout=20, **OPTIONS)) == expected


def test_sockets(clip: Path, expected: Summary, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    writes(lambda: theirs.makefile("wb"), clip.read_bytes())
    theirs.close()
    with ours:
        assert summary(ove_codec.stream(ours, timeout=20, **OPTIONS)) == expected
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()

        def accept() -> BinaryIO:
            connection, _ = server.accept()
            with connection:
                return connection.makefile("wb")

        writes(accept, clip.read_bytes())
        assert summary(ove_codec.stream(tmp_path / "socket", timeout=20, **OPTIONS)) == expected


def test_a_file_that_grows(clip: Path, expected: Summary, tmp_path: Path) -> None:
    path, data = tmp_path / "growing.ts", clip.read_bytes()
    path.write_bytes(data[:1000])
    writes(lambda: path.open("ab"), data[1000:], 0.3)
    assert summary(ove_codec.stream(path, follow=True, timeout=1.5, **OPTIONS)) == expected


def test_file_objects(clip: Path, expected: Summary) -> None:
    assert summary(ove_codec.stream(io.BytesIO(clip.read_bytes()), **OPTIONS)) == expected
    with clip.open("rb") as file:
        assert summary(ove_codec.stream(file, timeout=20, **OPTIONS)) == expected
    with pytest.raises(TypeError, match="binary"):
        list(ove_codec.stream(io.StringIO("text"), **OPTIONS))
    with pytest.raises(TypeError, match="int"):
        ove_codec.stream(3, **OPTIONS)


def test_standard_input(clip: Path, expected: Summary) -> None:
    code = "import ove_codec; print([w.pts.tolist() for w in ove_codec.stream('-', window=1.0, fps=5.0, pixels=False)])"
    with clip.open("rb") as file:
        done = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([times for _, times, _ in expected])


@pytest.mark.parametrize("through_file_object", [False, True])
def test_a_source_that_stalls_ends_in_time(clip: Path, expected: Summary, through_file_object: bool) -> None:
    reads, stalls = os.pipe()
    data = clip.read_bytes()
    writer = threading.Thread(target=os.write, args=(stalls, data[: len(data) * 2 // 3]), daemon=True)
    writer.start()
    source: Any = os.fdopen(reads, "rb") if through_file_object else f"/dev/fd/{reads}"
    windows = ove_codec.stream(source, timeout=0.7, **OPTIONS)
    found = []
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match="no data arrived for"):
        found += [(w.start, w.pts.tolist(), len(w.tokens)) for w in windows]
    assert time.monotonic() - begin < 20
    os.close(stalls)


def test_a_transport_stream_may_begin_anywhere(clip: Path, expected: Summary) -> None:
    data = clip.read_bytes()
    whole = {pts for _, times, _ in summary(ove_codec.stream(clip, **{**OPTIONS, "fps": 25.0})) for pts in times}
    for cut in (77, 3001, len(data) // 3):
        found = summary(ove_codec.stream(io.BytesIO(data[cut:]), **{**OPTIONS, "fps": 25.0}))
        times = [pts for _, times, _ in found for pts in times]
        assert times and set(times) <= whole and times == sorted(times) and max(times) == max(whole)


def test_windows_come_before_the_source_ends(clip: Path, expected: Summary) -> None:
    reads, stays = os.pipe()
    data = clip.read_bytes()
    threading.Thread(target=os.write, args=(stays, data[: len(data) * 9 // 10]), daemon=True).start()
    windows = ove_codec.stream(f"/dev/fd/{reads}", timeout=20, **OPTIONS)
    assert summary(iter([next(windows), next(windows)])) == expected[:2]
    windows.close()  # the reader goes away
    os.close(reads)
    with pytest.raises(BrokenPipeError):
        os.write(stays, b"\0")
    os.close(stays)


def test_what_cannot_be_read(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ove_codec.stream(tmp_path / "none", **OPTIONS)
    with pytest.raises(ValueError, match="timeout"):
        ove_codec.stream(clip, timeout=0, **OPTIONS)
    with pytest.raises(ove_codec.DecodeError):
        list(ove_codec.stream(io.BytesIO(b"no video" * 99), **OPTIONS))
    audio = tmp_path / "clip.mkv"
    ffmpeg.run(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:d=1", "-c:v", "mpeg4", "-y", audio])
    with pytest.raises(ove_codec.UnsupportedStreamError, match="mpeg4"):
        list(ove_codec.stream(audio, **OPTIONS))


def test_windows_on_the_command_line(clip: Path, expected: Summary) -> None:
    command = [sys.executable, "-m", "ove_codec.cli", "select", "-", "--window", "1", "--fps", "5", "--budget", "40"]
    with clip.open("rb") as file:
        done = subprocess.run([*command, "--json"], stdin=file, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["start"], line["pts"], line["lost"]) for line in lines] == [(s, pts, []) for s, pts, _ in expected]
    pipe = subprocess.run(f"cat {clip} | {' '.join(command)}", shell=True, capture_output=True, text=True, check=True)
    assert pipe.stdout.count("40 of") == len(expected)
    for wrong in (["--stride", "1"], ["--window", "1", "-o", "out.npz"]):
        done = subprocess.run([*command[:4], clip, *wrong], capture_output=True, text=True)
        assert done.returncode and "--window" in done.stderr


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_select_from_standard_input(clip: Path, name: str) -> None:
    command = [sys.executable, "-m", "ove_codec.cli", "select", "--json"]
    direct = subprocess.run([*command, clip], capture_output=True, text=True, check=True)
    with subprocess.Popen(["cat", clip], stdout=subprocess.PIPE) as cat:
        piped = subprocess.run([*command, name], stdin=cat.stdout, capture_output=True, text=True, check=True)
    first, second = (json.loads(done.stdout) for done in (direct, piped))
    assert {**first, "file": ""} == {**second, "file": ""}


def test_the_camera_example(clip: Path) -> None:
    pytest.importorskip("av")
    example = Path(__file__).resolve().parents[1] / "examples" / "camera.py"
    command: list[str | Path] = [sys.executable, example, clip, "--window", "1", "--stride", "0.5", "--budget", "64"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("64 features") >= 6 and "lost" not in done.stdout


@pytest.mark.parametrize("front", [False, True])
def test_an_mp4_that_is_complete(clip: Path, expected: Summary, tmp_path: Path, front: bool) -> None:
    path = tmp_path / "clip.mp4"
    flags = ["-movflags", "+faststart"] if front else []
    ffmpeg.run(["-v", "error", "-i", clip, "-c", "copy", *flags, "-y", path])
    begin = expected[0][0]
    found = [(w.start, w.pts.tolist(), len(w.tokens)) for w in ove_codec.stream(path, **OPTIONS)]
    assert [round(start - found[0][0] + begin, 3) for start, _, _ in found] == [round(s, 3) for s, _, _ in expected]
    assert [(len(pts), count) for _, pts, count in found] == [(len(pts), count) for _, pts, count in expected]
    piped = ove_codec.stream(io.BytesIO(path.read_bytes()), **OPTIONS)
    if front:
        assert summary(piped) == found
    else:
        with pytest.raises(ove_codec.DecodeError, match=r"tables \(moov\) follow.*empty_moov"):
            list(piped)


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_is_lost_behind_the_last_window(clip: Path, tmp_path: Path, goes_on: bool) -> None:
    data = clip.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    # One window a picture: what follows the loss is in none, even if another codec goes on.
    damaged = b"".join(packets[:-40] + packets[-39:])
    if goes_on:
        codec, other = ("libx264" if "hevc" in clip.name else "libx265"), tmp_path / "other.ts"
        ffmpeg.run(["-v", "error", "-i", clip, "-c:v", codec, "-bf", "0", "-y", other])
        damaged += other.read_bytes()
    windows = ove_codec.stream(io.BytesIO(damaged), window=0.04, num_frames=1, budget=4, size=56)
    taken: list[ove_codec.Window] = []
    with pytest.raises(ove_codec.DecodeError, match=r"the last pictures are lost, with packets [78]\d to 89"):
        taken.extend(windows)
    assert (len(taken) > 120) if goes_on else (60 < len(taken) < 90)


def test_a_stream_without_a_beginning(clip: Path) -> None:
    data = clip.read_bytes()
    headers, tail = data[: 3 * 188], data[-(len(data) // 188 // 20) * 188 :]
    with pytest.raises(ove_codec.DecodeError, match=r"<file object>: it ended before the first picture that can be"):
        list(ove_codec.stream(io.BytesIO(headers + tail), **OPTIONS))
