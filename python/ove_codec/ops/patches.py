"""From decoded planes to the rows of the selected patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ove_codec import _core, cuda
from ove_codec._colors import CLIP_MEAN, CLIP_STD, Color
from ove_codec.ops.inputs import as_tensor, hold_borrowed

_MATRICES = ("rgb", "bt709", "bt601", "fcc", "smpte240m", "ycgco", "bt2020")
DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


@dataclass(frozen=True)
class ClipPlanes:
    """Decoded pictures of one clip; uint8 samples up to 8 bits, uint16 above, of any strides.

    `planes` are, by `layout`,

    - "yuv": Y (T, H, W), or Y, Cb and Cr, or R, G and B; chroma planes of their own size.
    - "nv12": Y (T, H, W) and CbCr (T, h, w, 2).
    - "p010": as "nv12", uint16, with the bit_depth bits of a sample in the upper bits (P010, P012, P016).
    - "rgb": R'G'B' (T, H, W, 3) of full range; the fields from `matrix` to `chroma_site` mean nothing.

    Attributes:
        matrix: "rgb", "bt709", "bt601", "fcc", "smpte240m", "ycgco" or "bt2020" (H.273 MatrixCoefficients).
        chroma_shift: log2 of luma samples per chroma sample, (x, y).
        chroma_site: where a chroma sample sits among them, (x, y): 0 at the first, 1/2 midway, 1 at the last.
        quarter_turns: clockwise, for display.
        mirrored: left and right are exchanged for display, before the turns.
    """

    planes: Sequence[Any]
    layout: str = "yuv"
    bit_depth: int = 8
    matrix: str = "bt601"
    full_range: bool = False
    chroma_shift: tuple[int, int] = (1, 1)
    chroma_site: tuple[float, float] = (0.0, 0.5)
    quarter_turns: int = 0
    mirrored: bool = False


def gather_patches(
    clips: Sequence[ClipPlanes],
    positions: Any,
    cu_seqlens: Any,
    *,
    resize: str,
    size: int,
    patch_size: int,
    dtype: torch.dtype = torch.float32,
    mean: Color = CLIP_MEAN,
    std: Color = CLIP_STD,
) -> Tensor:
    """The selected patches of a batch of clips of any sizes, as `ove_codec.tokenize` makes them.

    Args:
        clips: at least one, all on the device of `positions`.
        positions: (N, 3) int64: frame in its clip, patch row, patch column.
        cu_seqlens: (len(clips) + 1,) int32: clip i has the positions cu_seqlens[i] to cu_seqlens[i + 1].
        resize, size, patch_size: as of the selection's geometry; patches of at most 512 samples a side on a GPU.
        dtype: float32, float16 or bfloat16.
        mean, std: of R, G and B in [0, 1]; CLIP's by default.

    Returns:
        (N, 3*p*p) rows, a row being the patch's samples (channel, row, column).

    Raises:
        ValueError: shape, dtype, device or format of an argument is another; on the CPU also a position off the grid or
            the frames. On a GPU that is an error of the device, which CUDA reports at the next synchronisation.
        RuntimeError: no kernel can run on the device, or a CUDA graph is being captured: what describes the clips comes
            from the CPU's memory, which a replay would not find. torch.compile leaves the call out of its graphs.
    """
    arrays: list[Any] = [positions, cu_seqlens]
    given = list(map(as_tensor, arrays))
    planes: list[Tensor] = []
    formats: list[int] = []
    sites: list[float] = []
    for clip in clips:
        arrays += clip.planes
        made = [as_tensor(plane) for plane in clip.planes]
        given += made
        components, low_bits = _components(clip.layout, clip.bit_depth, made)
        rgb = clip.layout == "rgb"
        matrix = "rgb" if rgb else clip.matrix
        if matrix not in _MATRICES:
            raise ValueError(f"matrix must be one of {', '.join(_MATRICES)}, not {matrix!r}")
        planes += components
        formats += [len(components), clip.bit_depth, low_bits, _MATRICES.index(matrix), int(rgb or clip.full_range)]
        formats += [*((0, 0) if rgb else clip.chroma_shift), clip.quarter_turns, int(clip.mirrored)]
        sites += clip.chroma_site
    rows: Tensor = _gather(
        planes,
        formats,
        sites,
        *given[:2],
        resize,
        size,
        patch_size,
        list(mean),
        list(std),
        dtype,
    )
    hold_borrowed(given, arrays)
    return rows


def _components(layout: str, bit_depth: int, planes: list[Tensor]) -> tuple[list[Tensor], int]:
    """Views (T, H, W) of one component each, and the number of unused low bits."""
    shapes = [tuple(p.shape) for p in planes]
    if layout == "yuv" and len(planes) in (1, 3):
        return planes, 0
    if layout in ("nv12", "p010") and len(planes) == 2 and len(shapes[1]) == 4 and shapes[1][3] == 2:
        return [planes[0], planes[1][..., 0], planes[1][..., 1]], 0 if layout == "nv12" else 16 - bit_depth
    if layout == "rgb" and len(planes) == 1 and len(shapes[0]) == 4 and shapes[0][3] == 3:
        return list(planes[0].unbind(-1)), 0
    raise ValueError(f"planes of shapes {shapes} do not match a layout 'yuv', 'nv12', 'p010' or 'rgb' ({layout!r})")


@dataclass(frozen=True)
class _Clip:
    planes: list[Tensor]
    low_bits: int
    format: dict[str, Any]


@dataclass(frozen=True)
class _Request:
    clips: list[_Clip]
    positions: Tensor
    cu_seqlens: Tensor
    dtype: torch.dtype
    canvas: dict[str, Any]  # resize, size, patch_size, mean, std

    @property
    def row_size(self) -> int:
        return int(3 * self.canvas["patch_size"] ** 2)


def _checked(
    planes: list[Tensor],
    formats: list[int],
    sites: list[float],
    positions: Tensor,
    cu_seqlens: Tensor,
    resize: str,
    size: int,
    patch_size: int,
    mean: list[float],
    std: list[float],
    dtype: torch.dtype,
) -> _Request:
    """The operator's arguments, checked; its flat lists have 9 numbers and 2 sites for each clip."""
    count = len(formats) // 9
    if count < 1 or len(formats) != 9 * count or len(sites) != 2 * count or sum(formats[::9]) != len(planes):
        raise ValueError("there must be at least one clip, and as many formats and sites as clips")
    if positions.dim() != 2 or positions.shape[1] != 3 or positions.dtype != torch.int64:
        raise ValueError(f"positions must be (N, 3) int64, not {tuple(positions.shape)} {positions.dtype}")
    if cu_seqlens.shape != (count + 1,) or cu_seqlens.dtype != torch.int32:
        raise ValueError(f"cu_seqlens must be ({count + 1},) int32, not {tuple(cu_seqlens.shape)} {cu_seqlens.dtype}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be float32, float16 or bfloat16, not {dtype}")
    for name, tensor in (("cu_seqlens", cu_seqlens), *(("a plane", p) for p in planes)):
        if tensor.device != positions.device:
            raise ValueError(f"{name} is on {tensor.device}, positions on {positions.device}; move one of them first")
    clips, first = [], 0
    for i in range(count):
        components, bit_depth, low_bits, matrix, full_range, shift_x, shift_y, turns, mirrored = formats[
            9 * i : 9 * i + 9
        ]
        clip = planes[first : first + components]
        first += components
        if (
            components not in (1, 3)
            or not 0 <= matrix < len(_MATRICES)
            or min(shift_x, shift_y) < 0
            or max(shift_x, shift_y) > 3
        ):
            raise ValueError("a clip must have 1 or 3 components, a known matrix and chroma_shift of 0 to 3")
        if not 1 <= bit_depth <= 16 or low_bits < 0 or (low_bits > 0 and (bit_depth <= 8 or bit_depth + low_bits > 16)):
            raise ValueError(f"bit_depth must be 1 to 16, and 9 to 16 for 'p010', not {bit_depth}")
        if clip[0].dim() != 3 or 0 in clip[0].shape[1:]:
            raise ValueError(f"the luma plane must be (T, H, W), not {tuple(clip[0].shape)}")
        frames, height, width = clip[0].shape
        chroma = (frames, -(-height >> shift_y), -(-width >> shift_x))
        sample = torch.uint16 if bit_depth > 8 else torch.uint8
        for plane in clip:
            if plane.dtype != sample:
                raise ValueError(f"planes of {bit_depth} bits must be {sample}, not {plane.dtype}")
        for plane in clip[1:]:
            if tuple(plane.shape) != chroma:
                raise ValueError(f"the chroma planes must be {chroma}, not {tuple(plane.shape)}")
        form = {
            "bit_depth": bit_depth,
            "matrix": _MATRICES[matrix],
            "full_range": bool(full_range),
            "chroma_shift": (shift_x, shift_y),
            "chroma_site": (sites[2 * i], sites[2 * i + 1]),
            "quarter_turns": turns,
            "mirrored": bool(mirrored),
        }
        clips.append(_Clip(clip, low_bits, form))
    canvas = {"resize": resize, "size": size, "patch_size": patch_size, "mean": tuple(mean), "std": tuple(std)}
    return _Request(clips, positions, cu_seqlens, dtype, canvas)


def _gather_cpu(*arguments: Any) -> Tensor:
    request = _checked(*arguments)
    positions, bounds = request.positions, request.cu_seqlens.tolist()
    if bounds[0] != 0 or bounds[-1] != len(positions) or bounds != sorted(bounds):
        raise ValueError(f"cu_seqlens must ascend from 0 to the {len(positions)} positions")
    rows = np.empty((len(positions), request.row_size), np.float32)
    for clip, begin, end in zip(request.clips, bounds, bounds[1:], strict=False):
        # Clipped, numbers that int32 does not hold stay off every grid.
        places = np.clip(positions[begin:end].numpy(), -1, 2**31 - 1).astype(np.int32)
        for frame in np.unique(places[:, 0]).tolist():
            if not 0 <= frame < len(clip.planes[0]):
                raise ValueError(f"positions hold frame {frame} of a clip of {len(clip.planes[0])}")
            chosen = np.flatnonzero(places[:, 0] == frame)
            rows[begin + chosen] = _core.gather_planes(
                [_samples(plane[frame], clip.low_bits) for plane in clip.planes],
                places[chosen, 1:],
                **request.canvas,
                **clip.format,
            )
    return torch.from_numpy(rows).to(request.dtype)


def _samples(plane: Tensor, low_bits: int) -> NDArray[Any]:
    samples = plane.numpy()
    return np.ascontiguousarray(samples >> low_bits if low_bits else samples)


