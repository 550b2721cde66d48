"""Which pictures a selection samples: by time, at a rate, along the sizes of the pictures, or at cheap ones nearby."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ove_codec._reading import Array, Pictures


def sample_frames(
    pts: Array | int,
    params: dict[str, Any],
    sizes: npt.NDArray[np.int64] | None = None,
    intra: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """Display indices that `params` sample from pictures shown at `pts` seconds (or from so many pictures).

    With ``sampling="bits"``, `sizes` and `intra` tell of every picture what it takes and whether it is an I picture.
    With ``sampling="anchors"`` these are the pictures from which samples are moved.
    Raises ValueError for an empty time window, an index past the last picture, or a `sampling` that is not known.
    """
    count = pts if isinstance(pts, int) else len(pts)
    if count == 0:
        raise ValueError("there are no pictures to select from")
    if params["frame_ids"] is not None:
        if params["frame_ids"][-1] >= count:
            raise ValueError(
                f"frame_ids go up to {params['frame_ids'][-1]}, but the last of {count} pictures is {count - 1}"
            )
        return np.array(params["frame_ids"], np.int64)
    shown = _shown(pts, params)
    if params.get("fps") is not None:  # selections saved before version 0.2 lack it
        if isinstance(pts, int):
            raise ValueError("fps needs the picture times: pass pts")
        return shown[at_rate(pts[shown], params["fps"])]
    if params["sampling"] in ("time", "anchors"):
        first = int(shown[0])
        places = np.linspace(first, first + len(shown) - 1, params["num_frames"]).astype(np.int64)
        return shown[np.unique(places) - first]
    if params["sampling"] != "bits":
        raise ValueError(f"sampling must be one of 'time', 'bits', 'anchors', not {params['sampling']!r}")
    if sizes is None or intra is None:
        raise ValueError("sampling='bits' needs the sizes of the pictures: pass bits, or set sampling='time'")
    return shown[_along_sizes(sizes[shown], intra[shown], params["num_frames"])]


def _shown(pts: Array | int, params: dict[str, Any]) -> npt.NDArray[np.int64]:
    """Display indices of the pictures from ``start`` to ``end``."""
    start, end = params["start"], params["end"]
    if not isinstance(pts, int):
        return shown_between(pts, start, end)
    if start is not None or end is not None:
        raise ValueError("start and end need the picture times: pass pts")
    return np.arange(pts)


def shown_between(pts: Array, start: float | None, end: float | None) -> npt.NDArray[np.int64]:
    """Display indices of the pictures shown from `start` on and before `end`: not a range where time stamps go back.

    Raises ValueError where there are none.
    """
    inside = np.ones(len(pts), bool)
    if start is not None:
        inside &= pts >= start
    if end is not None:
        inside &= pts < end
    if len(pts) and not inside.any():
        raise ValueError(
            f"no picture is displayed from start={start} to end={end}: pts are {pts.min():.3f}..{pts.max():.3f}"
        )
    return np.flatnonzero(inside)


def at_rate(pts: Array, fps: float) -> npt.NDArray[np.int64]:
    """Indices of the pictures shown at equal steps of 1 / `fps` seconds from the first one on, each once.

    `pts` are seconds in display order. A picture is shown until the next one; time stamps that go back count as the
    latest before them.
    """
    times = np.maximum.accumulate(np.nan_to_num(pts))
    first, last = float(times[0]), float(times[-1])
    if (last - first) * fps >= len(times) * 64:  # a gap in the time stamps must not ask for endless steps
        raise ValueError(f"fps={fps} asks for {(last - first) * fps:.0f} samples of {len(times)} pictures: lower fps")
    # Marks get half a millionth of a step more, so that rounding does not put them before the picture that they hit.
    marks = first + (np.arange(int((last - first) * fps + 1e-6) + 1) + 5e-7) / fps
    return np.unique(np.searchsorted(times, marks, side="right") - 1)


def _along_sizes(sizes: npt.NDArray[np.int64], intra: npt.NDArray[np.bool_], num_frames: int) -> npt.NDArray[np.int64]:
    """Indices of so many pictures at equal distances along their cumulative sizes; see ``ove_codec.presets``."""
    count = len(sizes)
    if num_frames >= count:
        return np.arange(count)
    if num_frames == 1:
        return np.zeros(1, np.int64)
    weights = np.maximum(sizes, 1).astype(np.float64)
    if not intra.all():
        weights[intra] = np.median(weights[~intra])
    whole = np.zeros(count, bool)
    whole[[0, -1]] = True
    while True:  # every round makes one more picture whole, or is the last
        shares = np.where(whole, 1.0, 0.0)
        left = num_frames - np.count_nonzero(whole)
        if left:
            shares[~whole] = weights[~whole] * (left / weights[~whole].sum())
        more = shares > 1
        if not more.any():
            break
        whole |= more
    # Shares add up to num_frames, and none is above 1: every mark lies in a picture of its own, but for rounding.
    slots = np.arange(num_frames)
    found = np.searchsorted(np.cumsum(shares), slots + 0.5)
    return np.minimum(np.maximum.accumulate(found - slots), count - num_frames) + slots


def sampled_frames(
    pictures: Pictures, params: dict[str, Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
    """Display indices of the pictures that `params` sample; and, if they were moved, of those that they stand for."""
    pts = pictures.pts()
    sampling = "time" if params["frame_ids"] is not None else params["sampling"]
    if sampling == "bits":
        count = pts if isinstance(pts, int) else len(pts)
        return sample_frames(pts, params, pictures.sizes(), pictures.intra(range(count))), None
    asked = sample_frames(pts, params)
    if sampling != "anchors":
        return asked, None
    shown = _shown(pts, params)
    return shown[pictures.anchors(shown, np.searchsorted(shown, asked), params)], asked
