"""Selection of the patches of a clip by what its codec spent on them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, overload

import numpy as np
import numpy.typing as npt

from ove_codec import _core
from ove_codec._pictures import Array, ArrayPictures, Pictures, Reader, VideoPictures, read_planes, score_pictures
from ove_codec.cuda import is_cpu, lies_on_gpu, working_on
from ove_codec.limits import Limits
from ove_codec.presets import resolve
from ove_codec.transcoding import Recipe

if TYPE_CHECKING:
    from ove_codec._device_selection import DeviceSelection


@dataclass(frozen=True)
class Geometry:
    """How a picture comes onto the patch grid.

    The display window ``window`` = (x, y, width, height) of the coded picture, turned clockwise by ``rotation``
    degrees, has ``source_width`` x ``source_height`` samples. It is scaled to ``resized_width`` x ``resized_height``
    (half-pixel centres) and laid on the canvas of ``rows`` x ``columns`` patches with its top left corner at
    (``offset_x``, ``offset_y``): negative where cropped, positive where padded.
    """

    resize: str
    size: int
    patch_size: int
    rows: int
    columns: int
    source_width: int
    source_height: int
    resized_width: int
    resized_height: int
    offset_x: int
    offset_y: int
    window: tuple[int, int, int, int]
    rotation: int

    @property
    def canvas_width(self) -> int:
        return self.columns * self.patch_size

    @property
    def canvas_height(self) -> int:
        return self.rows * self.patch_size


@dataclass(frozen=True, eq=False)
class Selection:
    """The patches of a clip that are kept, and why. It can be pickled where its source can (see ``Video``).

    Attributes:
        frame_ids: (T,) int64, display index of each sampled picture, ascending.
        positions: (N, 3) int32, (t, h, w) of each kept patch, ascending; t indexes ``frame_ids``.
        scores: (T, rows, columns) float32, sum of the heat over each patch. A patch that padding touches has the sum
            over what it shows of the picture (0 for nothing), so scores do not depend on ``padding``, ``tau``,
            ``budget`` or what is kept whole. With ``quantize`` the heat, and so the sum, is in units of 1 / 255.
        mask: (T, rows, columns) bool, the kept patches.
        valid: (rows, columns) bool, patches wholly inside the picture.
        geometry: how a picture comes onto the patch grid.
        preset: name of the preset.
        params: every parameter with its value, as in ``ove_codec.presets``.
        scales: factors of |v| (luma samples), |Y - 128| and log1p(bits) for ``percentile_scope="clip"``.
    """

    frame_ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    valid: npt.NDArray[np.bool_]
    geometry: Geometry
    preset: str
    params: dict[str, Any]
    scales: tuple[float, float, float] | None = None
    _pictures: Pictures | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """The number of kept patches."""
        return len(self.positions)

    def heat(self, t: int) -> npt.NDArray[np.float32]:
        """The fused heat of picture `t`, (canvas_height, canvas_width) float32.

        0..1 (0..255 with ``quantize``), after the resize onto the canvas and after the centre prior; its sums over
        patches are ``scores[t]``. The picture is read again from the source. Raises IndexError outside 0..T-1 and
        ValueError where a loaded selection has no source.
        """
        if not 0 <= t < len(self.frame_ids):
            raise IndexError(f"t must lie in 0..{len(self.frame_ids) - 1}, not {t}")
        return next(self._heats([t]))

    def heats(self) -> Iterator[npt.NDArray[np.float32]]:
        """``heat(t)`` for every t in turn, in one pass over the source."""
        return self._heats(range(len(self.frame_ids)))

    def _heats(self, slots: Sequence[int]) -> Iterator[npt.NDArray[np.float32]]:
        if self._pictures is None:
            raise ValueError(
                "the selection has no source to read heat from: load it with Selection.load(file, source=...)"
            )
        scorer = _core.Scorer(self.params, self.geometry.window, self.geometry.rotation)
        if self.scales is not None:
            scorer.set_clip_scales(self.scales)
        reader = self._pictures.open()
        reads = readings(reader, self.frame_ids, slots, self.params)
        for planes, (_, slot) in zip(read_planes(reader, [i for i, _ in reads], self.params), reads, strict=True):
            if slot is None:
                planes.give(scorer, "accumulate")
            else:
                yield planes.give(scorer, "heat")

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Writes an npz file, or to a binary file object, without pickled objects.

        The source is kept only as its path, where it has one.
        """
        about = {
            "geometry": asdict(self.geometry),
            "preset": self.preset,
            "params": self.params,
            "scales": self.scales,
            "source": None if self._pictures is None else self._pictures.path,
        }
        with open(file, "wb") if isinstance(file, str | os.PathLike) else nullcontext(file) as out:
            np.savez_compressed(
                out,
                frame_ids=self.frame_ids,
                positions=self.positions,
                scores=self.scores,
                mask=self.mask,
                valid=self.valid,
                about=np.array(json.dumps(about)),
            )

    @classmethod
    def load(cls, file: str | os.PathLike[str] | BinaryIO, source: Any = None) -> Selection:
        """Reads what ``save`` wrote. `source` (anything ``ove_codec.open`` takes) replaces the saved path for heat."""
        with np.load(file, allow_pickle=False) as z:
            missing = {"frame_ids", "positions", "scores", "mask", "valid", "about"} - set(z.files)
            if missing:
                name = os.fspath(file) if isinstance(file, str | os.PathLike) else "<file object>"
                raise ValueError(f"{name} is not a saved selection: it lacks {', '.join(sorted(missing))}")
            about = json.loads(str(z["about"]))
            arrays = {name: z[name] for name in ("frame_ids", "positions", "scores", "mask", "valid")}
        geometry = {**about["geometry"], "window": tuple(about["geometry"]["window"])}
        source = about["source"] if source is None else source
        return cls(
            **arrays,
            geometry=Geometry(**geometry),
            preset=about["preset"],
            params=about["params"],
            scales=None if about["scales"] is None else tuple(about["scales"]),
            _pictures=None if source is None else VideoPictures(source),
        )


