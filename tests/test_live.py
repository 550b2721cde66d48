"""Pushed packets: windows equal what the whole video gives, and a stream outlives what happens to its packets."""

import collections
import itertools
import json
import random
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core, live
from support import ffmpeg, scenes
from test_anchors import encoded as anchor_clip

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="needs ffmpeg with libx265")

KINDS = ["hevc-open", "hevc-layers", "hevc-long", "h264-closed", "h264-open"]
Packet = tuple[bytes, float]


def packets_of(path: Path) -> tuple[str, bytes, list[Packet]]:
    reader = _core.Packets(path)
    numerator, denominator = reader.info["time_base"]
    # Raw streams have no times.
    packets = [(p["data"], p["index"] / 25 if p["pts"] is None else p["pts"] * numerator / denominator) for p in reader]
    return reader.info["codec"], reader.extradata, packets


def windows_of(codec: str, extradata: bytes, packets: Iterable[Packet], **options: Any) -> list[ove_codec.Window]:
    live = ove_codec.Stream(codec, extradata, **options)
    windows = list(itertools.chain.from_iterable(live.push(data, pts) for data, pts in packets))
    return windows + live.flush()


def low_delay(folder: Path, codec: str = "libx265", size: tuple[int, int] = (96, 64), seed: int = 3) -> Path:
    path = folder / f"live_{codec}_{size[0]}_{seed}.{'hevc' if codec == 'libx265' else 'h264'}"
    if not path.exists():
        raw = scenes.moving_scene(size, 30, seed=seed)
        source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{size[0]}x{size[1]}", "-r", "25", "-i", "-"]
        quiet = "log-level=error:" if codec == "libx265" else ""
        params = [f"-{codec[3:]}-params", f"{quiet}keyint=10:min-keyint=10:bframes=0:scenecut=0"]
        ffmpeg.run(["-v", "error", *source, "-c:v", codec, *params, "-y", path], raw)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("paper", {"window": 1.0, "fps": 5.0}),
        ("paper", {"window": 1.2, "stride": 0.4, "num_frames": 8, "percentile_scope": "clip"}),
        ("ove", {"window": 2.0, "stride": 0.5, "fps": 8.0, "size": 56, "budget": 60}),
        ("bitcost", {"window": 0.8, "stride": 1.0, "num_frames": 100}),
    ],
)
def test_windows_are_what_the_whole_video_gives(
    stream_folder: Path, kind: str, preset: str, options: dict[str, Any]
) -> None:
    path = anchor_clip(stream_folder, kind)
    windows = windows_of(*packets_of(path), preset=preset, **options)
    assert len(windows) >= 3 and not any(window.lost for window in windows)
    video = ove_codec.open(path)
    params = {k: v for k, v in options.items() if k not in ("window", "stride", "fps", "num_frames")}
    for window in windows:
        ids = [window.pictures[i].index for i in window.sampled]
        assert np.all(window.pts >= window.start - 1e-6) and np.all(window.pts < window.end)
        np.testing.assert_array_equal(window.pts, video.index.pts[ids])
        selection = ove_codec.select(video, preset, frame_ids=ids, **params)
        np.testing.assert_array_equal(window.selection.scores, selection.scores)
        np.testing.assert_array_equal(window.selection.positions, selection.positions)
        tokens = ove_codec.tokenize(video, selection)
        np.testing.assert_array_equal(window.tokens.patches, tokens.patches)
        np.testing.assert_array_equal(window.tokens.positions, tokens.positions)
        np.testing.assert_array_equal(window.selection.heat(0), selection.heat(0))
    assert windows[-1].pictures[-1].residual.shape == (64, 96) if preset != "bitcost" else True


@pytest.mark.parametrize("codec", ["libx265", "libx264"])
def test_a_picture_is_there_one_packet_after_its_own(stream_folder: Path, codec: str) -> None:
    name, extradata, packets = packets_of(low_delay(stream_folder, codec))
    live = _core.LiveStream(name, extradata)
    for number, (data, pts) in enumerate(packets):
        live.push(data, pts)
        picture = live.next()
        assert (picture.packet if picture else -1) == number - 1
        assert live.next() is None


def whole(path: Path) -> dict[int, _core.Picture]:
    return {picture.packet: picture for picture in ove_codec.open(path)}


