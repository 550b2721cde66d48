"""Operators on packed tokens: against indexing, the CPU's gather and, where there is one, on a GPU."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ove_codec import _core, cuda, ops
from ove_codec.ops import ClipPlanes
from support.pixels import cut, grid_of, twin_canvas

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def rows(count: int, *shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return (torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed)) * 50).to(dtype)


def numbers(count: int, below: int, seed: int = 1) -> Tensor:
    return torch.randint(0, below, (count,), generator=torch.Generator().manual_seed(seed))


def distinct(count: int, below: int, seed: int = 1) -> Tensor:
    return torch.randperm(below, generator=torch.Generator().manual_seed(seed))[:count]


# Row lengths that 16-byte loads fit, and ones that leave 8, 4, 2 and 1.
@pytest.mark.parametrize("shape", [(1024,), (7,), (2, 3), (), (0,), (33, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("device", DEVICES)
def test_rows_are_those_of_indexing(device: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tokens, packed = rows(50, *shape, dtype=dtype).to(device), rows(20, *shape, dtype=dtype, seed=2).to(device)
    index, places = numbers(90, 50).to(device), distinct(20, 50).to(device)
    assert torch.equal(ops.gather_tokens(tokens, index), tokens[index])
    assert torch.equal(ops.gather_tokens(tokens[1:], index[:0]), tokens[:0])
    expected = tokens.clone()
    expected[places] = packed
    before = tokens.clone()
    assert torch.equal(ops.scatter_tokens(tokens, packed, places), expected)
    assert torch.equal(tokens, before)


@pytest.mark.parametrize("columns", [1, 6, 7, 512])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device", DEVICES)
def test_rows_add_up(device: str, dtype: torch.dtype, columns: int) -> None:
    """Whole numbers, whose sums are exact in any order."""
    tokens = numbers(40 * columns, 9).reshape(40, columns).to(device, dtype)
    packed = numbers(100 * columns, 9, seed=3).reshape(100, columns).to(device, dtype)
    index = numbers(100, 40).to(device)
    expected = tokens.double().index_add(0, index, packed.double())
    assert torch.equal(ops.scatter_tokens(tokens, packed, index, accumulate=True).double(), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_strided_and_offset_tokens(device: str) -> None:
    tokens = rows(30, 40).to(device)
    index = numbers(60, 20).to(device)[::3]
    for view in (tokens[:, 1:], tokens.T, tokens[5:, 3:4], tokens[1:].reshape(-1)[1:-3].reshape(-1, 4)):
        assert torch.equal(ops.gather_tokens(view, index), view[index])


@pytest.mark.parametrize("device", DEVICES)
def test_gradients(device: str) -> None:
    tokens = rows(6, 3, dtype=torch.float64).to(device).requires_grad_()
    packed = rows(4, 3, dtype=torch.float64, seed=2).to(device).requires_grad_()
    index, places = numbers(9, 6).to(device), distinct(4, 6).to(device)
    check: dict[str, Any] = {"nondet_tol": 1e-9}
    assert torch.autograd.gradcheck(lambda t: ops.gather_tokens(t, index), tokens, **check)
    assert torch.autograd.gradcheck(lambda t, p: ops.scatter_tokens(t, p, places), (tokens, packed), **check)
    repeated = index[:4]
    accumulate = lambda t, p: ops.scatter_tokens(t, p, repeated, accumulate=True)  # noqa: E731
    assert torch.autograd.gradcheck(accumulate, (tokens, packed), **check)
    assert torch.autograd.gradgradcheck(lambda t: ops.gather_tokens(t, index), tokens, **check)


def flat_arguments(device: str = "cpu") -> tuple[Any, ...]:
    planes = [numbers(2 * h * w, 256, seed=h).reshape(2, h, w).to(device, torch.uint8) for h, w in ((24, 32), (12, 16))]
    positions = torch.tensor([(0, 0, 1), (1, 1, 0)], device=device)
    bounds = torch.tensor([0, 2], dtype=torch.int32, device=device)
    formats = [3, 8, 0, 1, 0, 1, 1, 0, 0]
    return (
        [planes[0], planes[1], planes[1].clone()],
        formats,
        [0.0, 0.5],
        positions,
        bounds,
        "crop",
        16,
        8,
        [0.5, 0.5, 0.5],
        [0.25, 0.25, 0.25],
        torch.bfloat16,
    )


@pytest.mark.parametrize("device", DEVICES)
def test_operators_are_well_formed(device: str) -> None:
    tokens = rows(10, 4).to(device).requires_grad_()
    packed, index = rows(5, 4).to(device).requires_grad_(), distinct(5, 10).to(device)
    torch.library.opcheck(torch.ops.ove_codec.gather_tokens.default, (tokens, index))
    torch.library.opcheck(torch.ops.ove_codec.scatter_tokens.default, (tokens, packed, index, False))
    torch.library.opcheck(torch.ops.ove_codec.scatter_tokens.default, (tokens, packed, index, True))
    torch.library.opcheck(torch.ops.ove_codec.gather_patches.default, flat_arguments(device))


@pytest.mark.parametrize("device", DEVICES)
def test_compiled_code_keeps_the_operators(device: str) -> None:
    """No graph break, values and gradients as without compilation."""

    def job(tokens: Tensor, index: Tensor) -> Tensor:
        packed = ops.gather_tokens(tokens, index) * 2
        return ops.scatter_tokens(tokens, packed, index).square().sum()

    index = distinct(5, 10).to(device)
    plain, traced = (rows(10, 4).to(device).requires_grad_() for _ in range(2))
    job(plain, index).backward()
    torch.compile(job, fullgraph=True, backend="aot_eager")(traced, index).backward()
    torch.testing.assert_close(traced.grad, plain.grad)
    arguments = flat_arguments(device)
    gather = torch.compile(lambda *a: torch.ops.ove_codec.gather_patches(*a) * 2, fullgraph=True, backend="aot_eager")
    assert torch.equal(gather(*arguments), torch.ops.ove_codec.gather_patches(*arguments) * 2)


LAYOUTS = [("yuv", 8), ("yuv", 10), ("yuv", 16), ("gray", 8), ("gray", 12), ("nv12", 8), ("p010", 10), ("p010", 12)]


def random_clip(rng: np.random.Generator, layout: str, depth: int) -> tuple[ClipPlanes, list[list[np.ndarray]], dict]:
    """A clip, the planes of each of its frames, and what says the same of them to the twin."""
    frames, height, width = (int(n) for n in rng.integers([1, 20, 20], [4, 60, 60]))
    dtype = np.uint8 if depth == 8 else np.uint16
    subsampled = (-(-height // 2), -(-width // 2)) if layout != "rgb" else (height, width)
    shapes = [(frames, height, width), (frames, *subsampled), (frames, *subsampled)][: 1 if layout == "gray" else 3]
    planes = [rng.integers(0, 2**depth, s).astype(dtype) for s in shapes]
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    options: dict[str, Any] = {"bit_depth": depth, "matrix": "bt709", "full_range": False}
    options |= {"quarter_turns": turns, "mirrored": mirrored}
    stored: list[Any] = list(planes)
    if layout in ("nv12", "p010"):
        stored = [planes[0], np.stack(planes[1:], -1)]
    if layout == "p010":  # with noise below, which is no part of the samples
        stored = [((s << (16 - depth)) | rng.integers(0, 1 << (16 - depth), s.shape)).astype(dtype) for s in stored]
    if layout == "rgb":
        stored = [np.stack(planes, -1)]
    named = "yuv" if layout == "gray" else layout
    clip = ClipPlanes(
        [torch.from_numpy(s) for s in stored], named, depth, "bt709", False, quarter_turns=turns, mirrored=mirrored
    )
    if layout == "rgb":
        options |= {"matrix": "rgb", "full_range": True, "chroma_shift": (0, 0)}
    return clip, [[p[t] for p in planes] for t in range(frames)], options


def moved(clip: ClipPlanes, device: str) -> ClipPlanes:
    return ClipPlanes([p.to(device) for p in clip.planes], *list(vars(clip).values())[1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("resize", ["crop", "letterbox", "stretch", "native"])
@pytest.mark.parametrize("device", DEVICES)
def test_patches_equal_the_twin(device: str, resize: str, dtype: torch.dtype) -> None:
    """A batch of clips of every layout, of odd sizes, and of none at all of its patches."""
    rng = np.random.default_rng(len(resize))
    canvas: dict[str, Any] = {"resize": resize, "size": 40, "patch_size": 7}
    clips, positions, bounds, expected = [], [], [0], []
    for layout, depth in [*LAYOUTS, ("rgb", 8), ("rgb", 8)]:
        clip, frames, options = random_clip(rng, layout, depth)
        clips.append(clip)
        wanted = [] if layout == "gray" and depth == 8 else range(len(frames))
        for t in wanted:
            whole = twin_canvas(frames[t], options | canvas)
            grid = rng.permutation(grid_of(whole, 7))[:9]
            expected.append(cut(whole, grid, 7))
            positions += [(t, row, column) for row, column in grid.tolist()]
        bounds.append(len(positions))
    patches = ops.gather_patches(
        [moved(c, device) for c in clips],
        torch.tensor(positions, device=device),
        torch.tensor(bounds, dtype=torch.int32, device=device),
        dtype=dtype,
        **canvas,
    )
    assert patches.dtype == dtype and patches.device.type == device
    rtol, atol = {torch.float32: (0, 5e-5), torch.bfloat16: (2**-7, 1e-4), torch.float16: (2**-10, 1e-4)}[dtype]
    np.testing.assert_allclose(patches.double().cpu(), np.concatenate(expected), rtol=rtol, atol=atol)


@pytest.mark.cuda
def test_a_gpu_makes_the_patches_of_the_cpu() -> None:
    """Uncontracted float arithmetic on both: equal but for what a compiler may reorder, on two streams at once."""
    rng = np.random.default_rng(8)
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    for layout, depth in [*LAYOUTS, ("rgb", 8)]:
        clip, _, _ = random_clip(rng, layout, depth)
        positions = torch.tensor([(0, r, c) for r in range(4) for c in range(4)])
        bounds = torch.tensor([0, 16], dtype=torch.int32)
        options: dict[str, Any] = {"resize": "letterbox", "size": 56, "patch_size": 14}
        expected = ops.gather_patches([clip], positions, bounds, **options)
        there = moved(clip, "cuda"), positions.cuda(), bounds.cuda()
        torch.cuda.synchronize()
        for stream in streams:
            with torch.cuda.stream(stream):
                patches = ops.gather_patches([there[0]], there[1], there[2], **options)
            stream.synchronize()
            torch.testing.assert_close(patches.cpu(), expected, rtol=0, atol=1e-5)


def test_bad_rows_are_told() -> None:
    tokens, index = rows(4, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="int64"):
        ops.gather_tokens(tokens, index.int())
    with pytest.raises(ValueError, match=r"\(M,\)"):
        ops.gather_tokens(tokens, index[None])
    with pytest.raises(ValueError, match="scalar"):
        ops.gather_tokens(tokens[0, 0], index)
    with pytest.raises(IndexError):
        ops.gather_tokens(tokens, index + 3)
    with pytest.raises(ValueError, match=r"packed must be \(2, 3\)"):
        ops.scatter_tokens(tokens, tokens, index)
    with pytest.raises(ValueError, match="float64"):
        ops.scatter_tokens(tokens, tokens[:2].double(), index)
    for number in (4, -1):
        for accumulate in (False, True):
            with pytest.raises(IndexError):
                ops.scatter_tokens(tokens, tokens[:2], torch.tensor([0, number]), accumulate=accumulate)
    with pytest.raises(ValueError, match="index is on cpu, tokens on meta"):
        ops.gather_tokens(tokens.to("meta"), index)


@pytest.mark.cuda
def test_nothing_moves_between_devices() -> None:
    tokens, index = rows(4, 3).cuda(), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="index is on cpu, tokens on cuda:0"):
        ops.gather_tokens(tokens, index)
    with pytest.raises(ValueError, match="packed is on cpu"):
        ops.scatter_tokens(tokens, rows(2, 3), index.cuda())
    with pytest.raises(ValueError, match="floating point"):
        ops.scatter_tokens(tokens.int(), tokens[:2].int(), index.cuda(), accumulate=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": torch.tensor([(0, 9, 0)])}, "not on the grid"),
        ({"positions": torch.tensor([(0, 2**32, 0)])}, "not on the grid"),
        ({"positions": torch.tensor([(2, 0, 0)])}, "frame 2 of a clip of 2"),
        ({"positions": torch.tensor([(-1, 0, 0)])}, "frame -1"),
        ({"positions": torch.tensor([(0, 0)])}, r"\(N, 3\) int64"),
        ({"positions": torch.tensor([(0, 0, 0)]).int()}, r"\(N, 3\) int64"),
        ({"cu_seqlens": torch.tensor([0, 2], dtype=torch.int32)}, "cu_seqlens must ascend"),
        ({"cu_seqlens": torch.tensor([0, 1])}, "int32"),
        ({"dtype": torch.int8}, "dtype"),
        ({"resize": "zoom"}, "'letterbox'"),
        ({"clips": []}, "at least one"),
        ({"layout": "nv21"}, "'nv21'"),
        ({"matrix": "bt470"}, "bt2020, not 'bt470'"),
        ({"bit_depth": 10}, "uint16"),
        ({"bit_depth": 17}, "1 to 16"),
        ({"layout": "p010", "planes": [torch.zeros(2, 8, 8), torch.zeros(2, 4, 4, 2)]}, "9 to 16 for 'p010'"),
        ({"chroma_shift": (0, 0)}, "chroma planes must be"),
        ({"chroma_shift": (-1, 0)}, "chroma_shift of 0 to 3"),
        ({"planes": [torch.zeros(8, 8, dtype=torch.uint8)]}, r"\(T, H, W\)"),
        ({"quarter_turns": 4}, "quarter_turns"),
    ],
)
def test_bad_clips_are_told(change: dict[str, Any], message: str) -> None:
    form: dict[str, Any] = {"planes": [torch.zeros(2, n, n, dtype=torch.uint8) for n in (16, 8, 8)]}
    form |= {k: change.pop(k) for k in list(change) if k in ClipPlanes.__dataclass_fields__}
    arguments: dict[str, Any] = {
        "positions": torch.tensor([(0, 0, 0)]),
        "cu_seqlens": torch.tensor([0, 1], dtype=torch.int32),
        "resize": "crop",
        "size": 16,
        "patch_size": 8,
    }
    clips = [ClipPlanes(**form)]
    with pytest.raises(ValueError, match=message):
        ops.gather_patches(**({"clips": clips} | arguments | change))


def test_why_cuda_is_unavailable_is_told() -> None:
    reason = cuda.unavailable_reason()
    assert cuda.available() == (reason is None)
    assert reason is None or any(word in reason for word in ("nvcc", "driver", "device", "capability"))
    assert cuda.unavailable_reason(4096) is not None


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, ove_codec, ove_codec.cuda as c; c.available(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_descriptors_are_made_without_a_device() -> None:
    kernels = pytest.importorskip("ove_codec._cuda", reason="built without CUDA kernels")
    options: dict[str, Any] = {
        "width": 64,
        "height": 48,
        "frames": 2,
        "bit_depth": 8,
        "low_bits": 0,
        "matrix": "bt709",
        "full_range": False,
        "chroma_shift": (1, 1),
        "chroma_site": (0, 0.5),
        "quarter_turns": 0,
        "mirrored": False,
        "resize": "crop",
        "size": 28,
        "patch_size": 14,
        "mean": _core.CLIP_MEAN,
        "std": _core.CLIP_STD,
    }
    planes = [(0, 64 * 48, 64, 1)] + 2 * [(0, 32 * 24, 32, 1)]
    one = kernels.clip_descriptor(planes, **options)
    assert len(one) == len(kernels.clip_descriptor(planes[:1], **options | {"width": 50})) > 100
    with pytest.raises(ValueError, match="planes of 1 to 16 bits"):
        kernels.clip_descriptor(planes[:2], **options)