def sample_frames(
    pts: Array | int,
    params: dict[str, Any],
    sizes: npt.NDArray[np.int64] | None = None,
    intra: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """Display indices that `params` sample from pictures shown at `pts` seconds (or from so many pictures).

    With ``sampling="bits"``, `sizes` and `intra` tell of every picture what it takes and whether it is an I picture.
    Raises ValueError for an empty time window, an index past the last picture, or a `sampling` that is not known.
    """
    count = pts if isinstance(pts, int) else len(pts)
    if count == 0:
        raise ValueError("there are no pictures to select from")
    if params["frame_ids"] is not None:
        if params["frame_ids"][-1] >= count:
            raise ValueError(
                f"frame_ids reach {params['frame_ids'][-1]}, but the last of {count} pictures is {count - 1}"
            )
        return np.array(params["frame_ids"], np.int64)
    first, last = 0, count - 1
    start, end = params["start"], params["end"]
    if start is not None or end is not None:
        if isinstance(pts, int):
            raise ValueError("start and end need the times of the pictures: pass pts")
        inside = np.ones(count, bool)
        if start is not None:
            inside &= pts >= start
        if end is not None:
            inside &= pts < end
        if not inside.any():
            raise ValueError(
                f"no picture is shown from start={start} to end={end}: pts are {pts[0]:.3f}..{pts[-1]:.3f}"
            )
        first, last = np.flatnonzero(inside)[[0, -1]].tolist()
    if params["sampling"] == "time":
        return np.unique(np.linspace(first, last, params["num_frames"]).astype(np.int64))
    if params["sampling"] != "bits":
        raise ValueError(f"sampling must be one of 'time', 'bits', not {params['sampling']!r}")
    if sizes is None or intra is None:
        raise ValueError("sampling='bits' needs the sizes of the pictures: pass bits, or set sampling='time'")
    window = slice(first, last + 1)
    return first + _along_sizes(sizes[window], intra[window], params["num_frames"])


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


def sampled_frames(reader: Reader, params: dict[str, Any]) -> npt.NDArray[np.int64]:
    """Display indices of the pictures that `params` sample."""
    pts = reader.pts()
    if params["sampling"] != "bits" or params["frame_ids"] is not None:
        return sample_frames(pts, params)
    count = pts if isinstance(pts, int) else len(pts)
    return sample_frames(pts, params, reader.sizes(), reader.intra(range(count)))


def scored_pictures(intra: npt.NDArray[np.bool_], params: dict[str, Any]) -> npt.NDArray[np.int64]:
    """Which of the sampled pictures are read: those without heat are not, as far as others tell the size."""
    if params["i_pictures"] == "zero" and params["accumulate"] == "none" and not intra.all():
        return np.flatnonzero(~intra)
    return np.arange(len(intra))


def readings(
    reader: Reader, frame_ids: npt.NDArray[np.int64], slots: Sequence[int], params: dict[str, Any]
) -> list[tuple[int, int | None]]:
    """What is read for the sampled pictures `slots` (ascending indices of `frame_ids`), in this order.

    Display indices, each with the slot that it is scored for, or with None where the next slot counts it too.
    """
    if params["accumulate"] == "none":
        return [(int(frame_ids[t]), t) for t in slots]
    reads: list[tuple[int, int | None]] = []
    for t in slots:
        between = range(int(frame_ids[t - 1]) + 1 if t else int(frame_ids[t]), int(frame_ids[t]))
        # An I picture without heat adds nothing. The sampled one is read nevertheless: it is what is scored.
        skipped = reader.intra(between) if params["i_pictures"] == "zero" else np.zeros(len(between), bool)
        reads += [(i, None) for i, skip in zip(between, skipped, strict=True) if not skip]
        reads.append((int(frame_ids[t]), t))
    return reads


def geometry_of(
    params: dict[str, Any], window: tuple[int, int, int, int], rotation: int, scorer: _core.Scorer
) -> Geometry:
    """The geometry that `scorer` works with."""
    return Geometry(
        resize=params["resize"],
        size=params["size"],
        patch_size=params["patch_size"],
        window=window,
        rotation=rotation,
        **scorer.geometry,
    )


def _select(pictures: Pictures, preset: str, overrides: dict[str, Any]) -> Selection:
    params = resolve(preset, overrides)
    reader = pictures.open()
    frame_ids = sampled_frames(reader, params)
    intra = reader.intra(frame_ids.tolist())
    scored = scored_pictures(intra, params)
    reads = readings(reader, frame_ids, scored.tolist(), params)
    scorer: _core.Scorer | None = None
    clip = params["percentile_scope"] == "clip"
    if clip:
        for planes, (_, slot) in zip(read_planes(reader, [i for i, _ in reads], params), reads, strict=True):
            scorer = scorer or _core.Scorer(params, planes.window, planes.rotation)
            planes.give(scorer, "accumulate" if slot is None else "measure")
    scores = score_pictures(reader, reads, params, scorer)
    scorer = scores.scorer
    all_scores = np.zeros((len(frame_ids), *scores.values.shape[1:]), np.float32)
    all_scores[scored] = scores.values
    keep_whole = intra if params["i_pictures"] == "keep" else np.zeros_like(intra)
    mask = _core.keep_patches(all_scores, scorer.valid(), keep_whole, scorer.full_score, params)
    return Selection(
        frame_ids=frame_ids,
        positions=np.argwhere(mask).astype(np.int32),
        scores=all_scores,
        mask=mask,
        valid=scorer.valid(),
        geometry=geometry_of(params, scores.window, scores.rotation, scorer),
        preset=preset,
        params=params,
        scales=scorer.scales if clip else None,
        _pictures=pictures,
    )


@overload
def select(
    source: Any,
    preset: str = ...,
    *,
    device: Literal["cpu"] | None = ...,
    threads: int = ...,
    limits: Limits | None = ...,
    transcode: bool | str | Recipe = ...,
    **params: Any,
) -> Selection: ...
@overload
def select(
    source: Any,
    preset: str = ...,
    *,
    device: Any,
    threads: int = ...,
    limits: Limits | None = ...,
    transcode: bool | str | Recipe = ...,
    **params: Any,
) -> DeviceSelection: ...
def select(
    source: Any,
    preset: str = "paper",
    *,
    device: Any = None,
    threads: int = 0,
    limits: Limits | None = None,
    transcode: bool | str | Recipe = False,
    **params: Any,
) -> Selection | DeviceSelection:
    """Selects patches of an HEVC video by its motion vectors, residuals or bits.

    H.264, MPEG-4, MPEG-2 and MPEG-1 do with ``residual_weight=0``, by the vectors that libavcodec exports; anything
    else does with `transcode`.

    Args:
        source: what ``ove_codec.open`` takes, or a video that it opened.
        preset: "paper", "llava", "probe", "bitcost" or "ove".
        device: where scores, mask and positions are made: None or "cpu"; or what PyTorch or CuPy name a GPU with,
            "cuda", a device, or a stream, on which all work is then queued. A GPU needs PyTorch.
        threads: of the decoder; 0 for all cores.
        limits: of what `source` may ask for, as with ``ove_codec.open``; a video opened by it has its own.
        transcode: True to convert to HEVC in memory what is of another codec, or the name of a recipe (or a ``Recipe``)
            to convert whatever it is; see ``ove_codec.transcode``. The selection is of the converted pictures, of which
            there are as many; where their size is odd they lack the last row or column.
        **params: overrides of the preset's parameters (see ``ove_codec.presets``).

    Returns:
        The selection. Beside one picture at a time, only patch scores are held in memory. With a GPU a
        ``DeviceSelection``, whose arrays are tensors there; with ``budget`` nothing waits for the GPU.

    Raises:
        ValueError: an unknown preset or a bad value.
        TypeError: an unknown parameter.
        RuntimeError: no kernel can run on the device; the message says why.
        UnsupportedStreamError: the picture size changes among the sampled pictures; and what ``ove_codec.open`` raises.
    """
    pictures = VideoPictures(source, threads, limits, transcode).checked(resolve(preset, params))
    return _select_on(device, pictures, preset, params)


def _select_on(device: Any, pictures: Pictures, preset: str, params: dict[str, Any]) -> Selection | DeviceSelection:
    if is_cpu(device):
        return _select(pictures, preset, params)
    from ove_codec._device_selection import select_on_device

    return select_on_device(pictures, preset, params, device)


def select_arrays(
    mv: Any,
    residual: Any,
    *,
    pred: Any = None,
    ref_poc: Any = None,
    poc: Any = None,
    bits: Any = None,
    types: Any = None,
    bit_depth: int = 8,
    ctb_size: int | None = None,
    pts: Any = None,
    window: tuple[int, int, int, int] | None = None,
    rotation: int = 0,
    preset: str = "paper",
    device: Any = None,
    **params: Any,
) -> Any:
    """``select`` on the arrays of N pictures in display order, from wherever they come.

    Arrays are whatever NumPy takes or gives ``__dlpack__``, those of PyTorch and CuPy for example. With a GPU as
    `device` they may lie there, all of them, and stay there; their types must then be int16 (mv, residual), uint8
    (pred) and int32. Work queued on the stream that is current comes before what is queued on the stream given.

    Args:
        mv: (N, ceil(H/4), ceil(W/4), 2 lists, 2) whole numbers, vectors (x, y) in quarter luma samples; or
            (N, ceil(H/4), ceil(W/4), 2) for list 0 alone; None with ``mv_weight=0``.
        residual: (N, H, W) whole numbers, luma residual at `bit_depth`; None with ``residual_weight=0``.
        pred: (N, ceil(H/4), ceil(W/4)), bit 0 where list 0 is used, bit 1 for list 1; where it is None, a list is used
            where its vector is not 0.
        ref_poc: (N, ceil(H/4), ceil(W/4), 2) POC of the reference, with poc (N,), for ``vector="displacement"``.
        bits: (N, CTU rows, CTU columns) bits of each CTU, with `ctb_size` (taken from the shapes where None).
        types: N characters, "I" for intra pictures; None means there is none.
        pts: (N,) seconds, for ``start`` and ``end``.
        window: (x, y, width, height) of the display window in the coded picture; None for all of it.
        rotation: clockwise degrees from the coded to the display picture.

    Any of these may also be a sequence of one array a picture. Everything else is as with ``select``.
    """
    given = {"mv": mv, "residual": residual, "pred": pred, "ref_poc": ref_poc, "bits": bits}
    on_gpu = [name for name, array in given.items() if array is not None and lies_on_gpu(array)]
    if on_gpu and (is_cpu(device) or len(on_gpu) < sum(array is not None for array in given.values())):
        raise ValueError(
            f"{', '.join(on_gpu)} lie on a GPU: pass all arrays there and device='cuda', or bring them to the CPU"
        )
    # What other libraries have queued to make the arrays comes before what is queued here.
    with working_on(device, behind_caller=True) if on_gpu else nullcontext():
        pictures = ArrayPictures(
            mv, residual, pred, ref_poc, poc, bits, types,
            bit_depth=bit_depth, ctb_size=ctb_size, pts=pts, window=window, rotation=rotation,
        )  # fmt: skip
    return _select_on(device, pictures, preset, params)
