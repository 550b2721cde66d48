"""Videos, selections and tokens on their way to other processes."""

import io
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ove_codec
from support import clips, ffmpeg

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

SMALL: dict[str, Any] = {"num_frames": 6, "size": 56, "budget": 20}


@pytest.fixture(scope="module")
def clip(stream_folder: Path) -> Path:
    return clips.moving_clip(stream_folder)


def again(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "bytearray", "pipe"])
def test_videos(clip: Path, kind: str) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    data = clip.read_bytes()
    source: Any = {"path": clip, "str": str(clip), "bytes": data, "bytearray": bytearray(data), "pipe": Pipe(data)}
    video = ove_codec.open(source[kind], threads=2, limits=ove_codec.Limits(max_width=1000))
    assert len(video.index) == clips.PICTURES
    copy = again(video)
    assert (copy.source, copy.threads, copy.limits, copy.info) == (video.source, 2, video.limits, video.info)
    assert "index" not in vars(copy)
    assert [p.poc for p in copy] == [p.poc for p in video]
    assert copy.index.packet.tolist() == video.index.packet.tolist()


def test_file_objects_say_what_to_do(clip: Path) -> None:
    data = clip.read_bytes()
    with clip.open("rb") as file:
        for source in (file, io.BytesIO(data), memoryview(data)):
            video = ove_codec.open(source)
            with pytest.raises(TypeError, match=f"{type(source).__name__} cannot be pickled: open it from a path"):
                pickle.dumps(video)
            with pytest.raises(TypeError, match="pickle"):
                pickle.dumps(ove_codec.select(source, **SMALL))


@pytest.mark.parametrize("in_memory", [False, True])
def test_selections_and_tokens(clip: Path, in_memory: bool) -> None:
    source: Any = clip.read_bytes() if in_memory else clip
    selection = ove_codec.select(source, **SMALL)
    copy = again(selection)
    assert np.array_equal(copy.positions, selection.positions)
    assert np.array_equal(copy.scores, selection.scores)
    assert (copy.geometry, copy.params) == (selection.geometry, selection.params)
    assert np.array_equal(copy.heat(2), selection.heat(2))
    tokens = ove_codec.tokenize(source, selection)
    assert torch.equal(again(tokens).patches, tokens.patches)


def _in_worker(video: ove_codec.Video, selection: ove_codec.Selection) -> tuple[list[int], Any, ove_codec.Selection]:
    tokens = ove_codec.tokenize(video, selection)
    return [int(p.mv.sum()) for p in video], tokens.patches.numpy(), ove_codec.select(video, **SMALL)


def test_round_trip_through_another_process(clip: Path) -> None:
    video = ove_codec.open(clip, threads=1)
    selection = ove_codec.select(video, **SMALL)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        vectors, patches, selected = pool.apply_async(_in_worker, (video, selection)).get(timeout=120)
    assert vectors == [int(p.mv.sum()) for p in video]
    assert np.array_equal(patches, ove_codec.tokenize(video, selection).patches.numpy())
    assert np.array_equal(selected.scores, selection.scores)
    assert np.array_equal(selected.heat(1), selection.heat(1))
