"""The benchmark of the CUDA path: `python bench/cuda.py [--results FOLDER] [CLIP ...]`; needs a GPU.

Kernels: time, bytes that they must move, share of the copy bandwidth measured in the same run, and the time of the same
job written with PyTorch's operators. Patch embedding: what a gather fused with it could save at most, see
fused_embedding.py. End to end: clips a second from files to packed tokens on the GPU, by the preset and the number of
CPU threads. Medians of `--runs` runs, after a warm-up.
"""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# PyTorch and others import a package of NVIDIA's with this file's name, which must not be found in this folder.
HERE = Path(__file__).resolve().parent
sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import ove_codec
from ove_codec import _core, cuda, ops
from ove_codec._cuda_backend import Cuda
from ove_codec._reading import Scored
from ove_codec.ops import ClipPlanes
from ove_codec.presets import resolve
from ove_codec.tokens import CLIP_MEAN, CLIP_STD

sys.path.append(str(HERE))
import clips as own
import fused_embedding

sys.path.remove(str(HERE))

WIDTH, HEIGHT, SIZE, PATCH = 1280, 720, fused_embedding.SIZE, fused_embedding.PATCH
FRAMES, TOKENS, HIDDEN, CLIPS = 64, 2048, 1024, 64
ROWS = (TOKENS, 65536)
SAMPLED = 8  # pictures, of those that "ove" adds up
EMBEDDED, WIDTHS = fused_embedding.PATCHES, tuple(fused_embedding.MODELS.values())
COPIED = 1 << 28  # bytes
MULTIPLIED = 8192  # side of matrices


