"""Several edits over open groups: open, frames and tokenize show what the edits say, in their order.

libavcodec, and so PyAV, loses pictures where an edit begins in an open group; what it gives is among what is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core
from support.mp4 import movie, sample_entry, samples
from support.pixels import encode, needs_ffmpeg

pytestmark = needs_ffmpeg
DELAY = 2  # pictures from decoding to display
# (duration, time) of what is shown, in pictures.
EDITS = {
    "later": [(5, 13), (6, 30)],
    "adjacent": [(4, 10), (4, 14)],
    "back": [(5, 20), (5, 5)],
    "again": [(8, 12), (8, 12)],
    "gap": [(3, -1 - DELAY), (12, 13)],
    "overlapping": [(6, 8), (6, 11)],
    "behind a leading picture": [(4, 19), (5, 21), (3, 9)],
}


@pytest.fixture(scope="module", params=["libx265", "libx264"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    params = "open-gop=1:keyint=10:min-keyint=10:bframes=3:b-adapt=0:scenecut=0"
    kind = request.param.removeprefix("lib")
    arguments = ["-pix_fmt", "yuv420p", "-preset", "ultrafast", f"-{kind}-params", f"log-level=none:{params}"]
    path = tmp_path_factory.mktemp(kind) / "plain.mp4"
    return encode(path, *arguments, source="testsrc2=s=96x64:r=25:d=1.6", codec=request.param)


def edited(plain: Path, out: Path, edits: list[tuple[int, int]], all_keys: bool) -> Path:
    packets = list(_core.Packets(plain))
    num, den = _core.stream_info(plain)["time_base"]
    times = [round(packet["pts"] * num / den * 25) for packet in packets]
    keys = [number for number, packet in enumerate(packets) if packet["key"]]
    parts = [(sample_entry(plain.read_bytes()), samples(plain))]
    out.write_bytes(
        movie(
            parts,
            shown_at=[time - times[0] + DELAY for time in times],
            edits=[(duration, time + DELAY) for duration, time in edits],
            keys=keys if all_keys else None,
        )
    )
    return out


@pytest.mark.parametrize("all_keys", [False, True])
@pytest.mark.parametrize("name", EDITS)
def test_edits(plain: Path, tmp_path: Path, name: str, all_keys: bool) -> None:
    av = pytest.importorskip("av")
    path = edited(plain, tmp_path / "edited.mp4", EDITS[name], all_keys)
    with av.open(str(plain)) as container:
        originals = [frame.to_ndarray(format="gray").astype(float) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        given = [(float(frame.time), frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]

    def which(grey: np.ndarray) -> int:
        """The picture of the unedited video that looks like this one."""
        return int(np.argmin([np.abs(original - grey).mean() for original in originals]))

    # libavformat may give a picture more behind an edit.
    parts = [[time + i for i in range(duration)] for duration, time in EDITS[name] if time >= 0]
    video = ove_codec.open(path)
    pictures = list(video)
    assert [picture.packet for picture in pictures] == video.index.packet.tolist()
    assert [picture.pts for picture in pictures] == video.index.pts.tolist()
    options: dict[str, Any] = {"resize": "native", "normalize": False}
    found = ove_codec.frames(path, **options)
    shown = [which(frame.float().mean(0).numpy()) for frame in found]
    assert len(shown) == len(pictures)
    at = 0
    for part in parts:
        at = shown.index(part[0], at)
        assert shown[at : at + len(part)] == part
        at += len(part)
    assert sum(map(len, parts)) <= len(shown) <= sum(map(len, parts)) + len(parts)
    mine = [(round(picture.pts, 6), number) for picture, number in zip(pictures, shown, strict=True)]
    assert {(round(time, 6), which(grey)) for time, grey in given} <= set(mine)

    for ids in ([0], [len(shown) - 1], [1, len(shown) // 2]):
        assert np.array_equal(ove_codec.frames(path, ids, **options), found[ids])
    selection = ove_codec.select(path, num_frames=len(shown), budget=10**6, resize="native", patch_size=16)
    tokens = ove_codec.tokenize(path, selection, mean=(0, 0, 0), std=(1, 1, 1))
    assert selection.frame_ids.tolist() == list(range(len(shown)))
    canvas = tokens.patches.reshape(-1, 4, 6, 3, 16, 16).permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, 64, 96)
    assert np.abs(canvas.numpy() * 255 - found.numpy()).max() <= 0.51
