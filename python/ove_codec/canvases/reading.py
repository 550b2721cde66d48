"""Canvases of a video: frames sampled, scored, planned and read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec import _core
from ove_codec._pictures import VideoPictures
from ove_codec._pixels import PixelSource
from ove_codec.canvases.config import CanvasConfig, config_of
from ove_codec.canvases.planning import CanvasPlan, plan_blocks
from ove_codec.canvases.sampling import sampled_frames
from ove_codec.canvases.scoring import block_scores, score_params
from ove_codec.limits import Limits
from ove_codec.transcoding import Recipe

MODE_VARIABLE = "OVE_CODEC_CANVAS_MODE"
_UNKNOWN_RATE = 30.0  # what readers of canvases take where there is none
TESTED_ROWS = 32  # of a frame, at least, in the test for bad frames
_ISO_CONTAINERS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2")


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
        source: what ``ove_codec.open`` takes, or a video that it opened.
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
    pictures = VideoPictures(source, threads, limits, transcode)
    clip = Clip(pictures, config)
    scores = block_scores(pictures, clip.shown, clip.size, score, config)[clip.slots]
    draft = plan_blocks(scores, clip.frame_ids, clip.size, config, bits_per_pixel=clip.bits_per_pixel())
    painter = _Painter(PixelSource(pictures.video, threads, limits), clip)
    images, good, final = painter.paint(draft)
    meta = clip.meta(final, good, score)
    return Canvases(images, final.positions, clip.fps, clip.frame_ids, clip.times(clip.frame_ids), good, final, meta)


class Clip:
    """What is known of a video without its pictures, and which frames of it are sampled.

    shown: (T',) the pictures that stand for the sampled frames, ascending; slots: (T,) the one of each frame.
    """

    def __init__(self, pictures: VideoPictures, config: CanvasConfig) -> None:
        video = pictures.video
        self.video = video
        self.config = config
        self.info: dict[str, Any] = video.info
        self.pts = np.asarray(video.index.pts, np.float64)
        if not len(self.pts):
            raise _core.DecodeError(f"{video.name}: no picture is displayed; check that the file is complete")
        self.fps = _rate(self.info)
        self.total = self._legacy_total() if config.mode == "legacy" else len(self.pts)
        span = self._span()
        keys = np.flatnonzero(np.isin(span, self._keyframes()))
        self.frame_ids = span[sampled_frames(len(span), keys.tolist(), self.fps, config)]
        self.shown, self.slots = np.unique(np.minimum(self.frame_ids, len(self.pts) - 1), return_inverse=True)
        self.height, self.width = self._frame_size()
        self.size = config.canvas_size(self.height, self.width)

    def times(self, frame_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """(T,) seconds at which these frames are shown."""
        if self.config.mode == "legacy":
            return frame_ids / self.fps
        return self.pts[np.minimum(frame_ids, len(self.pts) - 1)]

    def _span(self) -> NDArray[np.int64]:
        """Numbers of the frames that may be sampled."""
        span = np.arange(self.total)
        start, end = self.config.start, self.config.end
        if start is None and end is None:
            return span
        times = self.times(span)
        inside = (times >= (-np.inf if start is None else start)) & (times < (np.inf if end is None else end))
        if not inside.any():
            raise ValueError(
                f"{self.video.name}: no frame is displayed from start={start} to end={end}: its times are "
                f"{times.min():.3f}..{times.max():.3f}"
            )
        return span[inside]

    def _legacy_total(self) -> int:
        if self.info["frame_count"] > 0:
            return int(self.info["frame_count"])
        return max(1, round(self.fps * (self.info["duration"] or 0)))

    def _keyframes(self) -> list[int]:
        index = self.video.index
        keys = np.flatnonzero(index.random_access)
        if self.config.mode == "legacy":
            if self.info["container"].split(",")[0] in _ISO_CONTAINERS:
                keys = np.asarray(index.packet)[keys]  # numbers in decoding order
            else:
                keys = np.round(self.pts[keys] * self.fps).astype(np.int64)
            keys = np.clip(keys, 0, self.total - 1)
        return sorted({0, *keys.tolist()})

    def _frame_size(self) -> tuple[int, int]:
        """Height and width of a frame as it is shown, in samples of square shape; in legacy mode, in those of the
        stream."""
        width, height = self.info["width"], self.info["height"]
        window = self.video.index.window(self.shown.tolist())
        if window is not None:
            width, height = window[2:]
        aspect = self.info["sample_aspect_ratio"]
        if self.config.mode != "legacy" and aspect and aspect[0] > 0 and aspect[1] > 0:
            width = max(1, round(width * aspect[0] / aspect[1]))
        return (width, height) if self.info["rotation"] % 180 else (height, width)

    def bits_per_pixel(self) -> float | None:
        """Bits that a sample of the video takes on average."""
        samples = self.height * self.width * len(self.pts)
        return 8 * float(np.sum(self.video.index.packet_bytes)) / samples

    def meta(self, plan: CanvasPlan, good: NDArray[np.bool_], score: str) -> dict[str, Any]:
        config, (rows, columns) = self.config, plan.grid
        groups = []
        for number, group in enumerate(plan.groups):
            slots = [group.anchor, *(i for i in range(group.start, group.end) if i != group.anchor)]
            first = number * config.images_per_group
            used = plan.blocks[first : first + config.images_per_group, :, 0]
            groups.append(
                {
                    "group_idx": number,
                    "group_start_idx": group.start,
                    "group_end_idx": group.end,
                    "group_stop_reason": group.reason,
                    "frame_ids": plan.frame_ids[slots].tolist(),
                    "selected_blocks_per_frame": [int(np.count_nonzero(used == slot)) for slot in slots],
                    "global_img_offset": first,
                    "num_canvases": config.images_per_group,
                }
            )
        return {
            "fps": self.fps,
            "mode": config.mode,
            "score": score,
            "config": {name: value for name, value in vars(config).items() if value is not None},
            "total_frames": self.total,
            "orig_hw": [self.height, self.width],
            "processed_hw": list(plan.size),
            "patch": config.patch,
            "block_size": config.block,
            "grid_hw": [rows, columns],
            "hb_wb": [rows // config.block, columns // config.block],
            "readiness_threshold": plan.threshold,
            "bad_frames": plan.frame_ids[~good].tolist(),
            "groups": groups,
        }


def _rate(info: dict[str, Any]) -> float:
    rate = info["frame_rate"]
    return rate[0] / rate[1] if rate and rate[0] > 0 and rate[1] > 0 else _UNKNOWN_RATE


class _Painter:
    """Brings blocks of frames onto canvases, and finds the frames that show nothing.

    Whether a frame is good counts only where something of it is chosen. So all frames are taken for good at first, and
    only groups that turn out to have bad ones are tested whole and planned anew.
    """

    def __init__(self, source: PixelSource, clip: Clip) -> None:
        self._source = source
        self._clip = clip
        self._step = max(1, clip.size[0] // TESTED_ROWS)

    def paint(self, draft: CanvasPlan) -> tuple[NDArray[np.uint8], NDArray[np.bool_], CanvasPlan]:
        """The canvases, which frames are good, and the plan that heeds it."""
        images = np.zeros((draft.num_canvases, *draft.size, 3), np.uint8)
        good = np.ones(len(draft.frame_ids), bool)
        used = np.unique(draft.blocks[..., 0][draft.blocks[..., 0] >= 0])
        good[used] = self._place(draft, range(len(draft.groups)), used, images)
        bad = [number for number, group in enumerate(draft.groups) if not good[group.start : group.end].all()]
        if not bad:
            return images, good, draft
        untested = np.setdiff1d(np.concatenate([np.arange(*draft.groups[i][:2]) for i in bad]), used)
        good[untested] = self._place(draft, (), untested, images)
        final = plan_blocks(
            draft.block_scores, draft.frame_ids, draft.size, replace(draft.config, threshold=draft.threshold), good
        )
        final = replace(final, config=draft.config)
        for number in bad:
            images[number * draft.config.images_per_group :][: draft.config.images_per_group] = 0
        self._place(final, bad, np.empty(0, np.int64), images)
        return images, good, final

    def _place(
        self, plan: CanvasPlan, groups: Sequence[int], tested: NDArray[Any], images: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Writes the canvases of these groups; (len(tested),) which of the sampled frames `tested` are good."""
        per_group, across = plan.config.images_per_group, plan.size[1] // (plan.config.patch * plan.config.block)
        canvases = np.array([g * per_group + i for g in groups for i in range(per_group)], np.int64)
        blocks = plan.blocks[canvases]
        at, places = np.nonzero(blocks[..., 0] >= 0)
        slots, numbers = blocks[at, places].T
        ids = self._clip.slots[slots]
        order = np.argsort(ids, kind="stable")
        rows = np.stack([numbers // across, numbers % across, canvases[at], places // across, places % across], -1)
        asked = self._clip.slots[tested]
        pictures = np.union1d(ids, asked)
        if not len(pictures):
            return np.ones(0, bool)
        starts = np.searchsorted(ids[order], pictures)
        facts = _core.place_blocks(
            **self._source.request(self._clip.shown[pictures]),
            starts=np.append(starts, len(ids)),
            placements=rows[order].astype(np.int32),
            images=images,
            side=plan.config.patch * plan.config.block,
            facts_step=self._step if len(tested) else 0,
        )
        return is_good(facts[np.searchsorted(pictures, asked)]) if len(tested) else np.ones(0, bool)


def is_good(facts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether frames show something: not black, of one colour, or green as damaged ones are.

    `facts` are those of ``_core.place_blocks``, one row a frame.
    """
    mean, deviation, spread = (facts[:, i:12:3] for i in range(3))  # columns: luma, red, green, blue
    black = (mean[:, 0] <= 8) & (deviation[:, 0] <= 6)
    flat = (deviation <= 4).all(1) & (spread[:, 1:] <= 12).all(1)
    screen = facts[:, 12] >= 0.35
    others = np.maximum(mean[:, 1], mean[:, 3])
    green = (mean[:, 2] > 120) & (mean[:, 2] - others > 80) & (deviation[:, 2] < 50)
    good: NDArray[np.bool_] = ~(black | flat | screen | green)
    return good
