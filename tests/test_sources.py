"""Sources: what is let in, what a file may refer to, and the kinds of object that bytes come from."""

from __future__ import annotations

import http.server
import io
import json
import mmap
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core
from ove_codec.cli import main
from support import ffmpeg, mp4
from support.pixels import FFMPEG, encode, needs_ffmpeg

DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1.6S" minBufferTime="PT3.2S"
 profiles="urn:mpeg:dash:profile:isoff-live:2011">{base}<Period start="PT0.0S"><AdaptationSet contentType="video">
 <Representation id="0" mimeType="video/mp4" codecs="hev1" bandwidth="9" width="160" height="96">
 <SegmentTemplate timescale="12800" initialization="init.m4s" media="chunk-$Number$.m4s" startNumber="1">
 <SegmentTimeline><S t="0" d="20480"/></SegmentTimeline></SegmentTemplate></Representation></AdaptationSet></Period>
</MPD>
"""
HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{base}a.ts\n#EXT-X-ENDLIST\n"
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=a\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 45678 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\n"
)
MANIFESTS = {
    "dash": DASH.format(base="<BaseURL>http://127.0.0.1:{port}/</BaseURL>"),
    "dash-relative": DASH.format(base=""),
    "hls": HLS.format(base="http://127.0.0.1:{port}/"),
    "hls-relative": HLS.format(base=""),
    "sdp": SDP,
    "concat": "ffconcat version 1.0\nfile a.ts\n",
    "smil": '<?xml version="1.0"?><smil><body><video src="http://127.0.0.1:{port}/a.ts"/></body></smil>',
    "svg": '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"></svg>',
    "webm-dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:DASH:schema:MPD:2011"></MPD>',
}


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """A port on which somebody listens, and the requests so far."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    yield listener.server_address[1], requests
    listener.shutdown()
    thread.join()
    listener.server_close()


class Watch:
    """Notes every socket and every file that this process has opened meanwhile."""

    def __enter__(self) -> Watch:
        self.before = self._open()
        self.seen: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.001):
            self.seen |= self._open() - self.before

    @staticmethod
    def _open() -> set[str]:
        found = set()
        for number in os.listdir("/proc/self/fd"):
            try:
                found.add(os.readlink(f"/proc/self/fd/{number}"))
            except OSError:
                continue  # closed since
        return found


def sources(path: Path) -> dict[str, Any]:
    tar = path.with_suffix(".tar")
    with tarfile.open(tar, "w") as archive:
        archive.add(path, path.name)
    member = tarfile.open(tar).extractfile(path.name)  # noqa: SIM115
    return {"path": path, "str": str(path), "bytes": path.read_bytes(), "file": path.open("rb"), "member": member}


@pytest.mark.parametrize("kind", MANIFESTS)
@pytest.mark.parametrize("read", [_core.stream_info, ove_codec.open], ids=["info", "open"])
def test_manifests_lead_nowhere(tmp_path: Path, server: tuple[int, list[str]], kind: str, read: Any) -> None:
    port, requests = server
    for name in ("init.m4s", "chunk-1.m4s", "a.ts"):
        (tmp_path / name).write_bytes(bytes(1000))
    path = tmp_path / "a.mp4"
    path.write_text(MANIFESTS[kind].replace("{port}", str(port)))
    for source in sources(path).values():
        start = time.monotonic()
        with Watch() as watch, pytest.raises(ove_codec.DecodeError, match="is not a video"):
            read(source)
        assert time.monotonic() - start < 5  # SDP would wait for half a minute
        assert not [name for name in watch.seen if name.startswith("socket:") or name.endswith((".m4s", ".ts"))]
    assert requests == []


@pytest.mark.parametrize("scheme", ["rtsp", "http", "https", "s3", "gs", "udp", "file"])
def test_addresses_are_told_from_missing_files(scheme: str) -> None:
    address = f"{scheme}://127.0.0.1:9/a.mp4"
    for source in (address, Path(address)):
        with pytest.raises(ove_codec.DecodeError, match=r"is an address.*download"):
            _core.stream_info(source)


# Kinds of source.


class ReadSeek:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int) -> int:
        return self._file.seek(offset, whence)


class SeekOfNone(ReadSeek):
    """As tempfile.SpooledTemporaryFile before Python 3.11."""

    def seek(self, offset: int, whence: int) -> None:  # type: ignore[override]
        super().seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class ReadOnly:
    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


class SeekRefused(ReadSeek):
    def seek(self, offset: int, whence: int) -> int:
        raise io.UnsupportedOperation("seek")


class Mapped:
    def __new__(cls, data: bytes) -> Any:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def spooled(data: bytes) -> Any:
    file = tempfile.SpooledTemporaryFile(1 << 20)  # noqa: SIM115
    file.write(data)
    return file


