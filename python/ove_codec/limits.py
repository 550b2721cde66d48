"""What a video may ask for before it is refused."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ove_codec import _core

_DEFAULTS = _core.default_limits()


@dataclass(frozen=True)
class Limits:
    """What a stream may ask for; more raises UnsupportedStreamError, which names the limit, and what was asked for.

    The defaults take every level of H.265 up to 6.2. Raises ValueError for a limit that is not positive or too high.

    Attributes:
        max_width, max_height: of a coded picture, in luma samples.
        max_luma_samples: of a coded picture.
        max_dpb_pictures: decoded pictures held at a time for reference and output, the current one included.
        max_dpb_luma_samples: of these pictures together; memory is about three bytes a sample.
        max_slice_segments: of a picture.
        max_parameter_set_bytes: of one parameter set.
        max_packet_bytes: of a packet, which holds one picture.
        max_nal_units: of a packet.
    """

    max_width: int = _DEFAULTS["max_width"]
    max_height: int = _DEFAULTS["max_height"]
    max_luma_samples: int = _DEFAULTS["max_luma_samples"]
    max_dpb_pictures: int = _DEFAULTS["max_dpb_pictures"]
    max_dpb_luma_samples: int = _DEFAULTS["max_dpb_luma_samples"]
    max_slice_segments: int = _DEFAULTS["max_slice_segments"]
    max_parameter_set_bytes: int = _DEFAULTS["max_parameter_set_bytes"]
    max_packet_bytes: int = _DEFAULTS["max_packet_bytes"]
    max_nal_units: int = _DEFAULTS["max_nal_units"]

    def __post_init__(self) -> None:
        _core.check_limits(self.as_dict())

    def as_dict(self) -> dict[str, int]:
        """Name and value of every limit."""
        return asdict(self)