def assert_given_pictures_are_right(
    windows: list[ove_codec.Window], pictures: dict[int, _core.Picture], numbers: list[int]
) -> set[int]:
    """Pictures equal those of the whole video; `numbers` are those of the pushed packets there. Gives those seen."""
    seen = set()
    for picture in itertools.chain.from_iterable(windows):
        other = pictures[numbers[picture.packet]]
        seen.add(numbers[picture.packet])
        np.testing.assert_array_equal(picture.mv, other.mv)
        np.testing.assert_array_equal(picture.residual, other.residual)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_packet_costs_pictures_up_to_the_next_random_access_point(stream_folder: Path, kind: str) -> None:
    path = anchor_clip(stream_folder, kind)
    codec, extradata, packets = packets_of(path)
    pictures = whole(path)
    lost = 25  # far from the next random access point
    numbers = [i for i in range(len(packets)) if i != lost]
    windows = windows_of(codec, extradata, [packets[i] for i in numbers], window=10.0, num_frames=1000, size=56)
    seen = assert_given_pictures_are_right(windows, pictures, numbers)
    losses = [loss for window in windows for loss in window.lost]
    gone = {numbers[i] for loss in losses for i in range(loss.packet, loss.end)} | {lost}
    assert set(range(lost)) <= seen | gone
    assert seen.isdisjoint(gone)
    if losses:
        (loss,) = losses
        assert numbers[loss.packet] > lost and loss.pts == packets[numbers[loss.packet]][1] and loss.reason
        anchors = [p.packet for p in pictures.values() if p.random_access and p.packet > lost]
        assert [numbers[loss.end]] == anchors[:1] if loss.end < len(numbers) else not anchors
    for window in windows:
        assert len(window.tokens) == len(window.selection) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_named_and_the_stream_goes_on(stream_folder: Path, kind: str) -> None:
    path = anchor_clip(stream_folder, kind)
    codec, extradata, packets = packets_of(path)
    pictures = whole(path)
    data, pts = packets[26]
    packets[26] = data[: len(data) // 3], pts
    windows = windows_of(codec, extradata, packets, window=10.0, num_frames=1000, size=56)
    seen = assert_given_pictures_are_right(windows, pictures, list(range(len(packets))))
    losses = [loss for window in windows for loss in window.lost]
    assert losses and losses[0].packet == 26 and 26 not in seen
    if kind != "hevc-long":  # which has one random access point alone
        assert max(seen) > losses[0].end - 1


def test_corrupt_packets_are_lost(stream_folder: Path) -> None:
    codec, extradata, packets = packets_of(anchor_clip(stream_folder, "h264-closed"))
    live = _core.LiveStream(codec, extradata)
    for number, (data, pts) in enumerate(packets):
        live.push(data, pts, corrupt=number == 5)
    live.flush()
    ((first, end, lost_at, reason),) = live.take_losses()
    assert (first, end, lost_at) == (5, 20, packets[5][1]) and "missing" in reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_whatever_becomes_of_packets(stream_folder: Path, kind: str, seed: int) -> None:
    """Lost, doubled, exchanged, cut short and overwritten packets, from anywhere on."""
    path = anchor_clip(stream_folder, kind)
    codec, extradata, packets = packets_of(path)
    dice = random.Random(f"{kind}{seed}")
    mangled: list[Packet] = []
    for data, pts in packets[dice.randrange(8) :]:
        fault = dice.randrange(40)
        if fault == 0:
            continue
        if fault == 1:
            data = data[: dice.randrange(len(data))]
        if fault == 2:
            at = dice.randrange(len(data))
            data = data[:at] + dice.randbytes(4) + data[at + 4 :]
        mangled += [(data, pts)] * (2 if fault == 3 else 1)
        if fault == 4 and len(mangled) > 1:
            mangled[-1], mangled[-2] = mangled[-2], mangled[-1]
    windows = windows_of(codec, extradata, mangled, window=1.0, stride=0.5, fps=10.0, size=56)
    for window in windows:
        assert len(window.selection) > 0 and np.isfinite(window.tokens.patches.numpy()).all()
        assert np.all(np.diff(window.pts) >= 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [22, 23, 24, 25, 40])
def test_packets_out_of_order_cost_pictures_but_change_none(stream_folder: Path, kind: str, at: int) -> None:
    path = anchor_clip(stream_folder, kind)
    codec, extradata, packets = packets_of(path)
    numbers = list(range(len(packets)))
    numbers[at : at + 2] = at + 1, at
    windows = windows_of(codec, extradata, [packets[i] for i in numbers], window=10.0, num_frames=1000, size=56)
    seen = assert_given_pictures_are_right(windows, whole(path), numbers)
    gone = {numbers[i] for window in windows for loss in window.lost for i in range(loss.packet, loss.end)}
    assert seen.isdisjoint(gone) and set(range(at)) <= seen
    if gone:
        assert min(gone) >= at
    else:  # one that is shown before its predecessor takes no sample
        assert set(numbers) - seen <= {at, at + 1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [1, 7, 33])
def test_a_stream_may_begin_anywhere(stream_folder: Path, kind: str, at: int) -> None:
    path = anchor_clip(stream_folder, kind)
    codec, extradata, packets = packets_of(path)
    numbers = list(range(at, len(packets)))
    windows = windows_of(codec, extradata, [packets[i] for i in numbers], window=10.0, num_frames=1000, size=56)
    pictures = whole(path)
    seen = assert_given_pictures_are_right(windows, pictures, numbers)
    anchors = [p.packet for p in pictures.values() if p.random_access and p.packet >= at]
    if anchors:  # else the stream has no point to begin at
        assert {p.packet for p in pictures.values() if p.pts >= pictures[anchors[0]].pts} <= seen


def test_packets_that_come_twice_count_once(stream_folder: Path) -> None:
    codec, extradata, packets = packets_of(anchor_clip(stream_folder, "hevc-open"))
    twice = [packet for packet in packets for _ in range(2)]
    once, again = (windows_of(codec, extradata, p, window=1.0, fps=5.0) for p in (packets, twice))
    assert [w.pts.tolist() for w in once] == [w.pts.tolist() for w in again]


def test_a_change_of_size_begins_a_window(stream_folder: Path) -> None:
    small, large = (packets_of(low_delay(stream_folder, size=s)) for s in ((96, 64), (128, 80)))
    later = [(data, pts + 1.2) for data, pts in large[2]]
    windows = windows_of("hevc", b"", small[2] + later, window=0.8, fps=5.0, size=56)
    sizes = [{p.width for p in window} for window in windows]
    assert sizes == [{96}, {96}, {128}, {128}]
    assert [w.start for w in windows] == pytest.approx([0, 0.8, 1.2, 2.0])
    assert all(len(w.tokens) for w in windows)


def test_a_change_of_codec(stream_folder: Path) -> None:
    live = ove_codec.Stream("h265", window=0.5, fps=4.0, size=56)
    first, second = (packets_of(low_delay(stream_folder, codec)) for codec in ("libx265", "libx264"))
    windows = [w for data, pts in first[2] for w in live.push(data, pts)]
    windows += live.change("h264", second[1])
    windows += [w for data, pts in second[2] for w in live.push(memoryview(data), pts)] + live.flush()
    assert [len(w.sampled) for w in windows] == [2, 2, 1, 2, 2, 1]
    assert len(windows[-1].tokens)


def test_times_that_jump_or_stand_still(stream_folder: Path) -> None:
    codec, extradata, packets = packets_of(low_delay(stream_folder))
    jumping = [(data, pts + (1000 if i > 9 else 0) - (1e9 if i > 19 else 0)) for i, (data, pts) in enumerate(packets)]
    windows = windows_of(codec, extradata, jumping, window=10.0, fps=25.0, size=56)
    assert [len(w) for w in windows] == [10, 10, 10]
    still = windows_of(codec, extradata, [(data, 1.0) for data, _ in packets], window=1.0, fps=25.0, size=56)
    assert [len(w) for w in still] == [1]
    unknown = ove_codec.Stream(codec, window=0.4, fps=25.0, size=56)
    windows = [w for data, _ in packets for w in unknown.push(data)] + unknown.flush()
    assert [len(w) for w in windows] == [10, 10, 10]


def test_pixels_and_residual_are_decoded_only_where_they_are_wanted(stream_folder: Path) -> None:
    codec, extradata, packets = packets_of(low_delay(stream_folder))
    for window in windows_of(codec, extradata, packets, preset="bitcost", window=1.0, pixels=False):
        assert len(window.selection)
        with pytest.raises(ValueError, match="pixels=True"):
            window.tokens  # noqa: B018
        with pytest.raises(RuntimeError, match="residual"):
            window.pictures[0].residual  # noqa: B018


class Counted:
    """A scorer or decoder, whose calls are counted by name."""

    def __init__(self, counted: Any, calls: collections.Counter[str]) -> None:
        self._counted, self._calls = counted, calls

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._counted, name)
        if callable(value):
            self._calls[name] += 1
        return value


