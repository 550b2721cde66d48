"""Motion and residual of encoded streams against libavcodec's samples, over a grid of coding tools.

The loop filters are off, so clip(prediction + residual) must be the decoded luma of every inter block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ove_codec
import pytest
from numpy.typing import NDArray
from support import annexb, checks, ffmpeg, reconstruction
from support.grid import GRID, Clip

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")


@dataclass(frozen=True)
class Decoded:
    clip: Clip
    path: Path
    luma: list[NDArray[np.integer]]  # by libavcodec
    pictures: list[Any]  # by ove_codec


@pytest.fixture(scope="module", params=GRID, ids=lambda clip: clip.name)
def decoded(request: pytest.FixtureRequest, stream_folder: Path) -> Iterator[Decoded]:
    clip: Clip = request.param
    path = clip.encode(stream_folder)
    luma, complaints = ffmpeg.decode_luma(path, clip.depth)
    assert not complaints
    yield Decoded(clip, path, luma, list(ove_codec.open(path)))


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


def test_lossless_residual_is_exact(decoded: Decoded) -> None:
    if not decoded.clip.lossless:
        pytest.skip("not a lossless stream")
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


def test_oracle_notices_a_quarter_sample(decoded: Decoded) -> None:
    """The oracle can fail: with vectors a quarter sample off, most blocks of a textured scene do not reconstruct."""
    if decoded.clip.name != "medium":
        pytest.skip("shown on one stream")
    pictures, luma = decoded.pictures, decoded.luma
    references = {picture.poc: samples for picture, samples in zip(pictures, luma, strict=True)}
    picture = next(p for p in pictures if (p.pred == 1).mean() > 0.5 and all(s.weights is None for s in p.slices))
    moved = picture.mv + np.array([1, 0], np.int16) * (picture.pred[:, :, None, None] > 0)
    prediction = reconstruction.predict_inter(
        picture.pred, moved, picture.ref_poc, references, picture.bit_depth
    )  # fmt: skip
    wrong = reconstruction.mismatches(
        references[picture.poc], prediction, picture.residual, picture.pred, picture.bit_depth
    )
    assert len(wrong) > 0.5 * (picture.pred > 0).sum()
