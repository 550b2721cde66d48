"""Selection of the patches of a clip by what its codec spent on them."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile
from typing_extensions import Unpack

from ove_codec import _core
from ove_codec._backend import CPU, Backend, backend_for
from ove_codec._drawing import grid_image, png
from ove_codec._pictures import ArrayPictures, VideoPictures
from ove_codec._pixels import PixelSource
from ove_codec._reading import Pictures, Scored, readings
from ove_codec._sampling import sampled_frames
from ove_codec.cuda import lies_on_gpu
from ove_codec.limits import Limits
from ove_codec.plots import plot_selection
from ove_codec.presets import Parameters, resolve, with_parameters
from ove_codec.transcoding import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAVED = ("frame_ids", "positions", "scores", "mask", "valid")  # arrays in the file of a selection


@dataclass(frozen=True)
class Geometry:
    """How a picture comes onto the patch grid.

    The display window ``window`` = (x, y, width, height) of the coded picture, left and right exchanged where
    ``mirrored``, then turned clockwise by ``rotation`` degrees, has ``source_width`` x ``source_height`` samples. It is
    scaled to ``resized_width`` x ``resized_height`` (half-pixel centres) and laid on the canvas of ``rows`` x
    ``columns`` patches with its top left corner at (``offset_x``, ``offset_y``): negative where cropped, positive where
    padded.
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
    mirrored: bool = False

    @property
    def canvas_width(self) -> int:
        return self.columns * self.patch_size

    @property
    def canvas_height(self) -> int:
        return self.rows * self.patch_size


