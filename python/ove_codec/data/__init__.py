"""Data for PyTorch: clips as tokens, one by one or in packed batches, and the mixed shards that the trainer reads.

``ClipDataset`` and ``PreparedDataset`` give the tokens of a clip by its number. ``ClipSampler`` says which clips make
the batches of a rank, for a DataLoader with ``collate``; ``ClipStream`` gives the same batches as an iterable.
``Mixture`` is what `ove-codec train` reads: packed batches of several heads and kinds of input, from shards.
"""

from ove_codec.data.batch import ClipBatch, ClipSample, Place, SkippedClip, collate
from ove_codec.data.clips import ClipDataset, Entry, TokenDataset
from ove_codec.data.inputs import KINDS, CodecInput, CollageInput, FrameInput, ImageInput, Input, OcrInput
from ove_codec.data.mixture import HeadData, Mixture, PackedBatch
from ove_codec.data.order import Order
from ove_codec.data.packed import Packed
from ove_codec.data.prepared import PreparedDataset
from ove_codec.data.sampler import BatchPlan, ClipSampler
from ove_codec.data.shards import DataError, Sample, ShardSet, write_shards
from ove_codec.data.stream import ClipStream

__all__ = [
    "KINDS",
    "BatchPlan",
    "ClipBatch",
    "ClipDataset",
    "ClipSample",
    "ClipSampler",
    "ClipStream",
    "CodecInput",
    "CollageInput",
    "DataError",
    "Entry",
    "FrameInput",
    "HeadData",
    "ImageInput",
    "Input",
    "Mixture",
    "OcrInput",
    "Order",
    "Packed",
    "PackedBatch",
    "Place",
    "PreparedDataset",
    "Sample",
    "ShardSet",
    "SkippedClip",
    "TokenDataset",
    "collate",
    "write_shards",
]
