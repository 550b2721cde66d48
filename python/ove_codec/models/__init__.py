"""The encoder: its configuration, the model on packed tokens, and what it takes from images, frames and collages;
and the vision towers of LLaVA-OneVision-2 and Mage-VL, which are the encoder with a merger.

`ove_codec.models.hf` has the classes for Hugging Face's transformers, `ove_codec.models.timm` those for timm; both are
imported only when asked for.
"""

from ove_codec.models.config import OVEncoderConfig
from ove_codec.models.encoder import OVEncoder, OVEncoderOutput
from ove_codec.models.inputs import collage_tokens, frame_tokens, image_tokens, pack, temporal_slots
from ove_codec.models.pixels import encode_pixels
from ove_codec.models.tower import OVTower, OVTowerOutput, load_tower
from ove_codec.models.tower_config import OVTowerConfig
from ove_codec.models.vision_info import fetch_codec_video, fetch_image, process_video_info

__all__ = [
    "OVEncoder",
    "OVEncoderConfig",
    "OVEncoderOutput",
    "OVTower",
    "OVTowerConfig",
    "OVTowerOutput",
    "collage_tokens",
    "encode_pixels",
    "fetch_codec_video",
    "fetch_image",
    "frame_tokens",
    "image_tokens",
    "load_tower",
    "pack",
    "process_video_info",
    "temporal_slots",
]