@dataclass(frozen=True, eq=False)
class Selection:
    """The patches of a clip that are kept, and their scores. It can be pickled if its source can (see ``Video``).

    Arrays are NumPy's. For a selection made on a GPU, all except the display indices are CUDA tensors of the same
    shapes and dtypes, ready on the stream that was current (or given).

    Attributes:
        frame_ids: (T,) int64, display index of each sampled picture, ascending.
        positions: (N, 3) int32, (t, h, w) of each kept patch, ascending; t indexes ``frame_ids``.
        scores: (T, rows, columns) float32, sum of the heat over each patch. For a patch that overlaps the padding, the
            sum is over the part inside the picture (0 if there is none), so scores do not depend on ``padding``,
            ``tau``, ``budget`` or pictures kept whole. With ``quantize`` the heat, and so the sum, is in units of 1 /
            255.
        mask: (T, rows, columns) bool, the kept patches.
        valid: (rows, columns) bool, patches wholly inside the picture.
        geometry: the mapping from the picture to the patch grid.
        preset: name of the preset.
        params: every parameter with its value, as in ``ove_codec.presets``.
        scales: factors of |v| (luma samples), |Y - 128| and log1p(bits) for ``percentile_scope="clip"``, else None; a
            (3,) float32 tensor on a GPU.
        asked_ids: (T,) int64, with ``sampling="anchors"`` the pictures before the move to ``frame_ids``; otherwise
            None.
        on_damage: "skip" if display indices count only the pictures that are not damaged, else "raise".
    """

    frame_ids: npt.NDArray[np.int64]
    positions: Any
    scores: Any
    mask: Any
    valid: Any
    geometry: Geometry
    preset: str
    params: dict[str, Any]
    scales: Any = None
    asked_ids: npt.NDArray[np.int64] | None = None
    on_damage: str = "raise"
    _pictures: Pictures | None = field(default=None, repr=False)
    _backend: Backend = field(default=CPU, repr=False)
    _ready: Any = field(default=None, repr=False)  # event behind what makes the tensors
    _positions: npt.NDArray[np.int32] | None = field(default=None, repr=False)  # on the CPU, where they were fetched

    def __len__(self) -> int:
        """The number of kept patches."""
        return len(self.positions)

    def __repr__(self) -> str:
        frames, rows, columns = self.mask.shape
        return (
            f"Selection({self.preset}: {len(self)} of {self.mask.size} patches "
            f"in {frames} pictures of {rows} x {columns})"
        )

    def _repr_png_(self) -> bytes:
        """Scores and kept patches of some pictures, which notebooks show."""
        selection = self.cpu()
        return png(grid_image(selection.mask, selection.scores))

    def plot(self, pictures: int = 6) -> Figure:
        """Draws some of the sampled pictures above their patch scores with matplotlib, and returns the figure.

        Patches that are dropped are dark. The pixels are decoded from the source; without a video only the scores are
        drawn. Raises ModuleNotFoundError without matplotlib: `pip install 'ove_codec[plot]'`.
        """
        if pictures < 1:
            raise ValueError(f"pictures must be 1 or more, not {pictures}")
        slots = np.unique(np.linspace(0, len(self.frame_ids) - 1, pictures).astype(int))
        pixels = None
        if isinstance(self._pictures, VideoPictures):
            request = PixelSource(self._pictures.video, 0, None).request(self.frame_ids[slots] - self._pictures.first)
            canvases = _core.gather_byte_frames(**request, resize=self.geometry.resize, size=self.geometry.size)
            pixels = canvases.transpose(0, 2, 3, 1)[:, : self.geometry.canvas_height, : self.geometry.canvas_width]
        return plot_selection(self.cpu(), slots.tolist(), pixels)

    def wait(self) -> None:
        """Makes later work on the current stream wait for the tensors. Does nothing on the CPU."""
        scales = () if self.scales is None else (self.scales,)
        self._backend.wait(self._ready, [self.positions, self.scores, self.mask, self.valid, *scales])

    def positions_on_cpu(self) -> npt.NDArray[np.int32]:
        """The positions as a NumPy array. Waits for the GPU if necessary."""
        if isinstance(self.positions, np.ndarray):
            return self.positions
        if self._positions is not None:
            return self._positions
        self.wait()
        positions: npt.NDArray[np.int32] = self.positions.cpu().numpy()
        return positions

    def cpu(self) -> Selection:
        """The same selection with NumPy arrays; itself if it has them already. Waits for the GPU."""
        if self._backend.is_cpu:
            return self
        self.wait()
        return replace(
            self,
            positions=self.positions_on_cpu(),
            scores=self.scores.cpu().numpy(),
            mask=self.mask.cpu().numpy(),
            valid=self.valid.cpu().numpy(),
            scales=None if self.scales is None else tuple(self.scales.tolist()),
            _backend=CPU,
            _ready=None,
            _positions=None,
        )

    def heat(self, t: int) -> Any:
        """The fused heat of picture `t`, (canvas_height, canvas_width) float32, on the device of the scores.

        0..1 (0..255 with ``quantize``), after the resize onto the canvas and after the centre prior; its sums over
        patches are ``scores[t]``. The picture is read again from the source. Raises IndexError outside 0..T-1 and
        ValueError where a loaded selection has no source.
        """
        if not 0 <= t < len(self.frame_ids):
            raise IndexError(f"t must be from 0 to {len(self.frame_ids) - 1}, not {t}")
        return next(self._heats([t]))

    def heats(self) -> Iterator[Any]:
        """``heat(t)`` for every t, in one pass over the source."""
        return self._heats(range(len(self.frame_ids)))

    def _heats(self, slots: Sequence[int]) -> Iterator[Any]:
        if self._pictures is None:
            raise ValueError(
                "the selection has no source to read heat from: load it with Selection.load(file, source=...)"
            )
        self.wait()
        reads = readings(self._pictures, self.frame_ids, slots, self.params)
        scorer = _core.Scorer(self.params, self.geometry.window, self.geometry.rotation, self.geometry.mirrored)
        yield from self._backend.heats(self._pictures, reads, self.params, scorer, self.scales)

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Writes an npz file, or its bytes to a binary file object, without pickled objects.

        Of the source only the path is kept, if it has one. Waits for the GPU if the selection was made there.
        """
        if not self._backend.is_cpu:
            return self.cpu().save(file)
        about = {
            "geometry": asdict(self.geometry),
            "preset": self.preset,
            "params": self.params,
            "scales": self.scales,
            "on_damage": self.on_damage,
            "source": None if self._pictures is None else self._pictures.path,
        }
        asked: dict[str, Any] = {} if self.asked_ids is None else {"asked_ids": self.asked_ids}
        with open(file, "wb") if isinstance(file, str | os.PathLike) else nullcontext(file) as out:
            np.savez_compressed(
                out,
                frame_ids=self.frame_ids,
                positions=self.positions,
                scores=self.scores,
                mask=self.mask,
                valid=self.valid,
                about=np.array(json.dumps(about)),
                **asked,
            )

    @classmethod
    def load(cls, file: str | os.PathLike[str] | BinaryIO, source: Any = None) -> Selection:
        """Reads what ``save`` wrote. `source` (anything ``ove_codec.open`` takes) replaces the saved path for heat.

        Raises ValueError if the file holds something else or is damaged.
        """
        name = os.fspath(file) if isinstance(file, str | os.PathLike) else "<file object>"
        remedy = "pass a file that Selection.save or `ove-codec select -o` wrote; ove_codec.select takes videos"
        try:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, NpzFile):
                raise ValueError("not an npz file")
            with loaded as z:
                if missing := sorted({*_SAVED, "about"} - set(z.files)):
                    raise ValueError(f"it lacks {', '.join(missing)}")
                about = json.loads(str(z["about"]))
                arrays: dict[str, Any] = {name: z[name] for name in _SAVED}
                asked_ids = z["asked_ids"] if "asked_ids" in z.files else None
            geometry = {**about["geometry"], "window": tuple(about["geometry"]["window"])}
        except (ValueError, EOFError, KeyError, TypeError, BadZipFile, zlib.error) as error:
            # NumPy takes a file of no known kind for a pickle.
            what = "not an npz file" if "pickle" in str(error) else str(error)
            raise ValueError(f"{name} is not a saved selection ({what}): {remedy}") from None
        source = about["source"] if source is None else source
        on_damage = about.get("on_damage", "raise")  # those saved before version 0.2 lack it
        return cls(
            **arrays,
            geometry=Geometry(**geometry),
            preset=about["preset"],
            params=about["params"],
            scales=None if about["scales"] is None else tuple(about["scales"]),
            asked_ids=asked_ids,
            on_damage=on_damage,
            _pictures=None if source is None else VideoPictures(source, on_damage=on_damage),
        )


def scored_pictures(intra: npt.NDArray[np.bool_], params: dict[str, Any]) -> npt.NDArray[np.int64]:
    """Which of the sampled pictures are read: those without heat are not, as far as others tell the size."""
    if params["i_pictures"] == "zero" and params["accumulate"] == "none" and not intra.all():
        return np.flatnonzero(~intra)
    return np.arange(len(intra))


@dataclass(frozen=True, eq=False)
class ScoredClip:
    """A clip whose patches are scored, and what ranking needs to know of it."""

    frame_ids: npt.NDArray[np.int64]
    asked_ids: npt.NDArray[np.int64] | None
    keep_whole: npt.NDArray[np.bool_]
    scored: Scored
    pictures: Pictures


def score_clip(pictures: Pictures, params: dict[str, Any], backend: Backend) -> ScoredClip:
    """Scores the sampled pictures on the backend's device, which is current."""
    frame_ids, asked_ids = sampled_frames(pictures, params)
    # With `accumulate` others are asked about too: all of them at once.
    span = frame_ids if params["accumulate"] == "none" else np.arange(frame_ids[0], frame_ids[-1] + 1)
    intra = pictures.intra(span.tolist())[np.searchsorted(span, frame_ids)]
    reads = readings(pictures, frame_ids, scored_pictures(intra, params).tolist(), params)
    scored = backend.score(pictures, reads, len(frame_ids), params)
    keep_whole = intra if params["i_pictures"] == "keep" else np.zeros_like(intra)
    return ScoredClip(frame_ids, asked_ids, keep_whole, scored, pictures)


