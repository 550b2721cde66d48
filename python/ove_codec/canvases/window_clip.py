"""What canvases are made of, of a window of a live stream."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec._window import Window, WindowPictures
from ove_codec.canvases.clip import UNKNOWN_RATE, Clip, shown_size
from ove_codec.canvases.config import CanvasConfig
from ove_codec.canvases.scoring import heat_scores, score_params, scores_of_frames

# Settings that say what is sampled, which the stream has done.
_SAMPLING = frozenset({"num_frames", "target_canvas", "sampling", "sample_fps", "start", "end", "avoid_keyframes"})


def window_clip(window: Window, config: CanvasConfig, settings: dict[str, Any], transcode: Any) -> WindowClip:
    """The clip of a window. Raises ValueError for `settings`, and for a stream, that do not fit."""
    if unfit := sorted(_SAMPLING & settings.keys()):
        raise ValueError(
            f"{', '.join(unfit)}: a window has its sampled pictures; say to the stream what it samples (fps, "
            f"num_frames, avoid_keyframes)"
        )
    if transcode:
        raise ValueError("transcode: a window is decoded already; leave it out")
    for name, only in (("mode", "default"), ("bitcost_grid", "adaptive")):
        if getattr(config, name) != only:
            raise ValueError(f"{name}={getattr(config, name)!r} needs a file; of a window take {name}={only!r}")
    window.check_pixels()
    return WindowClip(window, config)


class WindowClip(Clip):
    """The sampled pictures of a window; `shown` are their places in ``Window.pictures``."""

    def __init__(self, window: Window, config: CanvasConfig) -> None:
        self.config = config
        self._window = window
        self.shown = window.sampled
        self.slots = np.arange(len(self.shown))
        self._sampled = [window.pictures[i] for i in self.shown]
        self.frame_ids = np.array([picture.index for picture in self._sampled], np.int64)
        first, settings = self._sampled[0], window.settings
        self._orientation = first.rotation, first.mirrored
        size = first.window[2:]
        self.height, self.width = shown_size(size, settings.sample_aspect_ratio, first.rotation)
        self.fps = settings.frame_rate or self._measured_rate()
        self.total = window.pictures[-1].index + 1

    def _measured_rate(self) -> float:
        first, last = self._sampled[0], self._sampled[-1]
        seconds = last.pts - first.pts
        return (last.index - first.index) / seconds if seconds > 0 else UNKNOWN_RATE

    def times(self, frame_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._window.pts

    def bits_per_pixel(self) -> float | None:
        return None

    def block_scores(self, score: str) -> NDArray[np.float32]:
        params = score_params(score)
        if params is None:
            costs = [(picture.bits, picture.type == "I") for picture in self._sampled]
            return scores_of_frames(costs, self._orientation, self.size, self.config)
        settings = self._window.settings
        if params["residual_weight"] > 0 and not settings.residual:
            raise ValueError(f"score={score!r} needs the residual: make the stream with residual_weight above 0")
        if params["accumulate"] != "none" and not settings.keeps_all:
            raise ValueError(f"score={score!r} needs all pictures: make the stream with that preset")
        pictures = WindowPictures(self._window.pictures, [None] * len(self._window.pictures))
        return heat_scores(pictures, self.shown, params, self.size, self.config)

    def place_blocks(self, pictures: NDArray[np.int64], **request: Any) -> NDArray[np.float64]:
        starts, placements = request.pop("starts"), request.pop("placements")
        facts = [
            self._window.frame(int(place)).place_blocks(placements[begin:end], **request)
            for place, begin, end in zip(pictures, starts, starts[1:], strict=False)
        ]
        return np.concatenate(facts)
