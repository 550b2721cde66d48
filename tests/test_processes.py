"""Videos in other processes: data loaders, forks while threads are at work, leaks, the end of the interpreter."""

import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

import ove_codec
from support import clips, ffmpeg

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

SMALL: dict[str, Any] = {"num_frames": 4, "size": 56, "budget": 20}

# The child of a process with threads finds locks of AddressSanitizer's allocator as they were.
forks_at_work = pytest.mark.skipif(
    os.environ.get("OVE_SANITIZER") == "address", reason="AddressSanitizer does not survive a fork among threads"
)


@pytest.fixture(scope="module")
def clip(stream_folder: Path) -> Path:
    return clips.moving_clip(stream_folder)


def crc(picture: ove_codec.Picture) -> int:
    return zlib.crc32(np.ascontiguousarray(picture.mv).data, zlib.crc32(np.ascontiguousarray(picture.residual).data))


class Pictures(Dataset[tuple[int, int]]):
    """Every picture by itself, at random."""

    def __init__(self, video: ove_codec.Video) -> None:
        self.video = video

    def __len__(self) -> int:
        return clips.PICTURES

    def __getitem__(self, index: int) -> tuple[int, int]:
        return index, crc(next(self.video.seek(index=index)))


class Windows(IterableDataset[tuple[int, torch.Tensor]]):
    """The tokens of half a second after another, dealt to the workers in turn."""

    def __init__(self, video: ove_codec.Video) -> None:
        self.video = video

    def __iter__(self) -> Any:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        for n in range(number, 4, count):
            selection = ove_codec.select(self.video, start=n * 0.24, end=(n + 1) * 0.24, **SMALL)
            yield n, ove_codec.tokenize(self.video, selection).patches


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("method", [pytest.param("fork", marks=forks_at_work), "spawn"])
def test_data_loader(clip: Path, method: str, workers: int) -> None:
    video = ove_codec.open(clip, threads=2)
    reader = iter(video)  # its threads are at work where the process forks
    next(reader)
    options: dict[str, Any] = {"num_workers": workers, "multiprocessing_context": method, "timeout": 120}
    expected = [crc(p) for p in video]
    pictures = DataLoader(Pictures(video), batch_size=3, shuffle=True, **options)
    got = {int(i): int(c) for numbers, values in pictures for i, c in zip(numbers, values, strict=True)}
    assert [got[i] for i in range(clips.PICTURES)] == expected
    if workers == 2:
        windows = DataLoader(Windows(video), batch_size=None, **options)
        alone: dict[int, torch.Tensor] = dict(iter(Windows(video)))
        assert sorted(alone) == [0, 1, 2, 3]
        for n, patches in windows:
            assert torch.equal(patches, alone.pop(n))
        assert not alone
    assert len(list(reader)) == clips.PICTURES - 1


def run(code: str, clip: Path) -> str:
    """Runs a script in a process of its own, which is ended, with a traceback, where it hangs."""
    preamble = "import faulthandler, gc, itertools, os, sys, threading, ove_codec\n"
    preamble += "faulthandler.dump_traceback_later(100, exit=True)\npath = sys.argv[1]\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", preamble + code, clip],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@forks_at_work
def test_fork_while_a_reader_is_at_work(clip: Path) -> None:
    """The child drops the reader and its pictures, cannot go on with it, and reads by itself; the parent goes on."""
    code = """
for n in range(20):
    reader = iter(ove_codec.open(path, threads=4))
    pictures = list(itertools.islice(reader, n % 9))
    child = os.fork()
    if child == 0:
        try:
            next(reader)
        except RuntimeError as error:
            assert "iterate over the video again" in str(error)
        else:
            os._exit(2)
        del pictures, reader
        gc.collect()
        os._exit(0 if len(list(ove_codec.open(path, threads=4))) == 24 else 3)
    assert os.waitpid(child, 0)[1] == 0
    assert len(pictures) + len(list(reader)) == 24
print("done")
"""
    assert run(code, clip) == "done\n"


@forks_at_work
def test_a_child_that_ends_as_the_interpreter_does(clip: Path) -> None:
    code = """
reader = iter(ove_codec.open(path, threads=4))
picture = next(reader)
faulthandler.cancel_dump_traceback_later()  # its thread, too, is missing in the child, where the end waits for it
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(len(list(reader)))
"""
    assert run(code, clip) == "23\n"


# UndefinedBehaviorSanitizer reports how pybind11 catches the end of a thread, abi::__forced_unwind.
unwinds = pytest.mark.skipif(os.environ.get("OVE_SANITIZER") == "address", reason="pybind11 catches a forced unwind")


@pytest.mark.parametrize("kind", ["path", "bytes", "file", pytest.param("thread", marks=unwinds)])
def test_the_interpreter_ends_with_live_readers(clip: Path, kind: str) -> None:
    code = {
        "path": "video = ove_codec.open(path, threads=4); readers = [iter(video) for _ in range(3)]",
        "bytes": """
video = ove_codec.open(open(path, 'rb').read(), threads=4)
readers = [iter(video) for _ in range(3)]
""",
        "file": "video = ove_codec.open(open(path, 'rb'), threads=4); readers = [iter(video)]",
        "thread": """
video = ove_codec.open(path, threads=4)
readers = []
def read():
    while True:
        for p in video:
            p.mv
threading.Thread(target=read, daemon=True).start()
""",
    }[kind]
    assert run(code + "\nfor r in readers: next(r)\nprint('end')", clip) == "end\n"


def test_nothing_leaks(clip: Path) -> None:
    """Memory, threads and open files are those of the start, however readers end."""
    code = """
def use(n):
    video = ove_codec.open(path, threads=3)
    for p in itertools.islice(video, n % 24):
        p.mv, p.residual, p.qp
    for p in itertools.islice(video.seek(index=n % 24), n % 3):
        p.ref_poc
    with open(path, "rb") as file:
        next(iter(ove_codec.open(file, threads=2)))
    try:
        for p in ove_codec.open(cut, threads=3):
            pass
    except ove_codec.Error:
        pass
    try:
        for p in video:
            raise KeyError
    except KeyError:
        pass

def state():
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), resident

with open(path, "rb") as file:
    cut = file.read()
cut = cut[:len(cut) * 2 // 3]
start = state()
for n in range(60):
    use(n)
warm = state()
for n in range(180):
    use(n)
end = state()
assert start[:2] == warm[:2] == end[:2], (start, warm, end)
print((end[2] - warm[2]) // 1024)
"""
    assert int(run(code, clip)) < 4096


def test_workers_of_a_pixel_decoder_end(clip: Path) -> None:
    code = """
def threads():
    return len(os.listdir("/proc/self/task"))
video = ove_codec.open(path)
def use():
    for n in range(12):
        ove_codec.frames(video, [2 * n, 23], size=56, threads=4)
use()  # PyTorch starts threads of its own
before = threads()
use()
assert threads() == before, (before, threads())
"""
    run(code, clip)
