"""Motion of other codecs, as libavcodec exports it, against a plain twin made of what PyAV exports."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core
from ove_codec.cli import main
from support import ffmpeg, scenes
from test_transcoding import ENCODERS, PICTURES, make

av = pytest.importorskip("av", reason="PyAV makes the twin")
pytestmark = pytest.mark.skipif(not ffmpeg.available(), reason="ffmpeg is not installed")

CODECS = ["mpeg4", "mpeg2video"]
LACKING = ["residual", "ref_poc", "qp", "cu_size", "skip", "bits", "slices", "ctb_size"]
FEW: dict[str, Any] = {"num_frames": 6, "size": 56, "budget": 40, "residual_weight": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("motion")


def clip(folder: Path, codec: str) -> Path:
    path = folder / f"{codec}.mp4"
    return path if path.exists() else make(path, codec)


def twin(path: Path) -> list[dict[str, Any]]:
    """Vectors spread over blocks of 4x4 samples, one after the other."""
    pictures = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            rows, columns = -(-frame.height // 4), -(-frame.width // 4)
            mv = np.zeros((rows, columns, 2, 2), int)
            pred = np.zeros((rows, columns), int)
            for v in frame.side_data.get("MOTION_VECTORS") or ():
                past = 0 if v.source < 0 else 1
                for y in range(v.dst_y - v.h // 2, v.dst_y + v.h // 2, 4):
                    for x in range(v.dst_x - v.w // 2, v.dst_x + v.w // 2, 4):
                        if 0 <= y // 4 < rows and 0 <= x // 4 < columns:
                            mv[y // 4, x // 4, past] = (
                                v.motion_x * 4 // v.motion_scale,
                                v.motion_y * 4 // v.motion_scale,
                            )
                            pred[y // 4, x // 4] |= 1 << past
            kind = "?IPB"[int(frame.pict_type)]
            pts = float("nan") if frame.pts is None else float(frame.pts * stream.time_base)  # raw streams have none
            pictures.append({"mv": mv, "pred": pred, "type": kind, "pts": pts})
    return pictures


def assert_same(path: Path, count: int | None = None, kinds: str = "IPB") -> list[ove_codec.MotionPicture]:
    expected = twin(path)
    found: list[Any] = list(ove_codec.open(path))
    assert len(found) == len(expected) == (count or len(expected))
    for i, (picture, plain) in enumerate(zip(found, expected, strict=True)):
        assert (picture.index, picture.type) == (i, plain["type"])
        assert picture.pts == pytest.approx(plain["pts"], abs=1e-9)
        rows, columns = plain["pred"].shape
        np.testing.assert_array_equal(picture.pred[:rows, :columns], plain["pred"])
        if plain["type"] not in kinds:
            continue
        np.testing.assert_array_equal(picture.mv[:rows, :columns], plain["mv"])
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_against_pyav(folder: Path, codec: str) -> None:
    """Blocks of MPEG-4 in direct mode have vectors in some versions of libavcodec, and zeros in others."""
    pictures = assert_same(clip(folder, codec), PICTURES, "IP" if codec == "mpeg4" else "IPB")
    assert {picture.type for picture in pictures} == {"I", "P", "B"}
    both = np.concatenate([picture.pred.ravel() for picture in pictures])
    assert {0, 1, 2, 3} <= set(both.tolist())
    fractions = np.concatenate([picture.mv.ravel() for picture in pictures]) % 4
    assert set(fractions.tolist()) >= {0, 2}


@pytest.mark.parametrize("codec", CODECS)
def test_motion_of_a_pan(tmp_path: Path, codec: str) -> None:
    """Vectors say how far the content has come, in quarter samples, from the past (list 0) and the future (list 1)."""
    world = scenes.smooth_noise(np.random.default_rng(1), 128, 192) * 255
    frames = b"".join(
        np.roll(world, (t, 3 * t), (0, 1))[:96, :128].astype(np.uint8).tobytes() + bytes([128]) * (96 * 64)
        for t in range(9)
    )
    encoder, options, _ = ENCODERS[codec]
    path = tmp_path / "pan.mp4"
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "128x96", "-r", "25", "-i", "-"]
    ffmpeg.run(["-v", "error", *source, "-c:v", encoder, *options, path], frames)
    seen = set()
    pictures: list[Any] = list(ove_codec.open(path))
    anchors = [picture.index for picture in pictures if picture.type != "B"]
    for picture in pictures[1:]:
        before = max(i for i in anchors if i < picture.index)
        after = min((i for i in anchors if i > picture.index), default=0)
        inside = np.s_[8:16, 12:20]
        for part, other in enumerate((before, after)):
            used = picture.pred[inside] & (1 << part) > 0
            if used.mean() > 0.5 and not (codec == "mpeg4" and picture.type == "B"):  # see test_against_pyav
                away = picture.index - other
                np.testing.assert_array_equal(
                    np.median(picture.mv[inside][used][:, part], axis=0), [-12 * away, -4 * away]
                )
                seen.add((picture.type, part))
    assert ("P", 0) in seen and (codec == "mpeg4" or {"B"} <= {kind for kind, _ in seen})


def test_pictures(folder: Path) -> None:
    video: Any = ove_codec.open(clip(folder, "mpeg4"))
    assert isinstance(video, ove_codec.MotionVideo) and video.motion_only and len(video) == PICTURES
    picture = next(iter(video))
    assert picture.motion_only and picture.poc is None
    assert (picture.width, picture.height, picture.window) == (96, 64, (0, 0, 96, 64))
    assert picture.mv.dtype == np.int16 and not picture.mv.flags.writeable
    for name in LACKING:
        with pytest.raises(_core.UnsupportedStreamError, match=rf"mpeg4\.mp4.*mpeg4.*no {name}.*transcode"):
            getattr(picture, name)
    hevc = next(iter(ove_codec.open(ove_codec.transcode(clip(folder, "mpeg4")))))
    assert hevc.motion_only is False


def test_reading_some(folder: Path) -> None:
    video: Any = ove_codec.open(clip(folder, "mpeg4"))
    everything = list(video)
    np.testing.assert_array_equal(video.index.type, [p.type for p in everything])
    np.testing.assert_array_equal(video.index.pts, [p.pts for p in everything])
    np.testing.assert_array_equal(video.index.packet, [p.packet for p in everything])
    sizes = [len(p["data"]) for p in _core.Packets(clip(folder, "mpeg4"))]
    np.testing.assert_array_equal(video.index.packet_bytes, np.array(sizes)[video.index.packet])
    assert video.index.random_access[0] and sorted(video.index.packet) == list(range(PICTURES))
    for chosen in (video.read([7, 3, 3]), pickle.loads(pickle.dumps(video)).read([3, 7])):
        some = list(chosen)
        assert [p.index for p in some] == [3, 7]
        np.testing.assert_array_equal(some[1].mv, everything[7].mv)
    assert [p.index for p in video.seek(index=17)] == [17, 18, 19]
    assert next(video.seek(pts=0.5)).index == 12
    with pytest.raises(IndexError, match="20"):
        video.read([20])
    with pytest.raises(IndexError, match="-1"):
        video.read([-1])
    with pytest.raises(_core.UnsupportedStreamError, match="residual"):
        video.read([1], residual=True)


def test_sizes_of_no_whole_macroblocks(tmp_path: Path) -> None:
    path = make(tmp_path / "odd.mp4", "mpeg4", size=(90, 50))
    picture: Any = next(iter(ove_codec.open(path)))
    assert picture.window == (0, 0, 90, 50) and picture.mv.shape == (13, 23, 2, 2)
    assert_same(path, kinds="IP")


@pytest.mark.parametrize("codec", CODECS)
def test_select(folder: Path, codec: str) -> None:
    """The same as select_arrays makes of the twin's vectors."""
    path = clip(folder, codec)
    found = ove_codec.select(path, **FEW)
    plain = twin(path)
    expected = ove_codec.select_arrays(
        np.array([p["mv"] for p in plain]), None, pred=np.array([p["pred"] for p in plain]), **FEW
    )
    np.testing.assert_array_equal(found.frame_ids, expected.frame_ids)
    if codec != "mpeg4":  # see test_against_pyav
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.positions, expected.positions)
        np.testing.assert_array_equal(found.heat(3), expected.heat(3))
    assert found.scores[1:].any()
    assert len(ove_codec.tokenize(path, found)) == 40


