"""Training data: shards of pictures and HEVC clips with labels, mixed, made into tokens and packed."""

from ove_codec.data.inputs import KINDS, CodecInput, CollageInput, FrameInput, ImageInput, Input, OcrInput
from ove_codec.data.mixture import HeadData, Mixture, PackedBatch
from ove_codec.data.order import Order
from ove_codec.data.shards import DataError, Sample, ShardSet, write_shards

__all__ = [
    "KINDS",
    "CodecInput",
    "CollageInput",
    "DataError",
    "FrameInput",
    "HeadData",
    "ImageInput",
    "Input",
    "Mixture",
    "OcrInput",
    "Order",
    "PackedBatch",
    "Sample",
    "ShardSet",
    "write_shards",
]
