"""Types of the C++ extension."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, BinaryIO, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Never, Self

from ove_codec._source import VideoStream

_Unopened = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | VideoStream
_Bytes = bytes | bytearray | memoryview
_Color = tuple[float, float, float]

class _Pybind11Type(type): ...

class Error(RuntimeError):
    position: int | None

class InvalidBitstreamError(Error): ...
class UnsupportedStreamError(Error): ...
class DecodeError(Error): ...

CLIP_MEAN: _Color
CLIP_STD: _Color

@final
class OpenedSource(metaclass=_Pybind11Type):
    def __init__(self, source: _Unopened) -> None: ...
    @property
    def info(self) -> dict[str, Any]: ...

_Source = _Unopened | OpenedSource

def stream_info(source: _Source) -> dict[str, Any]: ...
def packet_times(source: _Source) -> tuple[NDArray[np.int64], NDArray[np.bool_]]: ...

@final
class Packets(metaclass=_Pybind11Type):
    def __init__(self, source: _Source) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> dict[str, Any]: ...
    @property
    def info(self) -> dict[str, Any]: ...
    @property
    def extradata(self) -> bytes: ...

@final
class Transcoder(metaclass=_Pybind11Type):
    def __init__(
        self,
        source: _Source,
        target: str | PathLike[str] | None,
        *,
        encoder: str = "libx265",
        preset: str,
        crf: float,
        params: str,
        pixel_formats: Sequence[str],
        container: str,
        threads: int,
        max_luma_samples: int,
        start: float | None = None,
        end: float | None = None,
    ) -> None: ...
    def step(self) -> bool: ...
    def close_early(self) -> bool: ...
    def bytes(self) -> bytes: ...
    @property
    def facts(self) -> dict[str, Any]: ...

def exports_motion(codec: str) -> bool: ...
def decodes(codec: str) -> bool: ...

@final
class ExportedMotion(metaclass=_Pybind11Type):
    def __init__(self, source: _Source, *, vectors: bool, threads: int = 1, max_luma_samples: int) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> dict[str, Any]: ...

@final
class Slice(metaclass=_Pybind11Type):
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    @property
    def type(self) -> str: ...
    @property
    def address(self) -> int: ...
    @property
    def qp(self) -> int: ...
    @property
    def data_bits(self) -> int: ...
    @property
    def ref_poc(self) -> list[list[int]]: ...
    @property
    def is_long_term(self) -> list[list[bool]]: ...
    @property
    def weights(self) -> list[list[tuple[int, int, int]]] | None: ...

@final
class Picture(metaclass=_Pybind11Type):
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    @property
    def index(self) -> int: ...
    @property
    def pts(self) -> float: ...
    @property
    def motion_only(self) -> bool: ...
    @property
    def poc(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def packet(self) -> int: ...
    @property
    def random_access(self) -> bool: ...
    @property
    def structure(self) -> str: ...
    @property
    def temporal_id(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def coded_width(self) -> int: ...
    @property
    def coded_height(self) -> int: ...
    @property
    def window(self) -> tuple[int, int, int, int]: ...
    @property
    def rotation(self) -> int: ...
    @property
    def mirrored(self) -> bool: ...
    @property
    def bit_depth(self) -> int: ...
    @property
    def block_unit(self) -> int: ...
    @property
    def ctb_size(self) -> int: ...
    @property
    def slices(self) -> list[Slice]: ...
    @property
    def pred(self) -> NDArray[np.uint8]: ...
    @property
    def mv(self) -> NDArray[np.int16]: ...
    @property
    def ref_poc(self) -> NDArray[np.int32]: ...
    @property
    def residual(self) -> NDArray[np.int16]: ...
    @property
    def qp(self) -> NDArray[np.int8]: ...
    @property
    def cu_size(self) -> NDArray[np.uint8]: ...
    @property
    def skip(self) -> NDArray[np.bool_]: ...
    @property
    def field(self) -> NDArray[np.uint8]: ...
    @property
    def bits(self) -> NDArray[np.int32]: ...
    @property
    def block_bits(self) -> NDArray[np.float32]: ...
    def plot(self, kind: str = "motion", *, axes: Any = None) -> Any: ...
    def _repr_png_(self) -> bytes: ...

def default_limits() -> dict[str, int]: ...
def check_limits(limits: dict[str, int]) -> None: ...

@final
class VideoIndex(metaclass=_Pybind11Type):
    def __init__(self, source: _Source, *, limits: dict[str, int] = ..., skip_damage: bool = False) -> None: ...
    def __len__(self) -> int: ...
    @property
    def lost(self) -> list[tuple[int, int, float | None, str]]: ...
    @property
    def packet(self) -> NDArray[np.int64]: ...
    @property
    def pts(self) -> NDArray[np.float64]: ...
    @property
    def poc(self) -> NDArray[np.int32]: ...
    @property
    def type(self) -> NDArray[np.str_]: ...
    @property
    def random_access(self) -> NDArray[np.bool_]: ...
    @property
    def packet_bytes(self) -> NDArray[np.int64]: ...
    @property
    def counts_from_start(self) -> bool: ...
    def num_needed(self, frame_ids: Sequence[int]) -> int: ...
    def num_decoded(self, frame_ids: Sequence[int] | NDArray[np.int64]) -> int: ...
    def anchors(
        self,
        shown: Sequence[int] | NDArray[np.int64],
        asked: Sequence[int] | NDArray[np.int64],
        *,
        tolerance: float | None = None,
        intra: bool = True,
    ) -> list[int] | None: ...
    def unanchored(
        self,
        shown: Sequence[int] | NDArray[np.int64],
        asked: Sequence[int] | NDArray[np.int64],
        *,
        tolerance: float | None = None,
        intra: bool = True,
    ) -> list[int]: ...
    def window(self, frame_ids: Sequence[int]) -> tuple[int, int, int, int] | None: ...

@final
class KeptReads(metaclass=_Pybind11Type):
    def __init__(self, file: BinaryIO, most_bytes: int) -> None: ...

@final
class PictureTable(metaclass=_Pybind11Type):
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    @staticmethod
    def read(source: _Source) -> PictureTable | None: ...
    def __len__(self) -> int: ...
    @property
    def packet(self) -> NDArray[np.int64]: ...
    @property
    def pts(self) -> NDArray[np.float64]: ...
    @property
    def packet_bytes(self) -> NDArray[np.int64]: ...
    def index(
        self, source: _Source, frame_ids: Sequence[int], *, limits: dict[str, int] = ...
    ) -> VideoIndex | None: ...

@final
class PictureIterator(metaclass=_Pybind11Type):
    def __init__(
        self,
        source: _Source,
        *,
        threads: int = 0,
        decoding_order: bool = False,
        residual: bool = True,
        motion: bool = True,
        limits: dict[str, int] = ...,
        index: VideoIndex | None = None,
        frame_ids: Sequence[int] = ...,
        whole_bytes: bool = False,
        bits_by_block: bool = False,
    ) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Picture: ...
    @property
    def info(self) -> dict[str, Any]: ...

@final
class Scorer(metaclass=_Pybind11Type):
    def __init__(
        self, params: dict[str, Any], window: tuple[int, int, int, int], rotation: int = 0, mirrored: bool = False
    ) -> None: ...
    def accumulate(self, picture: Any) -> None: ...
    def measure(self, picture: Any) -> None: ...
    def score(self, picture: Any) -> NDArray[np.float32]: ...
    def heat(self, picture: Any) -> NDArray[np.float32]: ...
    def score_video(
        self,
        source: _Source,
        *,
        index: VideoIndex,
        frame_ids: Sequence[int],
        scored_ids: Sequence[int],
        threads: int,
        limits: dict[str, int],
        progress: Callable[[int], object] | None = None,
    ) -> NDArray[np.float32]: ...
    def valid(self) -> NDArray[np.bool_]: ...
    def set_clip_scales(self, scales: tuple[float, float, float]) -> None: ...
    @property
    def scales(self) -> tuple[float, float, float]: ...
    @property
    def full_score(self) -> float: ...
    @property
    def geometry(self) -> dict[str, Any]: ...

@final
class HeatPlan(metaclass=_Pybind11Type):
    def __init__(self, scorer: Scorer, ctb_size: int) -> None: ...
    @property
    def tables(self) -> bytes: ...
    @property
    def block(self) -> bytes: ...
    @property
    def most_bytes(self) -> int: ...
    def pack(self, memory: int, there: int, sampled: int, picture: Any) -> tuple[int, int, bytes]: ...
    def in_place(self, clip: object, pictures: Sequence[tuple[int, int, int, bool]]) -> bytes: ...

def cell_heat(costs: NDArray[np.float32], percentile: float) -> NDArray[np.float32]: ...
def block_scores(heat: NDArray[np.float32], height: int, width: int, side: int) -> NDArray[np.float32]: ...

@final
class RankedBlocks(metaclass=_Pybind11Type):
    def __init__(self, scores: NDArray[np.float32], budget: int) -> None: ...
    def mean_chunk_sum(self, group_size: int) -> float: ...
    def groups(
        self,
        threshold: float,
        *,
        min_frames: int,
        max_frames: int,
        coverage_bins: int,
        min_coverage: int,
        delta_ratio: float,
    ) -> list[tuple[int, int, str]]: ...
    def choose(self, start: int, end: int, anchor: int, good: NDArray[np.bool_] | None = None) -> NDArray[np.int32]: ...

def place_blocks(
    source: _Source,
    packets: NDArray[np.int64],
    starts: NDArray[np.int64],
    placements: NDArray[np.int32],
    images: NDArray[np.uint8],
    *,
    side: int,
    facts_step: int = 0,
    threads: int = 0,
    index: VideoIndex | None = None,
    max_luma_samples: int = ...,
) -> NDArray[np.float64]: ...

@final
class FrameIterator(metaclass=_Pybind11Type):
    def __init__(
        self,
        source: _Source,
        packets: NDArray[np.int64],
        height: int,
        width: int,
        *,
        facts_step: int = 1,
        threads: int = 0,
        index: VideoIndex | None = None,
        max_luma_samples: int = ...,
    ) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> tuple[int, NDArray[np.uint8], NDArray[np.float64]]: ...

def ranking_plan(
    valid: NDArray[np.bool_], keep_whole: NDArray[np.bool_], params: dict[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, int, int | None, int]: ...
def keep_patches(
    scores: NDArray[np.float32],
    valid: NDArray[np.bool_],
    keep_whole: NDArray[np.bool_],
    full_score: float,
    params: dict[str, Any],
) -> NDArray[np.bool_]: ...
def gather_patches(
    source: _Source,
    packets: NDArray[np.int64],
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    *,
    resize: str,
    size: int,
    patch_size: int,
    source_size: tuple[int, int],
    mean: _Color = ...,
    std: _Color = ...,
    threads: int = 0,
    index: VideoIndex | None = None,
    max_luma_samples: int = ...,
) -> NDArray[np.float32]: ...

@final
class StagedPictures(metaclass=_Pybind11Type):
    def __init__(
        self,
        source: _Source,
        packets: NDArray[np.int64],
        *,
        resize: str,
        size: int,
        patch_size: int,
        source_size: tuple[int, int],
        mean: _Color = ...,
        std: _Color = ...,
        threads: int = 0,
        index: VideoIndex | None = None,
        max_luma_samples: int = ...,
        nvdec: tuple[int, int] | None = None,
    ) -> None: ...
    most_frames: int
    @property
    def frame(self) -> object | None: ...
    def next(self) -> int | None: ...
    def stage(
        self, positions: NDArray[np.int32], memory: int, used: int, capacity: int, device: int
    ) -> tuple[int, bytes | None]: ...

def gather_frames(
    source: _Source,
    packets: NDArray[np.int64],
    *,
    resize: str,
    size: int,
    mean: _Color = ...,
    std: _Color = ...,
    threads: int = 0,
    index: VideoIndex | None = None,
    max_luma_samples: int = ...,
) -> NDArray[np.float32]: ...
def gather_byte_frames(
    source: _Source,
    packets: NDArray[np.int64],
    *,
    resize: str,
    size: int,
    mean: _Color = ...,
    std: _Color = ...,
    threads: int = 0,
    index: VideoIndex | None = None,
    max_luma_samples: int = ...,
) -> NDArray[np.uint8]: ...

@final
class LiveFrame(metaclass=_Pybind11Type):
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @property
    def packet(self) -> int: ...
    def patches(
        self,
        positions: ArrayLike,
        *,
        resize: str,
        size: int,
        patch_size: int,
        mean: _Color = ...,
        std: _Color = ...,
    ) -> NDArray[np.float32]: ...
    def place_blocks(
        self, placements: ArrayLike, images: NDArray[np.uint8], *, side: int, facts_step: int = 0
    ) -> NDArray[np.float64]: ...

@final
class LiveStream(metaclass=_Pybind11Type):
    def __init__(
        self,
        codec: str,
        extradata: _Bytes | None = None,
        *,
        residual: bool = True,
        packed: bool = False,
        pixels: bool = False,
        threads: int = 1,
        limits: dict[str, int] = ...,
        rotation: int = 0,
        mirrored: bool = False,
    ) -> None: ...
    def push(self, packet: _Bytes, pts: float | None, *, corrupt: bool = False) -> None: ...
    def set_extradata(self, extradata: _Bytes) -> None: ...
    def flush(self) -> None: ...
    def next(self) -> Picture | None: ...
    def decide(self, packet: int, wanted: bool) -> None: ...
    def take_frames(self) -> list[LiveFrame]: ...
    @property
    def pixels_decoded(self) -> int: ...
    def take_losses(self) -> list[tuple[int, int, float | None, str]]: ...

def gather_planes(
    planes: Sequence[NDArray[Any]],
    positions: ArrayLike,
    *,
    bit_depth: int = 8,
    matrix: str = "bt601",
    full_range: bool = False,
    chroma_shift: tuple[int, int] = ...,
    chroma_site: tuple[float, float] = ...,
    quarter_turns: int = 0,
    mirrored: bool = False,
    resize: str,
    size: int,
    patch_size: int,
    mean: _Color = ...,
    std: _Color = ...,
) -> NDArray[np.float32]: ...
