"""Hand-made NAL units: reference pictures, sequences and output order as no encoder at hand writes them.

The vectors expected here follow from the syntax by hand; libavcodec's samples confirm them through the oracle.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from support import checks, ffmpeg
from support.hevc.bits import nal_unit
from support.hevc.parameter_sets import AUD_NUT, ReferencePictureSet, Sps
from support.hevc.sequence import Sequence
from support.hevc.slice_data import CodingUnit, Unit
from support.hevc.slice_header import (
    B_SLICE,
    BLA_N_LP,
    BLA_W_LP,
    BLA_W_RADL,
    CRA,
    IDR_N_LP,
    IDR_W_RADL,
    RADL_N,
    RASL_N,
    RASL_R,
    TRAIL_N,
    TSA_N,
    TSA_R,
    LongTermPicture,
)

needs_ffmpeg = pytest.mark.skipif(not ffmpeg.available(), reason="ffmpeg is not installed")


def pictures_of(sequence: Sequence) -> list[Any]:
    return list(ove_codec.open(sequence.bytes()))


def pocs_of(sequence: Sequence) -> list[int]:
    return [picture.poc for picture in pictures_of(sequence)]


def decoded_pocs_of(sequence: Sequence) -> list[int]:
    return [int(entry["poc"]) for entry in ove_codec.framecrc(sequence.bytes())]


def assert_reconstructs(sequence: Sequence, folder: Path) -> list[Any]:
    """Compares with libavcodec's samples, and returns the pictures."""
    path = folder / "handmade.hevc"
    path.write_bytes(sequence.bytes())
    luma, complaints = ffmpeg.decode_luma(path, 8)
    assert not complaints
    pictures = pictures_of(sequence)
    assert checks.assert_reconstructs(pictures, luma) > 0
    assert sum(int(picture.bits.sum()) for picture in pictures) == 8 * sum(sequence.slice_data_bytes)
    return pictures