def rank_clips(
    clips: Sequence[ScoredClip], preset: str, params: dict[str, Any], backend: Backend, *, fetch: bool = False
) -> list[Selection]:
    """Ranks the patches of all clips in one go, on the backend's device; `fetch` brings positions to the CPU too."""
    ranked = backend.rank([(clip.scored, clip.keep_whole) for clip in clips], params, fetch=fetch)
    ready = backend.record()
    return [
        Selection(
            frame_ids=clip.frame_ids,
            positions=positions,
            scores=clip.scored.values,
            mask=mask,
            valid=valid,
            geometry=Geometry(params["resize"], params["size"], params["patch_size"], **clip.scored.scorer.geometry),
            preset=preset,
            params=params,
            scales=clip.scored.scales,
            asked_ids=clip.asked_ids,
            on_damage=clip.pictures.on_damage,
            _pictures=clip.pictures,
            _backend=backend.current(),
            _ready=ready,
            _positions=on_cpu,
        )
        for clip, (positions, mask, valid, on_cpu) in zip(clips, ranked, strict=True)
    ]


def select_pictures(pictures: Pictures, preset: str, overrides: dict[str, Any], backend: Backend = CPU) -> Selection:
    """``select`` of pictures from anywhere."""
    params = resolve(preset, overrides)
    with backend.on():
        return rank_clips([score_clip(pictures, params, backend)], preset, params, backend)[0]


