"""The towers of LLaVA-OneVision-2 and Mage-VL once more, plainly, in double precision and with one dense mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def twin(
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    pixels: Tensor,
    grid: Sequence[Sequence[int]],
    positions: Tensor,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Encoder (N, hidden), merged (N / m^2, out) and the pool of the whole batch, of released weights."""
    w = {name: value.double() for name, value in weights.items()}
    d, heads, m, window = (
        config[name] for name in ("hidden_size", "num_attention_heads", "spatial_merge_size", "frame_windows_size")
    )
    size, eps, rms = d // heads, config.get("layer_norm_eps", 1e-6), config.get("layer_norm_type") == "rms_norm"

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Tensor, name: str, plain: bool = rms) -> Tensor:
        x = x if plain else x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * w[f"{name}.weight"]
        return x if plain else x + w[f"{name}.bias"]

    def mlp(x: Tensor, name: str) -> Tensor:
        return linear(F.gelu(linear(x, f"{name}.fc1")), f"{name}.fc2")

    counts, angles = (size // 8, 3 * size // 16, 3 * size // 16), []
    for axis, n in enumerate(counts):
        angles += [positions[:, axis].double() * config.get("rope_theta", 1e4) ** (-i / n) for i in range(n)]
    phi = torch.stack(angles * 2, dim=1)

    def turned(x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        y[:, 0::2] = x[:, 0::2] * phi[:, 0::2].cos() - x[:, 1::2] * phi[:, 0::2].sin()
        y[:, 1::2] = x[:, 1::2] * phi[:, 1::2].cos() + x[:, 0::2] * phi[:, 1::2].sin()
        return y

    owner = []
    for row, (t, h, width) in enumerate(grid):
        for frame in range(t):
            owner += [row * 1000 + (frame // window if window > 0 else 0)] * (h * width)
    apart = torch.tensor(owner)[:, None] != torch.tensor(owner)

    x = norm(pixels.double() @ w["embeddings.patch_embedding.weight"].flatten(1).T, "layernorm_pre")
    for layer in range(config["num_hidden_layers"]):
        name, out = f"encoder.layers.{layer}", torch.empty_like(x)
        q, k, v = linear(norm(x, f"{name}.layer_norm1"), f"{name}.self_attn.qkv").split(d, dim=1)
        for start in range(0, d, size):
            part = slice(start, start + size)
            scores = turned(q[:, part]) @ turned(k[:, part]).T / size**0.5
            out[:, part] = scores.masked_fill(apart, -torch.inf).softmax(1) @ v[:, part]
        x = x + linear(out, f"{name}.self_attn.proj")
        x = x + mlp(norm(x, f"{name}.layer_norm2"), f"{name}.mlp")
    pooled = None
    if config.get("use_head"):
        x = norm(x, "layernorm_post")
        matrix, bias = w["head.attention.in_proj_weight"], w["head.attention.in_proj_bias"]
        q = w["head.probe"][0] @ matrix[:d].T + bias[:d]
        k, v = (x @ matrix[d:].T + bias[d:]).split(d, dim=1)
        parts = [slice(start, start + size) for start in range(0, d, size)]
        rows = [(q[:, part] @ k[:, part].T / size**0.5).softmax(1) @ v[:, part] for part in parts]
        pooled = linear(torch.cat(rows, dim=1), "head.attention.out_proj")
        pooled = pooled + mlp(norm(pooled, "head.norm", True), "head.mlp")
    blocks = norm(x, "merger.ln_q", False).reshape(-1, d * m * m)
    merged = linear(F.gelu(linear(blocks, "merger.mlp.0")), "merger.mlp.2")
    if config.get("use_patch_position_encoding"):
        rows_of, columns_of = (positions[:: m * m, axis] // m for axis in (1, 2))
        merged = merged + w["merger.pos_emb_h.weight"][rows_of] + w["merger.pos_emb_w.weight"][columns_of]
    return x, merged, pooled
