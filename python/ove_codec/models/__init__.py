"""The encoder: its configuration, the model on packed tokens, and what it takes from images, frames and collages.

`ove_codec.models.hf` has the classes for Hugging Face's transformers, `ove_codec.models.timm` those for timm; both are
imported only when asked for.
"""

from ove_codec.models.config import OVEncoderConfig
from ove_codec.models.encoder import OVEncoder, OVEncoderOutput
from ove_codec.models.inputs import collage_tokens, frame_tokens, image_tokens, pack, temporal_slots
from ove_codec.models.pixels import encode_pixels

__all__ = [
    "OVEncoder",
    "OVEncoderConfig",
    "OVEncoderOutput",
    "collage_tokens",
    "encode_pixels",
    "frame_tokens",
    "image_tokens",
    "pack",
    "temporal_slots",
]
