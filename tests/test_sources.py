"""Sources: what is let in, what a file may refer to, and the kinds of object that bytes come from."""

from __future__ import annotations

import http.server
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ove_codec
from ove_codec import _core

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
