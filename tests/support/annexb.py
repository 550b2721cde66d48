"""NAL units of a byte stream (Annex B), as a reader that shares nothing with the decoder under test."""

import re


def nal_units(stream: bytes) -> list[bytes]:
    """The NAL units with their headers, without start codes and trailing zeros."""
    return [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", stream)[1:]]


def slice_sizes(stream: bytes) -> list[tuple[int, int]]:
    """(bytes of RBSP after the NAL unit header, slice segments) of the coded pictures, in decoding order."""
    pictures: list[tuple[int, int]] = []
    for unit in nal_units(stream):
        if unit[0] >> 1 >= 32:
            continue
        size = len(unit.replace(b"\0\0\3", b"\0\0")) - 2
        if unit[2] & 0x80:  # first_slice_segment_in_pic_flag
            pictures.append((0, 0))
        pictures[-1] = (pictures[-1][0] + size, pictures[-1][1] + 1)
    return pictures
