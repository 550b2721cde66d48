"""Live streams whose packets are pushed: packets in, windows with their selection and tokens out."""

from __future__ import annotations

import math
import zlib
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import Unpack

from ove_codec import _core
from ove_codec._backend import backend_for
from ove_codec._reading import Scored, scorer_for
from ove_codec._source import Loss
from ove_codec._suggest import hint
from ove_codec._window import StreamSettings, Window
from ove_codec.limits import Limits
from ove_codec.presets import Parameters, resolve, with_parameters

_MOST_PICTURES = 4096  # of a window: time stamps that stand still must not keep it open
_ALIASES = {"h265": "hevc", "avc": "h264"}
_ROUNDING = 1e-6  # seconds by which time stamps may miss a mark


@dataclass(eq=False)
class _Kept:
    picture: _core.Picture
    time: float
    sampled: bool
    scored: Scored | None = None  # on its own
    frame: _core.LiveFrame | None = None
    gone: bool = False  # its pixels do not come


@dataclass
class _Open:
    """A loss, and until when nothing is shown."""

    loss: Loss
    since: float
    until: float = math.inf
    told: bool = False


@dataclass
class _Pending:
    """A window that is over, but whose pixels may still come."""

    start: float
    end: float
    kept: list[_Kept]
    lost: tuple[Loss, ...]

    @property
    def ready(self) -> bool:
        return all(kept.frame or kept.gone or not kept.sampled for kept in self.kept)


