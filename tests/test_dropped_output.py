"""Pictures that are never shown, or shown early, by what the stream says: selections go by what open gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ove_codec
from support import ffmpeg
from support.hevc.parameter_sets import Sps
from support.hevc.sequence import Sequence

pytestmark = pytest.mark.skipif(not ffmpeg.available(), reason="ffmpeg is not installed")


GROUPS = 3
DECODED = [0, 4, 1, 2]  # order counts of a group, in decoding order


def stream(*, latency: bool, drop: bool) -> Sequence:
    """Groups that begin with IDR pictures, two pictures waiting to be shown before each."""
    # SpsMaxLatencyPictures, which libavcodec does not look at, is 2: no more than one picture waits.
    sequence = Sequence(Sps(num_reorder=2, max_latency_plus1=1 if latency else 0))
    for group in range(GROUPS):
        sequence.noise(0, no_output_of_prior_pics=drop and group > 0)
        sequence.inter(4, 0)
        sequence.inter(1, 0, 4)
        sequence.inter(2, 1, 4)
    return sequence


@pytest.mark.parametrize(("latency", "shown"), [(False, [0, 1]), (True, [0, 1, 2, 4])])
@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_shown_is_selected(latency: bool, shown: list[int], threads: int, tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.hevc", tmp_path / "a.hevc"
    plain.write_bytes(stream(latency=False, drop=False).bytes())
    everything, _ = ffmpeg.decode_luma(plain, 8)
    assert len(everything) == GROUPS * 4
    path.write_bytes(stream(latency=latency, drop=True).bytes())

    video = ove_codec.open(path, threads=threads)
    pocs = shown * (GROUPS - 1) + [0, 1, 2, 4]
    assert [picture.poc for picture in video] == pocs == video.index.poc.tolist()
    assert len(ove_codec.frames(path, size=32, threads=threads)) == len(pocs)

    selection = ove_codec.select(path, num_frames=len(pocs), budget=10**6, resize="native", patch_size=16)
    tokens = ove_codec.tokenize(path, selection, threads=threads, mean=(0, 0, 0), std=(1, 1, 1))
    for number, packet in enumerate(video.index.packet.tolist()):
        group, place = divmod(packet, 4)
        luma = everything[4 * group + sorted(DECODED).index(DECODED[place])]
        mine = tokens.patches[tokens.positions[:, 0] == number].reshape(-1, 3, 16, 16).mean(1) * 255
        right = luma.reshape(4, 16, 4, 16).transpose(0, 2, 1, 3).reshape(-1, 16, 16)
        # Grey of R, G and B is luma stretched to the full range, but for clipped colours.
        assert np.corrcoef(mine.numpy().ravel(), right.ravel())[0, 1] > 0.9
        alone = ove_codec.tokenize(
            path,
            ove_codec.select(path, frame_ids=[number], budget=16, resize="native", patch_size=16),
            mean=(0, 0, 0),
            std=(1, 1, 1),
        )
        assert torch.equal(alone.patches, tokens.patches[tokens.positions[:, 0] == number])
