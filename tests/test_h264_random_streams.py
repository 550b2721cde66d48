"""Random hand-made H.264 streams: what libx264 does not make, against the writer's values and libavcodec's samples.

Field pictures, MBAFF frames with explicit weights, every memory management control operation, long-term frames and
fields, modified reference lists, gaps in frame_num, order count types 1 and 2, redundant pictures, I_PCM, and CAVLC
with 4:4:4.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ove_codec
from support import checks, ffmpeg
from support.h264.expected import Expected
from support.h264.oracle import Known, Oracle, samples_of
from support.h264.random_stream import RandomStream

STRUCTURES = ("frame", "top", "bottom", "mbaff")


@dataclass(frozen=True)
class Case:
    seed: int
    interlaced: bool = False
    poc_type: int = 0
    chroma_format_idc: int = 1
    for_libavcodec: bool = True

    def __str__(self) -> str:
        kind = "interlaced" if self.interlaced else "frames"
        other = "" if self.for_libavcodec else "-other"
        return f"{kind}-{self.seed}-poc{self.poc_type}-chroma{self.chroma_format_idc}{other}"


CASES = [
    *[Case(seed, interlaced) for seed in range(8) for interlaced in (False, True)],
    Case(108, True),  # frames whose first field has operation 5, as references of later ones
    *[Case(seed, interlaced, poc_type=1) for seed in (20, 22) for interlaced in (False, True)],
    *[Case(seed, poc_type=2) for seed in (30, 31, 32)],
    *[Case(seed, interlaced, chroma_format_idc=3) for seed in (40, 41) for interlaced in (False, True)],
    *[Case(seed, interlaced, chroma_format_idc=0) for seed in (50,) for interlaced in (False, True)],
    *[Case(seed, True, poc_type=1, for_libavcodec=False) for seed in range(60, 70)],
    *[Case(seed, interlaced, for_libavcodec=False) for seed in range(70, 74) for interlaced in (False, True)],
]
cases = pytest.mark.parametrize("case", CASES, ids=str)
decoded_alike = pytest.mark.parametrize("case", [case for case in CASES if case.for_libavcodec], ids=str)


@functools.cache
def stream(case: Case) -> RandomStream:
    return RandomStream(case.seed, case.interlaced, case.poc_type, case.chroma_format_idc, case.for_libavcodec)


def in_display_order(made: RandomStream) -> list[Expected]:
    return sorted(made.frames, key=lambda frame: (frame.epoch, frame.output_poc))


def known_of(frames: list[Expected]) -> list[Known]:
    number = {frame.stored.number: i for i, frame in enumerate(frames)}
    return [
        Known(
            (frame.field_pocs[1], frame.field_pocs[2]),
            {poc: number[stored.number] for poc, stored in frame.references.items()},
            {key: (number[stored.number], field) for key, (stored, field) in frame.field_references.items()},
            frame.mbaff,
        )
        for frame in frames
    ]


@cases
def test_what_was_written_is_found(case: Case) -> None:
    made = stream(case)
    pictures: list[Any] = list(ove_codec.open(made.data, threads=1))
    for picture, frame in zip(pictures, in_display_order(made), strict=True):
        checks.assert_arrays(picture)
        assert picture.bits.sum() == frame.slice_data_bits
        np.testing.assert_array_equal(picture.field, frame.field)
        for name in ("pred", "mv", "ref_poc"):
            found, expected = (getattr(owner, name)[frame.known] for owner in (picture, frame))
            np.testing.assert_array_equal(found, expected, err_msg=f"{picture.poc} {name}")


@cases
def test_coded_pictures(case: Case) -> None:
    """Their number, order, structure and POC."""
    made = stream(case)
    found = [(picture["structure"], picture["poc"]) for picture in ove_codec.framecrc(made.data)]
    assert found == [(STRUCTURES[kind], poc) for frame in made.frames for kind, poc in frame.coded]


@cases
@pytest.mark.threads
def test_chosen_pictures_equal_all(case: Case) -> None:
    """A picture read alone, with only what it depends on, is the one that reading all gives."""
    data = stream(case).data
    pictures: list[Any] = list(ove_codec.open(data, threads=3))
    video = ove_codec.open(data, threads=2)
    for index in (len(pictures) - 1, len(pictures) // 2, 1):
        (picture,) = video.read([index])
        checks.assert_same(picture, pictures[index])


@decoded_alike
def test_samples(case: Case, stream_folder: Path) -> None:
    """libavcodec's luma is the PCM samples, and elsewhere the prediction and the residual."""
    if not ffmpeg.available():
        pytest.skip("ffmpeg is not installed")
    made = stream(case)
    path = stream_folder / f"random_{case}.h264"
    path.write_bytes(made.primary_data)  # libavcodec's parser begins a packet at every slice of macroblock 0
    luma, complaints = ffmpeg.decode_luma(path, 8)
    assert not complaints
    frames = in_display_order(made)
    pictures: list[Any] = list(ove_codec.open(made.data, threads=2))
    assert len(luma) == len(frames)
    for samples, picture, frame in zip(luma, pictures, frames, strict=True):
        for field, x, y, pcm in frame.pcm:
            np.testing.assert_array_equal(macroblock(samples, field, x, y), pcm)
        for field, x, y in frame.intra:
            residual = macroblock(picture.residual, field, x, y).astype(int)
            np.testing.assert_array_equal(macroblock(samples, field, x, y), np.clip(128 + residual, 0, 255))
    assert Oracle(pictures, luma, known_of(frames)).assert_reconstructs(made.pps.weighted_bipred_idc == 2) > 100


def macroblock(plane: NDArray[np.integer], field: int, x: int, y: int) -> NDArray[np.integer]:
    return samples_of(plane, field)[y : y + 16, x : x + 16]
