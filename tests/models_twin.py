"""The encoder once more, slow and plain: NumPy in double precision; one sequence, head and channel pair at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ove_codec.models import OVEncoderConfig

Array = NDArray[np.float64]
_erf = np.vectorize(math.erf)


def angles(position: Array, head_dim: int, theta: float) -> Array:
    """The head_dim / 2 angles of one (t, h, w), in time, height, width order."""
    unit = head_dim // 32
    row = []
    for value, count in zip(position, (4 * unit, 6 * unit, 6 * unit), strict=True):
        row += [value * theta ** (-i / count) for i in range(count)]
    return np.array(row)


def rotate(x: Array, position: Array, theta: float, layout: str) -> Array:
    """One head's channels (head_dim,) at one position."""
    phi = angles(position, len(x), theta)
    half = len(phi)
    y = np.empty_like(x)
    for pair in range(half):
        even, odd = 2 * pair, 2 * pair + 1
        first, second = (phi[even % half], phi[odd % half]) if layout == "legacy" else (phi[pair], phi[pair])
        y[even] = x[even] * math.cos(first) - x[odd] * math.sin(first)
        y[odd] = x[odd] * math.cos(second) + x[even] * math.sin(second)
    return y


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


class Twin:
    """Holds the weights under their published names; call it with one sequence."""

    def __init__(self, config: OVEncoderConfig, weights: Mapping[str, Array]) -> None:
        self.config = config
        self.weights = weights

    def linear(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"])

    def norm(self, name: str, x: Array, kind: str) -> Array:
        eps = self.config.layer_norm_eps
        if kind == "rms_norm":
            scaled = x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)
            return np.asarray(scaled * self.weights[f"{name}.weight"])
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return np.asarray(scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])

    def mlp(self, name: str, x: Array) -> Array:
        x = self.linear(f"{name}.fc1", x)
        return self.linear(f"{name}.fc2", x * 0.5 * (1 + _erf(x / math.sqrt(2))))

    def attention(self, name: str, x: Array, positions: Array) -> tuple[Array, Array]:
        config, dim = self.config, self.config.head_dim
        theta, layout = config.rope_theta, config.rope_layout
        q, k, v = (self.linear(f"{name}.{which}_proj", x) for which in "qkv")
        out, weights = np.empty_like(q), []
        for head in range(config.num_attention_heads):
            part = slice(head * dim, (head + 1) * dim)
            turned = [
                np.stack([rotate(row, p, theta, layout) for row, p in zip(rows, positions, strict=True)])
                for rows in (q[:, part], k[:, part])
            ]
            weights.append(softmax(turned[0] @ turned[1].T / math.sqrt(dim)))
            out[:, part] = weights[-1] @ v[:, part]
        return self.linear(f"{name}.out_proj", out), np.stack(weights)

    def pool(self, x: Array) -> Array:
        hidden, dim = self.config.hidden_size, self.config.head_dim
        weight, bias = self.weights["head.attention.in_proj_weight"], self.weights["head.attention.in_proj_bias"]
        probe = self.weights["head.probe"][0, 0]
        q = weight[:hidden] @ probe + bias[:hidden]
        k = x @ weight[hidden : 2 * hidden].T + bias[hidden : 2 * hidden]
        v = x @ weight[2 * hidden :].T + bias[2 * hidden :]
        out = np.empty(hidden)
        for start in range(0, hidden, dim):
            part = slice(start, start + dim)
            out[part] = softmax(k[:, part] @ q[part] / math.sqrt(dim)) @ v[:, part]
        pooled = self.linear("head.attention.out_proj", out)
        return pooled + self.mlp("head.mlp", self.norm("head.norm", pooled, "rms_norm"))

    def __call__(self, patches: Array, positions: Array) -> tuple[Array, Array | None, list[Array], list[Array]]:
        """Last hidden state (L, hidden), pooled row, hidden states, attention weights (heads, L, L)."""
        config, kind = self.config, self.config.layer_norm_type
        kernel = self.weights["embeddings.patch_embedding.weight"].reshape(config.hidden_size, -1)
        x = self.norm("layernorm_pre", patches @ kernel.T, kind)
        states, attentions = [x], []
        for layer in range(config.num_hidden_layers):
            name = f"encoder.layers.{layer}"
            attended, weights = self.attention(
                f"{name}.self_attn", self.norm(f"{name}.layer_norm1", x, kind), positions
            )
            x = x + attended
            x = x + self.mlp(f"{name}.mlp", self.norm(f"{name}.layer_norm2", x, kind))
            states.append(x)
            attentions.append(weights)
        if not config.use_head:
            return x, None, states, attentions
        x = self.norm("layernorm_post", x, kind)
        return x, self.pool(x), states, attentions
