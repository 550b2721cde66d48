"""Videos read by several threads at a time. What can dead-lock runs under a time limit that tells where it hangs."""

import faulthandler
import io
import itertools
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from support.hevc.parameter_sets import Sps
from support.hevc.sequence import Sequence

pytestmark = pytest.mark.threads

READERS = 8


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    faulthandler.dump_traceback_later(300, exit=True, file=2)  # the terminal, whatever is captured
    yield
    faulthandler.cancel_dump_traceback_later()


def stream(seed: int, pictures: int = 24) -> bytes:
    """Groups of pictures, reordered; every seed has other samples and vectors."""
    sequence = Sequence(Sps(num_reorder=1, width=96), seed=seed)
    for base in range(0, pictures, 6):
        sequence.noise(0)
        last = 0
        for poc in (2, 4):
            sequence.inter(poc, last)
            sequence.inter(poc - 1, last, poc)
            last = poc
        sequence.inter(5 + base % 5, 4)
    return sequence.bytes()


def crcs(pictures: Iterator[ove_codec.Picture]) -> list[tuple[int, ...]]:
    names = ("mv", "residual", "pred", "ref_poc", "qp", "bits")
    return [(p.index, *(zlib.crc32(np.ascontiguousarray(getattr(p, name)).data) for name in names)) for p in pictures]


def in_threads(work: Callable[[int], Any], count: int = READERS) -> list[Any]:
    barrier = threading.Barrier(count)

    def started(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(started, range(count)))


@pytest.fixture(scope="module")
def streams() -> list[bytes]:
    return [stream(seed) for seed in range(READERS)]


@pytest.fixture(scope="module")
def expected(streams: list[bytes]) -> list[list[tuple[int, ...]]]:
    return [crcs(iter(ove_codec.open(data, threads=1))) for data in streams]


@pytest.mark.parametrize("threads", [1, 3])
def test_eight_threads_read_eight_files(
    streams: list[bytes], expected: list[Any], tmp_path: Path, threads: int
) -> None:
    for n, data in enumerate(streams):
        (tmp_path / f"{n}.265").write_bytes(data)
    assert in_threads(lambda n: crcs(iter(ove_codec.open(tmp_path / f"{n}.265", threads=threads)))) == expected


@pytest.mark.parametrize("threads", [1, 3])
def test_eight_threads_read_one_file(streams: list[bytes], expected: list[Any], tmp_path: Path, threads: int) -> None:
    path = tmp_path / "one.265"
    path.write_bytes(streams[0])
    assert in_threads(lambda _: crcs(iter(ove_codec.open(path, threads=threads)))) == [expected[0]] * READERS


def test_eight_threads_iterate_over_one_video(streams: list[bytes], expected: list[Any]) -> None:
    video = ove_codec.open(streams[0], threads=2)

    def work(n: int) -> list[tuple[int, ...]]:
        return crcs(iter(video)) if n % 2 else crcs(video.seek(index=n))

    assert in_threads(work) == [expected[0] if n % 2 else expected[0][n:] for n in range(READERS)]


def test_eight_threads_share_one_iterator(streams: list[bytes], expected: list[Any]) -> None:
    iterator = iter(ove_codec.open(streams[0], threads=2))
    parts = in_threads(lambda _: crcs(iterator))
    assert all(part == sorted(part) for part in parts)
    assert sorted(itertools.chain(*parts)) == expected[0]


def test_eight_threads_look_at_one_picture(streams: list[bytes], expected: list[Any]) -> None:
    for picture in itertools.islice(ove_codec.open(streams[1]), 8):
        looks = in_threads(lambda _, p=picture: crcs(iter([p])))  # type: ignore[misc]
        assert looks == [[expected[1][picture.index]]] * READERS


def test_select_and_tokenize_in_threads(streams: list[bytes]) -> None:
    params: dict[str, Any] = {"num_frames": 5, "size": 56, "budget": 20}

    def work(n: int) -> tuple[bytes, bytes]:
        video = ove_codec.open(streams[n % 2], threads=2)
        selection = ove_codec.select(video, **params)
        return selection.scores.tobytes(), ove_codec.tokenize(video, selection, threads=2).patches.numpy().tobytes()

    alone = [work(0), work(1)]
    assert in_threads(work) == alone * (READERS // 2)


def test_iterators_dropped_half_way(streams: list[bytes]) -> None:
    def work(n: int) -> int:
        count = 0
        for k in range(20):
            iterator = iter(ove_codec.open(streams[n], threads=3))
            count += len(list(itertools.islice(iterator, k % 7)))
            del iterator
        return count

    assert in_threads(work) == [sum(k % 7 for k in range(20))] * READERS


def test_exceptions_in_the_consumer(streams: list[bytes]) -> None:
    class Stop(Exception):
        pass

    def consume(video: ove_codec.Video) -> None:
        for picture in video:
            if picture.index == 3:
                raise Stop

    def work(n: int) -> None:
        for _ in range(10):
            with pytest.raises(Stop):
                consume(ove_codec.open(streams[n], threads=3))

    in_threads(work)


def test_exceptions_in_the_source(streams: list[bytes]) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(1000)
            if self.tell() > self.getbuffer().nbytes // 2 and not opening:
                raise OSError("the disk is gone")
            return data

    def work(n: int) -> None:
        with pytest.raises(OSError, match="disk is gone"):
            crcs(iter(videos[n]))

    opening = True
    videos = [ove_codec.open(Broken(data), threads=3) for data in streams]
    opening = False
    in_threads(work)


def test_damage_while_other_pictures_are_at_work(streams: list[bytes], expected: list[Any]) -> None:
    """The decoder's threads end, and the pictures before the damage come, however they are timed."""

    def work(n: int) -> None:
        data = streams[n][: len(streams[n]) * 2 // 3]
        got: list[tuple[int, ...]] = []

        def collect() -> None:
            for picture in ove_codec.open(data, threads=4):
                got.extend(crcs(iter([picture])))

        with pytest.raises(ove_codec.InvalidBitstreamError):
            collect()
        assert got and got == expected[n][: len(got)]

    for _ in range(5):
        in_threads(work)
