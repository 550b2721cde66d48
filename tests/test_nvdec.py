"""Pixels from NVDEC: on a GPU where there is one, and by libavcodec's own code on a driver that decodes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ove_codec
from ove_codec import _core
from support import ffmpeg, nvdec, scenes, twin


@dataclass(frozen=True)
class Clip:
    encoder: str = "x265"
    size: tuple[int, int] = (320, 192)
    pixel_format: str = "yuv420p"
    params: str = "bframes=3:scenecut=0:keyint=250"

    @property
    def depth(self) -> int:
        return scenes.split_format(self.pixel_format)[1]

    def encode(self, folder: Path) -> Path:
        name = "-".join(map(str, ("nvdec", self.encoder, *self.size, self.pixel_format)))
        path = folder / f"{name}.mp4"
        if not path.exists():
            scene = scenes.moving_scene(self.size, 24, self.pixel_format, seed=3)
            ffmpeg.encode(scene, self.size, self.pixel_format, self.params, path, encoder=self.encoder)
        return path


CLIPS = {
    "hevc": Clip(),
    "hevc10": Clip(pixel_format="yuv420p10le"),
    "cropped": Clip(size=(326, 198)),
    "h264": Clip("x264"),
    "h264-cropped": Clip("x264", size=(390, 218)),
}
OTHERS = {
    "small": Clip(size=(96, 80)),
    "422": Clip(pixel_format="yuv422p"),
    "h264-10": Clip("x264", pixel_format="yuv420p10le"),
}


def run_twin(clip: Clip, folder: Path, tmp_path: Path, **params: Any) -> dict[str, Any]:
    twin.load()
    path = clip.encode(folder)
    pictures = tmp_path / "pictures"
    if clip.pixel_format.startswith("yuv420p"):
        nvdec.write_pictures(path, clip.depth, clip.size, 8 if clip.encoder == "x265" else 16, pictures)
    return nvdec.run(twin.FOLDER / "ove_nvdec_twin.so", path, pictures, tmp_path, **params)


@pytest.mark.parametrize("clip", CLIPS)
def test_pictures_come_from_nvdec(clip: str, stream_folder: Path, tmp_path: Path) -> None:
    """In the process's own context, which libavutil would not make, and on the launches' stream; they go back to the
    decoder when launches are done, and there are launches before all pictures are decoded."""
    found = run_twin(CLIPS[clip], stream_folder, tmp_path, budget=600, num_frames=20)
    assert found["difference"] == 0
    assert found["decoders"] == 1 and found["mapped"] >= 20
    assert found["other_contexts"] == 0
    assert (found["stream"], found["streams"]) == (nvdec.STREAM, 1)
    assert found["now_mapped"] == 0 and found["most_mapped"] <= _core.StagedPictures.most_frames + 1
    assert found["launches"] >= 5


@pytest.mark.parametrize("clip", OTHERS)
def test_what_nvdec_does_not_know_the_cpu_decodes(clip: str, stream_folder: Path, tmp_path: Path) -> None:
    found = run_twin(OTHERS[clip], stream_folder, tmp_path, budget=100, num_frames=8)
    assert found["difference"] == 0 and found["mapped"] == 0 and found["launches"] >= 1


@pytest.mark.cuda
@pytest.mark.parametrize("clip", CLIPS)
def test_on_a_gpu(clip: str, stream_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = CLIPS[clip].encode(stream_folder)
    selection = ove_codec.select(path, budget=600, num_frames=20)
    here = ove_codec.tokenize(path, selection, device="cuda")
    frames: list[object] = []
    lent = ove_codec._cuda_backend._Lent.add

    def add(self: Any, given: list[Any]) -> None:
        frames.extend(map(id, given))
        lent(self, given)

    monkeypatch.setattr(ove_codec._cuda_backend._Lent, "add", add)
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        before = len(frames)
        there = ove_codec.tokenize(path, selection, device=stream, decoder="nvdec")
        stream.synchronize()
        assert torch.equal(there.patches, here.patches)
        assert len(frames) - before == len(np.unique(selection.positions[:, 0])), "pictures left the GPU"
