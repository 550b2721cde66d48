"""The encoder's speed: `python bench/encoder.py [--device cuda|cpu] [--readme docs/measurements.md]`.

Forward passes of packed codec tokens: tokens a second, the share of the matrix rate measured in the same run, and peak
memory; beside the same weights used as a dense model is: all 64 frames of 224x224 samples embedded by the convolution,
patches picked afterwards, attention spelt out. Every case has a process of its own; medians of `--runs` after warm-ups,
but for 16384 tokens on a CPU, which take long enough once. A CPU gets fewer layers, which the table tells: all layers
cost the same.
"""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# PyTorch and others import a package of NVIDIA's that a file here has the name of, which must not be found.
HERE = Path(__file__).resolve().parent
sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]

import torch
import torch.nn.functional as F
from torch import Tensor

from ove_codec.models import OVEncoder, OVEncoderConfig, OVEncoderOutput
from ove_codec.models.attention import PackedAttention
from ove_codec.models.packing import packing
from ove_codec.models.rope import rope_tables

MARKS = ("<!-- encoder -->", "<!-- /encoder -->")
FRAMES, SIZE = 64, 224
TOKENS = (512, 2048, 4096, 16384)
WAYS = ("packed", "compiled", "dense")
BATCH_TOKENS = 16384  # of a batch on a GPU, which one short sequence would leave idle


def flops(config: OVEncoderConfig, length: int) -> int:
    """Multiplications and additions of the matrix products of one sequence of patches, forward."""
    hidden, mlp = config.hidden_size, config.intermediate_size
    layer = 8 * length * hidden**2 + 4 * length * hidden * mlp + 4 * length**2 * hidden
    total = 2 * length * config.patch_dim * hidden + config.num_hidden_layers * layer
    if config.use_head:
        total += (4 * length + 4) * hidden**2 + 4 * length * hidden + 4 * hidden * mlp
    return total


