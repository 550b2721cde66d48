"""Tokens in one call: the same as a selection and then its tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import together
from support import ffmpeg
from test_anchors import ENCODERS
from test_anchors import encoded as anchor_clip

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="needs ffmpeg with libx265")


def assert_like_one_after_the_other(source: Any, preset: str, **params: Any) -> None:
    tokens = ove_codec.tokens(source, preset, **params)
    expected = ove_codec.tokenize(source, ove_codec.select(source, preset, **params))
    for name in ("patches", "positions", "cu_seqlens"):
        ours, theirs = getattr(tokens, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(
    "params",
    [
        {"preset": "paper", "num_frames": 16},
        {"preset": "ove", "fps": 7.0, "size": 56, "budget": 30},
        {"preset": "llava", "num_frames": 5},
        {"preset": "probe", "sampling": "anchors", "num_frames": 8},
    ],
)
def test_the_same_as_one_after_the_other(stream_folder: Path, kind: str, params: dict[str, Any]) -> None:
    assert_like_one_after_the_other(anchor_clip(stream_folder, kind), **params)


def test_where_all_patches_are_too_many(stream_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_MOST_BYTES", 1000)
    assert_like_one_after_the_other(anchor_clip(stream_folder, "hevc-open").read_bytes(), "paper", num_frames=8)


def test_pixels_that_cannot_be_decoded_count_only_where_they_are_kept(
    stream_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = ove_codec._core.gather_patches
    calls = []

    def first_fails(**request: Any) -> Any:
        calls.append(len(request["packets"]))
        if len(calls) == 1:
            raise ove_codec.DecodeError("damaged")
        return gather(**request)

    monkeypatch.setattr(ove_codec._core, "gather_patches", first_fails)
    tokens = ove_codec.tokens(anchor_clip(stream_folder, "h264-closed"), num_frames=8, budget=20)
    assert len(tokens) == 20 and len(calls) == 2


def test_other_codecs_and_bad_arguments(stream_folder: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    ffmpeg.run(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x64:d=1", "-c:v", "mpeg4", "-y", clip])
    assert_like_one_after_the_other(clip, "paper", residual_weight=0, mv_weight=1.0, num_frames=4)
    assert len(ove_codec.tokens(clip, transcode=True, num_frames=4, dtype="bfloat16")) > 0
    with pytest.raises(TypeError, match="did you mean budget"):
        ove_codec.tokens(clip, **{"buget": 3})  # type: ignore[arg-type]
    with pytest.raises(ove_codec.DecodeError, match="no such file"):
        ove_codec.tokens(tmp_path / "none.mp4")
