"""Codec-aligned sparse video tokens from HEVC and H.264 motion and residuals."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ove_codec import canvases, cuda
from ove_codec._core import (
    DecodeError,
    Error,
    InvalidBitstreamError,
    Picture,
    UnsupportedStreamError,
    VideoIndex,
)
from ove_codec._source import Loss, VideoStream
from ove_codec._suggest import hint
from ove_codec._window import Window
from ove_codec.batching import Batch, batches
from ove_codec.canvases import codec_canvases
from ove_codec.limits import Limits
from ove_codec.live import Stream
from ove_codec.live_sources import stream
from ove_codec.motion_only import MotionPicture, MotionVideo
from ove_codec.presets import PRESETS
from ove_codec.selection import Selection, select, select_arrays
from ove_codec.together import tokens
from ove_codec.tokenizer import PaddedTokens, Tokens, frames, tokenize
from ove_codec.transcoding import RECIPES, Recipe, transcode
from ove_codec.video import Video, framecrc, open

if TYPE_CHECKING:
    from ove_codec import lmm, models, ops

    __version__: str

__all__ = [
    "PRESETS",
    "RECIPES",
    "Batch",
    "DecodeError",
    "Error",
    "InvalidBitstreamError",
    "Limits",
    "Loss",
    "MotionPicture",
    "MotionVideo",
    "PaddedTokens",
    "Picture",
    "Recipe",
    "Selection",
    "Stream",
    "Tokens",
    "UnsupportedStreamError",
    "Video",
    "VideoIndex",
    "VideoStream",
    "Window",
    "batches",
    "canvases",
    "codec_canvases",
    "cuda",
    "framecrc",
    "frames",
    "lmm",
    "models",
    "open",
    "ops",
    "select",
    "select_arrays",
    "stream",
    "tokenize",
    "tokens",
    "transcode",
]


_SUBMODULES = ("cli", "data", "datasets", "lmm", "models", "ops", "presets", "probes", "training", "viz")


def __getattr__(name: str) -> Any:
    # Submodules are imported where they are used: PyTorch and the extras only by those who need them.
    if name in _SUBMODULES:
        return import_module(f"ove_codec.{name}")
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; {hint(name, __dir__())}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version("ove_codec")
    except PackageNotFoundError:  # imported from the source tree
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES, "__version__"})
