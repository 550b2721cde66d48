"""Limits on what a stream may ask for, and errors that name them."""

import dataclasses
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import ove_codec
from support.hevc.bits import nal_unit
from support.hevc.parameter_sets import Sps
from support.hevc.random_stream import noise_unit
from support.hevc.sequence import Sequence
from support.hevc.slice_data import PictureWriter
from support.hevc.slice_header import I_SLICE, IDR_N_LP, SliceHeader


def stream() -> Sequence:
    """Three pictures of 64x64; the last refers to both others."""
    sequence = Sequence()
    sequence.noise(0)
    sequence.inter(1, 0)
    sequence.inter(2, 1, 0, num_ref_idx=(2, 1))
    return sequence


def packets(data: bytes) -> list[bytes]:
    return [packet["data"] for packet in ove_codec._core.Packets(data)]


def in_two_slices() -> bytes:
    sequence = Sequence()
    rng = np.random.default_rng(0)
    writer = PictureWriter(sequence.sps, sequence.pps)
    for address in (0, 8):
        header = SliceHeader(IDR_N_LP, I_SLICE, 0, address=address)
        sequence.nals.append(writer.segment(header, 8, lambda x, y, log2, may_split: noise_unit(rng, log2)))
    return sequence.bytes()


def with_padded_parameter_set() -> bytes:
    sequence = stream()
    sequence.nals[2] += bytes([0x80]) * 1000
    return sequence.bytes()


PLAIN = stream().bytes()
CASES: dict[str, tuple[bytes, int]] = {
    "max_width": (PLAIN, 64),
    "max_height": (PLAIN, 64),
    "max_luma_samples": (PLAIN, 64 * 64),
    "max_dpb_pictures": (PLAIN, 6),  # as the SPS declares
    "max_dpb_luma_samples": (PLAIN, 3 * 64 * 64),
    "max_slice_segments": (in_two_slices(), 2),
    "max_parameter_set_bytes": (with_padded_parameter_set(), 1000 + len(stream().pps.nal()) - 4),
    "max_packet_bytes": (PLAIN, max(map(len, packets(PLAIN)))),
    "max_nal_units": (PLAIN, 4),  # three parameter sets and a slice
}


def test_every_limit_is_tested() -> None:
    assert set(CASES) == {f.name for f in dataclasses.fields(ove_codec.Limits)}
    assert ove_codec.Limits().as_dict() == ove_codec._core.default_limits()


@pytest.mark.parametrize("name", CASES)
def test_exactly_what_exceeds_a_limit_is_refused(name: str) -> None:
    data, value = CASES[name]
    enough, less = (ove_codec.Limits(**{name: v}) for v in (value, value - 1))
    count = len(list(ove_codec.open(data)))
    assert len(list(ove_codec.open(data, limits=enough))) == count
    assert len(ove_codec.open(data, limits=enough).index) == count
    match = f"is {value}, over the limit of {value - 1}; raise Limits.{name}"
    for read in (
        lambda: list(ove_codec.open(data, limits=less)),
        lambda: ove_codec.open(data, limits=less).index,
        lambda: list(ove_codec.framecrc(data, limits=less)),
        lambda: ove_codec.select(data, limits=less),
        lambda: ove_codec.frames(data, limits=less),
    ):
        with pytest.raises(ove_codec.UnsupportedStreamError, match=match):
            read()


def test_pictures_before_the_excess_are_given() -> None:
    sequence = stream()
    sequence.set_sps(Sps(width=80, height=64))
    sequence.nals.append(sequence.pps.nal())
    sequence.noise(0)
    got: list[Any] = []
    with pytest.raises(ove_codec.UnsupportedStreamError, match=r"width.* is 80.*max_width"):
        got.extend(iter(ove_codec.open(sequence.bytes(), limits=ove_codec.Limits(max_width=64))))
    assert [p.poc for p in got] == [0, 1]  # the next picture is not known to be complete


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"width": 16896}, "max_width"),
        ({"height": 16896}, "max_height"),
        ({"width": 8192, "height": 8192}, "max_luma_samples"),
        ({"width": 1 << 31, "height": 1 << 31}, "max_width"),
    ],
)
def test_defaults_refuse_what_no_level_has(fields: dict[str, int], name: str) -> None:
    sequence = stream()
    sequence.nals[1] = replace(sequence.sps, **fields).nal()  # type: ignore[arg-type]
    with pytest.raises(ove_codec.UnsupportedStreamError, match=name):
        list(ove_codec.open(sequence.bytes()))


def test_many_tiny_nal_units() -> None:
    """Units that are skipped, but whose list would take many times the memory of the packet."""
    data = PLAIN + nal_unit(39, b"\x80") * 70_000
    with pytest.raises(ove_codec.UnsupportedStreamError, match="number of NAL units of a packet is 65537"):
        list(ove_codec.open(data))


def test_limits_are_values() -> None:
    limits = ove_codec.Limits(max_width=1920)
    assert limits == ove_codec.Limits(max_width=1920) != ove_codec.Limits()
    assert pickle.loads(pickle.dumps(limits)) == limits
    assert hash(limits) == hash(replace(limits))
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.max_width = 1  # type: ignore[misc]
    for name in CASES:
        for bad in (0, -1, 1 << 40):
            with pytest.raises(ValueError, match=name):
                ove_codec.Limits(**{name: bad})
    with pytest.raises(ValueError, match="no limit depth"):
        ove_codec._core.VideoIndex(PLAIN, limits={"depth": 3})
