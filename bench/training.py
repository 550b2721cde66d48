"""The benchmark of training: `python bench/training.py [--centres N ...] [--batch N ...] [--step] [--results FOLDER]`.

Loss: time and peak memory of one step (forward, backward, update of the centres) by the number of centres and
samples: ours, a dense softmax over all centres with a dense AdamW, and mode "legacy". Every variant runs in a process
of its own, so that its peak is its own. Step: time and utilisation of a whole step of an encoder with clips of 2048
tokens. On a GPU where there is one, else on the CPU, where `--centres` and `--batch` are small unless given. Results of
other sizes from the same machine stay in the file.
"""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# PyTorch imports packages of the names of files in this folder, which must not be found here.
HERE = Path(__file__).resolve().parent
sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]

import torch
import torch.nn.functional as F

from ove_codec.models import OVEncoder, OVEncoderConfig
from ove_codec.training import CentreAdamW, ClusterLoss, Ranks
from ove_codec.training.journal import encoder_flops, peak_flops
from ove_codec.training.optimization import parameter_groups

LABELS = 8
VARIANTS = ("multilabel", "legacy", "dense")
GPU_SIZES = {"centres": [100_000, 1_000_000, 2_000_000], "batch": [256, 1024, 4096], "width": 1024}
CPU_SIZES = {"centres": [10_000, 100_000], "batch": [64, 256], "width": 256}


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()}, {torch.get_num_threads()} threads"


def timed(job: Callable[[], Any], runs: int) -> dict[str, float]:
    """Median seconds of a job after two warm-up runs, and the most memory of the process, or of PyTorch on a GPU."""
    where = device()
    seconds = []
    for run in range(runs + 2):
        if where.type == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        job()
        if where.type == "cuda":
            torch.cuda.synchronize()
        if run >= 2:
            seconds.append(time.perf_counter() - begin)
    if where.type == "cuda":
        peak = float(torch.cuda.max_memory_allocated())
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return {"seconds": statistics.median(seconds), "peak_bytes": peak}


def loss_step(variant: str, centres: int, batch: int, width: int, rate: float, runs: int) -> dict[str, Any]:
    """One variant in this process."""
    where = device()
    dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
    torch.manual_seed(0)
    embeddings = torch.randn(batch, width, device=where, requires_grad=True)
    labels = torch.randint(0, centres, (batch, LABELS)).to(where)
    empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    if variant == "dense":
        weight = torch.nn.Parameter(torch.randn(centres, width, device=where) * 0.01)
        dense = torch.optim.AdamW([weight], lr=1e-3, fused=where.type == "cuda")

        def job() -> None:
            with torch.autocast(where.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
                cosines = F.linear(F.normalize(embeddings), F.normalize(weight)).float()
            hot = torch.zeros_like(cosines).scatter_(1, labels, 1.0 / LABELS)
            F.cross_entropy(64 * (cosines - 0.3 * (hot > 0)), hot).backward()
            dense.step()
            dense.zero_grad()
            embeddings.grad = None
    else:
        head = ClusterLoss(
            centres, width, mode=variant, sample_rate=rate, ranks=Ranks(), compute_dtype=dtype, device=where
        )
        sparse = CentreAdamW(head.parameters(), lr=1e-3)
        draws = iter(range(1 << 30))

        def job() -> None:
            head(embeddings, labels, draw=next(draws)).loss.backward()
            sparse.step()
            sparse.zero_grad()
            embeddings.grad = None

    found = timed(job, runs)
    if where.type == "cpu":  # the interpreter and PyTorch themselves are no part of it
        found["peak_bytes"] -= empty
    return dict(found)


def encoder_step(model: str, clips: int, tokens: int, runs: int) -> dict[str, Any]:
    """A step of an encoder: forward, backward, AdamW; bfloat16 compute on a GPU, float32 elsewhere."""
    where = device()
    config = OVEncoderConfig.named(model)
    backbone = OVEncoder(config).train().to(where)
    backbone.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(parameter_groups(backbone, 0.05), lr=1e-5, fused=where.type == "cuda")
    patches = torch.randn(clips * tokens, config.patch_dim, device=where)
    side = 224 // config.patch_size
    index = torch.arange(tokens, device=where).repeat(clips)
    positions = torch.stack([index // side**2, index // side % side, index % side], 1)
    bounds = [n * tokens for n in range(clips + 1)]

    def job() -> None:
        with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
            pooled = backbone(patches, positions, bounds, max_seqlen=tokens).pooler_output
        pooled.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    found: dict[str, Any] = timed(job, runs)
    operations = encoder_flops(config, [tokens] * clips)
    peak = peak_flops(where, None)
    found |= {"tokens_per_second": clips * tokens / found["seconds"], "flops": operations / found["seconds"]}
    return found | {"mfu": None if peak is None else operations / found["seconds"] / peak}


def apart(*arguments: Any) -> dict[str, Any]:
    """The result of a job in a process of its own; what it died of where it did."""
    command = [sys.executable, __file__, "--job", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    lines = done.stderr.strip().splitlines()
    return {"error": lines[-1] if lines else f"ended with status {done.returncode} (out of memory?)"}


def size(loss: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one measurement of the loss from another."""
    return loss["width"], loss["centres"], loss["batch"], loss["variant"]


def main() -> None:
    sizes: dict[str, Any] = GPU_SIZES if torch.cuda.is_available() else CPU_SIZES
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--centres", type=int, nargs="+", default=sizes["centres"], metavar="N")
    parser.add_argument("--batch", type=int, nargs="+", default=sizes["batch"], metavar="N")
    parser.add_argument("--width", type=int, default=sizes["width"], metavar="N")
    parser.add_argument("--rate", type=float, default=0.1, metavar="X", help="share of centres sampled (default: 0.1)")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--step", action="store_true", help="measure a step of an encoder too")
    parser.add_argument("--model", default="ov-encoder-large", help="of --step")
    parser.add_argument("--clips", type=int, default=8, metavar="N", help="of --step, in a micro-batch")
    parser.add_argument("--tokens", type=int, default=2048, metavar="N", help="of --step, a clip")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        name, *rest = json.loads(args.job)
        print(json.dumps(encoder_step(*rest) if name == "step" else loss_step(name, *rest)))
        return

    losses = []
    for centres in args.centres:
        for batch in args.batch:
            for variant in VARIANTS:
                found = apart(variant, centres, batch, args.width, args.rate, args.runs)
                losses.append({"variant": variant, "centres": centres, "batch": batch, "width": args.width, **found})
                shown = found.get("error") or f"{found['seconds']:.4f} s, {found['peak_bytes'] / 2**20:.0f} MiB at most"
                print(f"{variant:>10}, {centres} centres, batch {batch}: {shown}", flush=True)
    file = args.results / f"training-{device().type}.json"
    results: dict[str, Any] = {"device": device_name(), "torch": torch.__version__, "rate": args.rate}
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if {name: before.get(name) for name in results} != results:
        before = {}
    again = [size(loss) for loss in losses]
    results["loss"] = [loss for loss in before.get("loss", []) if size(loss) not in again] + losses
    results["loss"].sort(key=lambda loss: size(loss)[:3])
    if "step" in before:
        results["step"] = before["step"]
    if args.step:
        results["step"] = {"model": args.model, "clips": args.clips, "tokens": args.tokens}
        results["step"] |= apart("step", args.model, args.clips, args.tokens, args.runs)
        print(results["step"])
    args.results.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(file)


if __name__ == "__main__":
    main()
