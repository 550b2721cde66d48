"""Image and video processors for transformers that need Pillow and NumPy only."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import BaseImageProcessor, BatchFeature

from ove_codec.models.config import CONFIG_FILE, read_json_object
from ove_codec.models.images import center_crop, normalize, resize, to_rgb
from ove_codec.models.inputs import SLOTS, temporal_slots
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD

IMAGE_FILE = "preprocessor_config.json"
VIDEO_FILE = "video_preprocessor_config.json"


class _Options(TypedDict, total=False):
    do_resize: bool
    size: dict[str, int]
    resample: int
    do_center_crop: bool
    crop_size: dict[str, int]
    do_rescale: bool
    rescale_factor: float
    do_normalize: bool
    image_mean: list[float]
    image_std: list[float]


class _VideoOptions(_Options, total=False):
    num_frames: int | None
    slots: int
    patch_size: int


class _Processor(BaseImageProcessor):
    """One picture to pixels; options may be overridden in every call."""

    valid_kwargs: type = _Options
    default_edge = 448

    def __init__(
        self,
        do_resize: bool = True,
        size: int | Mapping[str, int] | None = None,
        resample: int = Image.Resampling.BICUBIC,
        do_center_crop: bool = True,
        crop_size: int | Mapping[str, int] | None = None,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.do_resize = do_resize
        self.size = _size(size, {"shortest_edge": self.default_edge})
        self.resample = int(resample)
        self.do_center_crop = do_center_crop
        self.crop_size = _size(crop_size, {"height": self.default_edge, "width": self.default_edge})
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = list(CLIP_MEAN if image_mean is None else image_mean)
        self.image_std = list(CLIP_STD if image_std is None else image_std)

    def options(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """The options of one call; raises ValueError for unknown ones."""
        known = _Options.__annotations__
        if unknown := overrides.keys() - known:
            raise ValueError(f"unknown options {sorted(unknown)}; choose from {', '.join(known)}")
        options = {name: getattr(self, name) for name in known} | overrides
        options["size"] = _size(options["size"], {})
        options["crop_size"] = _size(options["crop_size"], {})
        return options

    def pixels(self, image: Any, options: dict[str, Any], channels_first: bool | None) -> NDArray[np.float32]:
        """(3, H, W) of one picture."""
        picture = to_rgb(image, channels_first)
        if options["do_resize"]:
            picture = resize(picture, options["size"], options["resample"])
        if options["do_center_crop"]:
            picture = center_crop(picture, options["crop_size"])
        values = np.asarray(picture, np.float32)
        if options["do_rescale"]:
            # In double precision first, as transformers does, so that results are the same to the last bit.
            values = (np.asarray(picture, np.float64) * options["rescale_factor"]).astype(np.float32)
        if options["do_normalize"]:
            values = normalize(values, options["image_mean"], options["image_std"])
        return np.ascontiguousarray(np.moveaxis(values, 2, 0))


class OneVisionEncoderImageProcessor(_Processor):
    """CLIP's preprocessing: RGB, shortest edge to 448 samples (bicubic), middle 448x448, CLIP's mean and deviation.

    A call takes one image or a list of them: Pillow images, or uint8 arrays or tensors (H, W, C) or (C, H, W), also
    stacked. It gives `pixel_values`, (B, 3, H, W) with `return_tensors`, else a list.

    Args:
        size: {"shortest_edge"} or {"height", "width"}; an integer is the shortest edge.
        crop_size: {"height", "width"}; an integer is both.
        resample: number of a filter of Pillow.
    The other arguments are those of transformers' CLIPImageProcessor; images are always made RGB.

    Raises:
        ValueError: an image is of another kind, or an option is not known or not allowed.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012 (transformers wants a list)

    def preprocess(
        self,
        images: Any,
        *,
        return_tensors: Any = None,
        input_data_format: Any = None,
        **overrides: Any,
    ) -> BatchFeature:
        """See the class; `overrides` are options for this call."""
        options = self.options(overrides)
        first = _channels_first(input_data_format)
        rows = [self.pixels(image, options, first) for image in _pictures(images)]
        return BatchFeature({"pixel_values": rows}, tensor_type=return_tensors)