@needs_ffmpeg
@pytest.mark.parametrize(
    "make",
    [ReadSeek, SeekOfNone, ReadOnly, SeekRefused, Mapped, spooled, "numpy", "torch"],
)
def test_kinds_of_source(clips: list[Path], make: Any) -> None:
    data = clips[0].read_bytes()
    if make == "torch":
        torch = pytest.importorskip("torch")
        make = lambda data: torch.frombuffer(bytearray(data), dtype=torch.uint8)  # noqa: E731
    elif make == "numpy":
        make = lambda data: np.frombuffer(data, np.uint8)  # noqa: E731
    assert len(list(ove_codec.open(make(data)))) == 20
    np.testing.assert_array_equal(pixels(make(data)), pixels(data))


def test_tensors_of_other_types() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="uint8"):
        ove_codec.open(torch.zeros(100))


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mp4", ".h265"])
def test_named_pipes(clips: list[Path], tmp_path: Path, suffix: str) -> None:
    """They are waited for, and read to their end, once; meanwhile other threads of Python run."""
    path = clips[0]
    if suffix != ".mp4":
        path = tmp_path / f"a{suffix}"
        subprocess.run([str(FFMPEG), "-v", "error", "-i", clips[0], "-c", "copy", path], check=True)
    pipe = tmp_path / f"pipe{suffix}"
    os.mkfifo(pipe)

    def write() -> None:
        time.sleep(0.05)
        pipe.write_bytes(path.read_bytes())

    for read in (lambda: list(ove_codec.open(pipe)), lambda: pixels(str(pipe))):
        writer = threading.Thread(target=write)
        writer.start()
        assert len(read()) == 20
        writer.join()


@needs_ffmpeg
def test_standard_input(clips: list[Path]) -> None:
    code = "import ove_codec, sys; print(len(ove_codec.frames('/dev/stdin')), len(list(ove_codec.open(sys.argv[1]))))"
    with clips[0].open("rb") as regular:
        run = subprocess.run([sys.executable, "-c", code, clips[0]], stdin=regular, capture_output=True, check=True)
    assert run.stdout.split() == [b"20", b"20"]
    data = clips[0].read_bytes()
    run = subprocess.run([sys.executable, "-c", code, clips[0]], input=data, capture_output=True, check=True)
    assert run.stdout.split() == [b"20", b"20"]
    command = [sys.executable, "-m", "ove_codec.cli", "info", "--json", "-"]
    run = subprocess.run(command, input=data, capture_output=True, check=True)
    assert json.loads(run.stdout)["codec"] == "hevc"


@needs_ffmpeg
@pytest.mark.threads
def test_one_file_in_many_threads(clips: list[Path]) -> None:
    """Each reader finds its own place, though all move the position of one file."""
    data = clips[0].read_bytes()
    expected = [np.array(p.residual) for p in ove_codec.open(data)]
    with clips[0].open("rb", buffering=0) as file, ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: residuals(file), range(32)):
            np.testing.assert_array_equal(found, expected)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    try:
        Path(os.fsdecode(name)).write_bytes(b"hello, world" * 50)
    except OSError:
        pytest.skip("the file system has names in UTF-8 only")
    with open(name, "rb") as file:
        for source in (os.fsdecode(name), Path(os.fsdecode(name)), file):
            with pytest.raises(ove_codec.DecodeError, match=r"caf\\xe9\.mp4: is not a video"):
                ove_codec.open(source)


# What muxers rarely write.