@pytest.mark.parametrize("kind", ["hevc-open", "h264-closed"])
def test_a_rolling_window_decodes_nothing_twice(
    stream_folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, extradata, packets = packets_of(anchor_clip(stream_folder, kind))
    scored: collections.Counter[str] = collections.Counter()
    scorer_for = vars(live)["scorer_for"]
    monkeypatch.setattr(live, "scorer_for", lambda *given: Counted(scorer_for(*given), scored))
    found = []
    for stride in (1.0, 0.2):
        pushed: collections.Counter[str] = collections.Counter()
        scored.clear()
        stream = ove_codec.Stream(codec, extradata, window=1.0, stride=stride, fps=5.0, size=56)
        decoder = stream._decoder
        stream._decoder = Counted(decoder, pushed)  # type: ignore[assignment]
        windows = [window for data, pts in packets for window in stream.push(data, pts)] + stream.flush()
        samples = {window.pictures[i].index for window in windows for i in window.sampled}
        assert sum(len(window.tokens) for window in windows) > 0
        assert pushed["push"] == len(packets) and scored["score"] == len(samples) == 18
        found.append((len(windows), decoder.pixels_decoded))
    video = ove_codec.open(anchor_clip(stream_folder, kind))
    referable = 90 - sum(picture.type == "B" for picture in video)
    assert found[0][0] == 4 and found[1][0] >= 14 and found[0][1] == found[1][1]
    assert referable <= found[0][1] < 90  # pictures that nothing refers to are left out unless they are sampled


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


@pytest.mark.parametrize("fault", ["none", "no random access point", "no time"])
def test_memory_does_not_grow_with_the_stream(stream_folder: Path, fault: str) -> None:
    codec, extradata, packets = packets_of(low_delay(stream_folder, "libx264", (192, 128)))
    packets = packets[:10]  # one group
    if fault == "no random access point":
        packets = packets[1:]
    stream = ove_codec.Stream(codec, extradata, window=1.0, stride=0.5, fps=5.0, size=56, preset="ove", budget=20)
    grown = []
    for loop in range(80):
        for i, (data, _) in enumerate(packets):
            for window in stream.push(data, None if fault == "no time" else (10 * loop + i) / 25):
                assert len(window.tokens) == 20 and len(window) <= 25
        if loop in (19, 79):
            grown.append(resident_mb())
    assert grown[1] - grown[0] < 6  # 600 pictures, of 0.04 MB of samples alone


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"window": 0}, ValueError),
        ({"stride": float("nan")}, ValueError),
        ({"frame_ids": [0]}, ValueError),
        ({"start": 1.0}, ValueError),
        ({"sampling": "bits"}, ValueError),
        ({"sampling": "anchors"}, ValueError),
        ({"vector": "l2"}, ValueError),
        ({"resize": "zoom"}, ValueError),
        ({"windw": 1.0}, TypeError),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        ove_codec.Stream("hevc", **options)
    with pytest.raises(error):
        ove_codec.stream("no-such-file", **options)


def test_bad_packets(stream_folder: Path) -> None:
    live = ove_codec.Stream("h264")
    with pytest.raises(ValueError, match="pts"):
        live.push(b"\0\0\1\x65", float("inf"))
    with pytest.raises(TypeError):
        live.push("text")
    assert live.push(b"") == [] and live.push(b"\0\0\1\x65\x88", 0.0) == [] and live.flush() == []
    with pytest.raises(ValueError, match="vp9"):
        ove_codec.Stream("vp9")
    with pytest.raises(ove_codec.InvalidBitstreamError):
        ove_codec.Stream("hevc", b"\1" * 12)


def test_the_benchmark(stream_folder: Path) -> None:
    bench = Path(__file__).resolve().parents[1] / "bench" / "live.py"
    clip = anchor_clip(stream_folder, "h264-closed")
    done = subprocess.run([sys.executable, bench, clip], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["clip"] == clip.name
    for way in ("syntax", "selections", "tokens"):
        assert result[way]["times_real_time"] > 0 and result[way]["longest_ms"] > 0 and result[way]["peak_mb"] > 0
