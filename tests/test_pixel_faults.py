"""Pixels and transcoding of files that users have: what libavcodec gives out counts, whatever the container says."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ove_codec
from support import annexb, ffmpeg

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="needs ffmpeg with libx265")


def _made(path: Path, *options: str, size: str = "64x48", frames: int = 10) -> Path:
    source = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=25", "-frames:v", str(frames)]
    ffmpeg.run(["-v", "error", *source, *options, "-y", path])
    return path


def _raw(path: Path, format: str = "rgb24") -> bytes:
    return ffmpeg.run(["-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", format, "-"])[0]


def _frames(path: Path, **options: object) -> np.ndarray:
    return ove_codec.frames(path, resize="native", normalize=False, **options).numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.gif", []),
        ("a.mkv", ["-c:v", "ffv1", "-pix_fmt", "bgra"]),
        ("b.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuva444p10le"]),
        ("a.avi", ["-c:v", "rawvideo", "-pix_fmt", "yuyv422"]),
        ("a.mov", ["-c:v", "png", "-pix_fmt", "rgba"]),
        ("a.nut", ["-c:v", "rawvideo", "-pix_fmt", "nv12"]),
        ("c.mkv", ["-c:v", "ffv1", "-pix_fmt", "gray"]),
    ],
)
def test_every_sample_format_becomes_rgb(name: str, options: list[str], tmp_path: Path) -> None:
    path = _made(tmp_path / name, *options)
    right = np.frombuffer(_raw(path), np.uint8).reshape(-1, 48, 64, 3).transpose(0, 3, 1, 2)
    found = _frames(path)
    assert found.shape == right.shape
    # Chroma between its samples is interpolated in another way; a wrong range or matrix is off everywhere.
    assert np.median(np.abs(found.astype(int) - right)) <= 2


def test_bytes_are_the_rounded_floats(tmp_path: Path) -> None:
    path = _made(tmp_path / "a.mp4", "-c:v", "libx264")
    plain = ove_codec.frames(path, resize="native", mean=(0, 0, 0), std=(1, 1, 1)).numpy()
    np.testing.assert_array_equal(_frames(path), (plain * np.float32(255) + np.float32(0.5)).astype(np.uint8))


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_packets_without_a_picture_are_no_frames(codec: str, tmp_path: Path) -> None:
    options = ["-c:v", codec, "-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "200k", "-deadline", "good"]
    try:
        path = _made(tmp_path / "a.webm", *options, frames=40)
    except RuntimeError:
        pytest.skip(f"ffmpeg without {codec}")
    right = np.frombuffer(_raw(path, "gray"), np.uint8).reshape(-1, 48, 64)
    found = _frames(path)
    assert len(found) == len(right) == 40
    np.testing.assert_array_equal(_frames(path, frame_ids=[39])[0], found[39])


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4", "mpeg2video"])
def test_a_path_and_an_opened_video_have_the_same_frames(encoder: str, tmp_path: Path) -> None:
    path = _made(tmp_path / "a.mkv", "-c:v", encoder, "-bf", "2", frames=20)
    opened = ove_codec.open(path)
    assert len(opened) == 20
    np.testing.assert_array_equal(_frames(path), ove_codec.frames(opened, resize="native", normalize=False).numpy())


def _with_broken_units(path: Path, broken: list[bytes]) -> Path:
    """The raw stream with NAL units before every access unit's slice that cannot be parsed."""
    units = annexb.nal_units(path.read_bytes())
    out = path.with_name(f"broken{path.suffix}")
    hevc = path.suffix == ".h265"
    stream = b""
    for unit in units:
        kind = unit[0] >> 1 & 0x3F if hevc else unit[0] & 0x1F
        if kind < 32 if hevc else kind in (1, 5):
            stream += b"".join(b"\0\0\0\1" + b for b in broken)
        stream += b"\0\0\0\1" + unit
    out.write_bytes(stream)
    return out


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("codec", ["264", "265"])
def test_a_lost_slice_is_told(codec: str, threads: int, tmp_path: Path) -> None:
    """libavcodec conceals it, and tells only of H.264, and not always where several threads decode."""
    params = "slices=3:keyint=30:bframes=2" + (":ctu=16:log-level=error" if codec == "265" else "")
    path = _made(
        tmp_path / f"a.h{codec}", "-c:v", f"libx{codec}", f"-x{codec}-params", params, size="192x144", frames=12
    )
    data = path.read_bytes()
    if codec == "265":
        parts = [unit for unit in annexb.nal_units(data) if unit[0] >> 1 == 1 and not unit[2] & 0x80]
    else:  # of pictures that others refer to, and not the first of a picture: first_mb_in_slice is not 0
        parts = [unit for unit in annexb.nal_units(data) if unit[0] & 0x9F == 1 and unit[0] >> 5 and unit[1] < 0x80]
    np.testing.assert_array_equal(_frames(path, threads=threads), _frames(path, frame_ids=range(12), threads=1))
    for lost in parts[:2]:
        broken = data.replace(b"\0\0\1" + lost, b"")
        assert len(broken) == len(data) - len(lost) - 3
        for _ in range(4):
            with pytest.raises(ove_codec.InvalidBitstreamError, match="slices of the picture with POC"):
                ove_codec.frames(broken, [11], threads=threads)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_damage_in_mpeg4_does_not_end_the_process(threads: int, tmp_path: Path) -> None:
    path = _made(tmp_path / "a.avi", "-c:v", "mpeg4", "-bf", "2", "-g", "30", size="320x176", frames=24)
    data = bytearray(path.read_bytes())
    middle = data.index(b"\0\0\1\xb6", len(data) // 2) + 200
    data[middle : middle + 60] = b"\xff" * 60
    source = tmp_path / "broken.avi"
    source.write_bytes(data)
    program = (
        "import sys, ove_codec\n"
        "try: ove_codec.frames(sys.argv[1], [20], threads=int(sys.argv[2]))\n"
        "except ove_codec.DecodeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program, source, str(threads)], capture_output=True, text=True)
    assert done.returncode == 0 and "is damaged" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("suffix", "encoder", "broken"),
    [
        (".h265", "libx265", [b"\x4e\x01\x05\xff"]),  # SEI cut short
        (".h265", "libx265", [b"\x40\x01\x0f\xff\xff"]),  # VPS cut short
        (".h264", "libx264", [b"\x06\x05\xff\x80"]),  # SEI cut short
    ],
)
def test_broken_supplementary_units_leave_pictures_alone(
    suffix: str, encoder: str, broken: list[bytes], tmp_path: Path
) -> None:
    path = _made(tmp_path / f"a{suffix}", "-c:v", encoder)
    found = _with_broken_units(path, broken)
    np.testing.assert_array_equal(_frames(found), _frames(path))
    assert ove_codec.transcode(found, tmp_path / "out.mp4")["pictures"] == 10


@pytest.mark.parametrize(
    "vps", [b"", b"\x40\x01\xfc\xff\xff", b"\x40\x01", b"\x40\x01\x0c"]
)  # none, another's, cut short
def test_pictures_need_no_video_parameter_set(vps: bytes, tmp_path: Path) -> None:
    path = _made(tmp_path / "a.h265", "-c:v", "libx265", "-x265-params", "keyint=4:repeat-headers=1")
    units = annexb.nal_units(path.read_bytes())
    broken = [vps if unit[0] >> 1 & 0x3F == 32 else unit for unit in units]
    assert broken != units
    found = tmp_path / "b.h265"
    found.write_bytes(b"".join(b"\0\0\0\1" + unit for unit in broken if unit))
    np.testing.assert_array_equal(_frames(found), _frames(path))
    np.testing.assert_array_equal(ove_codec.frames(found, [6]), ove_codec.frames(path, [6]))
    assert ove_codec.transcode(found, tmp_path / "out.mp4")["pictures"] == 10


def test_transcoding_keeps_the_aspect_ratio_of_the_container(tmp_path: Path) -> None:
    plain = _made(tmp_path / "a.mp4", "-c:v", "libx264", "-vf", "setsar=4/3")
    path = tmp_path / "b.mp4"
    ffmpeg.run(["-v", "error", "-i", plain, "-c", "copy", "-aspect", "64:33", "-y", path])
    ratio = ove_codec.open(path).info["sample_aspect_ratio"]
    ove_codec.transcode(path, tmp_path / "out.mp4")
    assert ratio == ove_codec.open(tmp_path / "out.mp4").info["sample_aspect_ratio"] == (16, 11)


def test_transcoding_begins_where_pictures_can_be_decoded(tmp_path: Path) -> None:
    path = _made(tmp_path / "a.h265", "-c:v", "libx265", "-x265-params", "keyint=8:min-keyint=8:scenecut=0", frames=20)
    units = annexb.nal_units(path.read_bytes())
    slices = [i for i, unit in enumerate(units) if unit[0] >> 1 & 0x3F < 32]
    cut = tmp_path / "cut.h265"
    kept = [u for i, u in enumerate(units) if i not in slices[:4]]
    cut.write_bytes(b"".join(b"\0\0\0\1" + u for u in kept))
    expected = len(ove_codec.open(cut))
    assert expected < 16
    assert ove_codec.transcode(cut, tmp_path / "out.mp4")["pictures"] == expected
    assert len(ove_codec.open(tmp_path / "out.mp4")) == expected


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_source_is_not_replaced_by_its_transcoding(link: object, tmp_path: Path) -> None:
    path = _made(tmp_path / "a.mp4", "-c:v", "libx264")
    content = path.read_bytes()
    other = tmp_path / "b.mp4"
    link(path, other)  # type: ignore[operator]
    for source, target in ((path, path), (path, other), (other, path)):
        with pytest.raises(ValueError, match="source and target are the same file"):
            ove_codec.transcode(source, target)
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", ["34x16", "48x16", "34x18", "34x24", "48x18", "48x24", "34x66"])
def test_small_pictures_do_not_end_the_process(size: str, tmp_path: Path) -> None:
    path = _made(tmp_path / "a.mp4", "-c:v", "mpeg4", size=size, frames=40)
    code = "import sys, ove_codec; print(ove_codec.transcode(sys.argv[1], sys.argv[2])['pictures'])"
    done = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "out.mp4"],
        env={**os.environ, "MALLOC_CHECK_": "3"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "40"


def test_sigterm_leaves_no_unfinished_file(tmp_path: Path) -> None:
    path = _made(tmp_path / "a.mp4", "-c:v", "libx264", size="640x360", frames=500)
    out = tmp_path / "out" / "b.mp4"
    out.parent.mkdir()
    process = subprocess.Popen([sys.executable, "-m", "ove_codec.cli", "transcode", path, out])
    deadline = time.monotonic() + 60
    descriptors = Path(f"/proc/{process.pid}/fd")

    def writes() -> bool:
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if str(out.parent) in os.readlink(descriptor):
                    return True
        return False

    while process.poll() is None and not writes() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert writes()
    process.terminate()
    assert process.wait(60) == 143
    assert not list(out.parent.iterdir())


def test_byte_frames_take_little_more_memory_than_they_fill(tmp_path: Path) -> None:
    """Beside the result, the decoder's pictures and nothing that grows with their number."""
    path = _made(tmp_path / "a.mp4", "-c:v", "libx264", "-preset", "ultrafast", size="640x360", frames=240)
    script = (
        "import resource, sys, ove_codec\n"
        "peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "options = {'resize': 'native', 'normalize': False, 'threads': 2}\n"
        "ove_codec.frames(sys.argv[1], list(range(20)), **options)\n"
        "before = peak()\n"
        "frames = ove_codec.frames(sys.argv[1], **options)\n"
        "print(frames.numel(), peak() - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, check=True)
    size, grown = map(int, run.stdout.split())
    assert size == 240 * 3 * 640 * 360
    assert grown < size + (16 << 20)