def milliseconds(job: Callable[[], Any], runs: int) -> float:
    """Median time on the GPU, between events."""
    times = []
    for run in range(runs + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        job()
        end.record()
        end.synchronize()
        if run >= 3:
            times.append(begin.elapsed_time(end))
    return statistics.median(times)


def torch_rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    """(T, 3, H, W) R'G'B' in [0, 1] of 8-bit 4:2:0 planes, BT.601, limited range, chroma sited left."""
    chroma = torch.stack([cb, cr], 1).float()
    shape = y.shape[-2:]
    # Chroma lies on every second luma sample of a row, and midway between two rows.
    x = torch.arange(shape[1], device=y.device) / 2
    left = x.long().clamp(max=chroma.shape[3] - 1)
    right = (left + 1).clamp(max=chroma.shape[3] - 1)
    chroma = torch.lerp(chroma[..., left], chroma[..., right], x - left)
    chroma = torch.nn.functional.interpolate(chroma, shape, mode="bilinear")
    luma = (y.float() - 16) / 219
    cb_, cr_ = ((chroma - 128) / 224).unbind(1)
    rgb = [luma + 1.402 * cr_, luma - 0.344136 * cb_ - 0.714136 * cr_, luma + 1.772 * cb_]
    return torch.stack(rgb, 1).clamp(0, 1)


def torch_patches(planes: list[Tensor], positions: Tensor, dtype: torch.dtype) -> Tensor:
    """ops.gather_patches of one clip (resize "crop") by PyTorch: all frames to R'G'B', resized, cut, then chosen."""
    frames = torch_rgb(planes[0], planes[1], planes[2])
    height, width = frames.shape[-2:]
    scale = SIZE / min(height, width)
    resized = (round(height * scale), round(width * scale))
    small = torch.nn.functional.interpolate(frames, resized, mode="bilinear")
    top, left = (resized[0] - SIZE) // 2, (resized[1] - SIZE) // 2
    small = small[:, :, top : top + SIZE, left : left + SIZE]
    mean, std = (torch.tensor(v, device=small.device)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    grid = ((small - mean) / std).unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5)
    t, row, column = positions.unbind(1)
    return grid[t, row, column].flatten(1).to(dtype)


def torch_scores(mv: Tensor, residual: Tensor) -> Tensor:
    """The "paper" scores of pictures by PyTorch, from vectors of list 0 and residuals of 8 bits."""
    return torch_sums((mv.float() / 4).square().sum(-1).sqrt(), residual.float().clamp(-128, 127).abs())


def torch_accumulated_scores(mv: Tensor, residual: Tensor, last: Tensor) -> Tensor:
    """The "ove" scores of the pictures `last`, ascending, likewise; vectors are those since the picture before."""
    vectors = mv.float() / 4
    vectors = vectors - torch.quantile(vectors.flatten(1, 2), 0.5, dim=1)[:, None, None]
    sums = []
    for value in (vectors.square().sum(-1).sqrt(), residual.float().clamp(-128, 127).abs()):
        so_far = value[: last[-1] + 1].cumsum(0)[last]
        sums.append(torch.cat([value[last[:1]], so_far.diff(dim=0)]))  # the first one counts alone
    return torch_sums(*sums)


def torch_sums(motion: Tensor, levels: Tensor) -> Tensor:
    """Sums of patches by PyTorch, from |v| and |Y - 128|: energies, exact percentiles, heat, resize."""
    energies = [
        (value / torch.quantile(value.flatten(1), 0.95, dim=1).clamp(min=least)[:, None, None]).clamp(max=1)
        for value, least in ((motion, 1e-6), (levels, 1.0))
    ]
    motion_energy = energies[0].repeat_interleave(4, 1).repeat_interleave(4, 2)
    heat = 0.5 * motion_energy[:, : levels.shape[1], : levels.shape[2]] + 0.5 * energies[1]
    width = round(levels.shape[2] * SIZE / levels.shape[1])
    small = torch.nn.functional.interpolate(heat[:, None], (SIZE, width), mode="bilinear")
    left = (width - SIZE) // 2
    return torch.nn.functional.avg_pool2d(small[..., left : left + SIZE], PATCH)[:, 0] * PATCH**2


def kernels(runs: int, device: torch.device) -> dict[str, Any]:
    generator = torch.Generator(device).manual_seed(0)

    def whole(low: int, high: int, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.randint(low, high, shape, generator=generator, device=device, dtype=dtype)

    source = torch.empty(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_ms = milliseconds(lambda: target.copy_(source), runs)
    bandwidth = 2 * source.numel() / copy_ms / 1e6  # GB/s, reading and writing
    rows: list[dict[str, Any]] = []

    def add(name: str, moved: int, ours: Callable[[], Any], theirs: Callable[[], Any] | None) -> None:
        ms = milliseconds(ours, runs)
        baseline = milliseconds(theirs, runs) if theirs else None
        rows.append({
            "kernel": name, "megabytes": moved / 1e6, "ms": ms, "share_of_copy": moved / ms / 1e6 / bandwidth,
            "torch_ms": baseline, "speedup": baseline / ms if baseline else None,
        })  # fmt: skip

    def add_rows(count: int) -> None:
        tokens = torch.randn(4 * count, HIDDEN, device=device, dtype=torch.bfloat16)
        index = torch.randperm(4 * count, generator=generator, device=device)[:count]
        packed = tokens[index]
        moved = 2 * packed.numel() * 2 + 8 * count
        add(f"gather_tokens, {count} of {4 * count} rows of {HIDDEN} bf16", moved,
            lambda: ops.gather_tokens(tokens, index), lambda: tokens[index])  # fmt: skip
        add("scatter_tokens, the same, onto a copy of all", moved + 4 * tokens.numel(),
            lambda: ops.scatter_tokens(tokens, packed, index),
            lambda: tokens.clone().index_copy_(0, index, packed))  # fmt: skip

    for count in ROWS:
        add_rows(count)

    planes = [whole(0, 256, FRAMES, HEIGHT, WIDTH, dtype=torch.uint8)]
    planes += [whole(0, 256, FRAMES, HEIGHT // 2, WIDTH // 2, dtype=torch.uint8) for _ in range(2)]
    grid = SIZE // PATCH
    every = torch.cartesian_prod(*(torch.arange(n, device=device) for n in (FRAMES, grid, grid)))

    def add_patches(count: int) -> None:
        chosen = every[torch.randperm(len(every), generator=generator, device=device)[:count].sort().values]
        bounds = torch.tensor([0, count], dtype=torch.int32, device=device)
        clip = [ClipPlanes(planes)]
        moved = count * (fused_embedding.PLANE_BYTES + 3 * PATCH * PATCH * 2 + 24)
        add(f"gather_patches, {count} patches of {FRAMES} pictures 720p to bf16", moved,
            lambda: ops.gather_patches(clip, chosen, bounds, resize="crop", size=SIZE, patch_size=PATCH,
                                       dtype=torch.bfloat16),
            lambda: torch_patches(planes, chosen, torch.bfloat16))  # fmt: skip

    for count in (TOKENS, FRAMES * grid * grid):
        add_patches(count)

    mv = whole(-60, 60, FRAMES, HEIGHT // 4, WIDTH // 4, 2, dtype=torch.int16)
    residual = whole(-40, 40, FRAMES, HEIGHT, WIDTH, dtype=torch.int16)
    residual *= (
        (whole(0, 10, FRAMES, HEIGHT // 8, WIDTH // 8, dtype=torch.int16) == 0)
        .repeat_interleave(8, 1)
        .repeat_interleave(8, 2)
    )
    both = torch.stack([mv, torch.zeros_like(mv)], 3)
    moved = both.numel() * 2 + residual.numel() * 2
    add(f"select_arrays, {FRAMES} pictures 720p that lie there, with ranking", moved,
        lambda: ove_codec.select_arrays(both, residual, device=device, budget=TOKENS),
        lambda: torch_scores(mv, residual).flatten().topk(TOKENS))  # fmt: skip
    sampled = torch.linspace(0, FRAMES - 1, SAMPLED).long().tolist()
    previous = torch.arange(-1, FRAMES - 1, dtype=torch.int32, device=device)[:, None, None, None]
    options: dict[str, Any] = {
        "ref_poc": previous.expand(*both.shape[:4]).contiguous(), "poc": np.arange(FRAMES),
        "pred": torch.ones(both.shape[:3], dtype=torch.uint8, device=device),
        "preset": "ove", "frame_ids": sampled, "device": device, "budget": TOKENS // 8,
    }  # fmt: skip
    last = torch.tensor(sampled, device=device)
    add(f'the same by "ove" for {SAMPLED} of them, sums of all', moved + 9 * both.numel() // 4,
        lambda: ove_codec.select_arrays(both, residual, **options),
        lambda: torch_accumulated_scores(mv, residual, last).flatten().topk(TOKENS // 8))  # fmt: skip
    params = resolve("paper", {"budget": TOKENS})
    clips = [scored_clip(whole(0, 1000, FRAMES, grid, grid, dtype=torch.int32), params) for _ in range(CLIPS)]
    backend = Cuda(device)
    add(f"ranking of {CLIPS} clips in one go, against one at a time (not PyTorch)", 4 * CLIPS * FRAMES * grid * grid,
        lambda: backend.rank(clips, params, fetch=False),
        lambda: [backend.rank([clip], params, fetch=False) for clip in clips])  # fmt: skip
    matrix = torch.randn(MULTIPLIED, MULTIPLIED, device=device, dtype=torch.bfloat16)
    rate = 2 * MULTIPLIED**3 / milliseconds(lambda: matrix @ matrix, runs) / 1e9  # TFLOP/s
    embeddings = [embedding(n, width, planes, every, bandwidth, rate, runs) for width in WIDTHS for n in EMBEDDED]
    return {"copy_gb_per_second": bandwidth, "product_tflops": rate, "kernels": rows, "embeddings": embeddings}


def scored_clip(scores: Tensor, params: dict[str, Any]) -> tuple[Scored, npt.NDArray[np.bool_]]:
    window = (0, 0, SIZE, SIZE)
    return Scored(scores.float(), None, _core.Scorer(params, window)), np.zeros(len(scores), bool)


def embedding(
    count: int, width: int, planes: list[Tensor], every: Tensor, bandwidth: float, rate: float, runs: int
) -> dict[str, Any]:
    """Times of gathering patches and of embedding them, and the least that one kernel for both could take."""
    device = every.device
    chosen = every[:count]
    bounds = torch.tensor([0, len(chosen)], dtype=torch.int32, device=device)
    options: dict[str, Any] = {"resize": "crop", "size": SIZE, "patch_size": PATCH, "dtype": torch.bfloat16}
    clip = [ClipPlanes(planes)]
    weight = torch.randn(width, 3 * PATCH**2, device=device, dtype=torch.bfloat16)
    bias = torch.zeros(width, device=device, dtype=torch.bfloat16)

    def gather() -> Tensor:
        return ops.gather_patches(clip, chosen, bounds, **options)

    rows = gather()
    both_ms = milliseconds(lambda: torch.nn.functional.linear(gather(), weight, bias), runs)
    fused_ms = fused_embedding.seconds(len(rows), width, 1e9 * bandwidth, 1e12 * rate).fused * 1e3
    return {
        "patches": len(rows),
        "width": width,
        "gather_ms": milliseconds(gather, runs),
        "embed_ms": milliseconds(lambda: torch.nn.functional.linear(rows, weight, bias), runs),
        "both_ms": both_ms,
        "fused_ms": fused_ms,
        "most_saved_share": 1 - fused_ms / both_ms,
    }


def end_to_end(files: list[Path], runs: int, device: torch.device) -> list[dict[str, Any]]:
    """Clips a second to the GPU, and those of the CPU's path, which also makes the tokens."""

    def clips_per_second(sources: list[Path], **options: Any) -> float:
        times = []
        for _ in range(runs + 1):
            begin = time.perf_counter()
            for _batch in ove_codec.batches(
                sources, 8, dtype=torch.bfloat16, num_frames=FRAMES, budget=TOKENS, **options
            ):
                pass
            torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        return len(sources) / statistics.median(times[1:])

    results = []
    for preset, workers in itertools.product(("paper", "ove"), (1, 4, 16)):
        sources = files * max(1, 2 * workers // len(files) + 1)
        results.append({
            "preset": preset,
            "workers": workers,
            "clips_per_second": clips_per_second(sources, preset=preset, workers=workers, device=device),
            "cpu_clips_per_second": clips_per_second(sources, preset=preset, workers=workers),
        })  # fmt: skip
    return results


def own_clips() -> list[Path]:
    chosen = [clip for clip in own.ALL if clip.size == "720p" and clip.seconds == own.SECONDS]
    folder = HERE.parent / "build" / "bench"
    own.encode(chosen, folder)
    return [clip.path(folder) for clip in chosen]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, help="HEVC files; default: the benchmark's own of 720p")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    reason = cuda.unavailable_reason()
    if reason is None and not torch.cuda.is_available():
        reason = "this PyTorch has no CUDA"
    if reason is not None:
        print(f"bench/cuda.py needs a GPU: {reason}", file=sys.stderr)
        return 2
    device = torch.device("cuda", torch.cuda.current_device())
    files = arguments.clips or own_clips()
    result = {
        "device": torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        **kernels(arguments.runs, device),
        "end_to_end": end_to_end(files, max(1, arguments.runs // 5), device),
    }
    print(report(result))
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "cuda.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def report(result: dict[str, Any]) -> str:
    lines = [
        f"{result['device']}, PyTorch {result['torch']}; copies at {result['copy_gb_per_second']:.0f} GB/s",
        "",
        "| kernel | MB | ms | share of copy bandwidth | PyTorch, ms (times slower) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result["kernels"]:
        lines.append(
            f"| {row['kernel']} | {row['megabytes']:.1f} | {row['ms']:.3f} | {row['share_of_copy']:.2f} | "
            f"{row['torch_ms']:.3f} ({row['speedup']:.1f}x) |"
        )
    lines += ["", f"Products of matrices at {result['product_tflops']:.0f} TFLOP/s.", "",
              "| patches embedded | width | gather, ms | embedding, ms | both, ms | fused, ms, at least (saved) |",
              "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for row in result["embeddings"]:
        lines.append(
            f"| {row['patches']} | {row['width']} | {row['gather_ms']:.4f} | {row['embed_ms']:.4f} | "
            f"{row['both_ms']:.4f} | {row['fused_ms']:.4f} ({row['most_saved_share']:.2f}) |"
        )
    lines += ["", "| preset | CPU threads | clips/s, GPU | clips/s, CPU alone |", "| --- | --- | --- | --- |"]
    for row in result["end_to_end"]:
        gpu, cpu = row["clips_per_second"], row["cpu_clips_per_second"]
        lines.append(f"| {row['preset']} | {row['workers']} | {gpu:.1f} | {cpu:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
