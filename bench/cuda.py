"""The benchmark of the CUDA path: `python bench/cuda.py [--results FOLDER] [CLIP ...]`; needs a GPU.

Kernels: time, bytes that they must move, share of the copy bandwidth measured in the same run, and the time of the same
job written with PyTorch's operators; by replays of graphs, over memory that the cache does not hold. Patch embedding:
what a gather fused with it could save at most, see fused_embedding.py. End to end: clips a second from files to packed
tokens, by the preset and the number of CPU threads, on the CPU, with kernels on the GPU, and with pixels from NVDEC.
Medians of `--runs` runs, after a warm-up.
"""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
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
from ove_codec.presets import resolve
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD

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


Job = Callable[[], Any]


def milliseconds(jobs: Sequence[Job], runs: int) -> float:
    """Median time on the GPU of one of the jobs, which do the same on memory of their own: together more than the cache
    holds, where one does not. They are captured into one graph, so that no launch waits for the CPU; what cannot be
    captured is timed between events, with the launches."""
    for job in jobs:
        job()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            results = [job() for job in jobs]  # kept, so that each writes to memory of its own
        run = graph.replay
    except RuntimeError:
        torch.cuda.synchronize()
        results = []

        def run() -> None:
            for job in jobs:
                job()

    times = []
    for number in range(runs + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        if number >= 3:
            times.append(begin.elapsed_time(end) / len(jobs))
    del results
    return statistics.median(times)


def rotated(moved: int, device: torch.device) -> range:
    """Numbers of so many sets of memory, of which a job moves `moved` bytes, that the cache holds half of them."""
    cache = torch.cuda.get_device_properties(device).L2_cache_size
    return range(max(1, min(32, -(-2 * cache // moved))))


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

    source = whole(0, 256, COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    copy_ms = milliseconds([lambda: target.copy_(source)], runs)
    bandwidth = 2 * source.numel() / copy_ms / 1e6  # GB/s, reading and writing
    rows: list[dict[str, Any]] = []

    def add(name: str, moved: int, ours: Sequence[Job], theirs: Sequence[Job]) -> None:
        ms, baseline = milliseconds(ours, runs), milliseconds(theirs, runs)
        rows.append({
            "kernel": name, "megabytes": moved / 1e6, "ms": ms, "share_of_copy": moved / ms / 1e6 / bandwidth,
            "torch_ms": baseline, "speedup": baseline / ms,
        })  # fmt: skip

    def add_rows(count: int) -> None:
        moved = 2 * count * HIDDEN * 2 + 8 * count
        tokens = [torch.randn(4 * count, HIDDEN, device=device, dtype=torch.bfloat16) for _ in rotated(moved, device)]
        index = torch.randperm(4 * count, generator=generator, device=device)[:count]
        packed = [t[index] for t in tokens]
        both = list(zip(tokens, packed, strict=True))
        add(
            f"gather_tokens, {count} of {4 * count} rows of {HIDDEN} bf16",
            moved,
            [partial(ops.gather_tokens, t, index) for t in tokens],
            [partial(torch.index_select, t, 0, index) for t in tokens],
        )
        onto_copy = moved + 4 * tokens[0].numel()
        add(
            "scatter_tokens, the same, onto a copy of all",
            onto_copy,
            [partial(ops.scatter_tokens, t, p, index) for t, p in both],
            [partial(torch.index_copy, t, 0, index, p) for t, p in both],
        )
        add("scatter_tokens, the same, added", onto_copy + packed[0].numel() * 2,
            [partial(ops.scatter_tokens, t, p, index, accumulate=True) for t, p in both],
            [partial(torch.index_add, t, 0, index, p) for t, p in both])  # fmt: skip

    for count in ROWS:
        add_rows(count)

    planes = [whole(0, 256, FRAMES, HEIGHT, WIDTH, dtype=torch.uint8)]
    planes += [whole(0, 256, FRAMES, HEIGHT // 2, WIDTH // 2, dtype=torch.uint8) for _ in range(2)]
    grid = SIZE // PATCH
    every = torch.cartesian_prod(*(torch.arange(n, device=device) for n in (FRAMES, grid, grid)))

    def add_patches(count: int) -> None:
        moved = count * (fused_embedding.PLANE_BYTES + 3 * PATCH * PATCH * 2 + 24)
        chosen = [
            every[torch.randperm(len(every), generator=generator, device=device)[:count].sort().values]
            for _ in rotated(moved, device)
        ]
        launches = [gather_launch(planes, positions) for positions in chosen]
        add(f"gather_patches, {count} patches of {FRAMES} pictures 720p to bf16", moved, launches,
            [partial(torch_patches, planes, c, torch.bfloat16) for c in chosen])  # fmt: skip

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
        [lambda: ove_codec.select_arrays(both, residual, device=device, budget=TOKENS)],
        [lambda: torch_scores(mv, residual).flatten().topk(TOKENS)])  # fmt: skip
    sampled = torch.linspace(0, FRAMES - 1, SAMPLED).long().tolist()
    previous = torch.arange(-1, FRAMES - 1, dtype=torch.int32, device=device)[:, None, None, None]
    options: dict[str, Any] = {
        "ref_poc": previous.expand(*both.shape[:4]).contiguous(), "poc": np.arange(FRAMES),
        "pred": torch.ones(both.shape[:3], dtype=torch.uint8, device=device),
        "preset": "ove", "frame_ids": sampled, "device": device, "budget": TOKENS // 8,
    }  # fmt: skip
    last = torch.tensor(sampled, device=device)
    add(f'the same by "ove" for {SAMPLED} of them, sums of all', moved + 9 * both.numel() // 4,
        [lambda: ove_codec.select_arrays(both, residual, **options)],
        [lambda: torch_accumulated_scores(mv, residual, last).flatten().topk(TOKENS // 8)])  # fmt: skip
    params = resolve("paper", {"budget": TOKENS})
    clips = [scored_clip(whole(0, 1000, FRAMES, grid, grid, dtype=torch.int32), params) for _ in range(CLIPS)]
    backend = Cuda(device)
    add(f"ranking of {CLIPS} clips in one go, against one at a time (not PyTorch)", 4 * CLIPS * FRAMES * grid * grid,
        [lambda: backend.rank(clips, params, fetch=False)],
        [lambda: [backend.rank([clip], params, fetch=False) for clip in clips]])  # fmt: skip
    matrix = torch.randn(MULTIPLIED, MULTIPLIED, device=device, dtype=torch.bfloat16)
    rate = 2 * MULTIPLIED**3 / milliseconds([lambda: matrix @ matrix], runs) / 1e9  # TFLOP/s
    embeddings = [embedding(n, width, planes, every, bandwidth, rate, runs) for width in WIDTHS for n in EMBEDDED]
    return {"copy_gb_per_second": bandwidth, "product_tflops": rate, "kernels": rows, "embeddings": embeddings}


def gather_launch(planes: list[Tensor], positions: Tensor) -> Job:
    """The launch of ops.gather_patches alone, which a graph can hold: the clip's table is there already."""
    device, (frames, height, width) = positions.device, planes[0].shape
    bounds = torch.tensor([0, len(positions)], dtype=torch.int32, device=device)
    rows = torch.empty((len(positions), 3 * PATCH**2), dtype=torch.bfloat16, device=device)
    with cuda.launching(device) as (kernels, _):
        table = kernels.clip_descriptor(
            [(p.data_ptr(), *p.stride()) for p in planes], width=width, height=height, frames=frames, bit_depth=8,
            low_bits=0, matrix="bt601", full_range=False, chroma_shift=(1, 1), chroma_site=(0.0, 0.5), quarter_turns=0,
            mirrored=False, resize="crop", size=SIZE, patch_size=PATCH, mean=CLIP_MEAN, std=CLIP_STD,
        )  # fmt: skip
    descriptor = cuda.upload(table, device)

    def launch() -> Tensor:
        with cuda.launching(device) as (kernels, stream):
            kernels.gather_patches(
                descriptor.data_ptr(), 1, PATCH, bounds.data_ptr(), positions.data_ptr(), len(positions), "bfloat16",
                rows.data_ptr(), stream,
            )  # fmt: skip
        return rows

    return launch


def scored_clip(scores: Tensor, params: dict[str, Any]) -> tuple[Scored, npt.NDArray[np.bool_]]:
    window = (0, 0, SIZE, SIZE)
    return Scored(scores.float(), None, _core.Scorer(params, window)), np.zeros(len(scores), bool)


def embedding(
    count: int, width: int, planes: list[Tensor], every: Tensor, bandwidth: float, rate: float, runs: int
) -> dict[str, Any]:
    """Times of gathering patches and of embedding them, and the least that one kernel for both could take."""
    device = every.device
    chosen = every[:count]
    gather = gather_launch(planes, chosen)
    weight = torch.randn(width, 3 * PATCH**2, device=device, dtype=torch.bfloat16)
    bias = torch.zeros(width, device=device, dtype=torch.bfloat16)

    rows = gather()
    both_ms = milliseconds([lambda: torch.nn.functional.linear(gather(), weight, bias)], runs)
    fused_ms = fused_embedding.seconds(len(rows), width, 1e9 * bandwidth, 1e12 * rate).fused * 1e3
    return {
        "patches": len(rows),
        "width": width,
        "gather_ms": milliseconds([gather], runs),
        "embed_ms": milliseconds([lambda: torch.nn.functional.linear(rows, weight, bias)], runs),
        "both_ms": both_ms,
        "fused_ms": fused_ms,
        "most_saved_share": 1 - fused_ms / both_ms,
    }


def end_to_end(files: list[Path], runs: int, device: torch.device, presets: Sequence[str]) -> list[dict[str, Any]]:
    """Clips a second, as tokens: all on the CPU, with kernels on the GPU, and with pixels from NVDEC too."""

    def clips_per_second(sources: list[Path], **options: Any) -> float | str:
        times = []
        for _ in range(runs + 1):
            begin = time.perf_counter()
            try:
                for _batch in ove_codec.batches(
                    sources, 8, dtype=torch.bfloat16, num_frames=FRAMES, budget=TOKENS, **options
                ):
                    pass
            except ove_codec.Error as error:
                return str(error)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        return len(sources) / statistics.median(times[1:])

    results = []
    for preset, workers in itertools.product(presets, (1, 4, 16)):
        sources = files * max(1, 2 * workers // len(files) + 1)
        given: dict[str, Any] = {"preset": preset, "workers": workers}
        results.append({
            **given,
            "cpu_clips_per_second": clips_per_second(sources, **given),
            "gpu_clips_per_second": clips_per_second(sources, **given, device=device),
            "nvdec_clips_per_second": clips_per_second(sources, **given, device=device, decoder="nvdec"),
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
    parser.add_argument("--presets", nargs="*", default=["paper", "ove"], help="of which whole clips are timed")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    if (reason := cuda.unavailable_reason()) is not None:
        print(f"bench/cuda.py needs a GPU: {reason}", file=sys.stderr)
        return 2
    device = torch.device("cuda", torch.cuda.current_device())
    files = arguments.clips or own_clips()
    result = {
        "device": torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        **kernels(arguments.runs, device),
        "end_to_end": end_to_end(files, max(1, arguments.runs // 5), device, arguments.presets),
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
    lines += ["", "| preset | CPU threads | clips/s, CPU | GPU | GPU and NVDEC |", "| --- | --- | --- | --- | --- |"]
    for row in result["end_to_end"]:
        rates = [row[f"{way}_clips_per_second"] for way in ("cpu", "gpu", "nvdec")]
        told = " | ".join(rate if isinstance(rate, str) else f"{rate:.1f}" for rate in rates)
        lines.append(f"| {row['preset']} | {row['workers']} | {told} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
