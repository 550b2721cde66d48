"""What a kernel that gathers patches and embeds them at once could save: `python bench/fused_embedding.py`.

A bound, for which no GPU is needed, from bytes and operations. A patch of K = 3 * 14 * 14 values is made of the 45 x
45 x 3/2 bytes of 4:2:0 planes of 720p under it, and becomes D values of bf16 by 2 * K * D operations:

- gathering reads these bytes of planes, and writes 2 * K of bf16;
- embedding reads these again, and the 2 * K * D bytes of weights once for all patches, and writes 2 * D;
- a fused kernel reads planes and weights, and writes 2 * D.

A kernel takes as long as its memory or its products take, whichever is longer, at the rates of NVIDIA's data sheets
("NVIDIA H100 Tensor Core GPU", "NVIDIA H200 Tensor Core GPU", SXM modules), where that of bf16 is given with sparsity,
which is twice as much. Rows that are written may be read again from the L2 cache: in brackets, for nothing.

The table tells what is saved of these two kernels at most. It is not within reach as it stands:

- Launches are not in it. They take some microseconds each, as long as everything else takes for 2048 patches.
- Gathering is arithmetic too, on the order of a hundred instructions for each of the 196 samples of a patch, close to a
  nanosecond a patch on 132 multiprocessors. It has to hide behind the products as well.
- Products have to be as fast as cuBLAS's. A tile of 128 patches has sums of 128 x D x 4 bytes, more than the registers
  of a multiprocessor, so it is gathered anew for every 256 columns, or shared inside a cluster, as compute capability
  9.0 has them.
- In training the gradient of the weights needs the rows, so these are written all the same.

And it is little: the last column is its share of a forward pass of the encoder, 24 * D^2 operations a layer and patch,
at the full rate. Before it, a patch that was decoded on the CPU takes PLANE_BYTES / (64 GB/s), 47 ns, to come up. So
the two are not fused. `bench/cuda.py` gives the same bound beside the times of the two kernels, from the bandwidth and
the rate that it measures on the GPU at hand; `ove_codec.batches` gathers on streams of its own meanwhile.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SIZE, PATCH, HEIGHT = 224, 14, 720
VALUES = 3 * PATCH**2
PLANE_BYTES = (HEIGHT * PATCH // SIZE) ** 2 * 3 // 2
PATCHES = (512, 2048, 4096, 16384)


def _configured(name: str, key: str) -> int:
    file = Path(__file__).resolve().parent.parent / "models" / name / "config.json"
    return int(json.loads(file.read_text(encoding="utf-8"))[key])


_NAMES = {"base": "ov-encoder-base", "large": "ov-encoder-large"}
MODELS = {model: _configured(name, "hidden_size") for model, name in _NAMES.items()}  # D
LAYERS = {model: _configured(name, "num_hidden_layers") for model, name in _NAMES.items()}
# Bytes and dense operations of bf16 a second.
GPUS = {"H100": (3.35e12, 989e12), "H200": (4.8e12, 989e12)}


@dataclass(frozen=True)
class Seconds:
    """What kernels take at least: one behind the other, with rows from memory or from the cache, and fused."""

    apart: float
    apart_cached: float
    fused: float


def seconds(patches: int, width: int, bandwidth: float, rate: float) -> Seconds:
    """For so many patches that become `width` values each, at bytes and operations a second."""
    planes, rows, out = (patches * n for n in (PLANE_BYTES, 2 * VALUES, 2 * width))
    weights = 2 * VALUES * width
    products = 2 * patches * VALUES * width / rate
    return Seconds(
        (planes + rows) / bandwidth + max((rows + weights + out) / bandwidth, products),
        planes / bandwidth + max((weights + out) / bandwidth, products),
        max((planes + weights + out) / bandwidth, products),
    )


def table() -> str:
    lines = ["| GPU | model | patches | apart, us | fused, us | saved, at most | of a forward pass |"]
    lines.append("| --- " * 7 + "|")
    for gpu, (bandwidth, rate) in GPUS.items():
        for model, width in MODELS.items():
            for patches in PATCHES:
                s = seconds(patches, width, bandwidth, rate)
                encoder = 24 * width**2 * LAYERS[model] * patches / rate
                saved = f"{1 - s.fused / s.apart:.0%} ({max(0.0, 1 - s.fused / s.apart_cached):.0%})"
                apart = f"{1e6 * s.apart:.1f} ({1e6 * s.apart_cached:.1f})"
                share = (s.apart - s.fused) / (s.apart + encoder)
                lines.append(f"| {gpu} | {model} | {patches} | {apart} | {1e6 * s.fused:.1f} | {saved} | {share:.2%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
