"""Videos whose damage is skipped: what is left equals what the whole video gives."""

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core, cli
from support import ffmpeg
from test_anchors import ENCODERS
from test_anchors import encoded as anchor_clip

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="needs ffmpeg with libx265")


def damaged(path: Path, numbers: list[int], seed: int = 1) -> bytes:
    """The file with the second halves of some packets overwritten."""
    data, dice = bytearray(path.read_bytes()), random.Random(seed)
    for packet in _core.Packets(path):
        if packet["index"] in numbers:
            size = len(packet["data"])
            begin, end = packet["position"] + size // 2, packet["position"] + size
            data[begin:end] = dice.randbytes(end - begin)
    return bytes(data)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("numbers", [[26], [0], [30, 31, 62], [89]])
def test_what_is_left_is_right(stream_folder: Path, kind: str, numbers: list[int]) -> None:
    path = anchor_clip(stream_folder, kind)
    whole = ove_codec.open(path)
    if kind == "hevc-long" and numbers == [0]:  # the one random access point
        with pytest.raises(ove_codec.Error):
            len(ove_codec.open(damaged(path, numbers), on_damage="skip"))
        return
    video = ove_codec.open(damaged(path, numbers), on_damage="skip")
    same = {int(packet): i for i, packet in enumerate(whole.index.packet)}
    ids = [same[int(packet)] for packet in video.index.packet]
    assert 0 < len(video) < len(whole) and ids == sorted(ids)
    gone = {i for loss in video.lost for i in range(loss.packet, loss.end)}
    assert video.lost and video.lost[0].packet == numbers[0] and all(loss.reason for loss in video.lost)
    assert gone.isdisjoint(video.index.packet.tolist())
    pictures = list(video)
    assert len(pictures) == len(video)
    for picture, i in zip(pictures, ids, strict=True):
        np.testing.assert_array_equal(picture.residual, whole[i].residual)
        np.testing.assert_array_equal(picture.mv, whole[i].mv)
        assert picture.pts == whole.index.pts[i]
    some = sorted(random.Random(5).sample(range(len(video)), min(9, len(video))))
    ours = ove_codec.select(video, frame_ids=some, size=56)
    theirs = ove_codec.select(whole, frame_ids=[ids[i] for i in some], size=56)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    tokens, expected = ove_codec.tokenize(video, ours), ove_codec.tokenize(whole, theirs)
    np.testing.assert_array_equal(tokens.patches, expected.patches)
    assert ove_codec.tokens(video, "ove", num_frames=8, size=56).positions.shape[1] == 3


def test_off_by_default(stream_folder: Path) -> None:
    path = anchor_clip(stream_folder, "h264-closed")
    source = damaged(path, [26])
    with pytest.raises(ove_codec.InvalidBitstreamError):
        list(ove_codec.open(source))
    intact = ove_codec.open(path, on_damage="skip")
    assert len(intact) == 90 and intact.lost == () and ove_codec.open(path).lost == ()
    again = pickle.loads(pickle.dumps(ove_codec.open(source, on_damage="skip")))
    assert len(again.lost) == 1 and len(list(again)) == len(again) < 90
    with pytest.raises(ValueError, match="on_damage"):
        ove_codec.open(path, on_damage="ignore")


def test_a_file_that_is_cut_short(stream_folder: Path, tmp_path: Path) -> None:
    source, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    ffmpeg.run(["-v", "error", "-i", anchor_clip(stream_folder, "h264-closed"), "-c", "copy", "-y", source])
    data = source.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    video = ove_codec.open(cut, on_damage="skip")
    assert 20 < len(video) < 70 and len(list(video)) == len(video)
    assert len(video.lost) == 1 and "cut short" in video.lost[0].reason
    assert len(ove_codec.tokens(video, num_frames=8, size=56)) > 0


def test_damage_is_skipped_wherever_a_source_is_given(stream_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.mp4"
    path.write_bytes(damaged(anchor_clip(stream_folder, "h264-closed"), [26]))
    options: dict[str, Any] = {"num_frames": 12, "size": 56}
    video = ove_codec.open(path, on_damage="skip")
    expected = ove_codec.select(video, **options)
    pixels = ove_codec.tokenize(video, expected).patches
    with pytest.raises(ove_codec.Error):
        ove_codec.select(path, num_frames=90, size=56)
    selection = ove_codec.select(path, on_damage="skip", **options)
    assert selection.on_damage == "skip" and np.array_equal(selection.scores, expected.scores)
    assert np.array_equal(ove_codec.tokenize(path, selection, on_damage="skip").patches, pixels)
    assert np.array_equal(ove_codec.tokens(path, on_damage="skip", **options).patches, pixels)
    (batch,) = ove_codec.batches([path], 1, on_damage="skip", **options)
    assert np.array_equal(batch.tokens.patches, pixels)
    frames = ove_codec.frames(path, selection.frame_ids, size=56, on_damage="skip")
    assert np.array_equal(frames, ove_codec.frames(video, selection.frame_ids, size=56))
    assert len(ove_codec.frames(path, on_damage="skip", size=16)) == len(video) < 90
    selection.save(tmp_path / "saved.npz")
    loaded = ove_codec.Selection.load(tmp_path / "saved.npz")
    assert loaded.on_damage == "skip"
    for one in (selection, loaded):
        for ours, theirs in zip(one.heats(), expected.heats(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    arguments = ["--num-frames", "12", "--size", "56", "--on-damage", "skip"]
    assert cli.main(["select", str(path), *arguments, "-o", str(tmp_path / "by_command.npz")]) == 0
    assert np.array_equal(ove_codec.Selection.load(tmp_path / "by_command.npz").scores, expected.scores)
    arrays = ["--arrays", "bits", "--frames=-1", "--on-damage", "skip"]
    assert cli.main(["extract", str(path), str(tmp_path / "arrays.npz"), *arrays]) == 0
    assert np.load(tmp_path / "arrays.npz")["frame_ids"].tolist() == [len(video) - 1]


def test_where_damage_is_not_skipped(stream_folder: Path, tmp_path: Path) -> None:
    path = anchor_clip(stream_folder, "h264-closed")
    video, skipping = ove_codec.open(path), ove_codec.open(path, on_damage="skip")
    for call in (ove_codec.select, ove_codec.tokens, ove_codec.frames):
        with pytest.raises(ValueError, match=r"pass on_damage='skip' to ove_codec\.open"):
            call(video, on_damage="skip", num_frames=2)
        with pytest.raises(ValueError, match="on_damage must be"):
            call(path, on_damage="ignore", num_frames=2)
    with pytest.raises(ValueError, match="leave out transcode"):
        ove_codec.select(path, transcode="saliency", on_damage="skip")
    with pytest.raises(ValueError, match="leave out transcode"):
        ove_codec.select(skipping, transcode="saliency")
    assert ove_codec.select(skipping, transcode=True, num_frames=2).on_damage == "skip"
    selection = ove_codec.select(skipping, num_frames=2, size=56)
    with pytest.raises(ValueError, match="pass on_damage='skip' here too"):
        ove_codec.tokenize(path, selection)
    mpeg4 = tmp_path / "other.avi"
    ffmpeg.run(["-v", "error", "-i", path, "-c:v", "mpeg4", "-y", mpeg4])
    for call in (ove_codec.select, ove_codec.tokens, ove_codec.frames):
        with pytest.raises(ValueError, match=r"damage can be skipped in HEVC and H\.264, not in mpeg4"):
            call(mpeg4, on_damage="skip", num_frames=2)
