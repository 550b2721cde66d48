"""A writer of MP4 files as muxers do not write them: samples and sample descriptions are put in as they are given."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from ove_codec import _core

MATRIX = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def box(name: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name.encode()) + body


def full(name: str, *parts: bytes) -> bytes:
    return box(name, bytes(4), *parts)


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def sample_entry(file: bytes) -> bytes:
    """The first entry of the `stsd` box of a file."""
    at = file.index(b"stsd") + 12
    return file[at : at + int.from_bytes(file[at : at + 4], "big")]


def samples(path: Path) -> list[bytes]:
    return [packet["data"] for packet in _core.Packets(path)]


def movie(
    tracks: Sequence[tuple[bytes, Sequence[bytes]]],
    rate: int = 25,
    *,
    shown_at: Sequence[int] | None = None,
    edits: Sequence[tuple[int, int]] = (),
    keys: Sequence[int] | None = None,
) -> bytes:
    """One track of the samples of all `tracks`, in order of decoding, with the sample entry of each; the first sample
    of each can be decoded by itself. The `moov` box is last.

    Where `keys` is given, these samples are marked as key frames, instead of the first of each track.

    Times are in pictures: `shown_at` are those of the samples (their number where None), of an axis that begins with
    that of the first sample decoded; `edits` (duration, time on that axis) are what is shown, one after the other.
    """
    data = [sample for _, group in tracks for sample in group]
    firsts = [sum(len(group) for _, group in tracks[:i]) for i in range(len(tracks))]
    marked = firsts if keys is None else keys
    head = box("ftyp", b"isom", bytes(4), b"isom")
    offsets = [len(head) + 8]
    for sample in data[:-1]:
        offsets.append(offsets[-1] + len(sample))
    chunks = [numbers(first + 1, 1, number + 1) for number, first in enumerate(firsts)]
    table = box(
        "stbl",
        full("stsd", numbers(len(tracks)), *(entry for entry, _ in tracks)),
        full("stts", numbers(1, len(data), 1)),
        *(
            [full("ctts", numbers(len(data)), *(struct.pack(">Ii", 1, t - i) for i, t in enumerate(shown_at)))]
            if shown_at is not None
            else []
        ),
        full("stss", numbers(len(marked), *(key + 1 for key in marked))),
        full("stsc", numbers(len(chunks)), *chunks),
        full("stsz", numbers(0, len(data), *map(len, data))),
        full("stco", numbers(len(data), *offsets)),
    )
    size = tracks[0][0][32:36]  # width and height, 16 bits each
    shown = size[:2] + bytes(2) + size[2:] + bytes(2)
    media = box(
        "mdia",
        full("mdhd", numbers(0, 0, rate, len(data)), b"\x55\xc4\0\0"),
        full("hdlr", bytes(4), b"vide", bytes(13)),
        box(
            "minf",
            box("vmhd", numbers(1), bytes(8)),
            box("dinf", full("dref", numbers(1), box("url ", numbers(1)))),
            table,
        ),
    )
    track = box("tkhd", numbers(3, 0, 0, 1, 0, len(data)), bytes(16), MATRIX, shown)
    header = full("mvhd", numbers(0, 0, rate, len(data), 1 << 16), b"\1\0", bytes(10), MATRIX, bytes(24), numbers(2))
    entries = [struct.pack(">Iihh", duration, time, 1, 0) for duration, time in edits]
    edit_list = [box("edts", full("elst", numbers(len(edits)), *entries))] if edits else []
    return head + box("mdat", *data) + box("moov", header, box("trak", track, *edit_list, media))
