"""Transcoding: every codec comes in, and what is not samples stays as it was."""

from __future__ import annotations

import errno
import functools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core
from ove_codec.cli import main
from support import ffmpeg, scenes

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

SIZE = (96, 64)
PICTURES = 20
QUICK = ove_codec.Recipe("ultrafast", crf=8, params="bframes=0:keyint=8:min-keyint=8:scenecut=0")
ENCODERS = {
    "h264": ("libx264", ["-bf", "2", "-g", "12"], ".mp4"),
    "vp9": ("libvpx-vp9", ["-deadline", "realtime", "-cpu-used", "8"], ".webm"),
    "av1": ("libaom-av1", ["-cpu-used", "8", "-usage", "realtime"], ".mkv"),
    "mpeg4": ("mpeg4", ["-bf", "2", "-q:v", "3"], ".avi"),
    "mpeg2video": ("mpeg2video", ["-bf", "2", "-q:v", "3"], ".ts"),
    "hevc": ("libx265", ["-x265-params", "log-level=none"], ".mp4"),
}


@functools.cache
def encoders() -> str:
    done = subprocess.run(["ffmpeg", "-hide_banner", "-encoders"], capture_output=True, check=True, text=True)
    return done.stdout


def make(path: Path, codec: str, *options: Any, size: tuple[int, int] = SIZE, pixels: str = "yuv420p") -> Path:
    """A moving scene in a codec; skips where ffmpeg cannot encode it."""
    encoder, more, suffix = ENCODERS[codec]
    if f" {encoder} " not in encoders():
        pytest.skip(f"ffmpeg has no {encoder}")
    path = path.with_suffix(path.suffix or suffix)
    raw = scenes.moving_scene(size, PICTURES, pixels, seed=2)
    source = ["-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{size[0]}x{size[1]}", "-r", "25", "-i", "-"]
    ffmpeg.run(["-v", "error", "-y", *source, "-c:v", encoder, *more, *options, path], raw)
    return path


def times(source: Any) -> list[float]:
    """Seconds at which pictures are shown, by the container."""
    pts, shown = _core.packet_times(source)
    numerator, denominator = _core.stream_info(source)["time_base"]
    return [float(t) * numerator / denominator for t in np.sort(pts[shown])]


def read_times(source: Any) -> list[float]:
    return [picture.pts for picture in ove_codec.open(source)]


@pytest.fixture(scope="module")
def h264(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("transcoding") / "clip.mp4", "h264")


@pytest.mark.parametrize("codec", ENCODERS)
def test_codecs(tmp_path: Path, codec: str) -> None:
    """As many pictures, at the same times, that look the same."""
    path = make(tmp_path / "clip", codec)
    out = ove_codec.transcode(path, recipe=ove_codec.Recipe("ultrafast", crf=4))
    assert _core.stream_info(out)["codec"] == "hevc"
    (tmp_path / "out.mp4").write_bytes(out)
    source, target = (np.array(ffmpeg.decode_luma(s, 8)[0], int) for s in (path, tmp_path / "out.mp4"))
    assert target.shape == source.shape == (PICTURES, 64, 96)
    worst = np.square(source - target).mean(axis=(1, 2)).max()
    assert 10 * np.log10(255**2 / worst) > 38
    if codec == "mpeg4":  # AVI has no time stamps, only an order
        np.testing.assert_allclose(np.diff(read_times(out)), 1 / 25, atol=1e-4)
    else:
        np.testing.assert_allclose(read_times(out), times(path), atol=1e-6)


@pytest.mark.parametrize("recipe", list(ove_codec.RECIPES))
def test_recipes_are_what_ffmpeg_makes_of_them(tmp_path: Path, recipe: str) -> None:
    """The very packets of the ffmpeg program with these parameters, in one encoding thread; of pictures that need no
    others."""
    r = ove_codec.RECIPES[recipe]
    h264 = make(tmp_path / "clip.mp4", "h264", size=(96, 80))
    expected = tmp_path / "expected.mp4"
    params = f"{r.params}:log-level=none:info=0:frame-threads=1:pools=1"
    options = ["-preset", r.preset, "-crf", f"{r.crf}", "-x265-params", params, "-pix_fmt", "yuv420p"]
    ffmpeg.run(["-v", "error", "-i", h264, "-c:v", "libx265", *options, *ffmpeg._passthrough(), expected])
    out = ove_codec.transcode(h264, recipe=recipe, threads=1)
    assert [p["data"] for p in _core.Packets(out)] == [p["data"] for p in _core.Packets(expected)]


