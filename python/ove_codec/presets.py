"""Selection presets: named sets of plain parameters.

``COMMON`` holds every parameter with its default value, which presets override:

- ``num_frames``: number of pictures to sample; no picture is sampled twice
- ``fps``: pictures to sample per second instead, at equal steps of time from the first picture on
- ``sampling``: which pictures are sampled: "time": ``numpy.linspace(first, last, num_frames)`` truncated; "bits":
  evenly along the cumulative sizes of the packets; "anchors": as with "time", but each sample moves to a nearby
  picture that is cheap to decode (see below)
- ``tolerance``: the most seconds by which "anchors" moves a picture; ``None``: half the distance to each neighbour
- ``frame_ids``: display indices to take instead, ``None`` to sample; sorted, every picture once
- ``start``, ``end``: seconds on the time axis of ``picture.pts``; sampled pictures have ``start <= pts < end``
- ``size``: side of the square canvas in samples (not for ``resize="native"``)
- ``patch_size``: side of a patch in canvas samples; samples at the right and the bottom that do not fill a patch are
  not used
- ``resize``: "crop" (shorter side to ``size``, centre), "letterbox" (longer side, padded), "stretch", "native"
- ``interpolation``: of the heat onto the canvas: "bilinear" or "cubic" (a = -3/4), without antialiasing
- ``percentile``: p of E = clip(x / p, 0, 1), 0..100
- ``percentile_scope``: "frame": one percentile per picture; "clip": one for all sampled pictures (a second pass;
  vectors and bits then count to 17 significant bits)
- ``compensate``: camera motion that is subtracted from the vectors: "none", "median", "mean", "similarity", "affine";
  the last two are evaluated at each sample instead of each 4x4 block
- ``vector``: "l0", "l0_else_l1", "both" (the longer one after compensation), "displacement" (both lists divided by poc
  - ref_poc, averaged: samples per unit of POC); 0 if a block has no such vector
- ``motion_map``: "exact": every vector at its block. "reference", as in the reference implementation: the 4x4 blocks
  wholly inside the display window, spread evenly over it (the same if its sides are multiples of 4), and a local
  variance from integral images in single precision, including their rounding
- ``intra_blocks``: |v| of blocks without vectors in P and B pictures: "as_coded" (as for a vector of 0). The other
  values leave these blocks out of the camera motion and set |v| to "zero", or to the "median" or the maximum ("max")
  of the compensated |v| at the centres of the picture's other blocks
- ``i_pictures``: "as_coded", "zero" (no heat), "keep" (whole, before the patches of other pictures)
- ``accumulate``: "none": only the sampled picture counts; "sum", "max": sum or maximum of |v|, |Y - 128| and bits at
  each place, over all pictures since the previously sampled one, before percentiles; then every picture is read
- ``fuse``: "weighted": sum of weight * E; "max", "sum" (clipped to 1), "geomean": of the E with a weight other than 0
- ``mv_weight``: weight of E_mv, |v| in luma samples; 0 leaves the vectors out
- ``residual_weight``: weight of E_res, |Y - 128| = |residual scaled to 8 bits, clipped to -128..127|; 0 leaves it out
- ``bits_weight``: weight of E_bits, log1p of the CTU's bits on each of its samples; 0 leaves them out
- ``tau``: keep patches whose mean heat is above this (quantised heat counts as heat / 255); or
- ``budget``: number of patches to keep per clip: by descending score, then ascending (t, h, w)
- ``keep_first_frame``: keep the first sampled picture before others, within the budget; whole, or
- ``first_frame_share``: at most this share of the budget, 0 (excluded) to 1: patches by descending score, equal ones
  spread over the picture. Its other patches rank with those of the other pictures. No effect with ``tau``
- ``padding``: patches not wholly inside the picture: "exclude" never keeps them, "zero" ranks them last (and keeps
  them in pictures that are kept whole)
- ``local_variance``: odd side of a window: use the variance of |v| in the window instead of |v|; 0 for |v|, True for 3
- ``center_prior``: strength s of clip(heat * (1 + s * exp(-d^2 / 2 sigma^2)), 0, 1); 0 for none, True for 0.3
- ``center_sigma``: its sigma, relative to the shorter side of the picture
- ``quantize``: heat as an 8-bit picture: floor(255 * heat), rounded again after the resize
- ``static_fallback``: for a static clip, keep ``static_frames`` uniform pictures before ranking the rest. A clip is
  static if the 95th percentile of its patch means is below ``static_level``, or below twice that and less than
  ``static_contrast`` (relative) above the median

With ``sampling="bits"`` a picture of b bytes gets the share min(1, c * b); the first and the last get the share 1, and
c is chosen so that the shares add up to ``num_frames``. Shares are summed in display order, and a picture is sampled
where the sum reaches 1/2, 3/2, 5/2, .... No picture is sampled twice, and none is decoded to find them. An I picture
shows the whole scene rather than changes, so it counts as the median of the others. ``accumulate`` adds at fixed
places and does not follow objects; with ``vector="displacement"`` the sum is the path moved at that place, without the
camera's motion.

All presets read HEVC and H.264 in the same way, with the same values. The codecs differ: ``bits_weight`` uses coding
tree units of up to 64x64 samples or macroblocks of 16x16, and H.264 encoders choose other vectors and smaller
transforms. In interlaced video, vertical vectors are in units of the frame, and the bits of both fields alternate by
rows of macroblocks.

With ``sampling="anchors"`` samples move to pictures that need few others to be decoded: near random access points, and
of low temporal levels. From the last sample to the first, each moves to the picture that adds the fewest pictures to
those already decoded; of equal ones that add any, to a random access point, then to the nearest. No picture is sampled
twice, the order is kept, and never more pictures are decoded than with "time". If I pictures have no heat
(``i_pictures="zero"``), they are chosen only if nothing else is within reach, and the picture chosen instead may cost
more. With "paper", "anchors" costs accuracy (25.6 % instead of 29.2 % in ``bench/motion_probe.py``; with "ove" it costs
none): more samples are I pictures, scored by texture alone, and P pictures, whose vectors span several pictures. This
sampling needs the video's index, so arrays do not support it. ``Selection.asked_ids`` holds the pictures before the
move.

Sources: "paper" is the formula block of the OneVision-Encoder page; "llava" and "probe" are what its LLaVA training
pipeline and its attentive probe select; "bitcost" is the bit-cost map of its successor; "ove" is what
``bench/motion_probe.py`` found better than "paper".
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypedDict, TypeVar, get_type_hints

from ove_codec._suggest import hint

F = TypeVar("F", bound=Callable[..., Any])

COMMON: dict[str, Any] = {
    "num_frames": 64,
    "fps": None,
    "sampling": "time",
    "tolerance": None,
    "frame_ids": None,
    "start": None,
    "end": None,
    "size": 224,
    "patch_size": 14,
    "resize": "crop",
    "interpolation": "bilinear",
    "percentile": 95.0,
    "percentile_scope": "frame",
    "compensate": "none",
    "vector": "l0_else_l1",
    "motion_map": "exact",
    "intra_blocks": "as_coded",
    "i_pictures": "as_coded",
    "accumulate": "none",
    "fuse": "weighted",
    "mv_weight": 0.5,
    "residual_weight": 0.5,
    "bits_weight": 0.0,
    "tau": None,
    "budget": 2048,
    "keep_first_frame": True,
    "first_frame_share": 0.5,
    "padding": "exclude",
    "local_variance": 0,
    "center_prior": 0.0,
    "center_sigma": 0.35,
    "quantize": False,
    "static_fallback": False,
    "static_level": 126 / 255,
    "static_contrast": 0.38,
    "static_frames": 4,
}


class Parameters(TypedDict, total=False):
    """The parameters of a selection, each described above, with their types."""

    num_frames: int | None
    fps: float | None
    sampling: Literal["time", "bits", "anchors"]
    tolerance: float | None
    frame_ids: Iterable[int] | None
    start: float | None
    end: float | None
    size: int
    patch_size: int
    resize: Literal["crop", "letterbox", "stretch", "native"]
    interpolation: Literal["bilinear", "cubic"]
    percentile: float
    percentile_scope: Literal["frame", "clip"]
    compensate: Literal["none", "median", "mean", "similarity", "affine"]
    vector: Literal["l0", "l0_else_l1", "both", "displacement"]
    motion_map: Literal["exact", "reference"]
    intra_blocks: Literal["as_coded", "zero", "median", "max"]
    i_pictures: Literal["as_coded", "zero", "keep"]
    accumulate: Literal["none", "sum", "max"]
    fuse: Literal["weighted", "max", "sum", "geomean"]
    mv_weight: float
    residual_weight: float
    bits_weight: float
    tau: float | None
    budget: int | None
    keep_first_frame: bool
    first_frame_share: float
    padding: Literal["exclude", "zero"]
    local_variance: int | bool
    center_prior: float | bool
    center_sigma: float
    quantize: bool
    static_fallback: bool
    static_level: float
    static_contrast: float
    static_frames: int


class _Default:
    """What signatures show for the default of a parameter: it depends on the preset."""

    def __repr__(self) -> str:
        return "<preset>"


def with_parameters(function: F) -> F:
    """Shows the parameters of a selection in the signature of a function that takes them as `**params`.

    Their default is shown as `<preset>`.
    """
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    kind = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter(name, kind, default=_Default(), annotation=type_) for name, type_ in _annotations().items()
    ]
    function.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    return function


@functools.cache
def _annotations() -> dict[str, Any]:
    return get_type_hints(Parameters)


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "llava": {
        "size": 576,
        "patch_size": 16,
        "resize": "letterbox",
        "compensate": "median",
        "vector": "l0",
        "motion_map": "reference",
        "budget": 8 * 36 * 36,
        "first_frame_share": 1.0,
        "padding": "zero",
    },
    "probe": {
        "interpolation": "cubic",
        "compensate": "similarity",
        "vector": "l0",
        "motion_map": "reference",
        "i_pictures": "zero",
        "keep_first_frame": False,
        "center_prior": 0.3,
        "quantize": True,
        "static_fallback": True,
    },
    "bitcost": {"percentile": 99.0, "mv_weight": 0.0, "residual_weight": 0.0, "bits_weight": 1.0},
    "ove": {"compensate": "median", "vector": "displacement", "i_pictures": "zero", "accumulate": "sum"},
}

_SWITCHES = {"local_variance": 3, "center_prior": 0.3}  # what True stands for
_BOOLS = ("keep_first_frame", "quantize", "static_fallback")
_POSITIVE = ("num_frames", "size", "patch_size", "budget", "static_frames")
_NUMBERS = (
    "fps", "start", "end", "tolerance", "percentile", "mv_weight", "residual_weight", "bits_weight", "tau",
    "center_prior", "center_sigma", "static_level", "static_contrast", "first_frame_share",
)  # fmt: skip


def _checked(name: str, value: Any) -> Any:
    """The value in its plain type, or ValueError. Names of choices are checked where they are used."""
    if name in _SWITCHES and isinstance(value, bool):
        value = _SWITCHES[name] if value else 0
    if value is None and (COMMON[name] is None or name in ("budget", "num_frames")):
        return None
    try:
        if name in _BOOLS:
            if value not in (True, False):
                raise TypeError
            return bool(value)
        if name in _POSITIVE or name == "local_variance":
            number = operator.index(value)
            if name in _POSITIVE and number < 1:
                raise TypeError
            return number
        if name in _NUMBERS:
            return float(value)
        if name == "frame_ids":
            return sorted({operator.index(i) for i in value})
        if not isinstance(value, str):
            raise TypeError
        return value
    except (TypeError, ValueError):
        kind = (
            "True or False" if name in _BOOLS
            else "a positive whole number" if name in _POSITIVE
            else "display indices" if name == "frame_ids"
            else "a number" if name in _NUMBERS
            else "a whole number" if name == "local_variance"
            else "a name"
        )  # fmt: skip
        raise ValueError(f"{name} must be {kind}, not {value!r}") from None


def resolve(preset: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """All parameters of `preset` with `overrides` applied.

    Raises ValueError for an unknown preset, a value of the wrong kind, or parameters that exclude each other (``tau``
    and ``budget``; ``num_frames`` and ``fps``; ``frame_ids`` and these, ``start`` or ``end``), TypeError for an unknown
    parameter name.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; {hint(str(preset), PRESETS)}")
    for name in sorted(set(overrides) - set(COMMON)):
        raise TypeError(f"unknown parameter {name}; {hint(name, COMMON)}")
    given = {name for name, value in overrides.items() if value is not None}
    if {"tau", "budget"} <= given:
        raise ValueError("give either tau or budget, not both")
    clash = given & {"num_frames", "fps", "start", "end"}
    if "frame_ids" in given and clash:
        raise ValueError(f"give either frame_ids or {', '.join(sorted(clash))}, not both")
    if {"num_frames", "fps"} <= given:
        raise ValueError("give either num_frames or fps, not both")
    params = {**COMMON, **PRESETS[preset], **overrides}
    params = {name: _checked(name, value) for name, value in params.items()}
    if "tau" in given:
        params["budget"] = None
    elif params["budget"] is None:
        raise ValueError("give tau or budget: they say how many patches to keep")
    if params["tolerance"] is not None and not params["tolerance"] >= 0:
        raise ValueError(f"tolerance must be 0 seconds or more, not {params['tolerance']}")
    if not 0 < params["first_frame_share"] <= 1:
        raise ValueError(f"first_frame_share must be above 0 and at most 1, not {params['first_frame_share']}")
    if params["frame_ids"] is not None:
        params["num_frames"] = None
        if not params["frame_ids"] or params["frame_ids"][0] < 0:
            raise ValueError("frame_ids must hold at least one display index, and none may be negative")
    elif params["fps"] is not None:
        params["num_frames"] = None
        if not 0 < params["fps"] < float("inf"):
            raise ValueError(f"fps must be a positive number, not {params['fps']}")
        if params["sampling"] != "time":
            raise ValueError(f"fps samples by time: leave it out with sampling={params['sampling']!r}")
    elif params["num_frames"] is None:
        raise ValueError("num_frames is None: give num_frames, fps or frame_ids")
    return params