@pytest.mark.parametrize("suffix", [".avi", ".m4v"])
def test_pictures_without_time_stamps(folder: Path, tmp_path: Path, suffix: str) -> None:
    """AVI and raw streams tell no times: pictures are in the order in which they come out of the decoder."""
    path = tmp_path / f"clip{suffix}"
    ffmpeg.run(["-v", "error", "-i", clip(folder, "mpeg4"), "-c", "copy", path])
    plain = list(ove_codec.open(clip(folder, "mpeg4")))
    video: Any = ove_codec.open(path)
    assert [p.type for p in video] == [p.type for p in plain]
    for a, b in zip(iter(video), plain, strict=True):
        np.testing.assert_array_equal(a.mv, b.mv)
    assert (np.diff(video.index.pts) > 0).all()
    shown = ove_codec.frames(clip(folder, "mpeg4"), size=56)
    np.testing.assert_array_equal(ove_codec.frames(path, size=56), shown)
    selection = ove_codec.select(video, **FEW)
    for source in (video, path):
        tokens = ove_codec.tokenize(source, selection).patches
        np.testing.assert_array_equal(tokens, ove_codec.tokenize(clip(folder, "mpeg4"), selection).patches)


def test_bytes_that_change(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Pictures, or an exception of the family, and not a word."""
    rng = np.random.default_rng(1)
    errors = 0
    for codec in CODECS:
        data = np.frombuffer(clip(folder, codec).read_bytes(), np.uint8)
        for _ in range(25):
            damaged = data.copy()
            where = rng.integers(0, len(data), rng.integers(1, 20))
            damaged[where] = rng.integers(0, 256, len(where))
            try:
                for picture in _core.ExportedMotion(damaged.tobytes(), vectors=True, max_luma_samples=1 << 20):
                    assert picture["mv"].shape[:2] == picture["pred"].shape
            except _core.Error:
                errors += 1
    assert errors > 20
    assert capfd.readouterr() == ("", "")


def test_what_vectors_cannot_tell(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = clip(folder, "mpeg4")
    for params, what, remedy in (
        ({}, "residual", {"residual_weight": 0}),
        ({"preset": "bitcost"}, "bits", {"bits_weight": 0, "mv_weight": 1}),
        ({"residual_weight": 0, "vector": "displacement"}, "distance", {"vector": "l0_else_l1"}),
        ({"preset": "ove"}, "residual, no distance", {"residual_weight": 0, "vector": "l0_else_l1"}),
    ):
        with pytest.raises(
            _core.UnsupportedStreamError, match=rf"mpeg4\.mp4.*mpeg4.*no {what}.*ove_codec\.transcode"
        ) as e:
            ove_codec.select(path, **params)
        changes = ", ".join(f"{name}={value!r}" for name, value in remedy.items())
        assert f"; select with {changes}, or convert" in str(e.value)  # and nothing that was given already
        assert len(ove_codec.select(path, **params | remedy, num_frames=4, size=56))
    picture = next(iter(ove_codec.open(path)))
    with pytest.raises(_core.UnsupportedStreamError, match="no residual; convert it"):
        _ = picture.residual
    assert main(["select", str(path)]) == 1
    assert "residual_weight=0" in capsys.readouterr().err
    assert main(["select", str(path), "--residual-weight", "0", "--num-frames", "4", "--size", "56"]) == 0
    assert main(["info", str(path)]) == 0
    assert "only motion vectors" in capsys.readouterr().out


def test_codecs_without_vectors(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.webm", "vp9")
    with pytest.raises(_core.UnsupportedStreamError, match=r"clip\.webm.*vp9.*transcode"):
        ove_codec.select(path, residual_weight=0)
    with pytest.raises(_core.UnsupportedStreamError, match="exports no motion vectors"):
        _core.ExportedMotion(path, vectors=True, max_luma_samples=1 << 20)


def test_damage(folder: Path, tmp_path: Path) -> None:
    data = bytearray(clip(folder, "mpeg4").read_bytes())
    place = list(_core.Packets(bytes(data)))[14]
    data[place["position"] + 8 : place["position"] + len(place["data"])] = bytes(len(place["data"]) - 8)
    path = tmp_path / "broken.mp4"
    path.write_bytes(data)
    seen: list[Any] = []
    with pytest.raises(_core.DecodeError, match=r"broken\.mp4.*damaged") as error:
        seen.extend(iter(ove_codec.open(path)))
    assert error.value.position == place["position"]
    assert len(seen) >= 12
    for a, b in zip(seen[:12], ove_codec.open(clip(folder, "mpeg4")), strict=False):
        np.testing.assert_array_equal(a.mv, b.mv)
