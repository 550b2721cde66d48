"""The encoder for Hugging Face's transformers, 4.57 or later; importing this registers its classes.

    import ove_codec.models.hf
    from transformers import AutoImageProcessor, AutoModel

    model = AutoModel.from_pretrained(directory)
    processor = AutoImageProcessor.from_pretrained(directory)
    out = model(**processor(images, return_tensors="pt"))

No code of a checkpoint is run: directories whose `config.json` names classes of its own (`auto_map`) are read by the
classes here, which have the same parameters. Needs `pip install 'ove_codec[hf]'`. torchvision is not used; but where it
is missing transformers hides `AutoVideoProcessor`, and videos need `OneVisionEncoderVideoProcessor.from_pretrained`.
"""

try:
    import transformers  # noqa: F401
except ImportError as error:
    raise ImportError("ove_codec.models.hf needs transformers: pip install 'ove_codec[hf]'") from error

from ove_codec.models.hf.configuration import OneVisionEncoderConfig
from ove_codec.models.hf.modeling import OneVisionEncoderModel
from ove_codec.models.hf.processing import OneVisionEncoderImageProcessor, OneVisionEncoderVideoProcessor
from ove_codec.models.hf.registration import register

__all__ = [
    "OneVisionEncoderConfig",
    "OneVisionEncoderImageProcessor",
    "OneVisionEncoderModel",
    "OneVisionEncoderVideoProcessor",
    "register",
]

register()
