"""Selection of whole data sets by Ray Data: what the pool of processes gives, whatever happens to its workers."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'ove_codec[ray]'")
pytest.importorskip("ray.data")
pq = pytest.importorskip("pyarrow.parquet")

from ove_codec.datasets import select_dataset  # noqa: E402
from support import ffmpeg  # noqa: E402
from test_datasets import BAD, FEW, distinct, failures, folder, rows, videos  # noqa: E402, F401 (fixtures)

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")


@pytest.fixture(scope="module")
def cluster() -> Any:
    """Two workers of this machine, for all tests."""
    ray.init(num_cpus=2, log_to_driver=False, configure_logging=False, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("cluster")
def test_the_same_as_the_pool(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    found = {}
    for engine in ("local", "ray"):
        summary = select_dataset(folder, tmp_path / engine, engine=engine, workers=2, **FEW)
        assert (summary.done, summary.failed) == (5, 3)
        found[engine] = sorted(rows(tmp_path / engine), key=lambda row: row["name"])
        assert sorted(failures(tmp_path / engine)) == BAD
    assert found["ray"] == found["local"]
    assert select_dataset(folder, tmp_path / "ray", engine="ray", workers=2, **FEW).finished == 5
    assert ray.is_initialized()  # what it did not start it leaves running


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_is_killed(videos: dict[str, Path], tmp_path: Path) -> None:  # noqa: F811
    names = [f"{number:02}.mp4" for number in range(24)]
    for number, name in enumerate(names):
        distinct(videos["hevc"], tmp_path / "clips" / name, number)
    killed: list[str] = []
    ended = Event()

    def kill() -> None:
        while not killed and not ended.wait(0.005):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if b"ray::Map(_whole)" in (process / "cmdline").read_bytes():  # its name while a clip is at work
                        os.kill(int(process.name), signal.SIGKILL)
                        killed.append(process.name)
                        break

    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(kill)
        try:
            select_dataset(tmp_path / "clips", tmp_path / "out", engine="ray", workers=2, **FEW)
        finally:
            ended.set()
        killer.result()
    assert killed
    assert Counter(row["name"] for row in rows(tmp_path / "out")) == Counter(names)
    assert not failures(tmp_path / "out")