def test_reference_recipe(h264: Path) -> None:
    video = ove_codec.open(ove_codec.transcode(h264))
    assert "".join(video.index.type) == "I" + 15 * "P" + "IPPP"
    for picture in video:
        used = picture.pred > 0
        assert not (picture.pred & 2).any()
        np.testing.assert_array_equal(picture.poc - picture.ref_poc[used, 0], 1)


def test_saliency_recipe(h264: Path) -> None:
    """One quantiser all over a picture; motion that needs no other picture's."""
    out = ove_codec.transcode(h264, recipe="saliency")
    video = ove_codec.open(out)
    assert "".join(video.index.type) == "I" + 19 * "P"
    reference = ove_codec.open(ove_codec.transcode(h264))
    assert any(len(np.unique(picture.qp[picture.cu_size > 0])) > 1 for picture in reference)
    for picture in video:
        coded = ~picture.skip
        assert len(np.unique(picture.qp[coded])) <= 1
        np.testing.assert_array_equal(picture.poc - picture.ref_poc[picture.pred > 0, 0], 1)


@pytest.mark.parametrize("size", [(48, 48), (64, 64), (160, 64), (72, 72)])
def test_small_pictures_give_the_same_every_time(size: tuple[int, int], tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", "h264", size=size)
    for recipe in ("reference", "saliency"):
        assert len({ove_codec.transcode(path, recipe=recipe) for _ in range(5)}) == 1


def test_the_same_on_any_number_of_threads(h264: Path, tmp_path: Path) -> None:
    out = ove_codec.transcode(h264, threads=1)
    assert ove_codec.transcode(h264.read_bytes(), threads=3) == out
    with h264.open("rb") as file:
        facts = ove_codec.transcode(file, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == out
    assert facts == {
        "pictures": PICTURES, "skipped": 0, "moved": 0, "resized": 0, "width": 96, "height": 64,
        "source_format": "yuv420p", "pixel_format": "yuv420p",
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_variable_frame_rates_and_late_starts(tmp_path: Path, suffix: str) -> None:
    irregular = "settb=1/90000,setpts='N*N*37+700*N+3.5/TB'"
    path = make(tmp_path / "vfr.mp4", "h264", "-vf", irregular, *ffmpeg._passthrough(), "-enc_time_base", "1:90000")
    expected = times(path)
    assert expected[0] == pytest.approx(3.5, abs=0.05) and np.ptp(np.diff(expected)) > 0.005
    out = tmp_path / f"out{suffix}"
    ove_codec.transcode(path, out, QUICK)
    np.testing.assert_allclose(read_times(out), expected, atol=6e-4 if suffix == ".mkv" else 1e-9)


def test_edit_lists(h264: Path, tmp_path: Path) -> None:
    """What a cut without encoding leaves out is not shown after transcoding either."""
    cut = tmp_path / "cut.mp4"
    ffmpeg.run(["-v", "error", "-ss", "0.3", "-i", h264, "-c", "copy", cut])
    shown = times(cut)
    assert len(shown) < len(list(_core.Packets(cut)))
    out = ove_codec.transcode(cut, recipe=QUICK)
    np.testing.assert_allclose(read_times(out), shown, atol=1e-9)
    source, target = (ove_codec.frames(s, [0, -1], normalize=False, size=56).numpy().astype(int) for s in (cut, out))
    assert np.abs(source - target).mean() < 4


def test_rotation_and_colours(tmp_path: Path) -> None:
    tags = ["-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc", "-color_range", "pc"]
    plain = make(tmp_path / "plain.mp4", "h264", *tags, "-aspect", "16:9")
    version = int(ffmpeg.run(["-version"])[0].split()[2].lstrip(b"n").split(b".")[0])
    matrix = ["-metadata:s:v:0", "rotate=90"] if version < 6 else []
    display = [] if version < 6 else ["-display_rotation:v:0", "90"]
    turned = tmp_path / "turned.mp4"
    ffmpeg.run(["-v", "error", *display, "-i", plain, "-c", "copy", *matrix, turned])
    before = _core.stream_info(turned)
    assert before["rotation"] in (90, 270) and before["color_transfer"] == "arib-std-b67"
    after = _core.stream_info(ove_codec.transcode(turned, recipe=QUICK))
    for name in ("rotation", "sample_aspect_ratio", *(f"color_{n}" for n in ("range", "matrix", "primaries"))):
        assert after[name] == before[name], name
    assert after["color_transfer"] == before["color_transfer"]


@pytest.mark.parametrize(
    ("pixels", "recipe", "expected"),
    [
        ("yuv420p10le", "reference", "yuv420p"),
        ("yuv420p10le", "saliency", "yuv420p10le"),
        ("yuv444p", "reference", "yuv420p"),
        ("yuv444p", "saliency", "yuv444p"),
    ],
)
def test_samples(tmp_path: Path, pixels: str, recipe: str, expected: str) -> None:
    path = make(tmp_path / "clip.mp4", "h264", pixels=pixels)
    out = tmp_path / "out.mp4"
    ove_codec.transcode(path, out, recipe)
    assert _core.stream_info(out)["pixel_format"] == expected
    lumas = [(source, 10 if source.endswith("10le") else 8) for source in (pixels, expected)]
    source, target = (
        np.array(ffmpeg.decode_luma(file, depth)[0]) / 2 ** (depth - 8)
        for file, (_, depth) in zip((path, out), lumas, strict=True)
    )
    assert np.abs(source - target).mean() < 4


def test_rgb(tmp_path: Path) -> None:
    """Converted with the matrix that is then written."""
    if " libx264rgb " not in encoders():
        pytest.skip("ffmpeg has no libx264rgb")
    path = tmp_path / "rgb.mkv"
    ffmpeg.run(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=5:d=1", "-c:v", "libx264rgb", "-qp", "0", path])
    out = ove_codec.transcode(path, recipe="reference")
    info = _core.stream_info(out)
    assert (info["color_matrix"], info["color_range"]) == ("smpte170m", "tv")
    source, target = (ove_codec.frames(s, normalize=False, size=64).numpy().astype(int) for s in (path, out))
    assert np.abs(source - target).mean() < 12


def test_odd_sizes(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", "h264", size=(97, 65), pixels="yuv444p")
    sizes = {}
    for recipe in ("reference", "saliency"):
        info = _core.stream_info(ove_codec.transcode(path, recipe=recipe))
        sizes[recipe] = info["width"], info["height"]
    assert sizes == {"reference": (96, 64), "saliency": (97, 65)}


def test_sizes_that_change(tmp_path: Path) -> None:
    """The size of the first picture stays."""
    first = make(tmp_path / "a.h264", "h264")
    second = make(tmp_path / "b.h264", "h264", size=(64, 48))
    both = tmp_path / "both.h264"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    facts = ove_codec.transcode(both, tmp_path / "out.mp4", QUICK)
    assert (facts["pictures"], facts["resized"]) == (2 * PICTURES, PICTURES)
    assert (facts["width"], facts["height"]) == SIZE
    assert facts["moved"] == facts["pictures"]  # there are no time stamps in raw streams


# Damage and refusals.


def damaged(path: Path, target: Path) -> tuple[Path, int]:
    """The file with some packets overwritten; and the byte where that begins."""
    data = bytearray(path.read_bytes())
    packets = list(_core.Packets(path))
    at = packets[14]["position"]
    data[at + 8 : at + len(packets[14]["data"])] = bytes(len(packets[14]["data"]) - 8)
    target.write_bytes(data)
    return target, at


def test_damage(h264: Path, tmp_path: Path) -> None:
    broken, at = damaged(h264, tmp_path / "broken.mp4")
    out = tmp_path / "out.mp4"
    out.write_bytes(b"from before")
    for target in (None, out):
        with pytest.raises(_core.DecodeError, match=r"broken\.mp4.*damaged") as error:
            ove_codec.transcode(broken, target, QUICK)
        assert error.value.position == at
    assert out.read_bytes() == b"from before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.mp4", "out.mp4"]


def test_what_precedes_damage_can_be_kept(h264: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, _ = damaged(h264, tmp_path / "broken.mp4")
    out = tmp_path / "out.mp4"
    with pytest.raises(_core.DecodeError, match="damaged"):
        ove_codec.transcode(broken, out, QUICK, keep_damaged=True)
    kept = len(ove_codec.open(out))
    assert kept >= 12  # some of the 14 whole packets are shown after the damaged one
    whole = ove_codec.transcode(h264, recipe=QUICK)
    ours, theirs = (ove_codec.frames(s, range(12), normalize=False, size=56).numpy().astype(int) for s in (out, whole))
    assert np.abs(ours - theirs).mean() < 2
    assert main(["transcode", str(broken), str(tmp_path / "cli.mp4"), "--keep-damaged"]) == 1
    assert "damaged" in capsys.readouterr().err
    assert len(ove_codec.open(tmp_path / "cli.mp4")) == kept


def test_files_cut_short(h264: Path, tmp_path: Path) -> None:
    front = tmp_path / "front.mp4"
    ffmpeg.run(["-v", "error", "-i", h264, "-c", "copy", "-movflags", "faststart", front])
    front.write_bytes(front.read_bytes()[: front.stat().st_size * 3 // 5])
    with pytest.raises(_core.DecodeError, match=r"ends|incomplete"):
        ove_codec.transcode(front, tmp_path / "out.mp4", QUICK)
    assert not (tmp_path / "out.mp4").exists()


def test_bytes_that_change(h264: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A video, or an exception of the family, and not a word."""
    rng = np.random.default_rng(1)
    data = np.frombuffer(h264.read_bytes(), np.uint8)
    small = ove_codec.Limits(max_luma_samples=1 << 16)
    errors = 0
    for _ in range(30):
        damaged = data.copy()
        where = rng.integers(0, len(data), rng.integers(1, 20))
        damaged[where] = rng.integers(0, 256, len(where))
        try:
            out = ove_codec.transcode(damaged.tobytes(), recipe=QUICK, limits=small)
            assert len(ove_codec.open(out)) > 0
        except _core.Error:
            errors += 1
    assert errors > 5
    assert capfd.readouterr() == ("", "")


def test_missing_codecs_are_told(h264: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "preset": "fast", "crf": 23, "params": "", "pixel_formats": [], "container": "mp4", "threads": 1,
        "max_luma_samples": 1 << 20,
    }  # fmt: skip
    with pytest.raises(_core.UnsupportedStreamError, match=r"has no encoder libx265-absent.*LGPL.*--no-binary"):
        _core.Transcoder(h264, None, encoder="libx265-absent", **options)
    unknown = tmp_path / "unknown.mkv"
    ffmpeg.run(["-v", "error", "-i", h264, "-c", "copy", unknown])
    unknown.write_bytes(unknown.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_UNHEARD/OF/IT"))
    with pytest.raises(_core.UnsupportedStreamError, match=r"unknown\.mkv.*no decoder"):
        ove_codec.transcode(unknown)


def test_refusals(h264: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"recipe 'ours'.*reference, saliency"):
        ove_codec.transcode(h264, recipe="ours")
    with pytest.raises(ValueError, match="suffix"):
        ove_codec.transcode(h264, tmp_path / "out.avi")
    with pytest.raises(ValueError, match="needs a target"):
        ove_codec.transcode(h264, keep_damaged=True)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="'warp speed'"):
        ove_codec.transcode(h264, recipe=ove_codec.Recipe("warp speed"))
    with pytest.raises(ValueError, match="threads"):
        ove_codec.transcode(h264, threads=-1)
    with pytest.raises(_core.UnsupportedStreamError, match="max_luma_samples"):
        ove_codec.transcode(h264, limits=ove_codec.Limits(max_luma_samples=1000))
    with pytest.raises(FileNotFoundError):
        ove_codec.transcode(h264, tmp_path / "nowhere" / "out.mp4")
    with pytest.raises(_core.DecodeError, match="no such file"):
        ove_codec.transcode(tmp_path / "none.mp4", tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_full_disk(h264: Path, tmp_path: Path) -> None:
    (tmp_path / "full.mp4").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left.*full\.mp4") as error:
        ove_codec.transcode(h264, tmp_path / "full.mp4", QUICK)
    assert error.value.errno == errno.ENOSPC


def test_progress_can_stop_it(h264: Path, tmp_path: Path) -> None:
    seen = []

    def stop(pictures: int) -> None:
        seen.append(pictures)
        if pictures == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ove_codec.transcode(h264, tmp_path / "out.mp4", QUICK, progress=stop)
    assert seen == [1, 2, 3] and list(tmp_path.iterdir()) == []


def test_other_threads_go_on(h264: Path) -> None:
    """No thread is forced to give up the GIL, so others go on only as it is given up."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        data = h264.read_bytes()
        worker = threading.Thread(target=ove_codec.transcode, args=(data,), kwargs={"recipe": QUICK})
        worker.start()
        rounds = 0
        while worker.is_alive():
            worker.join(1e-4)
            rounds += 1
        assert rounds > 5
    finally:
        sys.setswitchinterval(interval)


def test_nothing_is_printed(h264: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ove_codec.transcode(h264)
    with pytest.raises(_core.DecodeError):
        ove_codec.transcode(damaged(h264, tmp_path / "broken.mp4")[0])
    assert capfd.readouterr() == ("", "")


# Selecting.


def test_select(h264: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params: dict[str, Any] = {"num_frames": 6, "size": 56, "budget": 40}
    hevc, mpeg4 = (make(tmp_path / f"{codec}.mp4", codec) for codec in ("hevc", "mpeg4"))
    for source, recipe, same in (
        (mpeg4, True, ove_codec.transcode(mpeg4)),
        (h264, True, h264),
        (h264.read_bytes(), "saliency", ove_codec.transcode(h264, recipe="saliency")),
        (hevc, True, hevc),
        (hevc, "reference", ove_codec.transcode(hevc)),
    ):
        found = ove_codec.select(source, transcode=recipe, **params)
        expected = ove_codec.select(same, **params)
        np.testing.assert_array_equal(found.positions, expected.positions)
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.heat(2), expected.heat(2))
        if not isinstance(source, bytes):
            assert len(ove_codec.tokenize(source, found)) == 40
    out = tmp_path / "selection.npz"
    argv = ["select", str(mpeg4), "--num-frames", "6", "--size", "56", "--budget", "40", "-o", str(out)]
    for option, recipe in ((["--transcode"], "reference"), (["--transcode", "saliency"], "saliency")):
        assert main(argv + option) == 0, capsys.readouterr().err
        expected = ove_codec.select(ove_codec.transcode(mpeg4, recipe=recipe), **params)
        np.testing.assert_array_equal(ove_codec.Selection.load(out).positions, expected.positions)
    assert main([*argv, "--transcode", "ours"]) == 1


def test_command(h264: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.mp4"
    assert main(["transcode", str(h264), str(out), "--recipe", "saliency"]) == 0
    text = capsys.readouterr().out
    assert "20, 96x64, yuv420p" in text and "out.mp4" in text
    assert out.read_bytes() == ove_codec.transcode(h264, recipe="saliency")
    assert main(["transcode", str(tmp_path / "none.mp4"), str(out)]) == 1
    assert "none.mp4" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "torchcodec_nasa_13013_rotated.mp4",
        "torchcodec_test_non_zero_start.mp4",
        "torchcodec_discard_first_keyframe.mp4",
    ],
)
def test_real_clips(shared: Path, name: str) -> None:
    path = shared / "clips" / name
    out = ove_codec.transcode(path, recipe=QUICK)
    np.testing.assert_allclose(read_times(out), times(path), atol=1e-6)
    before, after = _core.stream_info(path), _core.stream_info(out)
    for fact in ("rotation", "color_matrix", "color_primaries", "color_transfer", "width", "height"):
        assert after[fact] == before[fact]


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_nothing(tmp_path: Path, ended_by: signal.Signals) -> None:
    source = make(tmp_path / "source.mp4", "h264")
    folder = tmp_path / "out"
    folder.mkdir()
    script = (
        "import os, sys, ove_codec\n"
        "def told(count):\n"
        "    if count == 5:\n"
        "        print('at work', flush=True)\n"
        "        sys.stdin.read()\n"
        "ove_codec.transcode(sys.argv[1], sys.argv[2], progress=told)\n"
    )
    command = [sys.executable, "-c", script, str(source), str(folder / "target.mp4")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"at work\n"
        process.send_signal(ended_by)
        assert process.wait(timeout=60) == -ended_by
    assert list(folder.iterdir()) == []
