"""Canvases of a video: frames sampled, scored, planned and read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec._pictures import VideoPictures
from ove_codec._window import Window
from ove_codec.canvases.clip import VideoClip
from ove_codec.canvases.config import config_of
from ove_codec.canvases.painting import paint
from ove_codec.canvases.planning import CanvasPlan, plan_blocks
from ove_codec.canvases.scoring import score_params
from ove_codec.canvases.window_clip import window_clip
from ove_codec.limits import Limits
from ove_codec.transcoding import Recipe

MODE_VARIABLE = "OVE_CODEC_CANVAS_MODE"


@dataclass(frozen=True, eq=False)
class Canvases:
    """Canvases of a video, and the sources of their patches.

    Attributes:
        images: (n, H, W, 3) uint8 R'G'B'; black where a canvas is empty.
        src_positions: (n * rows * columns, 3) int32: frame number, patch row and patch column in the scaled frame of
            every patch of every canvas in raster order; -1 where a canvas is empty.
        fps: average frames per second of the video.
        frame_ids: (T,) int64 numbers of the sampled frames in display order.
        times: (T,) float64 display times of these frames in seconds (``frame_ids / fps`` in legacy mode).
        good: (T,) whether a frame has content. A frame without chosen blocks counts as good unless others of its group
            are bad.
        plan: how the blocks were chosen.
        meta: facts about the clip and the settings, ready for JSON.
    """

    images: NDArray[np.uint8]
    src_positions: NDArray[np.int32]
    fps: float
    frame_ids: NDArray[np.int64]
    times: NDArray[np.float64]
    good: NDArray[np.bool_]
    plan: CanvasPlan = field(repr=False)
    meta: dict[str, Any] = field(repr=False)

    def __len__(self) -> int:
        """The number of canvases."""
        return len(self.images)


def codec_canvases(
    source: Any,
    *,
    score: str = "bits",
    mode: str | None = None,
    transcode: bool | str | Recipe = False,
    threads: int = 0,
    limits: Limits | None = None,
    **settings: Any,
) -> Canvases:
    """Canvases of a video: some whole frames, and the blocks of other frames on which the codec spent most.

    Only frames with chosen blocks and their references are decoded to pixels, and only the chosen blocks become
    R'G'B'. A sample is the mean of the area that it covers in the frame. Rotation, colour matrix and range are the
    stream's.

    Args:
        source: what ``ove_codec.open`` takes, or a video that it opened; or a window of a live stream, whose
            sampled pictures are all used as they were decoded.
        score: "bits", as the models were trained; or the heat of "motion", "residual", "motion+residual", or of a
            preset of ``ove_codec.PRESETS``.
        mode: "default"; or "legacy" to choose as ``codec-video-prep`` does: an extra column of H.264 maps, costs in
            whole bytes, key frames by decoding order, and times by the frame rate. None uses the environment variable
            ``OVE_CODEC_CANVAS_MODE``, or "default" if it is not set.
        transcode: as for ``ove_codec.select``, for videos that are neither HEVC nor H.264.
        threads: of the decoders; 0 uses all cores.
        limits: limits of the stream; an opened video has its own.
        **settings: of ``CanvasConfig``.

    Raises:
        ValueError: a setting out of range, or an unknown name.
        TypeError: an unknown setting.
        UnsupportedStreamError: a codec without bits (the message names the remedy), or frames that change their size.
        DecodeError: the video is damaged, or has no displayed frame.
    """
    config = config_of({**settings, "mode": mode or os.environ.get(MODE_VARIABLE) or "default"})
    score_params(score)
    clip = (
        window_clip(source, config, settings, transcode)
        if isinstance(source, Window)
        else VideoClip(VideoPictures(source, threads, limits, transcode), config, threads, limits)
    )
    scores = clip.block_scores(score)
    draft = plan_blocks(scores, clip.frame_ids, clip.size, config, bits_per_pixel=clip.bits_per_pixel())
    images, good, final = paint(clip, draft)
    times, meta = clip.times(clip.frame_ids), clip.meta(final, good, score)
    return Canvases(images, final.positions, clip.fps, clip.frame_ids, times, good, final, meta)
