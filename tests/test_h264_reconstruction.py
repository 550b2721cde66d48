"""Motion and residual of H.264 streams against libavcodec's samples, over a grid of coding tools.

libavcodec leaves the loop filter out, in reference pictures too, so clip(prediction + residual) is its luma of every
inter block.
"""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ove_codec
from support import checks, ffmpeg
from support.h264.grid import GRID, Clip
from support.h264.oracle import Oracle, places_by_poc
from test_motion_only import twin

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx264(), reason="ffmpeg with libx264 is not installed")

UNFILTERED = ("-skip_loop_filter", "all")


@dataclass(frozen=True)
class Decoded:
    clip: Clip
    path: Path
    luma: list[NDArray[np.integer]]  # by libavcodec, before the loop filter
    pictures: list[Any]  # by ove_codec

    def oracle(self) -> Oracle:
        numbers = checks.coded_video_sequences([picture.poc for picture in self.pictures])
        known = places_by_poc(self.pictures, numbers, self.clip.bottom_delta)
        return Oracle(self.pictures, self.luma, known)


@pytest.fixture(scope="module", params=GRID, ids=lambda clip: clip.name)
def decoded(request: pytest.FixtureRequest, stream_folder: Path) -> Decoded:
    return decode(request.param, stream_folder)


@functools.cache
def decode(clip: Clip, folder: Path) -> Decoded:
    path = clip.encode(folder)
    luma, complaints = ffmpeg.decode_luma(path, clip.depth, UNFILTERED)
    assert not complaints
    return Decoded(clip, path, luma, list(ove_codec.open(path, threads=1)))


def only(clips: list[Clip]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("decoded", clips, indirect=True, ids=lambda clip: clip.name)


def test_inter_blocks_reconstruct(decoded: Decoded) -> None:
    assert len(decoded.pictures) == len(decoded.luma) == decoded.clip.frames
    assert {picture.bit_depth for picture in decoded.pictures} == {decoded.clip.depth}
    blocks = decoded.oracle().assert_reconstructs(decoded.clip.implicit)
    assert blocks > 0 or decoded.clip.name == "all_intra"


@only([clip for clip in GRID if clip.lossless])
def test_lossless_residual_is_exact(decoded: Decoded) -> None:
    """Without the clipping that could hide a difference."""
    oracle = decoded.oracle()
    for n in range(decoded.clip.frames):
        for difference, residual in oracle.differences(n, decoded.clip.implicit):
            np.testing.assert_array_equal(difference, residual)


@only([clip for clip in GRID if not clip.interlaced])
def test_vectors_equal_exported_ones(decoded: Decoded) -> None:
    """Those of blocks of 8x8 and more: libavcodec exports one vector of every 8x8 block at most."""
    pytest.importorskip("av", reason="PyAV exports vectors")
    for picture, exported in zip(decoded.pictures, twin(decoded.path), strict=True):
        rows, columns = exported["pred"].shape
        whole = uniform(np.concatenate([picture.pred[..., None], picture.mv.reshape(*picture.pred.shape, 4)], axis=2))
        for side in (0, 1):
            used = (whole & (picture.pred >> side & 1 == 1))[:rows, :columns]
            assert (exported["pred"][used] >> side & 1).all()
            np.testing.assert_array_equal(picture.mv[:rows, :columns, side][used], exported["mv"][used, side])


def uniform(blocks: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(h4, w4): whether the four blocks of the 8x8 block around are the same in `blocks` (h4, w4, n)."""
    h4, w4, n = blocks.shape
    quarters = blocks.reshape(h4 // 2, 2, w4 // 2, 2, n)
    return np.kron((quarters == quarters[:, :1, :, :1]).all(axis=(1, 3, 4)), np.ones((2, 2), bool)).astype(bool)


def test_arrays_are_consistent(decoded: Decoded) -> None:
    width, height = decoded.clip.size
    for i, picture in enumerate(decoded.pictures):
        checks.assert_arrays(picture)
        assert picture.index == i
        assert (picture.width, picture.height, picture.window) == (width, height, (0, 0, width, height))
        assert sum(info.data_bits for info in picture.slices) == picture.bits.sum()
        assert (picture.structure == "field pair") == decoded.clip.interlaced
        assert set(np.unique(picture.cu_size)) <= {4, 8, 16}
        if not decoded.clip.interlaced:
            assert not picture.field.any()
            for plane in (picture.cu_size, picture.skip, picture.pred > 0, picture.qp):  # of whole macroblocks
                np.testing.assert_array_equal(plane, np.kron(plane[::4, ::4], np.ones((4, 4), plane.dtype)))
        else:
            pairs = picture.field.reshape(picture.coded_height // 32, 8, -1, 4)
            alternate = np.arange(8)[:, None, None] % 2 + 1
            assert ((pairs == 0).all(axis=(1, 3)) | (pairs == alternate).all(axis=(1, 3))).all()


@pytest.mark.threads
def test_threads_and_choices_change_nothing(decoded: Decoded) -> None:
    """Several threads, bytes for a file, and reading some pictures give what one thread gives."""
    for picture, other in zip(decoded.pictures, ove_codec.open(decoded.path, threads=3), strict=True):
        checks.assert_same(picture, other)
    wanted = list(range(1, decoded.clip.frames, 3))
    chosen = list(ove_codec.open(decoded.path.read_bytes(), threads=2).read(wanted))
    assert [picture.index for picture in chosen] == wanted
    for picture in chosen:
        checks.assert_same(picture, decoded.pictures[picture.index])


@only([clip for clip in GRID if clip.name in ("medium", "tff")])
def test_oracle_notices_a_quarter_sample(decoded: Decoded) -> None:
    """The oracle can fail: vectors a quarter sample off do not reconstruct a textured scene."""
    names = ["poc", "type", "pred", "mv", "ref_poc", "residual", "bits", "slices", "bit_depth", "structure", "field"]
    names += ["coded_width", "coded_height"]
    pictures = [SimpleNamespace(**{name: getattr(picture, name) for name in names}) for picture in decoded.pictures]
    moved = pictures[-1]
    moved.mv = moved.mv + np.array([1, 0], np.int16) * (moved.pred[:, :, None, None] > 0)
    with pytest.raises(AssertionError, match=f"POC {moved.poc}: .* inter blocks .* differ"):
        replace(decoded, pictures=pictures).oracle().assert_reconstructs(decoded.clip.implicit)


def test_cavlc_444_intra_profile(stream_folder: Path) -> None:
    """The syntax of profile 44 is that of profile 244, under which libx264 writes it."""
    clip = Clip("intra_444", "cabac=0:8x8dct=1:keyint=1:crf=16", pixel_format="yuv444p", frames=3)
    data = clip.encode(stream_folder).read_bytes()
    other = data.replace(b"\0\0\1\x67\xf4", b"\0\0\1\x67\x2c")
    assert other != data
    for picture, same in zip(ove_codec.open(data), ove_codec.open(other), strict=True):
        assert picture.type == "I" and picture.residual.any()
        checks.assert_same(picture, same)
