"""Entries of the classes in the Auto classes of transformers."""

from __future__ import annotations

from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)

# Not `transformers.AutoVideoProcessor`: where torchvision is missing that name stands for an error message.
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.video_processing_auto import AutoVideoProcessor

from ove_codec.models.config import MODEL_TYPES
from ove_codec.models.hf import vlm_configuration, vlm_modeling, vlm_processing
from ove_codec.models.hf.configuration import OneVisionEncoderConfig
from ove_codec.models.hf.modeling import OneVisionEncoderModel
from ove_codec.models.hf.processing import OneVisionEncoderImageProcessor, OneVisionEncoderVideoProcessor
from ove_codec.models.hf.vlm_images import LlavaOnevision2ImageProcessor

_VLMS = (
    (
        vlm_configuration.LlavaOnevision2Config,
        vlm_modeling.LlavaOnevision2Model,
        vlm_modeling.LlavaOnevision2ForConditionalGeneration,
        vlm_processing.LlavaOnevision2Processor,
    ),
    (
        vlm_configuration.MageVLConfig,
        vlm_modeling.MageVLModel,
        vlm_modeling.MageVLForConditionalGeneration,
        vlm_processing.MageVLProcessor,
    ),
)


def register() -> None:
    """Enters the classes; does nothing where they are already entered.

    LLaVA-OneVision-2 and Mage-VL are left as they are where transformers or somebody else has classes for them.
    """
    for model_type in MODEL_TYPES.values():  # AutoConfig.register takes one type of a class only
        CONFIG_MAPPING.register(model_type, OneVisionEncoderConfig, exist_ok=True)
    AutoModel.register(OneVisionEncoderConfig, OneVisionEncoderModel, exist_ok=True)
    AutoImageProcessor.register(
        OneVisionEncoderConfig, slow_image_processor_class=OneVisionEncoderImageProcessor, exist_ok=True
    )
    AutoVideoProcessor.register(OneVisionEncoderConfig, OneVisionEncoderVideoProcessor, exist_ok=True)
    for config, body, whole, processor in _VLMS:
        if config.model_type in CONFIG_MAPPING:
            continue
        CONFIG_MAPPING.register(config.model_type, config)
        AutoModel.register(config, body)
        AutoModelForImageTextToText.register(config, whole)
        AutoModelForCausalLM.register(config, whole)
        AutoImageProcessor.register(config, slow_image_processor_class=LlavaOnevision2ImageProcessor)
        AutoProcessor.register(config, processor)
    vision = vlm_configuration.MageVLVisionConfig
    if vision.model_type not in CONFIG_MAPPING:
        CONFIG_MAPPING.register(vision.model_type, vision)
        AutoModel.register(vision, vlm_modeling.MageVLVisionModel)
