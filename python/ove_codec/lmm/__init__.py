"""Large multimodal models: a vision tower, a spatial-merge projector and a causal language model of transformers.

The tower is an `OVEncoder`, on codec tokens or frames, or for comparison that of Qwen3-VL or SigLIP2 NaFlex. Importing
this registers the model and its processor with transformers' Auto classes. Needs ``pip install 'ove_codec[lmm]'``.
"""

try:
    import transformers as _transformers  # noqa: F401
except ImportError as error:
    raise ImportError("ove_codec.lmm needs transformers: pip install 'ove_codec[lmm]'") from error

from ove_codec._renames import renamed
from ove_codec.lmm.answering import Answerer, Conversation
from ove_codec.lmm.assets import read_mosaics
from ove_codec.lmm.config import LMMConfig
from ove_codec.lmm.data import Collator, LlavaDataset, Unreadable
from ove_codec.lmm.loading import from_parts, save_tower
from ove_codec.lmm.merge import inverse_order, order_for_merge, select_blocks, whole_blocks
from ove_codec.lmm.model import LMMForConditionalGeneration
from ove_codec.lmm.processor import LMMProcessor
from ove_codec.lmm.samples import LMMSample
from ove_codec.lmm.trainer import LMMTrainer, set_trainable
from ove_codec.lmm.vision import VisionReader, VisionTokens

__all__ = [
    "Answerer",
    "Collator",
    "Conversation",
    "LMMConfig",
    "LMMForConditionalGeneration",
    "LMMProcessor",
    "LMMSample",
    "LMMTrainer",
    "LlavaDataset",
    "Unreadable",
    "VisionReader",
    "VisionTokens",
    "from_parts",
    "inverse_order",
    "order_for_merge",
    "read_mosaics",
    "save_tower",
    "select_blocks",
    "set_trainable",
    "whole_blocks",
]


__getattr__ = renamed(__name__, Sample="LMMSample")
