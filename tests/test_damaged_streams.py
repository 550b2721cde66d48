"""Damaged, contradictory and unsupported streams: a clear error after the pictures before it, never a crash."""

from dataclasses import replace
from typing import Any

import pytest

import ove_codec
from support.hevc.parameter_sets import ReferencePictureSet, Sps
from support.hevc.sequence import Sequence


def plain(count: int = 4) -> Sequence:
    sequence = Sequence()
    sequence.noise(0)
    for poc in range(1, count):
        sequence.inter(poc, poc - 1)
    return sequence


def read_until_error(data: bytes) -> tuple[list[int], ove_codec.Error]:
    """The POCs of the pictures in display order that precede the error, and the error."""
    pocs: list[int] = []
    try:
        for picture in ove_codec.open(data):
            pocs.append(picture.poc)
    except ove_codec.Error as error:
        return pocs, error
    pytest.fail(f"no error, but pictures {pocs}")


def test_missing_reference_picture() -> None:
    sequence = plain(5)
    del sequence.nals[sequence.pictures[2]]
    pocs, error = read_until_error(sequence.bytes())
    assert pocs == [0, 1]
    assert isinstance(error, ove_codec.InvalidBitstreamError)
    assert "POC 2" in str(error)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("picture", [1, 3])
def test_slice_cut_short(part: float, picture: int) -> None:
    sequence = plain()
    at = sequence.pictures[picture]
    sequence.nals[at] = sequence.nals[at][: int(len(sequence.nals[at]) * part)]
    pocs, error = read_until_error(sequence.bytes())
    assert pocs == list(range(picture))
    assert isinstance(error, ove_codec.InvalidBitstreamError)


@pytest.mark.parametrize("index", [1, 2], ids=["sps", "pps"])
def test_missing_parameter_set(index: int) -> None:
    sequence = plain()
    del sequence.nals[index]
    pocs, _ = read_until_error(sequence.bytes())
    assert pocs == []


def test_slice_names_a_missing_parameter_set() -> None:
    sequence = plain(2)
    sequence.inter(2, 1, pps_id=7)
    pocs, error = read_until_error(sequence.bytes())
    assert pocs == [0, 1]
    assert "7" in str(error)


def test_list_entry_beyond_the_pictures() -> None:
    """list_entry_l0 has two bits for three pictures: 3 names none."""
    sequence = plain(4)
    sequence.set_pps(lists_modification_present=True)
    sequence.inter(4, 3, 2, 1, num_ref_idx=(2, 1), list_entries=([0, 3], None))
    pocs, error = read_until_error(sequence.bytes())
    assert pocs == [0, 1, 2, 3][: len(pocs)]
    assert isinstance(error, ove_codec.InvalidBitstreamError)


def test_slice_without_reference_pictures() -> None:
    sequence = plain(2)
    sequence.inter(2)
    pocs, error = read_until_error(sequence.bytes())
    assert pocs == [0, 1]
    assert isinstance(error, ove_codec.InvalidBitstreamError)


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 1 << 20, "height": 1 << 20},
        {"width": 65536, "height": 65536},
        {"width": 60},  # no multiple of the smallest coding block
        {"log2_min_cb": 3, "log2_ctb": 8},
        {"max_dec_pic_buffering": 40},
        {"rps": [ReferencePictureSet([(-n, True) for n in range(1, 40)])]},
        {"poc_lsb_bits": 18},
        {"window": (40, 40, 0, 0)},
        {"log2_min_tb": 3},  # not smaller than the smallest coding block
    ],
    ids=str,
)
def test_sequence_parameter_set_out_of_range(fields: dict[str, Any]) -> None:
    sequence = plain()
    sequence.nals[1] = replace(sequence.sps, **fields).nal()
    pocs, _ = read_until_error(sequence.bytes())
    assert pocs == []


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"range_extension": (0, 0, 0, 0, 1, 0, 0, 0, 0)}, "extended_precision"),
        ({"range_extension": (0, 0, 0, 0, 0, 0, 0, 0, 1)}, "cabac_bypass_alignment"),
        ({"palette": True}, "palette"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unsupported_tool_is_named(fields: dict[str, Any], name: str) -> None:
    sequence = Sequence(Sps(**fields))
    sequence.noise(0)
    with pytest.raises(ove_codec.UnsupportedStreamError, match=name):
        list(ove_codec.open(sequence.bytes()))


def test_damaged_picture_is_not_taken_for_the_next() -> None:
    """The second picture is damaged; the third precedes it in decoding order, so it comes, under its own number."""
    sequence = Sequence(Sps(num_reorder=1))
    sequence.noise(0)
    sequence.inter(2, 0)
    sequence.inter(1, 0, 2)
    sequence.nals[sequence.pictures[2]] = sequence.nals[sequence.pictures[2]][:-9]
    reading = ove_codec.open(sequence.bytes(), threads=1).read([1, 2])
    picture = next(reading)
    assert (picture.index, picture.poc) == (2, 2)
    with pytest.raises(ove_codec.InvalidBitstreamError):
        next(reading)
