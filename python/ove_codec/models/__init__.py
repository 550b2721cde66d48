"""The encoder: its configuration, the model on packed tokens, and an entry for whole images and clips."""

from ove_codec.models.config import OVEncoderConfig
from ove_codec.models.encoder import OVEncoder, OVEncoderOutput
from ove_codec.models.pixels import encode_pixels

__all__ = ["OVEncoder", "OVEncoderConfig", "OVEncoderOutput", "encode_pixels"]
