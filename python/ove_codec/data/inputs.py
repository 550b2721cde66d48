"""From a sample to tokens: the kinds of input that one encoder is trained with.

Every kind gives one sequence of `ove_codec.Tokens`, float32. Codec and frame inputs count t by the same sampled
pictures, so scores, pixels and positions speak of the same frames.
"""

from __future__ import annotations

import io
import math
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import ove_codec
from ove_codec._sampling import sample_frames
from ove_codec.data.shards import DataError, Sample
from ove_codec.models.inputs import collage_tokens, frame_tokens, image_tokens
from ove_codec.presets import resolve
from ove_codec.selection import Selection
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD, Tokens

PICTURES = ("jpg", "jpeg", "png", "webp", "bmp")
VIDEOS = ("mp4", "mov", "mkv", "ts", "h265", "hevc", "265", "webm")
SELECTION = "npz"


class UnreadableSample(ValueError):
    """A sample that lacks what its input needs; it is skipped."""


# What a sample may be wrong about; it can be skipped. Anything else, and DataError, is wrong about more.
UNREADABLE = (ove_codec.Error, OSError, EOFError, ValueError, KeyError, SyntaxError, MemoryError, zipfile.BadZipFile)


def reason_of(error: BaseException) -> str:
    """What is wrong with a sample, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


@dataclass(frozen=True)
class Input(ABC):
    """What all kinds have.

    Attributes:
        weight: beside the other kinds of a head.
        least: the share of its tokens that a sample has at least: 1 for all, otherwise each sample's share is drawn
            uniformly from `least` to 1, and its size or budget follows.
    """

    weight: float = 1.0
    least: float = field(default=1.0, kw_only=True)
    media: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool | str | dict):
                continue
            if not value > 0:
                raise ValueError(f"{name} must be positive, not {value}")
        if self.least > 1:
            raise ValueError(f"least must be a share from 0 to 1, not {self.least}")

    def drawn_budget(self, budget: int, rng: np.random.Generator) -> int:
        """The tokens of a sample whose kind has `budget`."""
        return budget if self.least == 1 else max(1, round(budget * rng.uniform(self.least, 1)))

    def drawn_side(self, size: int, patch_size: int, rng: np.random.Generator) -> int:
        """The side of a sample, in whole patches, whose kind has `size` samples."""
        most = _whole(size, patch_size)
        return most if self.least == 1 else max(1, round(most * math.sqrt(rng.uniform(self.least, 1))))

    def data(self, sample: Sample) -> bytes:
        for suffix in self.media:
            if suffix in sample.members:
                return sample.members[suffix]
        have = ", ".join(sorted(sample.members)) or "nothing"
        raise UnreadableSample(f"it has no .{', .'.join(self.media)}, only {have}")

    @abstractmethod
    def most_tokens(self, patch_size: int) -> int:
        """The most tokens that a sample gives."""

    @abstractmethod
    def tokens(self, sample: Sample, patch_size: int, rng: np.random.Generator) -> Tokens:
        """The tokens of a sample.

        Raises:
            ove_codec.Error, OSError, ValueError: it cannot be read; DataError: the recipe does not fit the data.
        """


@dataclass(frozen=True)
class ImageInput(Input):
    """A square crop of a picture, (size / p)^2 tokens.

    With `augment` a random crop of 70 to 100 % of the area, sides 4:5 to 5:4, mirrored half of the time; without, the
    largest centred square.
    """

    size: int = 448
    augment: bool = True
    media: ClassVar[tuple[str, ...]] = PICTURES

    def most_tokens(self, patch_size: int) -> int:
        return _whole(self.size, patch_size) ** 2

    def tokens(self, sample: Sample, patch_size: int, rng: np.random.Generator) -> Tokens:
        picture = _picture(self.data(sample))
        side = self.drawn_side(self.size, patch_size, rng) * patch_size
        box = _random_box(picture.size, rng) if self.augment else _centre_box(picture.size)
        resample = Image.Resampling.BILINEAR if self.augment else Image.Resampling.BICUBIC
        picture = picture.resize((side, side), resample, box=box)
        if self.augment and rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image_tokens(_normalised(picture), patch_size)


@dataclass(frozen=True)
class OcrInput(Input):
    """A whole picture, near its own proportions, in as many tokens as `budget` allows: nothing written is cut off."""

    budget: int = 1024
    media: ClassVar[tuple[str, ...]] = PICTURES

    def most_tokens(self, patch_size: int) -> int:
        return self.budget

    def tokens(self, sample: Sample, patch_size: int, rng: np.random.Generator) -> Tokens:
        picture = _picture(self.data(sample))
        width, height = picture.size
        budget = self.drawn_budget(self.budget, rng)
        columns = min(budget, max(1, round(math.sqrt(budget * width / height))))
        rows = min(max(1, round(columns * height / width)), max(1, budget // columns))
        picture = picture.resize((columns * patch_size, rows * patch_size), Image.Resampling.BICUBIC)
        return image_tokens(_normalised(picture), patch_size)


@dataclass(frozen=True)
class CodecInput(Input):
    """The patches of an HEVC or H.264 clip that `ove_codec.select` keeps, at most `budget`.

    `selection` is "compute", in the worker, with `preset` and `params`; "stored", from the sample's .npz as `ove-codec
    select` or `ove-codec pack --select` wrote it; or "auto": stored where there is one. A stored selection must have
    the model's patch size and not exceed the budget. With `least` the patches with most heat of a selection stay.
    """

    budget: int = 2048
    num_frames: int = 64
    size: int = 224
    preset: str = "paper"
    selection: str = "auto"
    params: dict[str, Any] = field(default_factory=dict)
    media: ClassVar[tuple[str, ...]] = VIDEOS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.selection not in ("auto", "compute", "stored"):
            raise ValueError(f"selection must be auto, compute or stored, not {self.selection!r}")
        own = {"budget", "num_frames", "size", "patch_size"} & set(self.params)
        if own:
            raise ValueError(f"params must not hold {', '.join(sorted(own))}: the input or the model sets them")
        try:
            self._resolved(14)
        except TypeError as error:
            raise ValueError(str(error)) from None

    def _resolved(self, patch_size: int) -> dict[str, Any]:
        budget = {} if "tau" in self.params else {"budget": self.budget}
        frames = {} if "frame_ids" in self.params else {"num_frames": self.num_frames}
        overrides = {"size": self.size, "patch_size": patch_size, **budget, **frames, **self.params}
        resolve(self.preset, overrides)
        return overrides

    def most_tokens(self, patch_size: int) -> int:
        return self.budget

    def tokens(self, sample: Sample, patch_size: int, rng: np.random.Generator) -> Tokens:
        video = self.data(sample)
        stored = sample.members.get(SELECTION)
        if self.selection == "stored" and stored is None:
            raise UnreadableSample(
                "it has no stored selection (.npz): pack it with --select, or set selection: compute"
            )
        if stored is not None and self.selection != "compute":
            file: Any = io.BytesIO(stored)
            selection = Selection.load(file)
            if selection.geometry.patch_size != patch_size or len(selection) > self.budget:
                raise DataError(
                    f"the stored selection of {sample.name} has {len(selection)} patches of "
                    f"{selection.geometry.patch_size} samples, but the recipe allows at most {self.budget} of "
                    f"{patch_size}: select again with these values, or set selection: compute"
                )
        else:
            selection = ove_codec.select(video, self.preset, threads=1, **self._resolved(patch_size))
        selection = _strongest(selection, self.drawn_budget(self.budget, rng))
        tokens = ove_codec.tokenize(video, selection, threads=1)
        if not 0 < len(tokens) <= self.budget:
            raise UnreadableSample(f"{len(tokens)} patches are selected of a budget of {self.budget}")
        return tokens


@dataclass(frozen=True)
class FrameInput(Input):
    """Whole frames of a clip: `num_frames` are sampled and cut into `shown` runs, and one of each is taken at random.

    A position's t is the number of the frame among the `num_frames`. shown * (size / p)^2 tokens.
    """

    num_frames: int = 64
    shown: int = 8
    size: int = 224
    media: ClassVar[tuple[str, ...]] = VIDEOS

    def most_tokens(self, patch_size: int) -> int:
        return self.shown * _whole(self.size, patch_size) ** 2

    def tokens(self, sample: Sample, patch_size: int, rng: np.random.Generator) -> Tokens:
        frames, slots, count = self._frames(self.data(sample), patch_size, rng)
        return frame_tokens(frames, patch_size, frame_ids=slots, num_frames=count, slots=count)

    def _frames(self, video: bytes, patch_size: int, rng: np.random.Generator) -> tuple[Tensor, NDArray[np.int64], int]:
        """The shown frames, their numbers among the sampled ones, and how many these are."""
        opened = ove_codec.Video(video, threads=1)
        frame_ids = sample_frames(_length(opened), resolve("paper", {"num_frames": self.num_frames}))
        runs = [run for run in np.array_split(np.arange(len(frame_ids)), self.shown) if len(run)]
        slots = np.array([rng.choice(run) for run in runs], np.int64)
        size = self.drawn_side(self.size, patch_size, rng) * patch_size
        return ove_codec.frames(opened, frame_ids[slots], size=size, threads=1), slots, len(frame_ids)


@dataclass(frozen=True)
class CollageInput(FrameInput):
    """The frames of `FrameInput`, one above the other as a single picture: t is 0, rows count on."""

    def tokens(self, sample: Sample, patch_size: int, rng: np.random.Generator) -> Tokens:
        frames, _, _ = self._frames(self.data(sample), patch_size, rng)
        return collage_tokens(frames, patch_size, places="image")


KINDS: dict[str, type[Input]] = {
    "image": ImageInput,
    "ocr": OcrInput,
    "codec": CodecInput,
    "frame": FrameInput,
    "collage": CollageInput,
}


def _strongest(selection: Selection, count: int) -> Selection:
    """The `count` patches of a selection whose scores are highest, in their order."""
    if count >= len(selection):
        return selection
    t, h, w = np.asarray(selection.positions).T
    kept = np.sort(np.argsort(-selection.scores[t, h, w], kind="stable")[:count])
    mask = np.zeros_like(selection.mask)
    mask[t[kept], h[kept], w[kept]] = True
    return replace(selection, positions=selection.positions[kept], mask=mask)


def _length(video: ove_codec.Video) -> int:
    return len(getattr(video, "pixel_index", video))


def _whole(size: int, patch_size: int) -> int:
    if size < patch_size:
        raise DataError(f"size {size} is smaller than a patch of {patch_size} samples: increase it")
    return size // patch_size


def _picture(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB")


def _normalised(picture: Image.Image) -> Tensor:
    """(3, H, W) float32."""
    samples = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)
    return samples.sub_(torch.tensor(CLIP_MEAN)[:, None, None]).div_(torch.tensor(CLIP_STD)[:, None, None])


def _random_box(size: tuple[int, int], rng: np.random.Generator) -> tuple[float, float, float, float]:
    width, height = size
    for _ in range(10):
        area = width * height * rng.uniform(0.7, 1.0)
        ratio = math.exp(rng.uniform(math.log(0.8), math.log(1.25)))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            return left, top, left + w, top + h
    return _centre_box(size)


def _centre_box(size: tuple[int, int]) -> tuple[float, float, float, float]:
    side = min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    return left, top, left + side, top + side