@with_parameters
def select(
    source: Any,
    preset: str = "paper",
    *,
    device: Any = None,
    threads: int = 0,
    limits: Limits | None = None,
    transcode: bool | str | Recipe = False,
    on_damage: str = "raise",
    progress: bool | None = False,
    **params: Unpack[Parameters],
) -> Selection:
    """Selects patches of an HEVC or H.264 video by its motion vectors, residuals or bits.

    MPEG-4, MPEG-2 and MPEG-1 need ``residual_weight=0`` and use the vectors that libavcodec exports. All other codecs
    need `transcode`.

    Args:
        source: what ``ove_codec.open`` takes, or a video that it opened.
        preset: "paper", "llava", "probe", "bitcost" or "ove".
        device: where scores, mask and positions are computed: None or "cpu"; or a GPU as in PyTorch or CuPy: "cuda", a
            device, or a stream on which all work is queued. A GPU needs PyTorch.
        threads: of the decoder; 0 for all cores.
        limits: limits of the stream, as with ``ove_codec.open``; an opened video has its own.
        transcode: True, or "auto:" and the name of a recipe, to convert codecs other than HEVC and H.264 to HEVC in
            memory; the name of a recipe alone (or a ``Recipe``) to convert every codec; see ``ove_codec.transcode``.
            Only the part from ``start`` to ``end`` is converted. The selection is of the converted pictures, numbered
            as in `source`; if their size is odd, they lack the last row or column.
        on_damage: "skip" to leave out damaged pictures, as ``ove_codec.open`` does, which decodes the whole video once;
            `tokenize` then needs it too. It cannot be combined with a `transcode` that converts.
        progress: whether to show a progress bar over the pictures read; None shows it if standard error is a terminal.
        **params: overrides of the preset's parameters (see ``ove_codec.presets``).

    Returns:
        The selection. Apart from one picture at a time, only patch scores are held in memory. With a GPU, its arrays
        are CUDA tensors; with ``budget``, nothing waits for the GPU.

    Raises:
        ValueError: an unknown preset or a bad value.
        TypeError: an unknown parameter.
        RuntimeError: no kernel can run on the device; the message says why.
        UnsupportedStreamError: the picture size changes among the sampled pictures; and what ``ove_codec.open`` raises.
    """
    backend = backend_for(device)
    overrides = dict(params)
    whole = resolve(preset, overrides)
    part = {name: whole[name] for name in ("start", "end")}
    pictures = VideoPictures(source, threads, limits, transcode, progress, **part, on_damage=on_damage).checked(whole)
    return select_pictures(pictures, preset, overrides, backend)


@with_parameters
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
    mirrored: bool = False,
    preset: str = "paper",
    device: Any = None,
    **params: Unpack[Parameters],
) -> Selection:
    """``select`` on arrays of N pictures in display order, from any source.

    Arrays are anything that NumPy accepts or that has ``__dlpack__``, such as those of PyTorch and CuPy. With a GPU as
    `device`, they may all be on that GPU and are not copied; their types must then be int16 (mv, residual), uint8
    (pred) and int32. Work already queued on the current stream runs before the work queued on the given stream.

    Args:
        mv: (N, ceil(H/4), ceil(W/4), 2 lists, 2) whole numbers, vectors (x, y) in quarter luma samples; or
            (N, ceil(H/4), ceil(W/4), 2) for list 0 only; None with ``mv_weight=0``.
        residual: (N, H, W) whole numbers, luma residual at `bit_depth`; None with ``residual_weight=0``.
        pred: (N, ceil(H/4), ceil(W/4)), bit 0 is set if list 0 is used, bit 1 for list 1; if None, a list counts as
            used where its vector is not 0.
        ref_poc: (N, ceil(H/4), ceil(W/4), 2) POC of the reference, with poc (N,), for ``vector="displacement"``.
        bits: (N, CTU rows, CTU columns) bits of each CTU, with `ctb_size` (derived from the shapes if None).
        types: N characters, "I" for intra pictures; None if there are none.
        pts: (N,) seconds, for ``start`` and ``end``.
        window: (x, y, width, height) of the display window in the coded picture; None for all of it.
        rotation: clockwise degrees from the coded to the display picture.
        mirrored: whether left and right are exchanged for display, before the picture is turned.

    Each may also be a sequence with one array per picture. Everything else is as with ``select``.
    """
    given = {"mv": mv, "residual": residual, "pred": pred, "ref_poc": ref_poc, "bits": bits}
    on_gpu = [name for name, array in given.items() if array is not None and lies_on_gpu(array)]
    backend = backend_for(device)
    if on_gpu and (backend.is_cpu or len(on_gpu) < sum(array is not None for array in given.values())):
        raise ValueError(
            f"{', '.join(on_gpu)} are on a GPU: move every array there and pass device='cuda', or move them to the CPU"
        )
    # What other libraries have queued to make the arrays comes before what is queued here.
    with backend.on(behind_caller=True) if on_gpu else nullcontext():
        pictures = ArrayPictures(
            mv, residual, pred, ref_poc, poc, bits, types,
            bit_depth=bit_depth, ctb_size=ctb_size, pts=pts, window=window,
            rotation=rotation,
            mirrored=mirrored,
        )  # fmt: skip
    return select_pictures(pictures, preset, dict(params), backend)