SIMPLE = "log-level=none:bframes=0:keyint=8:min-keyint=8:scenecut=0:"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two clips of 20 pictures without reordering, whose parameter sets have the same numbers and other contents."""
    folder = tmp_path_factory.mktemp("sources")
    return [
        encode(
            folder / f"{name}.mp4",
            *("-pix_fmt", "yuv420p", "-tag:v", "hvc1", "-x265-params", SIMPLE + params),
            source=f"{name}=s=96x64:r=25:d=0.8",
        )
        for name, params in (("testsrc2", "ctu=64"), ("testsrc", "ctu=16:max-merge=1:no-wpp=1"))
    ]


def described(clip: Path) -> tuple[bytes, list[bytes]]:
    return mp4.sample_entry(clip.read_bytes()), mp4.samples(clip)


def pixels(source: Any, frame_ids: Any = None) -> np.ndarray:
    return np.asarray(ove_codec.frames(source, frame_ids))


def residuals(source: Any, frame_ids: Any = None) -> list[np.ndarray]:
    video = ove_codec.open(source)
    return [np.array(p.residual) for p in (video if frame_ids is None else video.read(frame_ids))]


@needs_ffmpeg
def test_the_writer_of_mp4_files(clips: list[Path]) -> None:
    written = mp4.movie([described(clips[0])])
    np.testing.assert_array_equal(pixels(written), pixels(clips[0]))


@needs_ffmpeg
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0), (0, 1, 1, 0, 1)])
def test_several_sample_descriptions(clips: list[Path], order: tuple[int, ...]) -> None:
    """Pictures are decoded with the parameter sets of their own description, whichever are read and skipped."""
    joined = mp4.movie([described(clips[i]) for i in order])
    expected = np.concatenate([pixels(clips[i]) for i in order])
    expected_residuals = [r for i in order for r in residuals(clips[i])]
    np.testing.assert_array_equal(pixels(joined), expected)
    np.testing.assert_array_equal(residuals(joined), expected_residuals)
    rng = np.random.default_rng(3)
    for _ in range(15):
        some = np.sort(rng.choice(len(expected), rng.integers(1, 4), replace=False))
        np.testing.assert_array_equal(pixels(joined, some), expected[some])
        np.testing.assert_array_equal(residuals(joined, some), [expected_residuals[i] for i in some])


@needs_ffmpeg
def test_sample_descriptions_with_other_lengths(clips: list[Path]) -> None:
    """NAL units have lengths of four bytes in one description, of two in the other."""
    entry, samples = described(clips[1])
    at = entry.index(b"hvcC") + 4 + 21
    assert entry[at] & 3 == 3
    short = entry[:at] + bytes([entry[at] & 0xFC | 1]) + entry[at + 1 :]
    shorter = []
    for sample in samples:
        units, left = [], sample
        while left:
            size = int.from_bytes(left[:4], "big")
            units.append(size.to_bytes(2, "big") + left[4 : 4 + size])
            left = left[4 + size :]
        shorter.append(b"".join(units))
    joined = mp4.movie([described(clips[0]), (short, shorter), described(clips[0])])
    expected = np.concatenate([pixels(clips[i]) for i in (0, 1, 0)])
    np.testing.assert_array_equal(pixels(joined), expected)
    for some in ([25], [19, 39], [3, 30, 45], [59]):
        np.testing.assert_array_equal(pixels(joined, some), expected[some])
        assert len(residuals(joined, some)) == len(some)


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["libx265", "libx264"])
def test_configuration_of_version_0(tmp_path: Path, codec: str) -> None:
    path = encode(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", codec=codec)
    data = bytearray(path.read_bytes())
    at = data.index(b"hvcC" if codec == "libx265" else b"avcC") + 4
    assert data[at] == 1
    data[at] = 0
    np.testing.assert_array_equal(pixels(bytes(data)), pixels(path))
    assert len(list(ove_codec.open(bytes(data)))) == len(pixels(path))


@needs_ffmpeg
def test_empty_and_padded_samples(clips: list[Path]) -> None:
    """Samples without bytes are no pictures; up to three zero bytes behind the last NAL unit are padding."""
    entry, samples = described(clips[0])
    expected = pixels(clips[0])
    for some in ([*samples[:5], b"", *samples[5:]], [*samples, b""], [s + bytes(i % 4) for i, s in enumerate(samples)]):
        movie = mp4.movie([(entry, some)])
        np.testing.assert_array_equal(pixels(movie), expected)
        assert len(list(ove_codec.open(movie))) == 20
        np.testing.assert_array_equal(pixels(movie, [17]), expected[[17]])


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["libx265", "libx264"])
def test_joined_transport_streams(tmp_path: Path, codec: str) -> None:
    """The continuity counter jumps at the joint, as it does where packets are lost."""
    parts = [
        encode(tmp_path / f"{name}.ts", "-pix_fmt", "yuv420p", codec=codec, source=f"{name}=s=96x64:r=25:d=0.8")
        for name in ("testsrc2", "testsrc")
    ]
    joined = b"".join(part.read_bytes() for part in parts)
    assert len(list(ove_codec.open(joined))) == 40
    np.testing.assert_array_equal(
        sorted(p.tobytes() for p in pixels(joined)),
        sorted(p.tobytes() for p in np.concatenate([pixels(p) for p in parts])),
    )


@needs_ffmpeg
def test_media_segments_and_files_without_an_index(clips: list[Path]) -> None:
    data = clips[0].read_bytes()
    for cut in (data[: data.index(b"moov") - 4], data[: len(data) // 2]):
        with pytest.raises(ove_codec.DecodeError, match=r"index \(moov\) is missing.*cut short"):
            ove_codec.open(cut)
    with pytest.raises(ove_codec.DecodeError, match="initialization segment"):
        ove_codec.open(mp4.box("styp", b"msdh", bytes(4)) + mp4.box("moof", bytes(8)) + mp4.box("mdat", bytes(100)))


@needs_ffmpeg
def test_encrypted_files(clips: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    scheme = ("-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "7" * 32, "-encryption_kid", "8" * 32)
    h264 = encode(tmp_path / "b.mp4", "-pix_fmt", "yuv420p", codec="libx264")
    subprocess.run([str(FFMPEG), "-v", "error", "-i", h264, "-c", "copy", *scheme, path], check=True)
    for source in (path, path.read_bytes()):
        with pytest.raises(ove_codec.UnsupportedStreamError, match="is encrypted"):
            ove_codec.open(source)


def test_vvc_is_named() -> None:
    sets = b"".join(b"\0\0\0\1\0" + bytes([kind << 3 | 1]) + b"\xad" * 30 for kind in (15, 16, 9))
    with pytest.raises(ove_codec.UnsupportedStreamError, match="vvc"):
        ove_codec.open(sets)


@pytest.mark.parametrize("sampling", ["time", "bits"])
def test_windows_where_time_goes_back(sampling: str) -> None:
    from ove_codec._sampling import sample_frames

    pts = np.concatenate([np.arange(50), np.arange(50)]) / 25
    params = {"frame_ids": None, "start": 1.0, "end": 1.2, "num_frames": 8, "sampling": sampling}
    chosen = sample_frames(pts, params, np.ones(100, np.int64), np.zeros(100, bool))
    assert ((pts[chosen] >= 1.0) & (pts[chosen] < 1.2)).all()
    assert chosen.min() < 50 <= chosen.max()


@pytest.fixture(scope="module")
def two_streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound, then a small HEVC and a large H.264 stream."""
    path = tmp_path_factory.mktemp("streams") / "two.mkv"
    inputs = ("sine=d=0.4", "testsrc2=s=64x64:r=25:d=0.4", "testsrc=s=128x96:r=25:d=0.4")
    made = [word for source in inputs for word in ("-f", "lavfi", "-i", source)]
    ffmpeg.run(["-v", "error", *made, "-map", "0", "-map", "1", "-map", "2", "-c:v:0", "libx265", "-c:v:1", "libx264",
                "-x265-params", "log-level=none", "-pix_fmt", "yuv420p", path])  # fmt: skip
    return path


