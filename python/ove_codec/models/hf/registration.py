"""Entries of the classes in the Auto classes of transformers."""

from __future__ import annotations

from transformers import AutoImageProcessor, AutoModel

# Not `transformers.AutoVideoProcessor`: where torchvision is missing that name stands for an error message.
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.video_processing_auto import AutoVideoProcessor

from ove_codec.models.config import MODEL_TYPES
from ove_codec.models.hf.configuration import OneVisionEncoderConfig
from ove_codec.models.hf.modeling import OneVisionEncoderModel
from ove_codec.models.hf.processing import OneVisionEncoderImageProcessor, OneVisionEncoderVideoProcessor


def register() -> None:
    """Enters the classes; does nothing where they are already entered."""
    for model_type in MODEL_TYPES.values():  # AutoConfig.register takes one type of a class only
        CONFIG_MAPPING.register(model_type, OneVisionEncoderConfig, exist_ok=True)
    AutoModel.register(OneVisionEncoderConfig, OneVisionEncoderModel, exist_ok=True)
    AutoImageProcessor.register(
        OneVisionEncoderConfig, slow_image_processor_class=OneVisionEncoderImageProcessor, exist_ok=True
    )
    AutoVideoProcessor.register(OneVisionEncoderConfig, OneVisionEncoderVideoProcessor, exist_ok=True)
