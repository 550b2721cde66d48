"""Streams in which a container begins anew, or changes its codec: cut into parts, each of which one demuxer reads."""

from __future__ import annotations

from typing import Any, BinaryIO, Protocol

_HEAD = 1024  # bytes that tell the container
_REST = 1 << 62  # bytes: all that follow
_BOXES = 1000  # the most before the pictures or their tables


class _Walk(Protocol):
    """Goes from unit to unit of a container."""

    def step(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        """Of the unit that begins at `at`: its bytes, 0 where more of them are needed to know; and, where a new part
        begins with it, what precedes it there."""


class Parts:
    """A feed whose `read` ends with each part; `next` begins the next one.

    A transport stream begins a new part where its program tables drop or retype a video stream, FLV where the codec of
    its video changes, and FLV, Matroska and fragmented MP4 where another header follows. Bytes are passed on as they
    come, but for an incomplete header.
    """

    def __init__(self, feed: Any) -> None:
        self.name = feed.name
        self._feed = feed
        self._rest: bytes | None = b""  # what begins the next part; None: there is none yet
        self._ready = self._held = b""  # known to be of this part; not looked at
        self._skip = 0  # bytes of the unit at work that are still to come
        self._walk: _Walk | None = None
        self._known = self._ended = False

    @property
    def tables_follow(self) -> bool:
        """Whether this part is an MP4 or MOV that cannot be read in sequence, as far as it is known."""
        return isinstance(self._walk, _Boxes) and self._walk.tables_follow

    def next(self) -> bool:
        """Begins the next part; False at the end."""
        if self._rest is None:
            return False
        self._ready, self._held, self._rest = b"", self._rest, None
        self._skip, self._walk, self._known = 0, None, False
        self._look()
        return True

    def read(self, size: int) -> bytes:
        """Some bytes, none at the end of the part."""
        while not self._ready and self._rest is None and not self._ended:
            chunk = self._feed.read(size)
            self._ended = not chunk
            self._held += chunk
            self._look()
        chunk, self._ready = self._ready[:size], self._ready[size:]
        return chunk

    def _look(self) -> None:
        if not self._known:
            if len(self._held) < _HEAD and not self._ended:
                return
            (self._skip, self._walk), self._known = _walk_of(self._held), True
        held, at = self._held, self._skip
        while self._walk is not None and at < len(held):
            length, before = self._walk.step(held, at)
            if before is not None:
                self._ready += held[:at]
                self._held, self._rest = b"", before + held[at:]
                return
            if length == 0:
                break
            at += length
        if self._walk is None or self._ended:
            at = len(held)
        self._ready += held[:at]
        self._held, self._skip = held[at:], max(0, at - len(held))


def _walk_of(head: bytes) -> tuple[int, _Walk | None]:
    """What walks through the container that begins so, and where its first unit begins."""
    if head[4:8] in (b"ftyp", b"moov", b"styp"):
        return 0, _Boxes()
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return 0, _Elements()
    if head[:3] == b"FLV":
        return 0, _Tags(head[:13])
    for stride in (188, 192, 204):
        for first in range(stride):
            if set(head[first::stride]) == {0x47} and len(head) >= 3 * stride:
                return first, _TransportPackets(stride)
    return 0, None


class _Boxes:
    """ISO/IEC 14496-12, 4.2"""

    def __init__(self) -> None:
        self._moov = self.tables_follow = False

    def step(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        if len(data) < at + 16:
            return 0, None
        size, kind = _box(data[at : at + 16])
        if kind in (b"ftyp", b"moov") and self._moov:
            return 0, b""
        self.tables_follow |= kind == b"mdat" and not self._moov
        self._moov |= kind == b"moov"
        return (size if size >= 8 else _REST), None


def _box(header: bytes) -> tuple[int, bytes]:
    """Size and type of the box that begins with these 16 bytes."""
    size = int.from_bytes(header[:4], "big")
    return int.from_bytes(header[8:16], "big") if size == 1 else size, header[4:8]


def tables_follow(file: BinaryIO) -> bool:
    """Whether this is an MP4 or MOV file whose pictures precede the tables that tell where they lie."""
    at = 0
    for _ in range(_BOXES):
        size, kind = _box(file.read(16))
        if kind in (b"mdat", b"moov") or size < 8:
            return kind == b"mdat"
        at += size
        if at >= _REST:
            return False
        file.seek(at)
    return False


class _Elements:
    """RFC 8794; of Matroska, segments and clusters of unknown size are entered."""

    def __init__(self) -> None:
        self._begun = False

    def step(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        if len(data) < at + 12:
            return 0, None
        id_length, size_at = 9 - data[at].bit_length(), at + 9 - data[at].bit_length()
        if id_length > 4:
            return _REST, None
        kind = data[at:size_at]
        if kind == b"\x1a\x45\xdf\xa3" and self._begun:
            return 0, b""
        self._begun = True
        size_length = 9 - data[size_at].bit_length()
        if size_length > 8:
            return _REST, None
        bits = 7 * size_length
        size = int.from_bytes(data[size_at : size_at + size_length], "big") & ((1 << bits) - 1)
        unknown = size == (1 << bits) - 1
        if unknown and kind not in (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"):
            return _REST, None
        entered = unknown or kind == b"\x18\x53\x80\x67"
        return id_length + size_length + (0 if entered else size), None


class _Tags:
    """Adobe Flash Video File Format Specification 10.1, annex E; four characters name a codec in enhanced RTMP."""

    def __init__(self, header: bytes) -> None:
        self._header = header
        self._begun = False
        self._codec: Any = None

    def step(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        if len(data) < at + 16:
            return 0, None
        if data[at : at + 3] == b"FLV":
            if self._begun:
                return 0, b""
            self._begun = True
            return len(self._header), None
        kind, size = data[at] & 0x1F, int.from_bytes(data[at + 1 : at + 4], "big")
        if kind not in (8, 9, 18):
            return _REST, None
        first = data[at + 11]
        if kind == 9 and size > 0 and first >> 4 & 7 != 5:  # 5: a command
            codec = data[at + 12 : at + 16] if first & 0x80 else first & 15
            if self._codec not in (None, codec):
                return 0, self._header
            self._codec = codec
        return 11 + size + 4, None


_VIDEO = {0x01, 0x02, 0x10, 0x1B, 0x24, 0x33}  # stream types: MPEG-1, MPEG-2, MPEG-4, H.264, H.265, H.266


class _TransportPackets:
    """ISO/IEC 13818-1, 2.4.3.2 and 2.4.4; sections that take several packets are not looked at."""

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._seen: dict[int, bytes] = {}  # the last section by PID
        self._association = b""  # the last packet with a program association table
        self._maps: dict[int, frozenset[tuple[int, int]] | None] = {}  # PID and type of video by PID of a program map
        self._video: frozenset[tuple[int, int]] = frozenset()

    def step(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        end = at + self._stride
        if len(data) < end:
            return 0, None
        if data[at] != 0x47:  # bytes are lost
            found = data.find(b"\x47", at, end)
            return (found if found >= 0 else end) - at, None
        pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
        if pid != 0 and pid not in self._maps:
            return self._stride, None
        section = _section(data[at : at + 188])
        if section is None or self._seen.get(pid) == section or _crc(section) != 0:
            return self._stride, None
        self._seen[pid] = section
        if pid == 0 and section[0] == 0:
            self._association = data[at:end]
            self._maps = {program: self._maps.get(program) for program in _programs(section)}
        elif pid != 0 and section[0] == 2:
            self._maps[pid] = _videos(section)
        told = [videos for videos in self._maps.values() if videos is not None]
        video = frozenset[tuple[int, int]]().union(*told)
        if not video or len(told) < len(self._maps):
            return self._stride, None
        if self._video - video:
            return 0, self._association
        self._video = video
        return self._stride, None


def _section(packet: bytes) -> bytes | None:
    """The section of a table that begins and ends in this packet, and is in force."""
    if not packet[1] & 0x40 or not packet[3] & 0x10 or packet[3] & 0xC0:
        return None
    begin = 5 + packet[4] if packet[3] & 0x20 else 4
    begin += 1 + packet[begin] if begin < 188 else 0
    if begin + 8 > 188 or not packet[begin + 5] & 1:
        return None
    length = 3 + ((packet[begin + 1] & 0x0F) << 8 | packet[begin + 2])
    section = packet[begin : begin + length]
    return section if 16 <= length == len(section) else None


def _programs(section: bytes) -> list[int]:
    """PIDs of program maps."""
    entries = [section[i : i + 4] for i in range(8, len(section) - 7, 4)]
    return [(e[2] & 0x1F) << 8 | e[3] for e in entries if e[0] or e[1]]


def _videos(section: bytes) -> frozenset[tuple[int, int]]:
    videos = set()
    at = 12 + ((section[10] & 0x0F) << 8 | section[11])
    while at + 5 <= len(section) - 4:
        if section[at] in _VIDEO:
            videos.add(((section[at + 1] & 0x1F) << 8 | section[at + 2], section[at]))
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
    return frozenset(videos)


def _crc(section: bytes) -> int:
    """ISO/IEC 13818-1, annex A: 0 over a section that is whole."""
    crc = 0xFFFFFFFF
    for byte in section:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc
