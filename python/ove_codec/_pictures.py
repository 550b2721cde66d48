"""Where a selection reads its pictures: a video, or arrays from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ove_codec import _core, cuda, video
from ove_codec._progress import bar, watched
from ove_codec._reading import Array, PictureArrays, Reads, Scorable, Scored
from ove_codec._source import SourceVideo
from ove_codec.limits import Limits
from ove_codec.motion_only import lacking
from ove_codec.transcoding import Recipe, part_in_hevc


def check_signals(video: Any, params: dict[str, Any]) -> None:
    """Raises UnsupportedStreamError where `params` need more of a video's pictures than they have."""
    anchors = params["sampling"] == "anchors" and params["frame_ids"] is None
    needs = (  # signal, what it is called, whether it is needed, what does without it
        ("residual", "residual", params["residual_weight"] > 0, "residual_weight=0"),
        ("bits", "bits", params["bits_weight"] > 0, "bits_weight=0"),
        ("references", "references of pictures", anchors, "sampling='time'"),
        ("ref_poc", "distance to the referenced picture", params["vector"] == "displacement", "vector='l0_else_l1'"),
    )
    missing = [(what, change) for signal, what, needed, change in needs if needed and not video.has(signal)]
    if not missing:
        return
    changes = [change for _, change in missing] + (["mv_weight=1"] if params["mv_weight"] == 0 else [])
    what = ", no ".join(what for what, _ in missing)
    message = lacking(video.name, video.info["codec"], what, f"select with {', '.join(changes)}")
    raise _core.UnsupportedStreamError(message)


class VideoPictures:
    """What ``ove_codec.open`` takes, or a video that it opened; transcoded first with the recipe `transcode`.

    Of what is transcoded, that is only what is shown from `start` on and before `end`. Display indices are those of the
    source: ``first`` pictures of it precede the first one of ``video``.
    """

    def __init__(
        self,
        source: Any,
        threads: int = 0,
        limits: Limits | None = None,
        transcode: bool | str | Recipe = False,
        progress: bool | None = False,
        start: float | None = None,
        end: float | None = None,
        on_damage: str = "raise",
    ) -> None:
        source = getattr(source, "on_cpu", source)
        if isinstance(source, SourceVideo):
            video.check_opened(source, on_damage)
            on_damage = source.on_damage
        video.check_damage(on_damage)
        self.first = 0
        if transcode:
            part: dict[str, Any] = {"start": start, "end": end, "progress": progress, "on_damage": on_damage}
            source, self.first = part_in_hevc(source, transcode, threads, limits, **part)
        self._source = source
        self.on_damage = on_damage
        self._threads = threads
        self._limits = limits
        self._shown = progress
        self._video: Any = source if isinstance(source, SourceVideo) else None

    @property
    def path(self) -> str | None:
        source = getattr(self._source, "source", self._source)  # a Video names its own
        return os.fspath(source) if isinstance(source, (str, os.PathLike)) else None

    @property
    def video(self) -> Any:
        if self._video is None:
            options: dict[str, Any] = {"threads": self._threads, "limits": self._limits}
            self._video = video.open(self._source, **options, on_damage=self.on_damage)
        return self._video

    def checked(self, params: dict[str, Any]) -> VideoPictures:
        """Itself; UnsupportedStreamError where the video has not all that `params` need."""
        check_signals(self.video, params)
        return self

    def pts(self) -> Array | int:
        """Seconds of the pictures; those before ``first`` lie before everything."""
        return np.concatenate([np.full(self.first, -np.inf), np.asarray(self.video._table.pts, np.float64)])

    def sizes(self) -> npt.NDArray[np.int64]:
        return np.concatenate([np.zeros(self.first, np.int64), np.asarray(self.video._table.packet_bytes)])

    def anchors(self, shown: Array, asked: Array, params: dict[str, Any]) -> Array:
        shown = shown - self.first
        options: dict[str, Any] = {"tolerance": params["tolerance"], "intra": params["i_pictures"] != "zero"}
        needed = self.video._index_of([]).unanchored(shown, asked, **options)
        taken = self.video._index_of(needed).anchors(shown, asked, **options)
        return np.array(self.video.index.anchors(shown, asked, **options) if taken is None else taken, np.int64)

    def intra(self, frame_ids: Sequence[int]) -> npt.NDArray[np.bool_]:
        places = np.asarray(frame_ids, np.int64) - self.first
        inside = places >= 0
        found = np.zeros(len(places), bool)
        found[inside] = np.asarray(self.video._index_of(places[inside].tolist()).type[places[inside]] == "I")
        return found

    def score(self, reads: Reads, params: dict[str, Any], scorer: _core.Scorer | None) -> Scored | None:
        video = self.video
        frame_ids = [i - self.first for i, _ in reads]
        index = video._index_of(frame_ids)
        window = index.window(frame_ids)
        if window is None:
            return None
        scorer = scorer or _core.Scorer(params, window, video.info["rotation"], video.info["mirrored"])
        with bar(len(frame_ids), self._shown) as progress:
            values = scorer.score_video(
                video._readable,
                index=index,
                frame_ids=frame_ids,
                scored_ids=[i - self.first for i, slot in reads if slot is not None],
                threads=video.threads,
                limits=video.limits.as_dict(),
                progress=(lambda done: progress.update(done - progress.n)) if self._shown is not False else None,
            )
        return Scored(values, None, scorer)

    def read(self, frame_ids: Sequence[int], params: dict[str, Any]) -> Iterator[Scorable]:
        frame_ids = [i - self.first for i in frame_ids]
        pictures = self.video._scorable(frame_ids, params["residual_weight"] > 0)
        pictures = watched(pictures, len(frame_ids), self._shown)
        return (_exported(picture) if picture.motion_only else picture for picture in pictures)


def _exported(picture: Any) -> PictureArrays:
    """What a ``MotionPicture`` has."""
    return PictureArrays(
        picture.coded_width, picture.coded_height, picture.window, picture.rotation, picture.mirrored,
        picture.type == "I", picture.bit_depth, mv=picture.mv, pred=picture.pred,
    )  # fmt: skip


# Of arrays on a GPU
_SHAPES = (
    ("mv", (3, 4), "(N, H/4, W/4, 2 lists, 2) or (N, H/4, W/4, 2)"),
    ("residual", (2,), "(N, H, W)"),
    ("bits", (2,), "(N, CTU rows, CTU columns)"),
)  # what a picture of these arrays may have as dimensions
_DEVICE_TYPES = {"mv": "int16", "residual": "int16", "pred": "uint8", "ref_poc": "int32", "bits": "int32"}


class ArrayPictures:
    """Arrays of one entry a picture, as ``select_arrays`` takes them."""

    path: str | None = None
    on_damage = "raise"

    def __init__(
        self,
        mv: Any,
        residual: Any,
        pred: Any,
        ref_poc: Any,
        poc: Any,
        bits: Any,
        types: Any,
        *,
        bit_depth: int,
        ctb_size: int | None,
        pts: Any,
        window: tuple[int, int, int, int] | None,
        rotation: int,
        mirrored: bool,
    ) -> None:
        given = {
            "mv": mv, "residual": residual, "pred": pred, "ref_poc": ref_poc, "poc": poc, "bits": bits, "types": types,
            "pts": pts,
        }  # fmt: skip
        self._borrowed: list[Any] = []  # memory of other libraries on a GPU
        self._on_gpu = any(map(cuda.lies_on_gpu, (mv, residual, bits)))
        self._arrays = {
            name: self._on_device(name, value) if self._on_gpu and name in _DEVICE_TYPES else _known(value)
            for name, value in given.items()
            if value is not None
        }
        lengths = {name: len(value) for name, value in self._arrays.items()}
        if not set(lengths) & {"mv", "residual", "bits"}:
            raise ValueError("nothing to select by: pass mv, residual or bits")
        if len(set(lengths.values())) != 1:
            raise ValueError(f"every array must hold one entry per picture, but their lengths are {lengths}")
        self._count = next(iter(lengths.values()))
        if residual is None and mv is None and window is None:
            raise ValueError("bits alone do not give the size of the picture: pass mv, residual or window too")
        self._bit_depth = bit_depth
        self._ctb_size = ctb_size
        self._window = window
        self._orientation = rotation, mirrored

    def _on_device(self, name: str, value: Any) -> Any:
        """The arrays of all pictures as one contiguous tensor on the GPU; nothing waits for its values."""
        import torch

        from ove_codec.ops.inputs import as_tensor

        def taken(array: Any) -> torch.Tensor:
            tensor = as_tensor(array)
            if tensor is not array:
                self._borrowed.append(tensor)
            return tensor

        whole = torch.stack(list(map(taken, value))) if isinstance(value, list | tuple) else taken(value)
        if str(whole.dtype) != f"torch.{_DEVICE_TYPES[name]}":
            raise ValueError(f"{name} must be {_DEVICE_TYPES[name]} on a GPU, not {whole.dtype}")
        return _with_list_1(whole) if name == "mv" and whole.dim() == 4 else whole.contiguous()

    def pts(self) -> Array | int:
        return np.asarray(self._arrays["pts"], np.float64) if "pts" in self._arrays else self._count

    def sizes(self) -> npt.NDArray[np.int64] | None:
        if "bits" not in self._arrays:
            return None
        return np.array([int(self._whole("bits", i, np.int32).sum()) for i in range(self._count)])

    def anchors(self, shown: Array, asked: Array, params: dict[str, Any]) -> Array:
        raise ValueError(
            "sampling='anchors' needs the references of each picture, which arrays do not hold: select from the "
            "video, or set sampling='time'"
        )

    def intra(self, frame_ids: Sequence[int]) -> npt.NDArray[np.bool_]:
        return np.array(["types" in self._arrays and str(self._arrays["types"][i]) == "I" for i in frame_ids])

    def score(self, reads: Reads, params: dict[str, Any], scorer: _core.Scorer | None) -> Scored | None:
        return None

    def _size(self, i: int) -> tuple[int, int]:
        def shape(name: str) -> tuple[int, ...]:
            array = self._arrays[name]
            return tuple(array.shape[1:]) if self._on_gpu else np.shape(array[i])

        for name, ranks, form in _SHAPES:
            if name in self._arrays and len(shape(name)) not in ranks:
                raise ValueError(f"{name} must have the shape {form}, not {(self._count, *shape(name))}")
        if "residual" in self._arrays:
            height, width = shape("residual")
        elif "mv" in self._arrays:
            height, width = (4 * n for n in shape("mv")[:2])
        else:
            assert self._window is not None
            x, y, width, height = self._window
            width, height = x + width, y + height
        return width, height

    def _whole(self, name: str, i: int, dtype: Any) -> Any:
        """The array of a picture as whole numbers of this type."""
        if name not in self._arrays:
            return None
        array = self._arrays[name][i]
        array = np.asarray(array.cpu() if self._on_gpu else _known(array))
        if array.dtype == dtype:
            return array
        info = np.iinfo(dtype)
        if array.dtype.kind not in "biu" or (array.size and (array.min() < info.min or array.max() > info.max)):
            raise ValueError(f"{name} must hold whole numbers that fit {np.dtype(dtype)}, not {array.dtype} values")
        return array.astype(dtype)

    def _ctb(self, width: int, height: int, bits: Array | None) -> int:
        if bits is None or self._ctb_size is not None:
            return self._ctb_size or 0
        for side in (64, 32, 16, 8):
            if bits.shape == (-(-height // side), -(-width // side)):
                return side
        raise ValueError(f"bits of shape {bits.shape} match no CTU size for a {width}x{height} picture; pass ctb_size")

    def read(self, frame_ids: Sequence[int], params: dict[str, Any]) -> Iterator[Scorable]:
        for i in frame_ids:
            width, height = self._size(i)
            if self._on_gpu:
                yield self._placed(i, width, height)
                continue
            mv = self._whole("mv", i, np.int16)
            if mv is not None and mv.ndim == 3:  # list 0 alone
                mv = _with_list_1(mv)
            bits = self._whole("bits", i, np.int32)
            yield PictureArrays(
                width,
                height,
                self._window or (0, 0, width, height),
                *self._orientation,
                bool(self.intra([i])[0]),
                self._bit_depth,
                mv,
                pred=self._whole("pred", i, np.uint8),
                ref_poc=self._whole("ref_poc", i, np.int32) if "poc" in self._arrays else None,
                poc=int(self._arrays["poc"][i]) if "poc" in self._arrays else 0,
                residual=self._whole("residual", i, np.int16),
                bits=bits,
                ctb_size=self._ctb(width, height, bits),
            )

    def _placed(self, i: int, width: int, height: int) -> PictureArrays:
        """A picture of arrays that lie on a GPU, and stay where they are."""
        arrays = self._arrays
        bits = arrays.get("bits")
        return PictureArrays(
            width,
            height,
            self._window or (0, 0, width, height),
            *self._orientation,
            bool(self.intra([i])[0]),
            self._bit_depth,
            arrays.get("mv"),
            pred=arrays.get("pred"),
            ref_poc=arrays.get("ref_poc") if "poc" in arrays else None,
            poc=int(arrays["poc"][i]) if "poc" in arrays else 0,
            residual=arrays.get("residual"),
            bits=bits,
            ctb_size=self._ctb(width, height, None if bits is None else bits[0]),
            entry=i,
            entries=self._count,
            borrowed=self._borrowed,
        )


def _known(array: Any) -> Any:
    """The array as one of NumPy; what NumPy reads by itself is left as it is."""
    if hasattr(array, "__dlpack__") and not hasattr(array, "__array__"):
        return np.from_dlpack(array)
    return array


def _with_list_1(mv: Any) -> Any:
    """Vectors (..., 2) of list 0 with those of a list 1 that is not used."""
    if isinstance(mv, np.ndarray):
        return np.stack([mv, np.zeros_like(mv)], axis=-2)
    import torch

    return torch.stack([mv, torch.zeros_like(mv)], dim=-2)
