"""The 3D-RoPE vision transformer on packed tokens.

A pre-norm ViT without class token or learned positions: a linear patch embedding, a norm, blocks of attention and MLP,
and, with a head, a final norm and an attention pooling with one learned query. Sequences are packed one after another;
attention stays within a sequence. Parameter names and shapes are those of the published checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ove_codec.models.config import OVEncoderConfig


class OVEncoderOutput(NamedTuple):
    """What the encoder returns.

    last_hidden_state: (N, hidden), normalised if the model has a head, the residual stream otherwise.
    pooler_output: (B, hidden), one row a sequence; None without a head.
    hidden_states: on request, layers + 1 tensors (N, hidden): the input of every block, and the output of the last
        block before the final norm.
    attentions: on request, a tuple a layer of one tensor (heads, L, L) a sequence, rows are queries.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[tuple[Tensor, ...], ...] | None = None


def rope_angles(positions: Tensor, head_dim: int, theta: float, layout: str) -> Tensor:
    """Rotary angles (N, head_dim), float32, of positions (N, 3) = (t, h, w).

    Of head_dim/2 angles the first 4/16 belong to t, then 6/16 each to h and w: angle i of an axis with n is
    position * theta^(-i/n). "interleaved" gives both channels of a pair (2p, 2p+1) the angle p: a rotation. "legacy"
    repeats the whole row instead, so the two channels of a pair turn by different angles: not a rotation, but what the
    published weights were trained with. Computed at call time because a buffer would be rounded by `.to(bfloat16)`.
    """
    shares = (head_dim // 8, 3 * head_dim // 16, 3 * head_dim // 16)
    axes = []
    for axis, n in enumerate(shares):
        frequencies = theta ** (-torch.arange(n, dtype=torch.float32, device=positions.device) / n)
        axes.append(positions[:, axis, None].float() * frequencies)
    angles = torch.cat(axes, dim=1)
    return angles.repeat(1, 2) if layout == "legacy" else angles.repeat_interleave(2, dim=1)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns channel pairs (2p, 2p+1) of x (N, heads, head_dim); cos and sin are (N, 1, head_dim), float32."""
    turned = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
    return (x * cos + turned * sin).to(x.dtype)


def attend(
    q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int], dropout: float
) -> Tensor:
    """Attention within packed sequences: q (sum of q_lengths, heads, D), k and v (sum of k_lengths, heads, D)."""
    if len(set(q_lengths)) > 1 or len(set(k_lengths)) > 1:
        parts = zip(q.split(list(q_lengths)), k.split(list(k_lengths)), v.split(list(k_lengths)), strict=True)
        return torch.cat([attend(*part, (len(part[0]),), (len(part[1]),), dropout) for part in parts])
    q, k, v = (x.unflatten(0, (len(q_lengths), -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2).flatten(0, 1)


def attention_weights(q: Tensor, k: Tensor, lengths: Sequence[int]) -> tuple[Tensor, ...]:
    """The softmax of every sequence, (heads, L, L), which fused attention does not keep."""
    segments = zip(q.split(list(lengths)), k.split(list(lengths)), strict=True)
    scale = q.shape[-1] ** -0.5
    return tuple((torch.einsum("qhd,khd->hqk", qs, ks) * scale).softmax(-1) for qs, ks in segments)


def make_norm(config: OVEncoderConfig) -> nn.Module:
    """The norm of the body."""
    norm = nn.LayerNorm if config.layer_norm_type == "layer_norm" else nn.RMSNorm
    return norm(config.hidden_size, eps=config.layer_norm_eps)


class Embeddings(nn.Module):
    """Patch rows to tokens. The weight has the shape of a convolution; on separate patches that is a linear map."""

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        p = config.patch_size
        self.patch_embedding = nn.Conv2d(config.num_channels, config.hidden_size, p, stride=p, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        return F.linear(patches, self.patch_embedding.weight.flatten(1))


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions on queries and keys."""

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.dropout = config.attention_dropout
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(config.hidden_size, config.hidden_size) for _ in range(4)
        )

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, lengths: Sequence[int], output_weights: bool
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        q, k, v = (proj(x).unflatten(-1, (-1, self.head_dim)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
        weights = attention_weights(q, k, lengths) if output_weights else None
        out = attend(q, k, v, lengths, lengths, self.dropout if self.training else 0.0)
        return self.out_proj(out.flatten(1)), weights


class MLP(nn.Module):
    """Linear, GELU (erf), linear."""

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        self.layer_norm1 = make_norm(config)
        self.self_attn = Attention(config)
        self.layer_norm2 = make_norm(config)
        self.mlp = MLP(config)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, lengths: Sequence[int], output_weights: bool
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        attended, weights = self.self_attn(self.layer_norm1(x), cos, sin, lengths, output_weights)
        x = x + attended
        return x + self.mlp(self.layer_norm2(x)), weights


class Layers(nn.Module):
    """The stack of blocks; a module of its own only for the parameter names."""

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))