def _gather_cuda(*arguments: Any) -> Tensor:
    request = _checked(*arguments)
    if cuda.capturing():
        raise RuntimeError("gather_patches reads from CPU memory: call it before the CUDA graph is captured")
    positions, cu_seqlens = request.positions.contiguous(), request.cu_seqlens.contiguous()
    with cuda.launching(positions.device) as (kernels, stream):
        table = b"".join(
            kernels.clip_descriptor(
                [(p.data_ptr(), *(s * p.element_size() for s in p.stride())) for p in clip.planes],
                width=clip.planes[0].shape[2],
                height=clip.planes[0].shape[1],
                frames=clip.planes[0].shape[0],
                low_bits=clip.low_bits,
                **request.canvas,
                **clip.format,
            )
            for clip in request.clips
        )
        rows = positions.new_empty((len(positions), request.row_size), dtype=request.dtype)
        descriptors = cuda.upload(table, positions.device)
        kernels.gather_patches(
            descriptors.data_ptr(),
            len(request.clips),
            request.canvas["patch_size"],
            cu_seqlens.data_ptr(),
            positions.data_ptr(),
            len(positions),
            DTYPES[request.dtype],
            rows.data_ptr(),
            stream,
        )
    return rows


def _gather_fake(*arguments: Any) -> Tensor:
    positions, patch_size, dtype = arguments[3], arguments[7], arguments[-1]
    rows: Tensor = positions.new_empty((positions.shape[0], 3 * patch_size**2), dtype=dtype)
    return rows


_gather = torch.library.custom_op(
    "ove_codec::gather_patches",
    _gather_cpu,
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor[] planes, int[] formats, float[] sites, Tensor positions, Tensor cu_seqlens, str resize, int size, "
    "int patch_size, float[] mean, float[] std, ScalarType dtype) -> Tensor",
    tags=[tag for tag in [getattr(torch.Tag, "cudagraph_unsafe", None)] if tag is not None],
)
_gather.register_kernel("cuda", _gather_cuda)
_gather.register_fake(_gather_fake)