def block(picture: Any, x: int, y: int) -> tuple[int, list[list[int]], list[int]]:
    """pred, the vectors, and the POCs at a luma position."""
    at = (y // 4, x // 4)
    return int(picture.pred[at]), picture.mv[at].tolist(), picture.ref_poc[at].tolist()


def amvp(dx: int = 0, dy: int = 0, ref_idx: int = 0, mvp: int = 0) -> CodingUnit:
    """A 2Nx2N unit with a vector difference in list 0."""
    return CodingUnit("inter", units=[Unit(ref_idx=(ref_idx, 0), mvd=((dx, dy), (0, 0)), mvp=(mvp, 0))])


def first_then(first: CodingUnit, second: CodingUnit, rest: CodingUnit | None = None) -> Any:
    """A chooser of 16x16 units: one for the first CTB, one for the second, and one for all others."""

    def choose(x: int, y: int, log2: int, may_split: bool) -> CodingUnit:
        return first if (x, y) == (0, 0) else second if (x, y) == (16, 0) else rest or CodingUnit("skip")

    return choose


@needs_ffmpeg
def test_long_term_vectors_are_not_scaled_in_amvp(stream_folder: Path) -> None:
    """8.5.3.2.6: a vector predicts where both references are long-term, unscaled, or where neither is."""
    sequence = Sequence(Sps(long_term=[(4, True), (0, True), (1, True)]))
    sequence.noise(0)
    sequence.inter(1, 0)
    entries = [LongTermPicture(sps_index=1), LongTermPicture(sps_index=2)]
    sequence.inter(7, long_term=entries, num_ref_idx=(2, 1))
    # List 0 is POC 7 (short-term), then 0 and 1 (long-term).
    fields: dict[str, Any] = {"long_term": entries, "num_ref_idx": (3, 1), "temporal_mvp": False}
    sequence.inter(8, 7, choose=first_then(amvp(40, 24, ref_idx=1), amvp(1, 2, ref_idx=2)), **fields)
    sequence.inter(9, 8, choose=first_then(amvp(40, 24, ref_idx=1), amvp(1, 2, ref_idx=0)), **fields)
    pictures = assert_reconstructs(sequence, stream_folder)
    for picture in pictures[3:]:
        assert list(picture.slices[0].ref_poc[0]) == [picture.poc - 1, 0, 1]
        assert list(picture.slices[0].is_long_term[0]) == [False, True, True]
        assert block(picture, 0, 0) == (1, [[40, 24], [0, 0]], [0, 0])
    assert block(pictures[3], 16, 0) == (1, [[41, 26], [0, 0]], [1, 0])
    assert block(pictures[4], 16, 0) == (1, [[1, 2], [0, 0]], [8, 0])


@needs_ffmpeg
@pytest.mark.parametrize("long_term", [False, True])
def test_temporal_vectors_are_scaled_unless_long_term(stream_folder: Path, long_term: bool) -> None:
    """8.5.3.2.8: a collocated vector is scaled by POC distances, one to a long-term picture is taken as it is."""
    sequence = Sequence(Sps(long_term=[]))
    references = () if long_term else (0,)
    kept: dict[str, Any] = {"long_term": [LongTermPicture(lsb=0)] if long_term else []}
    sequence.noise(0)
    sequence.inter(2, *references, choose=lambda *_: CodingUnit("skip"), **kept)
    # All units of POC 4 but the first take over its vector by merging, so that it lies in the collocated block.
    sequence.inter(4, *references, choose=lambda x, y, *_: CodingUnit("skip") if x or y else amvp(40, -24), **kept)
    # List 0 is POC 4 and 0; the first unit has no spatial neighbour, only the collocated block in POC 4.
    sequence.inter(
        6, 4, *references, choose=first_then(amvp(ref_idx=1), CodingUnit("skip")), num_ref_idx=(2, 1), **kept
    )
    pictures = assert_reconstructs(sequence, stream_folder)
    assert block(pictures[2], 16, 16) == (1, [[40, -24], [0, 0]], [0, 0])
    expected = [40, -24] if long_term else [60, -36]
    assert block(pictures[3], 0, 0) == (1, [expected, [0, 0]], [0, 0])


@needs_ffmpeg
@pytest.mark.parametrize("msb", [False, True])
def test_long_term_pictures_by_lsb_or_msb(stream_folder: Path, msb: bool) -> None:
    """A picture far back is named by its POC LSBs alone where they are unique, else with delta_poc_msb_cycle_lt."""
    sequence = Sequence(Sps(poc_lsb_bits=4, long_term=[]))
    sequence.noise(0)
    sequence.inter(5, 0)
    for poc in range(10, 35, 5):
        entry = LongTermPicture(lsb=0, msb_cycle=poc // 16 if msb else None)
        sequence.inter(
            poc, poc - 5, choose=first_then(amvp(9, ref_idx=1), amvp(9)), long_term=[entry], num_ref_idx=(2, 1)
        )
    pictures = assert_reconstructs(sequence, stream_folder)
    assert [picture.poc for picture in pictures] == [0, 5, 10, 15, 20, 25, 30]
    assert [list(picture.slices[0].ref_poc[0]) for picture in pictures[2:]] == [
        [5, 0],
        [10, 0],
        [15, 0],
        [20, 0],
        [25, 0],
    ]


@needs_ffmpeg
def test_list_modification_and_predicted_sets(stream_folder: Path) -> None:
    """8.3.4 with list_entry_lX, more entries than pictures, and reference picture sets predicted in SPS and header."""
    sets = [
        ReferencePictureSet([(-1, True)]),
        ReferencePictureSet([(-1, True), (-2, True)], predicted=(1, -1)),
        ReferencePictureSet([(-1, True), (-2, True), (-3, False)], predicted=(1, -1)),
    ]
    sequence = Sequence(Sps(rps=sets))
    sequence.set_pps(lists_modification_present=True, num_ref_idx_default=(2, 1))
    sequence.noise(0)
    sequence.inter(1, rps_index=0, num_ref_idx=(3, 1))
    sequence.inter(2, rps_index=1, num_ref_idx=(4, 1), list_entries=([1, 1, 0, 1], None))
    sequence.inter(3, rps_index=2, num_ref_idx=(2, 1))
    in_header = ReferencePictureSet([(-1, True), (-3, True)], predicted=(2, -1))
    sequence.inter(4, rps=in_header, slice_type=B_SLICE, num_ref_idx=(2, 3), list_entries=(None, [1, 0, 1]))
    pictures = assert_reconstructs(sequence, stream_folder)
    lists = [[list(pocs) for pocs in picture.slices[0].ref_poc] for picture in pictures[1:]]
    assert lists == [[[0, 0, 0], []], [[0, 0, 1, 0], []], [[2, 1], []], [[3, 1], [1, 3, 1]]]


@needs_ffmpeg
def test_picture_parameter_set_changes_between_pictures(stream_folder: Path) -> None:
    """A PPS takes effect where a picture starts, also under the id of the one in use."""
    sequence = Sequence()
    sequence.noise(0)
    unit = amvp(6, 2)
    unit.levels = lambda depth, may_split: 3
    residual = []
    for poc, qp in ((1, 20), (2, 35), (3, 26)):
        sequence.set_pps(init_qp=qp, log2_parallel_merge_level=2 + poc % 3, cabac_init_present=poc == 2)
        sequence.inter(poc, poc - 1, choose=lambda *_: unit)
        residual.append(qp)
    sequence.nals.append(replace(sequence.pps, pps_id=5, init_qp=40).nal())  # another id: no effect
    sequence.nals.append(sequence.sps.nal())  # the same SPS again
    sequence.inter(4, 3, choose=lambda *_: unit)
    pictures = assert_reconstructs(sequence, stream_folder)
    assert [int(picture.qp[0, 0]) for picture in pictures[1:]] == [20, 35, 26, 26]
    assert [picture.slices[0].qp for picture in pictures[1:]] == [20, 35, 26, 26]
    sizes = [int(np.abs(picture.residual).max()) for picture in pictures[1:]]
    assert sizes[0] < sizes[2] < sizes[1]
    assert sizes[2] == sizes[3]


def leading_sequence(nal_type: int) -> Sequence:
    """IDR 0, 1, 2; a random access point at POC 8 with leading pictures; 9 after it."""
    sequence = Sequence(Sps(num_reorder=2))
    sequence.noise(0)
    sequence.inter(1, 0)
    sequence.inter(2, 1)
    sequence.noise(8, nal_type=nal_type, rps=ReferencePictureSet([(-6, False)]))
    sequence.inter(6, 2, 8, nal_type=RASL_R)
    sequence.inter(5, 6, 8, nal_type=RASL_N)
    sequence.inter(7, 8, nal_type=RADL_N)
    sequence.inter(9, 8)
    return sequence


@needs_ffmpeg
@pytest.mark.parametrize("nal_type", [CRA, BLA_W_LP])
def test_leading_pictures(stream_folder: Path, nal_type: int) -> None:
    """RASL pictures are decoded after a CRA picture within the stream, and skipped after a BLA picture."""
    sequence = leading_sequence(nal_type)
    if nal_type == CRA:
        assert [picture.poc for picture in assert_reconstructs(sequence, stream_folder)] == [0, 1, 2, 5, 6, 7, 8, 9]
        return
    # A BLA picture starts a sequence: its POC is its LSBs.
    assert pocs_of(sequence) == [0, 1, 2, 7, 8, 9]
    assert decoded_pocs_of(sequence) == [0, 1, 2, 8, 7, 9]


@pytest.mark.parametrize("nal_type", [BLA_W_LP, BLA_W_RADL, BLA_N_LP])
def test_poc_msb_is_zero_at_bla(nal_type: int) -> None:
    sequence = Sequence(Sps(poc_lsb_bits=4))
    sequence.noise(0)
    for poc in (7, 14, 21):
        sequence.inter(poc, poc - 7)
    sequence.noise(28, nal_type=nal_type)
    sequence.inter(31, 28)
    sequence.inter(35, 31)
    assert decoded_pocs_of(sequence) == [0, 7, 14, 21, 12, 15, 19]


@pytest.mark.parametrize("start", [CRA, BLA_W_LP])
def test_stream_that_starts_within(start: int) -> None:
    """A stream cut at a random access point: RASL pictures are skipped, the RADL picture and what follows are given."""
    sequence = leading_sequence(start)
    sequence.nals[3:6] = []
    assert pocs_of(sequence) == [7, 8, 9]


def test_end_of_sequence_starts_another() -> None:
    """After an end of sequence NAL unit a CRA picture starts a sequence: POC LSBs alone, RASL pictures skipped."""
    sequence = Sequence(Sps(poc_lsb_bits=4, num_reorder=2))
    sequence.noise(0)
    for poc in (7, 14, 20):
        sequence.inter(poc, poc - 7 if poc < 20 else 14)
    sequence.end_of_sequence()
    sequence.noise(27, nal_type=CRA)
    sequence.inter(25, 20, 27, nal_type=RASL_N)
    sequence.inter(28, 27)
    assert decoded_pocs_of(sequence) == [0, 7, 14, 20, 11, 12]


def test_output_order() -> None:
    """Pictures come in the order of POC within a sequence, sequences one after another."""
    sequence = Sequence(Sps(num_reorder=2, max_dec_pic_buffering=5))
    for first in (IDR_N_LP, IDR_W_RADL):
        sequence.noise(0, nal_type=first)
        sequence.inter(8, 0)
        sequence.inter(4, 0, 8)
        sequence.inter(2, 0, 4, keep=(8,))
        sequence.inter(6, 4, 8)
        sequence.inter(16, 8)
        sequence.inter(12, 8, 16)
    assert pocs_of(sequence) == [0, 2, 4, 6, 8, 12, 16] * 2
    assert decoded_pocs_of(sequence) == [0, 8, 4, 2, 6, 16, 12] * 2
    index = ove_codec.open(sequence.bytes()).index
    assert list(index.packet) == [0, 3, 2, 4, 1, 6, 5, 7, 10, 9, 11, 8, 13, 12]


@pytest.mark.parametrize(("discard", "expected"), [(False, [0, 1, 2, 0, 1]), (True, [0, 0, 1])])
def test_no_output_of_prior_pics(discard: bool, expected: list[int]) -> None:
    """C.5.2.2: with no_output_of_prior_pics_flag, pictures that still wait when the IDR picture comes are dropped."""
    sequence = Sequence(Sps(num_reorder=2))
    sequence.noise(0)
    sequence.inter(1, 0)
    sequence.inter(2, 1)
    sequence.noise(0, no_output_of_prior_pics=discard)
    sequence.inter(1, 0)
    assert pocs_of(sequence) == expected
    assert decoded_pocs_of(sequence) == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(("max_latency_plus1", "expected"), [(0, [0, 1, 0]), (1, [0, 1, 2, 4, 0])])
def test_latency_releases_pictures(max_latency_plus1: int, expected: list[int]) -> None:
    """C.5.2.3: SpsMaxLatencyPictures, here 2, releases pictures that the number of reordered ones would keep."""
    sequence = Sequence(Sps(num_reorder=2, max_latency_plus1=max_latency_plus1))
    sequence.noise(0)
    sequence.inter(4, 0)
    sequence.inter(1, 0, 4)
    sequence.inter(2, 1, 4)
    sequence.noise(0, no_output_of_prior_pics=True)
    assert pocs_of(sequence) == expected


def test_pic_output_flag() -> None:
    """A picture that is not for output is decoded and may be referred to, but is not displayed."""
    sequence = Sequence()
    sequence.set_pps(output_flag_present=True)
    sequence.noise(0)
    sequence.inter(1, 0, pic_output=False)
    sequence.inter(2, 1)
    assert decoded_pocs_of(sequence) == [0, 1, 2]
    pictures = pictures_of(sequence)
    assert [picture.poc for picture in pictures] == [0, 2]
    assert [picture.index for picture in pictures] == [0, 1]
    assert set(np.unique(pictures[1].ref_poc[:, :, 0])) == {1}
    assert list(ove_codec.open(sequence.bytes()).index.packet) == [0, 2]


@needs_ffmpeg
def test_temporal_sub_layers(stream_folder: Path) -> None:
    """prevTid0Pic (8.3.1) counts neither higher sub-layers nor sub-layer non-reference pictures."""
    sequence = Sequence(Sps(sub_layers=3, poc_lsb_bits=4, num_reorder=2))
    sequence.noise(0)
    last = 0
    for poc in range(6, 40, 6):
        sequence.inter(poc, last)
        sequence.inter(poc - 3, last, poc, nal_type=TSA_R, temporal_id=1)
        sequence.inter(poc - 2, poc - 3, poc, nal_type=TSA_N, temporal_id=2)
        sequence.inter(poc - 1, poc, nal_type=TRAIL_N)
        last = poc
    pictures = assert_reconstructs(sequence, stream_folder)
    expected = [0] + [poc + d for poc in range(6, 40, 6) for d in (-3, -2, -1, 0)]
    assert [picture.poc for picture in pictures] == expected


def test_other_nal_units_are_skipped() -> None:
    """Delimiters, SEI, filler, reserved and unspecified types and enhancement layers change nothing."""
    sequence = Sequence()
    sequence.noise(0)
    sequence.inter(1, 0)
    plain = list(ove_codec.framecrc(sequence.bytes()))
    others = [nal_unit(AUD_NUT, b"\x50"), nal_unit(39, b"\x05\x01\xaa\x80"), nal_unit(38, b"\xff\xff\x80")]
    others += [nal_unit(41, b"\x80"), nal_unit(48, b"\x12\x34\x80"), nal_unit(63, b"\x80"), nal_unit(22, b"\x80")]
    enhanced = [unit[:4] + bytes([unit[4], unit[5] | 8]) + unit[6:] for unit in sequence.nals]  # nuh_layer_id 1
    mixed = b"".join(b"".join(others) + unit + other for unit, other in zip(sequence.nals, enhanced, strict=True))
    assert list(ove_codec.framecrc(mixed)) == plain


def test_conformance_window_and_new_size() -> None:
    """The window is cropped for display, not from the arrays; another size starts with the next sequence."""
    sequence = Sequence(Sps(width=64, height=48, window=(1, 2, 3, 0)))
    sequence.noise(0)
    sequence.inter(1, 0)
    sequence.set_sps(Sps(width=96, height=80, log2_ctb=5))
    sequence.noise(0)
    sequence.inter(1, 0)
    pictures = pictures_of(sequence)
    assert [(p.coded_width, p.coded_height) for p in pictures] == [(64, 48)] * 2 + [(96, 80)] * 2
    assert [(p.width, p.height) for p in pictures] == [(58, 42)] * 2 + [(96, 80)] * 2
    assert pictures[0].window == (2, 6, 58, 42)
    assert [p.residual.shape for p in pictures] == [(48, 64)] * 2 + [(80, 96)] * 2


def test_sequence_parameter_set_changes_under_its_id() -> None:
    """New content under the id in use takes effect with the next sequence."""
    sequence = Sequence(Sps(temporal_mvp=False))
    sequence.noise(0)
    sequence.inter(1, 0)
    sequence.set_sps(Sps(width=80, log2_min_cb=4, log2_ctb=5, poc_lsb_bits=5))
    sequence.set_pps()
    sequence.noise(0)
    sequence.inter(15, 0)
    pictures = pictures_of(sequence)
    assert [(p.poc, p.coded_width) for p in pictures] == [(0, 64), (1, 64), (0, 80), (15, 80)]
