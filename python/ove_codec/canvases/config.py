"""The settings of codec canvases."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, fields
from typing import Any

from ove_codec._suggest import hint

_COUNTS = (
    "patch", "block", "max_pixels", "group_size", "images_per_group", "min_group_frames", "max_group_frames",
    "coverage_bins", "target_canvas",
)  # fmt: skip
_CHOICES = {
    "grouping": ("readiness", "fixed"),
    "threshold_mode": ("mean", "fixed", "clamped_sqrt_bpppf"),
    "sampling": ("count", "fps"),
    "bitcost_grid": ("adaptive", "sub"),
    "mode": ("default", "legacy"),
}
FEWEST_FRAMES = 4  # of a group
MIN_PIXELS = 3136  # of a canvas, as the released preprocessor has it
_LARGEST_RATIO = 200  # of the sides of a frame


@dataclass(frozen=True)
class CanvasConfig:
    """Settings of ``ove_codec.canvases``. Defaults are those of the released models.

    Attributes:
        patch: side of a patch in samples; it must be that of the vision tower (14 for LLaVA-OneVision-2, 16 for
            Mage-VL).
        block: side of a block in patches; blocks are chosen and packed whole. 2, the tower's ``spatial_merge_size``.
        max_pixels: the largest area of a canvas; frames are scaled to it.
        group_size: average number of sampled frames per group of canvases; sets the number of sampled frames and the
            threshold.
        images_per_group: canvases per group. The first shows a whole frame, the anchor.
        min_group_frames, max_group_frames: bounds of a group. Groups of fewer than 4 frames are left out.
        grouping: "readiness" ends a group when its best blocks have scored enough; "fixed" after ``group_size`` frames.
        threshold: for a group's score; None derives it by ``threshold_mode``.
        threshold_mode: "mean" of the scores of chunks of ``group_size`` frames; "fixed" takes ``norm_threshold``;
            "clamped_sqrt_bpppf" scales it with the bits per pixel.
        norm_threshold: see ``threshold_mode``.
        coverage_bins: equal parts into which a group is divided. A group can end only if its chosen blocks are in all
            parts, or in as many as there are canvases after the anchor, if that is fewer.
        delta_ratio: a ready group ends at a frame that adds less than this share to its score.
        percentile: of a frame's costs that gets heat 1.
        cap_intra: percentile of the heat of other pictures that caps the heat of I pictures; None for no cap.
        target_canvas: the desired number of canvases; sets the number of sampled frames. The groups determine the
            actual number.
        num_frames: frames to sample; None for ``target_canvas / images_per_group * group_size``.
        sampling: "count": ``num_frames`` at equal distances; "fps": ``sample_fps`` per second.
        sample_fps: frames per second for ``sampling="fps"``.
        start, end: seconds; only frames with start <= time < end are sampled. None for the whole clip.
        avoid_keyframes: sample a neighbour instead of a key frame, whose bits say little about change.
        bitcost_grid: cells of the costs of a video. "adaptive": CTUs or macroblocks. "sub": blocks of 4x4 samples. A
            transform unit of HEVC spreads its bits evenly over its blocks, and so does a coding unit with the rest of
            its bits, then the CTU; a macroblock of H.264 spreads all of them.
        mode: "default", or "legacy" to imitate ``codec-video-prep``; see ``codec_canvases``.
    """

    patch: int = 14
    block: int = 2
    max_pixels: int = 150_000
    group_size: int = 32
    images_per_group: int = 4
    min_group_frames: int = 8
    max_group_frames: int = 64
    grouping: str = "readiness"
    threshold: float | None = None
    threshold_mode: str = "mean"
    norm_threshold: float = 2_250_000.0
    coverage_bins: int = 3
    delta_ratio: float = 0.05
    percentile: float = 99.0
    cap_intra: float | None = None
    target_canvas: int = 32
    num_frames: int | None = None
    sampling: str = "count"
    sample_fps: float = 4.0
    start: float | None = None
    end: float | None = None
    avoid_keyframes: bool = True
    bitcost_grid: str = "adaptive"
    mode: str = "default"

    def __post_init__(self) -> None:
        for name in _COUNTS:
            self._check_count(name)
        if self.num_frames is not None:
            self._check_count("num_frames")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                known = " or ".join(repr(choice) for choice in choices)
                raise ValueError(f"{name} must be {known}, not {getattr(self, name)!r}")
        for name in ("percentile", "cap_intra"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 100:
                raise ValueError(f"{name} must be 0 to 100, not {value}")
        if self.sampling == "fps" and not 0 < self.sample_fps < math.inf:
            raise ValueError(f"sample_fps must be positive and finite, not {self.sample_fps}")
        if math.isnan(self.delta_ratio) or (self.threshold is not None and math.isnan(self.threshold)):
            raise ValueError(
                f"threshold and delta_ratio must be numbers, but they are {self.threshold} and {self.delta_ratio}"
            )
        if self.max_group_frames < self.min_group_frames:
            raise ValueError(
                f"max_group_frames must be at least min_group_frames, but they are {self.max_group_frames} and "
                f"{self.min_group_frames}"
            )
        if (side := self.patch * self.block) ** 2 > max(self.max_pixels, MIN_PIXELS):
            raise ValueError(
                f"a block of {self.block} x {self.block} patches of {self.patch} x {self.patch} samples has {side**2}, "
                f"more than a canvas with max_pixels {self.max_pixels}"
            )
        longest = "group_size" if self.grouping == "fixed" else "max_group_frames"
        if getattr(self, longest) < FEWEST_FRAMES:
            raise ValueError(
                f"with grouping={self.grouping!r}, {longest} must be {FEWEST_FRAMES} or more, because smaller groups "
                f"are left out; it is {getattr(self, longest)}"
            )
        if self.min_group_frames < 2:
            raise ValueError(f"min_group_frames must be 2 or more, not {self.min_group_frames}")

    def _check_count(self, name: str) -> None:
        try:
            count = operator.index(getattr(self, name))
        except TypeError:
            count = 0
        if count < 1:
            raise ValueError(f"{name} must be a positive whole number, not {getattr(self, name)!r}")

    def frames_wanted(self) -> int:
        """The number of frames to sample, if the clip has as many. Raises ValueError if canvases and frames do not
        divide into groups."""
        if self.num_frames is not None:
            return self.num_frames
        for name in ("target_canvas", "group_size"):
            if getattr(self, name) % self.images_per_group:
                raise ValueError(
                    f"{name} must be a multiple of images_per_group, but they are {getattr(self, name)} and "
                    f"{self.images_per_group}"
                )
        return self.target_canvas // self.images_per_group * self.group_size

    def canvas_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the canvases for frames of this size: whole blocks, an aspect ratio close to the
        frame's, and an area close to ``max_pixels`` or below. Raises ValueError for a frame without area, or with one
        side more than 200 times the other."""
        if height < 1 or width < 1:
            raise ValueError(f"the frame must have an area, not {height}x{width}")
        if max(height, width) > _LARGEST_RATIO * min(height, width):
            raise ValueError(
                f"the longer side of a frame may be at most {_LARGEST_RATIO} times the shorter, not {height}x{width}"
            )
        factor = self.patch * self.block
        area = height * width
        if area > self.max_pixels:
            shrink = math.sqrt(area / self.max_pixels)
            sides = [int(side / shrink // factor) for side in (height, width)]
        elif area < MIN_PIXELS:
            grow = math.sqrt(MIN_PIXELS / area)
            sides = [-int(-side * grow // factor) for side in (height, width)]
        else:
            sides = [round(side / factor) for side in (height, width)]
        return max(1, sides[0]) * factor, max(1, sides[1]) * factor


NAMES = frozenset(field.name for field in fields(CanvasConfig))


def config_of(settings: dict[str, Any]) -> CanvasConfig:
    """The configuration with these settings. Raises TypeError for an unknown name and ValueError for a bad value."""
    for name in sorted(set(settings) - NAMES):
        raise TypeError(f"unknown setting {name}; {hint(name, sorted(NAMES))}")
    return CanvasConfig(**settings)
