from collections.abc import Sequence
from typing import Any, TypeAlias

_Rows: TypeAlias = tuple[int, int, int]
_Plane: TypeAlias = tuple[int, int, int, int]
_Color: TypeAlias = Sequence[float]

def has_driver() -> bool: ...
def unavailable_reason(device: int) -> str: ...
def primary_context() -> int: ...
def gather_rows(all: _Rows, index: int, packed: _Rows, stream: int) -> None: ...
def scatter_rows(all: _Rows, index: int, packed: _Rows, stream: int) -> None: ...
def add_rows(all: _Rows, index: int, packed: _Rows, dtype: str, stream: int) -> None: ...
def clip_descriptor(
    planes: Sequence[_Plane],
    *,
    width: int,
    height: int,
    frames: int,
    bit_depth: int,
    low_bits: int,
    matrix: str,
    full_range: bool,
    chroma_shift: Sequence[int],
    chroma_site: Sequence[float],
    quarter_turns: int,
    mirrored: bool,
    resize: str,
    size: int,
    patch_size: int,
    mean: _Color,
    std: _Color,
) -> bytes: ...
def gather_patches(
    clips: int,
    clip_count: int,
    patch_size: int,
    cu_seqlens: int,
    positions: int,
    count: int,
    dtype: str,
    rows: int,
    stream: int,
) -> None: ...

_Room: TypeAlias = tuple[int, int, int, int]

def clip_bytes(tables: bytes, pictures: int, sampled: int) -> int: ...
def rank_bytes(patches: int, clips: int) -> int: ...
def take_in(
    tables: bytes, room: _Room, records: int, count: int, most_level_blocks: int, first: int, stream: int
) -> None: ...
def clear_sums(tables: bytes, room: _Room, stream: int) -> None: ...
def accumulate(tables: bytes, room: _Room, pictures: int, first: int, end: int, stream: int) -> None: ...
def measure(tables: bytes, room: _Room, pictures: int, given_scales: int, scales: int, stream: int) -> None: ...
def score(tables: bytes, room: _Room, pictures: int, scores: int, stream: int) -> None: ...
def render(tables: bytes, room: _Room, pictures: int, picture: int, canvas: int, stream: int) -> None: ...
def ranked_clip(
    scores: int,
    valid: int,
    classes: int,
    static_classes: int,
    first: Sequence[int],
    frames: int,
    grid: Sequence[int],
    selectable: int,
    kept: int,
    first_share: int,
    full_score: float,
) -> bytes: ...
def rank_patches(
    clips: int,
    clip_count: int,
    patches: int,
    kept: int | None,
    shares_first: bool,
    params: dict[str, Any],
    work: int,
    mask: int,
    positions: int,
    stream: int,
) -> None: ...
