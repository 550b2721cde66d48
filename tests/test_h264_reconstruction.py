"""Motion and residual of H.264 streams against libavcodec's samples, over a grid of coding tools.

libavcodec leaves the loop filter out, in the reference pictures too, so clip(prediction + residual) is its luma of every
inter block.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ove_codec
from support import checks, ffmpeg
from support.h264 import oracle
from support.h264.grid import GRID, Clip

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx264(), reason="ffmpeg with libx264 is not installed")

UNFILTERED = ("-skip_loop_filter", "all")


@dataclass(frozen=True)
class Decoded:
    clip: Clip
    path: Path
    luma: list[NDArray[np.integer]]  # by libavcodec, before the loop filter
    pictures: list[Any]  # by ove_codec

    def oracle(self) -> oracle.Oracle:
        numbers = checks.coded_video_sequences([picture.poc for picture in self.pictures])
        known = oracle.places_by_poc(self.pictures, numbers, self.clip.bottom_delta)
        return oracle.Oracle(self.pictures, self.luma, known)


@pytest.fixture(scope="module", params=GRID, ids=lambda clip: clip.name)
def decoded(request: pytest.FixtureRequest, stream_folder: Path) -> Decoded:
    clip: Clip = request.param
    path = clip.encode(stream_folder)
    luma, complaints = ffmpeg.decode_luma(path, clip.depth, UNFILTERED)
    assert not complaints
    return Decoded(clip, path, luma, list(ove_codec.open(path, threads=1)))


def test_inter_blocks_reconstruct(decoded: Decoded) -> None:
    assert len(decoded.pictures) == len(decoded.luma) == decoded.clip.frames
    assert {picture.bit_depth for picture in decoded.pictures} == {decoded.clip.depth}
    blocks = decoded.oracle().assert_reconstructs(decoded.clip.implicit)
    assert blocks > 0 or decoded.clip.name == "all_intra"
