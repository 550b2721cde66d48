"""Motion and residual of encoded streams against libavcodec's samples, over a grid of coding tools.

The loop filters are off, so clip(prediction + residual) must be the decoded luma of every inter block.
"""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ove_codec
from support import annexb, checks, ffmpeg
from support.grid import GRID, Clip

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")


@dataclass(frozen=True)
class Decoded:
    clip: Clip
    path: Path
    luma: list[NDArray[np.integer]]  # by libavcodec
    pictures: list[Any]  # by ove_codec


@pytest.fixture(scope="module", params=GRID, ids=lambda clip: clip.name)
def decoded(request: pytest.FixtureRequest, stream_folder: Path) -> Decoded:
    clip: Clip = request.param
    path = clip.encode(stream_folder)
    luma, complaints = ffmpeg.decode_luma(path, clip.depth)
    assert not complaints
    return Decoded(clip, path, luma, list(ove_codec.open(path)))


def test_inter_blocks_reconstruct(decoded: Decoded) -> None:
    assert len(decoded.pictures) == len(decoded.luma) == decoded.clip.frames
    assert {picture.bit_depth for picture in decoded.pictures} == {decoded.clip.depth}
    blocks = checks.assert_reconstructs(decoded.pictures, decoded.luma)
    assert blocks > 0 or decoded.clip.name == "all_intra"


def test_arrays_are_consistent(decoded: Decoded) -> None:
    for picture in decoded.pictures:
        checks.assert_consistent(picture)
        if decoded.clip.qp is not None:
            assert (picture.qp == decoded.clip.qp).all()
    assert [picture.index for picture in decoded.pictures] == list(range(decoded.clip.frames))
    width, height = decoded.clip.size
    for picture in decoded.pictures:
        assert (picture.width, picture.height) == (width, height)
        assert picture.window == (0, 0, width, height)


def test_bits_are_the_slice_data(decoded: Decoded, stream_folder: Path) -> None:
    """The bits of all CTUs are what slice NAL units hold without their headers (at most 64 bytes here)."""
    stream = decoded.path
    if stream.suffix != ".hevc":
        stream = stream_folder / f"{stream.stem}_{stream.suffix[1:]}.hevc"
        ffmpeg.run(["-v", "error", "-i", decoded.path, "-map", "0:v", "-c", "copy", "-f", "hevc", "-y", stream])
    sizes = annexb.slice_sizes(stream.read_bytes())
    packets = np.argsort(ove_codec.open(decoded.path).index.packet)
    assert len(sizes) == len(decoded.pictures)
    for (size, slices), n in zip(sizes, packets, strict=True):
        bits = int(decoded.pictures[n].bits.sum())
        assert 8 * (size - 64 * slices) <= bits <= 8 * size


@pytest.mark.parametrize("decoded", [c for c in GRID if c.lossless], indirect=True, ids=lambda clip: clip.name)
def test_lossless_residual_is_exact(decoded: Decoded) -> None:
    """Without the clipping that could hide a difference."""
    prediction = checks.predictions(decoded.pictures, decoded.luma)
    for picture, samples, predicted in zip(decoded.pictures, decoded.luma, prediction, strict=True):
        inter = np.kron(picture.pred > 0, np.ones((4, 4), bool))
        np.testing.assert_array_equal((samples.astype(int) - predicted)[inter], picture.residual[inter])


def test_chosen_pictures_equal_all(decoded: Decoded) -> None:
    """Reading some pictures, or from bytes, or on one thread, gives what reading all gives."""
    wanted = list(range(1, decoded.clip.frames, 3))
    chosen = list(ove_codec.open(decoded.path.read_bytes(), threads=1).read(wanted))
    assert [picture.index for picture in chosen] == wanted
    for picture in chosen:
        checks.assert_same(picture, decoded.pictures[picture.index])


@pytest.mark.parametrize("decoded", GRID[:1], indirect=True, ids=lambda clip: clip.name)
def test_oracle_notices_a_quarter_sample(decoded: Decoded) -> None:
    """The oracle can fail: vectors a quarter sample off do not reconstruct a textured scene."""
    names = [
        "poc",
        "pred",
        "mv",
        "ref_poc",
        "residual",
        "bits",
        "slices",
        "bit_depth",
        "ctb_size",
        "coded_width",
        "coded_height",
    ]
    pictures = [SimpleNamespace(**{name: getattr(picture, name) for name in names}) for picture in decoded.pictures]
    moved = pictures[-1]
    moved.mv = moved.mv + np.array([1, 0], np.int16) * (moved.pred[:, :, None, None] > 0)
    with pytest.raises(AssertionError, match=f"POC {moved.poc}: .* inter blocks differ"):
        checks.assert_reconstructs(pictures, decoded.luma)
