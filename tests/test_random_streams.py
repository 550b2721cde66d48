"""Random hand-made streams: derivations that encoders seldom or never reach, against libavcodec's samples.

Each seed draws block sizes, long-term pictures, reference lists, weights, merge and AMVP choices, slices, tiles,
wavefronts, and picture parameter sets that change between pictures under one id.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ove_codec
from support import checks, ffmpeg
from support.hevc.random_stream import RandomStream, WrittenPicture
from support.hevc.slice_header import I_SLICE


@dataclass(frozen=True)
class Decoded:
    data: bytes
    written: dict[int, WrittenPicture]  # by POC
    luma: list[NDArray[np.integer]]  # by libavcodec, in output order
    pictures: list[Any]  # by ove_codec


@pytest.fixture(scope="module", params=range(24))
def decoded(request: pytest.FixtureRequest, stream_folder: Path) -> Decoded:
    if not ffmpeg.available():
        pytest.skip("ffmpeg is not installed")
    stream = RandomStream(request.param)
    path = stream_folder / f"random_{request.param}.hevc"
    path.write_bytes(stream.data)
    luma, complaints = ffmpeg.decode_luma(path, 8)
    assert not complaints
    return Decoded(stream.data, {picture.poc: picture for picture in stream.written}, luma, list(ove_codec.open(path)))


def test_writer_is_in_step_with_libavcodec(decoded: Decoded) -> None:
    """PCM samples come out where they were put, so the bits between them mean what was meant."""
    for poc, luma in zip(sorted(decoded.written), decoded.luma, strict=True):
        for x, y, samples in decoded.written[poc].noise:
            np.testing.assert_array_equal(luma[y : y + len(samples), x : x + len(samples)], samples)


def test_inter_blocks_reconstruct(decoded: Decoded) -> None:
    assert [picture.poc for picture in decoded.pictures] == sorted(decoded.written)
    orders = {poc: picture.ctb_order for poc, picture in decoded.written.items()}
    assert checks.assert_reconstructs(decoded.pictures, decoded.luma, orders) > 0


def assert_in_step(picture: Any, written: WrittenPicture) -> None:
    """What the decoder says of bits and PCM units is what was written, so it took every bit for what was meant."""
    checks.assert_consistent(picture)
    assert picture.bits.sum() == 8 * written.slice_data_bytes
    for x, y, samples in written.noise:
        area = np.s_[y // 4 : (y + len(samples)) // 4, x // 4 : (x + len(samples)) // 4]
        assert not picture.pred[area].any()
        assert (picture.cu_size[area] == len(samples)).all()
        assert not picture.residual[y : y + len(samples), x : x + len(samples)].any()


def test_arrays_are_consistent(decoded: Decoded) -> None:
    for picture in decoded.pictures:
        assert_in_step(picture, decoded.written[picture.poc])


@pytest.mark.parametrize("seed", range(8))
def test_wavefronts_in_tiles(seed: int) -> None:
    stream = RandomStream(seed, pictures=4, wavefront_in_tiles=True)
    pictures = {picture.poc: picture for picture in ove_codec.open(stream.data)}
    assert len(pictures) == len(stream.written)
    for written in stream.written:
        assert_in_step(pictures[written.poc], written)


def test_slices_tell_their_references(decoded: Decoded) -> None:
    for picture in decoded.pictures:
        written = decoded.written[picture.poc]
        assert len(picture.slices) == len(written.slices)
        for info, wrote in zip(picture.slices, written.slices, strict=True):
            header = wrote.header
            assert info.address == header.address
            assert info.type == "BPI"[header.slice_type]
            for x in (0, 1):
                pocs = wrote.lists[x] if x < len(wrote.lists) else []
                assert list(info.ref_poc[x]) == pocs
                assert list(info.is_long_term[x]) == [poc in written.long_term for poc in pocs]
            if header.slice_type == I_SLICE:
                assert info.weights is None
            elif info.weights is not None:
                unit = (header.log2_weight_denom, 1 << header.log2_weight_denom, 0)
                for x, weights in enumerate(header.weights):
                    expected = [unit if weight is None else (header.log2_weight_denom, *weight) for weight in weights]
                    assert [tuple(weight) for weight in info.weights[x]] == expected
            else:
                assert not any(header.weights)


def test_chosen_pictures_equal_all(decoded: Decoded) -> None:
    """A picture read alone, with only what it depends on, is the one that reading all gives."""
    video = ove_codec.open(decoded.data, threads=1)
    for index in (len(decoded.pictures) - 1, len(decoded.pictures) // 2):
        (picture,) = video.read([index])
        checks.assert_same(picture, decoded.pictures[index])