def codec_tokens(config: OVEncoderConfig, batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Clips (B, C, T, H, W) of noise, and for each of them so many patches at random, ascending: (B, length)."""
    generator = torch.Generator().manual_seed(length)
    clips = torch.randn(batch, config.num_channels, FRAMES, SIZE, SIZE, generator=generator)
    count = FRAMES * (SIZE // config.patch_size) ** 2
    chosen = [torch.randperm(count, generator=generator)[:length].sort().values for _ in range(batch)]
    return clips, torch.stack(chosen)


def positions_of(config: OVEncoderConfig, chosen: Tensor) -> Tensor:
    """(B*length, 3) t, h, w of patch numbers (B, length)."""
    side = SIZE // config.patch_size
    numbers = chosen.flatten()
    return torch.stack((numbers // side**2, numbers // side % side, numbers % side), dim=-1)


def rows_of(config: OVEncoderConfig, clips: Tensor, chosen: Tensor) -> Tensor:
    """(B*length, C*p*p) the chosen patches, as `ove_codec.tokenize` gives them."""
    p = config.patch_size
    t, h, w = positions_of(config, chosen).view(*chosen.shape, 3).unbind(-1)
    patches = clips.unfold(3, p, p).unfold(4, p, p)  # (B, C, T, h, w, p, p)
    clip = torch.arange(len(clips), device=clips.device)[:, None]
    return patches[clip, :, t, h, w].flatten(0, 1).flatten(1)


def dense(model: OVEncoder, clips: Tensor, chosen: Tensor) -> OVEncoderOutput:
    """The chosen tokens' features by a model that takes whole clips."""
    config = model.config
    weight = model.embeddings.patch_embedding.weight
    maps = F.conv2d(clips.transpose(1, 2).flatten(0, 1), weight, stride=config.patch_size)
    x = model.layernorm_pre(maps.unflatten(0, (len(clips), -1)).permute(0, 1, 3, 4, 2).flatten(1, 3))
    batch, length = chosen.shape
    x = x.take_along_dim(chosen[..., None], dim=1).flatten(0, 1)
    cos, sin = rope_tables(positions_of(config, chosen), config.head_dim, config.rope_theta, config.rope_layout)
    bounds = packing([b * length for b in range(batch + 1)], len(x))
    attend = PackedAttention(bounds, "eager", x.device, x.dtype)
    x, _, _ = model.encoder(x, cos, sin, attend, False, False)
    assert model.layernorm_post is not None and model.head is not None
    x = model.layernorm_post(x)
    return OVEncoderOutput(x, model.head(x, attend))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(job: Callable[[], Any], device: torch.device, runs: int, warm_ups: int) -> float:
    times = []
    for run in range(warm_ups + runs):
        synchronize(device)
        begin = time.perf_counter()
        job()
        synchronize(device)
        if run >= warm_ups:
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a square product, the best of several sizes."""
    sizes = (4096, 8192, 16384) if device.type == "cuda" else (1024, 2048)
    rates = []
    for size in sizes:
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        rates.append(2 * size**3 / seconds(lambda a=a, b=b: a @ b, device, 5, 3))  # type: ignore[misc]
        del a, b
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the cases' processes need the memory
    return max(rates)


@torch.no_grad()
def measure(case: dict[str, Any]) -> dict[str, Any]:
    """One case; peak memory is that of weights, inputs and work on a GPU, of the whole process on a CPU."""
    device, dtype = torch.device(case["device"]), getattr(torch, case["dtype"])
    config = replace(OVEncoderConfig.named(case["model"]), num_hidden_layers=case["layers"])
    model = OVEncoder(config).eval().to(device, dtype)
    batch, length = case["batch"], case["tokens"]
    clips, chosen = codec_tokens(config, batch, length)
    if case["way"] == "dense":
        clips, chosen = clips.to(device, dtype), chosen.to(device)

        def job() -> OVEncoderOutput:
            return dense(model, clips, chosen)
    else:
        rows = rows_of(config, clips, chosen).to(device, dtype)
        places = positions_of(config, chosen).to(device)
        bounds = torch.arange(batch + 1, dtype=torch.int32) * length
        del clips
        run: Callable[..., OVEncoderOutput] = model
        if case["way"] == "compiled":
            run = torch.compile(model, fullgraph=True)

        def job() -> OVEncoderOutput:
            return run(rows, places, bounds, max_seqlen=length)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    took = seconds(job, device, case["runs"], case["warm_ups"])
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 1e6
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {
        "seconds": took,
        "tokens_per_second": batch * length / took,
        "flops_per_second": batch * flops(config, length) / took,
        "peak_mb": peak,
    }


def ask(case: dict[str, Any]) -> dict[str, Any]:
    """The case in a process of its own; `error` where it failed, for want of memory for example."""
    command = [sys.executable, str(Path(__file__).resolve()), "--case", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with status {done.returncode}"]
        return {**case, "error": last[0]}
    return {**case, **json.loads(done.stdout)}


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def cell(row: dict[str, Any], rate: float) -> str:
    if "error" in row:
        return "failed"
    share = row["flops_per_second"] / rate
    return f"{row['tokens_per_second']:.0f} ({share:.0%}), {row['peak_mb']:.0f} MB"


def table(result: dict[str, Any]) -> str:
    """Markdown: a line a model and number of tokens, a column a way."""
    ways = [way for way in WAYS if any(row["way"] == way for row in result["rows"])]
    titles = {
        "packed": "packed tokens",
        "compiled": "packed, torch.compile",
        "dense": "all patches embedded, eager attention",
    }
    lines = [
        f"{result['device']}; PyTorch {result['torch']}; {result['dtype']}, whose square matrix products run at "
        f"{result['matrix_flops_per_second'] / 1e12:.2f} TFLOP/s.",
        "",
        "Forward passes: tokens a second (share of that rate), peak memory"
        + (" of the process." if result["kind"] == "cpu" else "."),
        "",
        f"| model | tokens a clip | clips | {' | '.join(titles[way] for way in ways)} |",
        f"|{' --- |' * (3 + len(ways))}",
    ]
    by_case = {(row["model"], row["tokens"], row["way"]): row for row in result["rows"]}
    for model, tokens in dict.fromkeys((row["model"], row["tokens"]) for row in result["rows"]):
        found = [by_case.get((model, tokens, way)) for way in ways]
        one = next(row for row in found if row)
        name = (
            model if one["layers"] == one["all_layers"] else f"{model}, {one['layers']} of {one['all_layers']} layers"
        )
        shown = [cell(row, result["matrix_flops_per_second"]) if row else "-" for row in found]
        lines.append(f"| {name} | {tokens} | {one['batch']} | {' | '.join(shown)} |")
    lines += ["", *comparisons(by_case)]
    lines += [
        f"{row['model']}, {row['tokens']} tokens, {row['way']}: {row['error']}."
        for row in result["rows"]
        if "error" in row
    ]
    return "\n".join(lines).rstrip()


def comparisons(by_case: dict[tuple[str, int, str], dict[str, Any]]) -> list[str]:
    """How much faster a clip of few tokens is than one of all, both packed."""
    lines = []
    for model in dict.fromkeys(model for model, _, _ in by_case):
        few, every = (by_case.get((model, tokens, "packed"), {}) for tokens in (2048, 16384))
        if "seconds" in few and "seconds" in every:
            ratio = every["seconds"] / every["batch"] / (few["seconds"] / few["batch"])
            lines.append(f"{model}: a clip of 2048 codec tokens takes 1/{ratio:.1f} of the time of all its 16384.")
    return lines


def cases(arguments: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    on_gpu = device.type == "cuda"
    found = []
    for model in arguments.models:
        layers = OVEncoderConfig.named(model).num_hidden_layers
        for tokens in arguments.tokens:
            for way in WAYS:
                if way == "compiled" and not on_gpu:
                    continue
                if way == "dense" and tokens > 4096 and not on_gpu:
                    continue  # scores of all pairs, several times over, are more than most machines hold
                found.append({
                    "model": model, "layers": min(layers, arguments.layers or layers), "all_layers": layers,
                    "tokens": tokens, "way": way, "batch": max(1, BATCH_TOKENS // tokens) if on_gpu else 1,
                    "device": str(device), "dtype": arguments.dtype,
                    **({"runs": arguments.runs, "warm_ups": 3} if on_gpu else
                       {"runs": 1 if tokens > 4096 else arguments.runs, "warm_ups": int(tokens <= 4096)}),
                })  # fmt: skip
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--models", nargs="+", help="default: base and large on a GPU, base on a CPU")
    parser.add_argument("--tokens", nargs="+", type=int, default=list(TOKENS))
    parser.add_argument("--layers", type=int, help="at most so many layers; default: all on a GPU, 2 on a CPU")
    parser.add_argument("--runs", type=int, help="default: 20 on a GPU, 3 on a CPU")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--readme", type=Path, help=f"put the table there, between {MARKS[0]} and {MARKS[1]}")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(json.loads(arguments.case))))
        return 0
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    arguments.models = arguments.models or (["ov-encoder-base", "ov-encoder-large"] if on_gpu else ["ov-encoder-base"])
    arguments.layers = arguments.layers or (None if on_gpu else 2)
    arguments.runs = arguments.runs or (20 if on_gpu else 3)
    result = {
        "device": device_name(device),
        "kind": device.type,
        "torch": torch.__version__,
        "dtype": arguments.dtype,
        "matrix_flops_per_second": matrix_rate(device, getattr(torch, arguments.dtype)),
        "rows": [ask(case) for case in cases(arguments, device)],
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    file = arguments.results / f"encoder-{device.type}.json"
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    text = table(result)
    print(text)
    if arguments.readme:
        sys.path.append(str(HERE))
        from report import fill_readme

        fill_readme(text, arguments.readme, MARKS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
