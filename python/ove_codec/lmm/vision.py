"""Images and videos as the packed patches of a tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ove_codec.lmm.frames import name_of, uniform_frames
from ove_codec.lmm.images import image_size, load_image
from ove_codec.lmm.merge import order_for_merge, select_blocks
from ove_codec.models.inputs import temporal_slots
from ove_codec.models.pixels import patchify
from ove_codec.presets import resolve
from ove_codec.selection import select
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD, Color, frames, tokenize
from ove_codec.video import Video

VIDEO_MODES = ("codec", "frames")


@dataclass(frozen=True)
class VisionTokens:
    """The patches of one image or clip.

    Attributes:
        patches: (N, row size) normalised samples, as the tower takes them.
        positions: (N, 3) int64 t, h, w in merge order.
        seconds: of a clip, when each of its slots is shown, in the order of the slots; None for an image.
    """

    patches: Tensor
    positions: Tensor
    seconds: tuple[float, ...] | None = None

    def slot_lengths(self) -> list[int]:
        """Patches of each slot, in order."""
        return self.positions[:, 0].unique_consecutive(return_counts=True)[1].tolist()


@dataclass(frozen=True)
class VisionReader:
    """Converts images and videos to patches. The fields are plain values, saved with the processor.

    Attributes:
        patch_size: side of a patch in samples.
        merge_size: m, side of a merge block in patches; only whole blocks are given.
        temporal_patch_size: frames in a patch. An image is repeated in all of them.
        pair_frames: successive frames of a video share a patch (the last one is repeated as needed); otherwise each
            frame is repeated, like an image.
        whole_frames: the tower takes whole frames, so `video_mode` must be "frames".
        mean, std: of R, G and B in [0, 1].
        min_image_patches, max_image_patches: limits of an image. It keeps its aspect ratio as far as whole merge
            blocks allow, and is scaled only if the limits require it (bicubic, antialiased).
        video_mode: "codec" selects patches (HEVC and H.264 only); "frames" takes all patches of `num_frames`
            uniform frames.
        video_size, video_resize: size and resize of `ove_codec.select`, in both modes; patches right of and below the
            last whole merge block are left out.
        num_frames: in frames mode.
        frame_slots: in frames mode, frames are spread over this many slots (`ove_codec.models.temporal_slots`), so
            that their times match those of a selection from as many pictures; None numbers them from 0. For 3D
            positions only.
        preset, select: in codec mode, preset and overriding parameters of `ove_codec.select` (budget, num_frames, ...).
        threads: of decoders; 0 uses all cores; use 1 in the workers of a data loader.

    Raises:
        ValueError: a value is not allowed; the message names it.
    """

    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 1
    pair_frames: bool = True
    whole_frames: bool = False
    mean: Color = CLIP_MEAN
    std: Color = CLIP_STD
    min_image_patches: int = 256
    max_image_patches: int = 4096
    video_mode: str = "codec"
    video_size: int = 224
    video_resize: str = "crop"
    num_frames: int = 8
    frame_slots: int | None = 64
    preset: str = "paper"
    select: dict[str, Any] = field(default_factory=dict)
    threads: int = 1

    def __post_init__(self) -> None:
        for name in (
            "patch_size",
            "merge_size",
            "temporal_patch_size",
            "max_image_patches",
            "video_size",
            "num_frames",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive whole number, not {value!r}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
            if len(getattr(self, name)) != 3:
                raise ValueError(f"{name} must be three numbers for R, G and B, not {getattr(self, name)}")
        if self.max_image_patches < self.merge_size**2 or not 0 <= self.min_image_patches <= self.max_image_patches:
            raise ValueError(
                f"min_image_patches {self.min_image_patches} and max_image_patches {self.max_image_patches} must "
                f"ascend and be at least one block of {self.merge_size} x {self.merge_size} patches"
            )
        if self.frame_slots is not None and self.frame_slots < 1:
            raise ValueError(f"frame_slots must be None or positive, not {self.frame_slots!r}")
        if self.video_resize != "native" and self.video_size % self.patch_size:
            raise ValueError(
                f"video_size must be a multiple of the tower's patch_size {self.patch_size}, not {self.video_size}"
            )
        if self.video_mode not in VIDEO_MODES:
            raise ValueError(f"video_mode must be one of {', '.join(VIDEO_MODES)}, not {self.video_mode!r}")
        if self.video_mode == "codec":
            if self.whole_frames or self.temporal_patch_size > 1:
                raise ValueError("video_mode must be 'frames': this tower takes whole frames, not codec tokens")
            if clash := {"size", "patch_size", "resize"} & set(self.select):
                raise ValueError(f"select must not have {', '.join(sorted(clash))}: use the fields of the reader")
            budget = resolve(self.preset, self._parameters())["budget"]
            if budget is not None and budget < self.merge_size**2:
                raise ValueError(
                    f"budget must hold a block of {self.merge_size} x {self.merge_size} patches, not {budget}"
                )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VisionReader:
        """A reader of these fields; ValueError for a name that is none."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown reader field {', '.join(unknown)}; choose from {', '.join(sorted(known))}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON keeps them."""
        return asdict(self)

    def for_videos(self, **settings: Any) -> VisionReader:
        """The same reader with other settings of videos.

        Args:
            **settings: fields, such as video_mode, video_size or num_frames; in codec mode also parameters of
                `ove_codec.select`, such as budget, and `num_frames` is that of the selection.

        Raises:
            ValueError: there is no such setting, or it is not allowed; the message names it.
        """
        names = {"video_mode", "video_size", "video_resize", "num_frames", "frame_slots", "preset", "select", "threads"}
        codec = settings.get("video_mode", self.video_mode) == "codec"
        if codec:
            names.remove("num_frames")
        own = {name: value for name, value in settings.items() if name in names}
        further = {name: value for name, value in settings.items() if name not in names}
        if further and not codec:
            raise ValueError(
                f"videos of whole frames have no setting {', '.join(sorted(further))}; choose from "
                f"{', '.join(sorted(names))}"
            )
        if further:
            own["select"] = {**own.get("select", self.select), **further}
        try:
            return replace(self, **own)
        except TypeError as error:  # of a parameter that `select` does not have
            raise ValueError(str(error)) from None

    def image(self, image: Any) -> VisionTokens:
        """The patches of an image.

        Args:
            image: a file, a PIL image, or an array of uint8 samples.

        Raises:
            OSError: the file is missing, or Pillow cannot read it; the message names it.
            ValueError: the array is of another shape or type.
        """
        picture = load_image(image)
        width, height = image_size(
            *picture.size, self.patch_size, self.merge_size, (self.min_image_patches, self.max_image_patches)
        )
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        samples = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float().div_(255)
        return self._whole(self.normalised(samples), None)

    def video(self, source: Any, *, start: float | None = None, end: float | None = None) -> VisionTokens:
        """The patches of a clip.

        Args:
            source: what ``ove_codec.open`` takes, or, in frames mode, a video of any codec that libavcodec decodes.
            start, end: seconds; samples lie in start <= time < end.

        Raises:
            ove_codec.Error: the video is missing, damaged, or neither HEVC nor H.264 in codec mode; the message
                names it.
            ValueError: there is nothing to read: no picture in the window, or no whole block selected.
        """
        if self.video_mode == "codec":
            return self._codec_tokens(source, start, end)
        video = source if isinstance(source, Video) else Video(source, self.threads)
        ids, seconds = uniform_frames(video, self.num_frames, start, end)
        pictures = frames(
            video,
            ids,
            size=self.video_size,
            resize=self.video_resize,
            threads=self.threads,
            mean=self.mean,
            std=self.std,
        )
        return self._whole(pictures, seconds)

    def rows(self, pictures: Tensor) -> Tensor:
        """Patch rows (T / frames in a patch, rows * columns, row size) of normalised frames (T, 3, H, W)."""
        cells = patchify(pictures[:, :, None], self.patch_size)
        n = self.temporal_patch_size
        if n == 1:
            return cells
        if self.pair_frames and len(cells) > 1:
            cells = torch.cat([cells, cells[-1:].expand(-len(cells) % n, -1, -1)])
            grouped = cells.unflatten(0, (-1, n))
        else:
            grouped = cells[:, None].expand(-1, n, -1, -1)
        # Channel first, then frame: (T, n, cells, C, p * p) to (T, cells, C, n, p * p).
        return grouped.unflatten(-1, (3, -1)).permute(0, 2, 3, 1, 4).flatten(2)

    def _parameters(self) -> dict[str, Any]:
        return {
            "size": self.video_size,
            "resize": self.video_resize,
            "patch_size": self.patch_size,
            **self.select,
        }

    def _codec_tokens(self, source: Any, start: float | None, end: float | None) -> VisionTokens:
        parameters = self._parameters()
        parameters.update((name, value) for name, value in (("start", start), ("end", end)) if value is not None)
        video = source if isinstance(source, Video) else Video(source, self.threads)
        selection = select(video, self.preset, device=None, threads=self.threads, **parameters)
        if self.merge_size > 1:
            selection = select_blocks(selection, self.merge_size)
        if not len(selection):
            raise ValueError(f"{name_of(source)}: no patch is selected: lower tau, or give a budget")
        tokens = tokenize(video, selection, threads=self.threads, mean=self.mean, std=self.std)
        order = torch.from_numpy(order_for_merge(tokens.positions, self.merge_size))
        seconds = np.asarray(video._table.pts, np.float64)[selection.frame_ids]
        used = tokens.positions[:, 0].unique()
        return VisionTokens(tokens.patches[order], tokens.positions[order], tuple(seconds[used.numpy()].tolist()))

    def _whole(self, pictures: Tensor, seconds: tuple[float, ...] | None) -> VisionTokens:
        """All whole blocks of normalised frames (T, 3, H, W)."""
        unit = self.patch_size * self.merge_size
        height, width = (side // unit * unit for side in pictures.shape[-2:])
        if not height or not width:
            raise ValueError(
                f"a picture of {pictures.shape[-1]} x {pictures.shape[-2]} samples holds no block of {unit} x {unit}"
            )
        rows = self.rows(pictures[..., :height, :width])
        count = len(rows)
        slots = torch.arange(count)
        if seconds is not None:
            if len(seconds) > count:  # frames share patches: the time of the first one
                seconds = seconds[:: self.temporal_patch_size]
            if self.frame_slots is not None:
                slots = temporal_slots(range(count), count, self.frame_slots)
                if count > self.frame_slots:
                    raise ValueError(f"frame_slots {self.frame_slots} must be at least the {count} frames of a clip")
        grid = [torch.arange(side // self.patch_size) for side in (height, width)]
        positions = torch.cartesian_prod(slots, *grid).reshape(-1, 3)
        order = torch.from_numpy(order_for_merge(positions, self.merge_size))
        return VisionTokens(rows.flatten(0, 1)[order], positions[order], seconds)

    def normalised(self, samples: Tensor) -> Tensor:
        """Samples (..., 3, H, W) in [0, 1] with mean and std taken off."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (samples - mean) / std


def concatenated(items: Sequence[VisionTokens]) -> dict[str, Tensor]:
    """`patches`, `patch_positions` and `patch_cu_seqlens` of images and clips, one after the other."""
    lengths = [len(item.patches) for item in items]
    return {
        "patches": torch.cat([item.patches for item in items]),
        "patch_positions": torch.cat([item.positions for item in items]),
        "patch_cu_seqlens": torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32),
    }