class PoolingHead(nn.Module):
    """One learned query attends to the tokens of a sequence; r + mlp(norm(r)) follows."""

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        # Holds the fused projection (rows q, k, v) under its published names; attention itself runs on packed tokens.
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        heads, hidden = self.attention.num_heads, x.shape[-1]
        weight, bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        q = F.linear(self.probe[0], weight[:hidden], bias[:hidden]).unflatten(-1, (heads, -1))
        k, v = F.linear(x, weight[hidden:], bias[hidden:]).unflatten(-1, (2 * heads, -1)).chunk(2, dim=1)
        out = attend(q.expand(len(lengths), -1, -1), k, v, (1,) * len(lengths), lengths, 0.0)
        pooled = self.attention.out_proj(out.flatten(1))
        return pooled + self.mlp(self.norm(pooled))


def init_weights(module: nn.Module, std: float) -> None:
    """Initial values: normal weights, zero biases, norms one; xavier for the pooling projection, N(0, 1) its query."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.normal_(module.weight, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        module.reset_parameters()
    elif isinstance(module, nn.MultiheadAttention):
        nn.init.xavier_uniform_(module.in_proj_weight)
        nn.init.zeros_(module.in_proj_bias)
    elif isinstance(module, PoolingHead):
        nn.init.normal_(module.probe)


class OVEncoder(nn.Module):
    """The encoder. `forward` takes packed patch rows; `encode_pixels` takes whole images and clips."""

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layernorm_pre = make_norm(config)
        self.encoder = Layers(config)
        self.layernorm_post = make_norm(config) if config.use_head else None
        self.head = PoolingHead(config) if config.use_head else None
        self.init_weights(self)

    def init_weights(self, part: nn.Module) -> None:
        """Gives all parameters of a part of the model their initial values."""
        part.apply(partial(init_weights, std=self.config.initializer_range))

    @classmethod
    def from_config(cls, config: str | OVEncoderConfig) -> OVEncoder:
        """A model with random weights, of a named configuration ("ov-encoder-base", ...) or of a given one.

        Raises:
            ValueError: there is no configuration of that name.
        """
        return cls(OVEncoderConfig.named(config) if isinstance(config, str) else config)

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> OVEncoder:
        """Reads `config.json` and `model.safetensors` (or its shards) from a local directory; in eval mode.

        See `ove_codec.models.checkpoint.load` for what is checked and raised.
        """
        from ove_codec.models import checkpoint

        return checkpoint.load(cls, directory, dtype)

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Writes `config.json` and `model.safetensors`; makes the directory if it is missing."""
        from ove_codec.models import checkpoint

        checkpoint.save(self, directory)

    def forward(
        self,
        patches: Any,
        positions: Any,
        cu_seqlens: Any = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> OVEncoderOutput:
        """Encodes packed sequences of patches.

        Args:
            patches: (N, C*p*p) floating point, normalised pixels, channel first, then row and column in the patch.
            positions: (N, 3) t, h, w of every patch: slot, patch row, patch column; any real numbers.
            cu_seqlens: (B+1,) integers: sequence b is the rows cu_seqlens[b] to cu_seqlens[b+1]; none is empty. None
                stands for one sequence.
            output_hidden_states: also return the hidden states.
            output_attentions: also return the attention weights; takes memory in L^2.
        All three are tensors or NumPy arrays; they are moved to the device (and patches to the type) of the weights.

        Raises:
            ValueError: a shape is wrong, or cu_seqlens does not divide the rows; the message names the argument.
        """
        weight = self.embeddings.patch_embedding.weight
        patches = torch.as_tensor(patches).to(weight)
        positions = torch.as_tensor(positions).to(weight.device)
        if patches.ndim != 2 or patches.shape[1] != self.config.patch_dim:
            raise ValueError(f"patches must be (N, {self.config.patch_dim}), got {tuple(patches.shape)}")
        if positions.shape != (len(patches), 3):
            raise ValueError(f"positions must be ({len(patches)}, 3), got {tuple(positions.shape)}")
        lengths = sequence_lengths(cu_seqlens, len(patches))

        angles = rope_angles(positions, self.config.head_dim, self.config.rope_theta, self.config.rope_layout)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        x = self.layernorm_pre(self.embeddings(patches))
        states, attentions = [x], []
        for block in self.encoder.layers:
            x, weights = block(x, cos, sin, lengths, output_attentions)
            if output_hidden_states:
                states.append(x)
            attentions.append(weights)
        pooled = None
        if self.layernorm_post is not None and self.head is not None:
            x = self.layernorm_post(x)
            pooled = self.head(x, lengths)
        return OVEncoderOutput(
            x,
            pooled,
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )


def sequence_lengths(cu_seqlens: Any, rows: int) -> list[int]:
    """Lengths of the packed sequences; raises ValueError unless they are positive and add up to `rows`."""
    if cu_seqlens is None:
        cu_seqlens = [0, rows]
    bounds = torch.as_tensor(cu_seqlens)
    if bounds.ndim != 1 or len(bounds) < 2 or bounds.is_floating_point():
        raise ValueError(f"cu_seqlens must be (B+1,) integers with B >= 1, got {bounds.dtype} {tuple(bounds.shape)}")
    lengths = bounds.diff().tolist()
    if bounds[0] != 0 or bounds[-1] != rows or min(lengths) < 1:
        raise ValueError(f"cu_seqlens must rise strictly from 0 to the {rows} rows of patches, got {bounds.tolist()}")
    return lengths
