"""The image processor of LLaVA-OneVision-2 and Mage-VL, with Pillow and NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import BaseImageProcessor, BatchFeature

from ove_codec.models.images import to_rgb
from ove_codec.models.visuals import PatchFormat, Visual, fitted_size, image_visual
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD


class _Options(TypedDict, total=False):
    min_pixels: int
    max_pixels: int
    size: dict[str, int]
    patch_size: int
    merge_size: int
    temporal_patch_size: int
    do_resize: bool
    resample: int
    do_rescale: bool
    rescale_factor: float
    do_normalize: bool
    image_mean: list[float]
    image_std: list[float]


class LlavaOnevision2ImageProcessor(BaseImageProcessor):
    """Images to patches as transformers' Qwen2VLImageProcessor with Pillow makes them, with one frame in a patch.

    An image keeps its shape as far as whole merge blocks allow, and is scaled (bicubic) only as far as the bounds ask.

    Args:
        min_pixels, max_pixels: bounds on an image's area; `size` {"shortest_edge", "longest_edge"} is another name for
            the two.
        patch_size: side of a patch in samples.
        merge_size: side of a merge block in patches.
        temporal_patch_size: frames in a patch; 1.
    The other arguments are those of transformers' Qwen2VLImageProcessor; images are always made RGB.

    Raises:
        ValueError: a value is not allowed.
    """

    valid_kwargs: type = _Options
    model_input_names = ["pixel_values", "image_grid_thw", "patch_positions"]  # noqa: RUF012 (transformers wants a list)

    def __init__(
        self,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        size: Mapping[str, int] | None = None,
        patch_size: int = 14,
        merge_size: int = 2,
        temporal_patch_size: int = 1,
        do_resize: bool = True,
        resample: int = Image.Resampling.BICUBIC,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        size = dict(size or {})
        self.min_pixels = int(min_pixels or size.get("shortest_edge") or 256 * 28 * 28)
        self.max_pixels = int(max_pixels or size.get("longest_edge") or 4_000_000)
        if temporal_patch_size != 1:
            raise ValueError(f"temporal_patch_size must be 1, got {temporal_patch_size!r}")
        for name, value in (("patch_size", patch_size), ("merge_size", merge_size)):
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1024:
                raise ValueError(f"{name} must be an integer from 1 to 1024, got {value!r}")
        if not 0 < self.min_pixels <= self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} must be positive and at most max_pixels {self.max_pixels}")
        self.patch_size = patch_size
        self.merge_size = merge_size
        self.temporal_patch_size = temporal_patch_size
        self.do_resize = do_resize
        self.resample = int(resample)
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = list(CLIP_MEAN if image_mean is None else image_mean)
        self.image_std = list(CLIP_STD if image_std is None else image_std)
        for name in ("image_mean", "image_std"):
            if len(getattr(self, name)) != 3 or (name == "image_std" and 0 in self.image_std):
                raise ValueError(f"{name} must be 3 numbers, image_std not zero, got {getattr(self, name)}")

    @property
    def format(self) -> PatchFormat:
        """How pixels become patches."""
        return PatchFormat(
            self.patch_size,
            self.merge_size,
            self.rescale_factor if self.do_rescale else 1.0,
            tuple(self.image_mean) if self.do_normalize else None,
            tuple(self.image_std) if self.do_normalize else None,
        )

    def fitted(self, image: Any, min_pixels: int | None = None, max_pixels: int | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) samples of an image, scaled to whole merge blocks; see `fitted_size`."""
        picture = to_rgb(image)
        if self.do_resize:
            most = max_pixels or self.max_pixels
            least = min(min_pixels or self.min_pixels, most)
            height, width = fitted_size(picture.height, picture.width, self.format.factor, least, most)
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling(self.resample))
        return np.asarray(picture)

    def visual(self, image: Any, min_pixels: int | None = None, max_pixels: int | None = None) -> Visual:
        """One image as patches; see the class."""
        return image_visual(self.fitted(image, min_pixels, max_pixels), self.format)

    def preprocess(
        self,
        images: Any,
        *,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        return_tensors: Any = None,
        **overrides: Any,
    ) -> BatchFeature:
        """One image or a list of them: `pixel_values` (N, 3*p*p), `image_grid_thw` (n, 3), `patch_positions` (N, 3).

        Raises:
            ValueError: an image is of another kind, an option is not known, or there is no image.
        """
        if unknown := [name for name, value in overrides.items() if value is not None]:
            raise ValueError(f"unknown options {sorted(unknown)}; choose from min_pixels and max_pixels")
        one = isinstance(images, Image.Image) or (not isinstance(images, list | tuple) and np.ndim(images) < 4)
        visuals = [self.visual(image, min_pixels, max_pixels) for image in ([images] if one else images)]
        return BatchFeature(model_inputs(visuals), tensor_type=return_tensors)


def model_inputs(visuals: Sequence[Visual]) -> dict[str, NDArray[Any]]:
    """The patches of all images and videos, one after another, under the names that the models take.

    Raises:
        ValueError: there is none.
    """
    if not visuals:
        raise ValueError("there must be at least one image")
    return {
        "pixel_values": np.concatenate([visual.pixel_values for visual in visuals]),
        "image_grid_thw": np.concatenate([visual.grid_thw for visual in visuals]),
        "patch_positions": np.concatenate([visual.patch_positions for visual in visuals]),
    }