class Stream:
    """Selects patches of a live stream, window by window.

    Push packets as they arrive, one access unit at a time. A window is returned as soon as the first picture after it
    is available. At equal steps from the start, ``fps`` per second or ``num_frames`` per window, the first picture at
    or after the step is sampled. Each packet is decoded once, even if windows overlap, and the pixels of pictures that
    nothing refers to are decoded only if they are sampled. Memory is bounded by the window.

    If a packet is damaged or refers to a lost one, the pictures up to the next random access point are lost.
    ``Window.lost`` lists them, and the stream continues. A stream may begin anywhere. Repeated packets count once. If
    the size of the pictures changes, or times jump by more than a window, a new window begins.

    One stream may be used by one thread at a time; different streams by different ones.

    Attributes:
        lost: after ``flush``, the losses that no window lists: no picture was sampled after them.
        began: whether a picture was decoded; a stream begins at its first random access point.
    """

    @with_parameters
    def __init__(
        self,
        codec: str,
        extradata: Any = None,
        *,
        window: float = 4.0,
        stride: float | None = None,
        preset: str = "paper",
        pixels: bool = True,
        device: Any = None,
        threads: int = 1,
        limits: Limits | None = None,
        rotation: int = 0,
        mirrored: bool = False,
        frame_rate: float | None = None,
        sample_aspect_ratio: tuple[int, int] = (1, 1),
        avoid_keyframes: bool = False,
        **params: Unpack[Parameters],
    ) -> None:
        """Makes an empty stream of this codec.

        Args:
            codec: "hevc" or "h264", as FFmpeg calls them.
            extradata: parameter sets that are not in the packets, as in the container (hvcC, avcC or Annex B); they
                also define the framing of packets.
            window: length of a window in seconds.
            stride: seconds from the start of a window to that of the next; `window` where None.
            preset, device, params: as for ``select``; the budget is per window.
            pixels: whether pixels are decoded, for ``Window.tokens``.
            threads: threads of the pixel decoder; 0 uses all cores. More than one delays pictures.
            limits: of what the stream may ask for, as with ``ove_codec.open``.
            rotation: clockwise degrees to turn pictures by for display.
            mirrored: whether left and right are exchanged before that.
            frame_rate: pictures a second, for ``codec_canvases``; None measures it in every window.
            sample_aspect_ratio: width and height of a sample, for ``codec_canvases``; zeros count as a square.
            avoid_keyframes: whether the picture behind a key frame is sampled in its place.

        Raises:
            ValueError: a codec that is not read, or a bad value.
            TypeError: an unknown parameter.
            InvalidBitstreamError: damaged extradata.
        """
        codec = _ALIASES.get(codec, codec)
        if not _core.decodes(codec):
            raise ValueError(f"streams of {codec!r} cannot be read; {hint(codec, ('hevc', 'h264'))}")
        self.window, self.stride = float(window), float(window if stride is None else stride)
        for name, seconds in (("window", self.window), ("stride", self.stride)):
            if not 0 < seconds < math.inf:
                raise ValueError(f"{name} must be a positive number of seconds, not {seconds}")
        self.preset, self.pixels = preset, pixels
        overrides: dict[str, Any] = dict(params)
        self._params = resolve(preset, overrides)
        for name in ("frame_ids", "start", "end"):
            if self._params[name] is not None:
                raise ValueError(f"{name} is for a whole video; a stream takes window, stride, fps and num_frames")
        if self._params["sampling"] != "time":
            raise ValueError(f"a stream is sampled by time: leave out sampling={self._params['sampling']!r}")
        _core.Scorer(self._params, (0, 0, 64, 64))  # raises for values that it does not know
        fps = self._params["fps"]
        self._step = 1 / fps if fps is not None else self.window / self._params["num_frames"]
        self._avoids_keyframes = avoid_keyframes
        self._settings = StreamSettings(
            preset=preset,
            overrides=overrides,
            backend=backend_for(device),
            pixels=pixels,
            residual=self._params["residual_weight"] > 0,
            keeps_all=self._params["accumulate"] != "none",
            frame_rate=frame_rate,
            sample_aspect_ratio=sample_aspect_ratio,
        )
        self._options: dict[str, Any] = {
            "residual": self._settings.residual,
            "packed": True,
            "pixels": pixels,
            "threads": threads,
            "limits": (limits or Limits()).as_dict(),
            "rotation": rotation,
            "mirrored": mirrored,
        }
        self.lost: tuple[Loss, ...] = ()
        self.began = False
        self._pending: deque[_Pending] = deque()
        self._begin(codec, extradata)

    def _begin(self, codec: str, extradata: Any) -> None:
        self.codec = codec
        self._decoder = _core.LiveStream(codec, extradata, **self._options)
        self._kept: deque[_Kept] = deque()
        self._losses: list[_Open] = []
        self._recent: deque[tuple[int, int, float]] = deque(maxlen=64)
        self._last: tuple[float, tuple[Any, ...]] | None = None  # time and layout of the last picture
        self._origin = self._start = 0.0  # of the first window, and of the one at work
        self._steps = -1  # from the origin to the last picture
        self._owed = False  # a sample, as its picture was a key frame
        self._scorer: _core.Scorer | None = None

    def push(self, packet: Any, pts: float | None = None) -> list[Window]:
        """Takes one packet, and returns the windows that are complete, usually none.

        Args:
            packet: an access unit: bytes, a memoryview, or a packet of PyAV, which has its own time.
            pts: its display time in seconds; None if unknown: then pictures follow at the stream's rate.

        Raises:
            UnsupportedStreamError: the stream uses an unsupported feature or exceeds the limits.
        """
        if pts is None and getattr(packet, "pts", None) is not None:
            pts = float(packet.pts * packet.time_base)
        if pts is not None and not math.isfinite(pts):
            raise ValueError(f"pts must be a number of seconds, not {pts}")
        return self._push(packet, pts, bool(getattr(packet, "is_corrupt", False)))

    def _push(self, packet: Any, pts: float | None, corrupt: bool) -> list[Window]:
        data = memoryview(packet).cast("B")
        if not data:
            return self._ready()
        if pts is not None:
            mark = (zlib.crc32(data), len(data), pts)
            if mark in self._recent:
                return self._ready()
            self._recent.append(mark)
        self._decoder.push(data, pts, corrupt=corrupt)
        self._take_all()
        self._take_frames()
        return self._ready()

    def flush(self) -> list[Window]:
        """Ends the stream: returns the remaining windows, the last one cut short. Later packets start a new stream."""
        self._decoder.flush()
        self._take_all()
        self._close()
        self.lost = tuple(loss.loss for loss in self._losses if not loss.told)
        self._losses = []
        self._take_frames()
        for kept in (kept for pending in self._pending for kept in pending.kept):
            kept.gone = kept.frame is None
        return self._ready()

    def change(self, codec: str, extradata: Any = None) -> list[Window]:
        """Switches to another codec or other `extradata`; returns what ``flush`` does."""
        windows = self.flush()
        codec = _ALIASES.get(codec, codec)
        if not _core.decodes(codec):
            raise ValueError(f"streams of {codec!r} cannot be read; {hint(codec, ('hevc', 'h264'))}")
        self._begin(codec, extradata)
        return windows

    def _take_all(self) -> None:
        for loss in map(Loss._make, self._decoder.take_losses()):
            since = loss.pts if loss.pts is not None else self._last[0] if self._last else 0.0
            self._losses.append(_Open(loss, since))
        while (picture := self._decoder.next()) is not None:
            self._take(picture)

    def _take(self, picture: _core.Picture) -> None:
        """The next picture in display order."""
        self.began = True
        time, layout = picture.pts, (picture.window, picture.coded_width, picture.coded_height)
        if self._last is not None:
            shown, before = self._last
            if layout != before or abs(time - shown) > self.window or len(self._kept) >= _MOST_PICTURES:
                self._close()
            else:
                time = max(time, shown)
        if self._last is None:
            self._origin = self._start = time
            self._steps, self._owed = -1, False
        self._last = time, layout
        for loss in self._losses:
            if loss.until == math.inf and picture.packet >= loss.loss.end:
                loss.until = time
        while time >= self._start + self.window - _ROUNDING:
            self._end_window()
        before_steps, self._steps = self._steps, math.floor((time - self._origin + _ROUNDING) / self._step)
        sampled = self._due(self._steps > before_steps, picture)
        inside = (time - self._origin + _ROUNDING) % self.stride < self.window
        self._decoder.decide(picture.packet, sampled and inside)
        if inside and (sampled or self._settings.keeps_all):
            self._kept.append(_Kept(picture, time, sampled, self._score(picture), gone=not self.pixels))

    def _due(self, at_step: bool, picture: _core.Picture) -> bool:
        """Whether the picture is sampled, which is the first at or behind a step or not."""
        owed, self._owed = self._owed, at_step and self._avoids_keyframes and picture.random_access and not self._owed
        return owed or (at_step and not self._owed)

    def _score(self, picture: _core.Picture) -> Scored | None:
        """The scores of a sampled picture, if they depend on no other: made once, however many windows it is in."""
        if self._settings.keeps_all or not self._settings.backend.is_cpu or self._params["percentile_scope"] != "frame":
            return None
        self._scorer = self._scorer or scorer_for(picture, self._params)
        return Scored(self._scorer.score(picture), None, self._scorer)

    def _end_window(self) -> None:
        """Of the pictures that are kept, those of the window at work are a window; others may be in the next."""
        start, end = self._start, self._start + self.window
        kept = [k for k in self._kept if k.time < end - _ROUNDING]
        if any(k.sampled for k in kept):
            losses = [loss for loss in self._losses if loss.since < end and (loss.until > start or not loss.told)]
            for loss in losses:
                loss.told = True
            self._pending.append(_Pending(start, end, kept, tuple(loss.loss for loss in losses)))
        self._start += self.stride
        while self._kept and self._kept[0].time < self._start - _ROUNDING:
            self._kept.popleft()
        self._losses = [loss for loss in self._losses if not loss.told or loss.until > self._start]

    def _close(self) -> None:
        """Ends the window at work, before a new beginning."""
        if self._kept:
            self._end_window()
        self._kept.clear()
        self._last = self._scorer = None

    def _take_frames(self) -> None:
        frames = {frame.packet: frame for frame in self._decoder.take_frames()}
        if not frames:
            return
        kept = [*(k for pending in self._pending for k in pending.kept), *self._kept]
        for k in kept:
            k.frame = frames.get(k.picture.packet, k.frame)
        latest = max((k.time for k in kept if k.picture.packet in frames), default=0.0)
        for k in kept:  # pixels come in the order of display
            k.gone = k.gone or (k.sampled and k.frame is None and k.time < latest)

    def _ready(self) -> list[Window]:
        windows = []
        while self._pending and self._pending[0].ready:
            pending = self._pending.popleft()
            kept = [k for k in pending.kept if not (self.pixels and k.sampled and k.frame is None)]
            sampled = np.flatnonzero([k.sampled for k in kept])
            if len(sampled):
                frames = {k.picture.packet: k.frame for k in kept if k.frame is not None}
                pictures, scored = [k.picture for k in kept], [k.scored for k in kept]
                windows.append(
                    Window(pending.start, pending.end, pictures, sampled, pending.lost, scored, frames, self._settings)
                )
        return windows