class OneVisionEncoderVideoProcessor(_Processor):
    """Frames as CLIP's preprocessing makes them, at 224x224 samples, and their positions with time in 64 slots.

    A call takes one video or a list of them, each a list of pictures or an array or tensor (T, H, W, C) or
    (T, C, H, W) of uint8. It gives `pixel_values` (B, 3, T, H, W) and `patch_positions` (B, T*h*w, 3), which is what
    the model takes. Frames come from the first to the last at equal distances.

    Args:
        num_frames: how many frames are taken; None takes all. A shorter video repeats frames.
        slots: that a whole video spans.
        patch_size: of the model, for the positions.
    The other arguments are those of `OneVisionEncoderImageProcessor`.

    Raises:
        ValueError: as of `OneVisionEncoderImageProcessor`; or videos have different numbers of frames.
    """

    model_input_names = ["pixel_values", "patch_positions"]  # noqa: RUF012
    valid_kwargs: type = _VideoOptions
    default_edge = 224

    def __init__(self, num_frames: int | None = None, slots: int = SLOTS, patch_size: int = 14, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_frames = num_frames
        self.slots = slots
        self.patch_size = patch_size

    def __call__(self, videos: Any, **kwargs: Any) -> BatchFeature:
        return self.preprocess(videos, **kwargs)

    def preprocess(
        self,
        videos: Any,
        *,
        num_frames: int | None = None,
        return_tensors: Any = None,
        input_data_format: Any = None,
        **overrides: Any,
    ) -> BatchFeature:
        """See the class; `overrides` are options for this call."""
        options = self.options(overrides)
        first = _channels_first(input_data_format)
        pixel_values, patch_positions = [], []
        for video in _videos(videos):
            pictures = _pictures(video)
            ids = _uniform(len(pictures), num_frames or self.num_frames)
            frames = {number: self.pixels(pictures[number], options, first) for number in dict.fromkeys(ids)}
            clip = np.stack([frames[number] for number in ids], axis=1)
            times = temporal_slots(ids, len(pictures), self.slots)
            axes = (torch.arange(side // self.patch_size) for side in clip.shape[2:])
            pixel_values.append(clip)
            patch_positions.append(torch.cartesian_prod(times, *axes).numpy())
        if return_tensors is not None and len({clip.shape for clip in pixel_values}) > 1:
            shapes = [clip.shape for clip in pixel_values]
            raise ValueError(
                f"videos of one batch must have the same number of frames and one size; give num_frames, got {shapes}"
            )
        values = {"pixel_values": pixel_values, "patch_positions": patch_positions}
        return BatchFeature(values, tensor_type=return_tensors)

    def to_dict(self) -> dict[str, Any]:
        """What `save_pretrained` writes."""
        values: dict[str, Any] = super().to_dict()
        values["video_processor_type"] = values.pop("image_processor_type")
        return values

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> list[str]:
        """Writes `video_preprocessor_config.json`.

        Raises:
            ValueError: there are other arguments; nothing is uploaded.
        """
        if kwargs:
            raise ValueError(f"a video processor can only be saved to a directory, got {sorted(kwargs)}")
        root = Path(save_directory)
        root.mkdir(parents=True, exist_ok=True)
        self.to_json_file(root / VIDEO_FILE)
        return [str(root / VIDEO_FILE)]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Reads `video_preprocessor_config.json` in a local directory.

        Where it is missing, what images and videos have in common is read from `preprocessor_config.json`, and the
        patch size from `config.json`.

        Raises:
            FileNotFoundError: the directory has neither file.
            ValueError: a file is no JSON object.
        """
        root = Path(pretrained_model_name_or_path)
        options = set(_VideoOptions.__annotations__)
        if (root / VIDEO_FILE).is_file():
            values = read_json_object(root / VIDEO_FILE)
        elif (root / IMAGE_FILE).is_file():
            values = {k: v for k, v in read_json_object(root / IMAGE_FILE).items() if k not in ("size", "crop_size")}
            if (root / CONFIG_FILE).is_file() and "patch_size" in (config := read_json_object(root / CONFIG_FILE)):
                values["patch_size"] = config["patch_size"]
        else:
            raise FileNotFoundError(f"{root} holds neither {VIDEO_FILE} nor {IMAGE_FILE}; only local files are read")
        values = {name: value for name, value in values.items() if name in options}
        return cls(**values | {name: value for name, value in kwargs.items() if name in options})


def _size(size: int | Mapping[str, int] | None, default: dict[str, int]) -> dict[str, int]:
    if size is None:
        return dict(default)
    if isinstance(size, int):
        return {"shortest_edge": size} if "shortest_edge" in default else {"height": size, "width": size}
    return {name: value for name, value in dict(size).items() if value is not None}


def _channels_first(input_data_format: Any) -> bool | None:
    if input_data_format is None:
        return None
    name = getattr(input_data_format, "value", input_data_format)
    if name not in ("channels_first", "channels_last"):
        raise ValueError(f"input_data_format must be 'channels_first' or 'channels_last', got {input_data_format!r}")
    return bool(name == "channels_first")


def _pictures(images: Any) -> list[Any]:
    """One picture or several, as a list."""
    if isinstance(images, Image.Image) or (not isinstance(images, list | tuple) and np.ndim(images) < 4):
        return [images]
    if not len(images):
        raise ValueError("there must be at least one image")
    return list(images)


def _videos(videos: Any) -> list[Any]:
    """One video or several, as a list: a list of pictures is one video, a list of videos several."""
    if not isinstance(videos, list | tuple):
        return [videos] if np.ndim(videos) < 5 else list(videos)
    if not videos:
        raise ValueError("there must be at least one video")
    first = videos[0]
    one = isinstance(first, Image.Image) or (not isinstance(first, list | tuple) and np.ndim(first) < 4)
    return [videos] if one else list(videos)


def _uniform(total: int, wanted: int | None) -> list[int]:
    if wanted is None:
        return list(range(total))
    if wanted < 1:
        raise ValueError(f"num_frames must be positive, got {wanted}")
    return [int(number) for number in np.linspace(0, total - 1, wanted).round()]
