"""Containers with padding, broken parameter sets beside the packets, encryption, and codecs that nothing decodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from support import ffmpeg
from support.mp4 import movie, sample_entry, samples
from support.pixels import encode, needs_ffmpeg

pytestmark = needs_ffmpeg
PICTURES = 10
ENCRYPTED = r"is encrypted \(DRM\); decrypt it first"


@pytest.fixture(scope="module", params=["libx265", "libx264"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "plain.mp4"
    arguments = ["-pix_fmt", "yuv420p", "-bf", "0", "-g", "4"]
    return encode(path, *arguments, source=f"testsrc2=s=96x64:r=25:d={PICTURES / 25}", codec=request.param)


def same(path: Path, plain: Path) -> None:
    """Pictures, pixels, tokens and what is transcoded are those of the sound file."""
    assert len(list(ove_codec.open(path))) == PICTURES
    options: dict[str, Any] = {"resize": "native", "normalize": False}
    expected = ove_codec.frames(plain, **options)
    assert np.array_equal(ove_codec.frames(path, **options), expected)
    assert np.array_equal(ove_codec.frames(path, [6], **options), expected[[6]])
    found, wanted = (ove_codec.tokenize(p, ove_codec.select(p, num_frames=4, budget=20)).patches for p in (path, plain))
    assert np.array_equal(found, wanted)
    assert ove_codec.transcode(path, path.with_suffix(".out.mp4"), "saliency")["pictures"] == PICTURES


@pytest.mark.parametrize("zeros", [1, 3, 4, 5, 7, 8, 64])
def test_zeros_behind_samples(plain: Path, tmp_path: Path, zeros: int) -> None:
    path = tmp_path / "padded.mp4"
    path.write_bytes(movie([(sample_entry(plain.read_bytes()), [s + bytes(zeros) for s in samples(plain)])]))
    same(path, plain)


@pytest.mark.parametrize("kind", ["ones", "zeros", "cut short", "empty"])
def test_broken_vps_beside_the_packets(tmp_path: Path, kind: str) -> None:
    plain = encode(tmp_path / "plain.mp4", "-pix_fmt", "yuv420p", "-g", "4", source="testsrc2=s=96x64:r=25:d=0.4")
    data = bytearray(plain.read_bytes())
    at = data.index(b"hvcC") + 4 + 23  # the first array
    assert data[at] & 63 == 32
    begin, size = at + 5, int.from_bytes(data[at + 3 : at + 5], "big")
    body = {"ones": b"\xff", "zeros": b"\0", "cut short": b"\x80", "empty": b"\x80"}[kind]
    kept = {"cut short": 6, "empty": 3}.get(kind, 2)
    data[begin + kept : begin + size] = body * (size - kept)
    path = tmp_path / "broken.mp4"
    path.write_bytes(data)
    same(path, plain)


ACTIONS: list[Callable[[Path], Any]] = [ove_codec.open, ove_codec.frames, ove_codec.select]


@pytest.mark.parametrize("action", ACTIONS)
def test_scrambled_transport_stream(plain: Path, tmp_path: Path, action: Callable[[Path], Any]) -> None:
    path = tmp_path / "scrambled.ts"
    ffmpeg.run(["-v", "error", "-i", plain, "-c", "copy", path])
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(3)
    for at in range(0, len(data), 188):
        if int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF == 0x100:
            payload = at + (5 + data[at + 4] if data[at + 3] & 0x20 else 4)
            data[at + 3] |= 0x80
            data[payload : at + 188] = random.bytes(at + 188 - payload)
    path.write_bytes(data)
    with pytest.raises(ove_codec.UnsupportedStreamError, match=ENCRYPTED):
        action(path)


def element(name: int, payload: bytes) -> bytes:
    """An EBML element whose size takes eight bytes."""
    identifier = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return identifier + b"\x01" + len(payload).to_bytes(7, "big") + payload


def with_child(data: bytes, parents: list[int], child: bytes) -> bytes:
    """Adds an element at the end of the first element that these lead to, one in the other."""
    out, at = b"", 0
    while at < len(data):
        id_size = 9 - data[at].bit_length()
        size_size = 9 - data[at + id_size].bit_length()
        begin = at + id_size + size_size
        size = int.from_bytes(data[at + id_size : begin], "big") & ((1 << 7 * size_size) - 1)
        body = data[begin : begin + size]
        if int.from_bytes(data[at : at + id_size], "big") == parents[0]:
            body = with_child(body, parents[1:], child) if len(parents) > 1 else body + child
            return out + element(parents[0], body) + data[begin + size :]
        out += data[at : begin + size]
        at = begin + size
    raise ValueError("there is no such element")


@pytest.mark.parametrize("action", ACTIONS)
def test_encrypted_matroska(plain: Path, tmp_path: Path, action: Callable[[Path], Any]) -> None:
    path = tmp_path / "encrypted.mkv"
    ffmpeg.run(["-v", "error", "-i", plain, "-c", "copy", path])
    encryption = element(0x5035, element(0x47E1, b"\5") + element(0x47E2, bytes(range(16))))
    encoding = element(0x6240, element(0x5031, b"\0") + element(0x5032, b"\1") + element(0x5033, b"\1") + encryption)
    path.write_bytes(with_child(path.read_bytes(), [0x18538067, 0x1654AE6B, 0xAE], element(0x6D80, encoding)))
    with pytest.raises(ove_codec.UnsupportedStreamError, match=ENCRYPTED):
        action(path)


@pytest.mark.parametrize("action", [*ACTIONS, ove_codec.transcode])
def test_vvc(tmp_path: Path, action: Callable[[Path], Any]) -> None:
    """Whether libavformat knows the codec or not, its name and what can be done are said."""
    plain = encode(tmp_path / "plain.mp4", "-pix_fmt", "yuv420p", source="testsrc2=s=96x64:r=25:d=0.4")
    path = tmp_path / "vvc.mp4"
    path.write_bytes(plain.read_bytes().replace(b"hev1", b"vvc1").replace(b"hvcC", b"vvcC"))
    with pytest.raises(ove_codec.Error, match=r"vvc\.mp4") as caught:
        action(path)
    message = str(caught.value)
    decodable = "vvc" in str(ffmpeg.run(["-v", "error", "-decoders"])[0])
    if not decodable:
        assert "its codec is vvc" in message and "ffmpeg -i IN -c:v libx265" in message
        assert "ove_codec.transcode" not in message
