"""The encoder for Hugging Face's transformers, 4.57 or later; importing this registers its classes.

    import ove_codec.models.hf
    from transformers import AutoImageProcessor, AutoModel

    model = AutoModel.from_pretrained(directory)
    processor = AutoImageProcessor.from_pretrained(directory)
    out = model(**processor(images, return_tensors="pt"))

No code of a checkpoint is run: directories whose `config.json` names classes of its own (`auto_map`) are read by the
classes here, which have the same parameters. Needs `pip install 'ove_codec[hf]'`. torchvision is not used; but where it
is missing transformers hides `AutoVideoProcessor`, and videos need `OneVisionEncoderVideoProcessor.from_pretrained`.

LLaVA-OneVision-2 and Mage-VL are registered too, where nobody else has classes for them; they need transformers 5:

    model = AutoModelForImageTextToText.from_pretrained(directory)
    processor = AutoProcessor.from_pretrained(directory)
"""

try:
    import transformers  # noqa: F401
except ImportError as error:
    raise ImportError("ove_codec.models.hf needs transformers: pip install 'ove_codec[hf]'") from error

from ove_codec.models.hf.configuration import OneVisionEncoderConfig
from ove_codec.models.hf.modeling import OneVisionEncoderModel
from ove_codec.models.hf.processing import OneVisionEncoderImageProcessor, OneVisionEncoderVideoProcessor
from ove_codec.models.hf.registration import register
from ove_codec.models.hf.vlm_configuration import (
    LlavaOnevision2Config,
    LlavaOnevision2VisionConfig,
    MageVLConfig,
    MageVLVisionConfig,
)
from ove_codec.models.hf.vlm_images import LlavaOnevision2ImageProcessor
from ove_codec.models.hf.vlm_modeling import (
    LlavaOnevision2ForConditionalGeneration,
    LlavaOnevision2Model,
    LlavaOnevision2VisionModel,
    MageVLForConditionalGeneration,
    MageVLModel,
    MageVLVisionModel,
)
from ove_codec.models.hf.vlm_processing import LlavaOnevision2Processor, MageVLProcessor

__all__ = [
    "LlavaOnevision2Config",
    "LlavaOnevision2ForConditionalGeneration",
    "LlavaOnevision2ImageProcessor",
    "LlavaOnevision2Model",
    "LlavaOnevision2Processor",
    "LlavaOnevision2VisionConfig",
    "LlavaOnevision2VisionModel",
    "MageVLConfig",
    "MageVLForConditionalGeneration",
    "MageVLModel",
    "MageVLProcessor",
    "MageVLVisionConfig",
    "MageVLVisionModel",
    "OneVisionEncoderConfig",
    "OneVisionEncoderImageProcessor",
    "OneVisionEncoderModel",
    "OneVisionEncoderVideoProcessor",
    "register",
]

register()
