"""Hand-made H.264 field pictures: which of them make a frame. Expected values follow from the syntax by hand."""

from typing import Any

import numpy as np

import ove_codec
from support.h264.macroblocks import Macroblock, MacroblockWriter
from support.h264.syntax import (
    BOTTOM,
    I_SLICE,
    IDR,
    P_SLICE,
    SLICE,
    TOP,
    Marking,
    Pps,
    SliceHeader,
    Sps,
    nal_unit,
)
from support.hevc.bits import BitWriter

STRUCTURES = {TOP: "top", BOTTOM: "bottom"}
Field = tuple[int, int, int, list[Marking] | None]  # structure, frame_num, low bits of the order count, operations


def stream(fields: list[Field]) -> bytes:
    """Fields of one macroblock: an IDR picture, then P pictures."""
    sps, pps = Sps(width_in_mbs=1, height_in_mbs=2, interlaced=True), Pps()
    data = sps.nal() + pps.nal()
    for n, (structure, frame_num, poc_lsb, marking) in enumerate(fields):
        header = SliceHeader(P_SLICE, SLICE, 1, 0, frame_num, structure, poc_lsb=poc_lsb, num_ref_idx=(1,))
        header.marking = marking
        mb = Macroblock(mvd=[((4 * n, 0), (0, 0))])
        if n == 0:
            header.slice_type, header.nal_type = I_SLICE, IDR
            mb = Macroblock("pcm", samples=np.full((16, 16), 90, np.uint8))
        out = BitWriter()
        header.write(out, sps, pps)
        if n:
            out.ue(0)  # mb_skip_run
        MacroblockWriter(out, sps, header.slice_type, header.num_ref_idx).write(mb)
        out.trailing()
        data += nal_unit(header.nal_type, 1, out.to_bytes())
    return data


def shown(fields: list[Field]) -> list[tuple[list[int], list[int]]]:
    """Of every picture that is shown: x of the vectors of top and bottom field, and their references' POC."""
    pictures: list[Any] = list(ove_codec.open(stream(fields)))
    for picture in pictures:
        np.testing.assert_array_equal(picture.field[:, 0], [1, 2] * 4)
    return [(p.mv[:2, 0, 0, 0].tolist(), p.ref_poc[:2, 0, 0].tolist()) for p in pictures]


def coded(fields: list[Field]) -> list[tuple[str | int, str | int]]:
    return [(picture["structure"], picture["poc"]) for picture in ove_codec.framecrc(stream(fields))]


def test_pairs_of_fields() -> None:
    fields: list[Field] = [(TOP, 0, 0, None), (BOTTOM, 0, 1, None), (BOTTOM, 1, 2, None), (TOP, 1, 3, None)]
    assert coded(fields) == [("top", 0), ("bottom", 1), ("bottom", 2), ("top", 3)]
    # The first reference of a P field has its own parity, where there is one.
    assert shown(fields) == [([0, 4], [0, 0]), ([12, 8], [0, 1])]


def test_fields_without_a_second_one() -> None:
    """Two fields of one parity, and two of other frame_num."""
    fields: list[Field] = [(TOP, 0, 0, None), (TOP, 1, 2, None), (BOTTOM, 2, 4, None), (BOTTOM, 3, 6, None)]
    assert shown(fields) == [([0, 0], [0, 0]), ([4, 0], [0, 0]), ([0, 8], [0, 2]), ([0, 12], [0, 4])]


def test_operation_5_in_a_first_field() -> None:
    """The second field has frame_num 0, and counts from the first one's order count, which became 0."""
    fields: list[Field] = [
        (TOP, 0, 0, None), (BOTTOM, 0, 1, None), (TOP, 1, 4, [(5,)]), (BOTTOM, 0, 1, None), (TOP, 1, 4, None),
        (BOTTOM, 1, 5, None),
    ]  # fmt: skip
    assert coded(fields) == [("top", 0), ("bottom", 1), ("top", 4), ("bottom", 1), ("top", 4), ("bottom", 5)]
    assert shown(fields) == [([0, 4], [0, 0]), ([8, 12], [0, 0]), ([16, 20], [0, 1])]


def test_operation_5_ends_no_pair() -> None:
    """A field with it is not the second of a pair (3.30). It may be the first of the next one."""
    fields: list[Field] = [
        (TOP, 0, 0, None), (BOTTOM, 0, 1, None), (TOP, 1, 4, None), (BOTTOM, 1, 5, [(5,)]), (TOP, 0, 1, None),
        (BOTTOM, 1, 3, None),
    ]  # fmt: skip
    assert coded(fields) == [("top", 0), ("bottom", 1), ("top", 4), ("bottom", 5), ("top", 1), ("bottom", 3)]
    assert shown(fields) == [([0, 4], [0, 0]), ([8, 0], [0, 0]), ([16, 12], [0, 1]), ([0, 20], [0, 0])]