@pytest.mark.parametrize(("number", "codec", "width"), [(1, "hevc", 64), (2, "h264", 128)])
def test_one_of_several_video_streams(two_streams: Path, tmp_path: Path, number: int, codec: str, width: int) -> None:
    alone = tmp_path / "alone.mkv"
    ffmpeg.run(["-v", "error", "-i", two_streams, "-map", f"0:{number}", "-c", "copy", alone])
    for file in (two_streams, two_streams.read_bytes(), io.BytesIO(two_streams.read_bytes())):
        source = ove_codec.VideoStream(file, number)
        video = ove_codec.open(source)
        assert (video.info["codec"], video.info["width"], len(video)) == (codec, width, 10)
        assert list(ove_codec.framecrc(source)) == list(ove_codec.framecrc(alone))
        how: Any = {"num_frames": 4, "size": 56, "budget": 20}
        selection = ove_codec.select(source, **how)
        np.testing.assert_array_equal(selection.positions, ove_codec.select(alone, **how).positions)
        tokens, expected = ove_codec.tokenize(source, selection), ove_codec.tokenize(alone, selection)
        np.testing.assert_array_equal(tokens.patches.numpy(), expected.patches.numpy())
        np.testing.assert_array_equal(ove_codec.frames(video, [3]), ove_codec.frames(alone, [3]))
    assert len(pickle.loads(pickle.dumps(ove_codec.open(ove_codec.VideoStream(two_streams, number))))) == 10
    ove_codec.transcode(ove_codec.VideoStream(two_streams, number), tmp_path / "out.mp4")
    assert ove_codec.open(tmp_path / "out.mp4").info["width"] == width


def test_streams_that_are_not_there(two_streams: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ove_codec.open(two_streams).info["codec"] == "hevc"  # marked as the default
    for number in (0, 3):
        with pytest.raises(
            ove_codec.DecodeError, match=rf"stream {number} is not .* 1 \(hevc 64x64\), 2 \(h264 128x96\)"
        ):
            ove_codec.open(ove_codec.VideoStream(two_streams, number))
    with pytest.raises(ValueError, match="0 or more"):
        ove_codec.VideoStream(two_streams, -1)
    with pytest.raises(ValueError, match="the same file"):
        ove_codec.transcode(ove_codec.VideoStream(two_streams, 1), two_streams)
    assert main(["info", str(two_streams), "--stream", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["codec"] == "hevc"
