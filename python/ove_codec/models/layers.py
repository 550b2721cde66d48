"""The parts of the encoder, with the parameter names and shapes of the published checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ove_codec.models.attention import PackedAttention, attention_weights
from ove_codec.models.config import OVEncoderConfig
from ove_codec.models.rope import apply_rope

Weights = tuple[Tensor, ...]  # of one layer: a tensor (heads, L, L) a sequence


def make_norm(config: OVEncoderConfig) -> nn.Module:
    """The norm of the body."""
    norm = nn.LayerNorm if config.layer_norm_type == "layer_norm" else nn.RMSNorm
    return norm(config.hidden_size, eps=config.layer_norm_eps)


class PatchEmbedding(nn.Conv2d):
    """A convolution that takes its patches already cut, as rows (N, C*p*p): there it is a linear map."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight.flatten(1))


class Embeddings(nn.Module):
    """Patch rows to tokens; a module of its own only for the parameter names."""

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        p = config.patch_size
        self.patch_embedding = PatchEmbedding(config.num_channels, config.hidden_size, p, stride=p, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        return self.patch_embedding(patches)


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions on queries and keys.

    The projections are four matrices, or, where the configuration says `fused_qkv`, `qkv` (rows of q, k, v) and `proj`.
    """

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        self.head_dim, self.fused = config.head_dim, config.fused_qkv
        hidden = config.hidden_size
        if self.fused:
            self.qkv, self.proj = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        else:
            self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(hidden, hidden) for _ in range(4))

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: PackedAttention, output_weights: bool
    ) -> tuple[Tensor, Weights | None]:
        parts = self.qkv(x).chunk(3, dim=-1) if self.fused else (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)) for part in parts)
        q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
        weights = None
        if output_weights:
            assert attend.packing.lengths is not None
            weights = attention_weights(q, k, attend.packing.lengths)
        out = attend(q, k, v).flatten(1)
        return self.proj(out) if self.fused else self.out_proj(out), weights


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
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        attend: PackedAttention,
        output_weights: bool,
        scales: Tensor | None = None,
    ) -> tuple[Tensor, Weights | None]:
        """`scales` (2, N, 1) multiply what both branches add, see `Layers.drop_path`."""
        attended, weights = self.self_attn(self.layer_norm1(x), cos, sin, attend, output_weights)
        x = x + (attended if scales is None else attended * scales[0])
        added = self.mlp(self.layer_norm2(x))
        return x + (added if scales is None else added * scales[1]), weights


class Layers(nn.Module):
    """The stack of blocks.

    Attributes:
        gradient_checkpointing: in training, keep only the inputs of the blocks, and run them again in the backward
            pass, by `_gradient_checkpointing_func` (names that Hugging Face's trainers set).
        drop_path: stochastic depth in training: the share of sequences for which a branch of the last block adds
            nothing; it rises linearly from 0 in the first block. What stays is divided by its share.
    """

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.gradient_checkpointing = False
        self.drop_path = 0.0
        self._gradient_checkpointing_func: Callable[..., Any] | None = None

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: PackedAttention, output_states: bool, output_weights: bool
    ) -> tuple[Tensor, list[Tensor], list[Weights]]:
        """The last block's output; on request the inputs of all blocks and that output, and attention weights."""
        states, attentions = [x], []
        recompute = self._gradient_checkpointing_func if self.gradient_checkpointing and self.training else None
        documents = attend.packing.documents(x.device) if self.training and self.drop_path else None
        for number, block in enumerate(self.layers):
            scales = None
            if documents is not None and number:
                rate = self.drop_path * number / (len(self.layers) - 1)
                kept = torch.rand(2, attend.packing.count, 1, device=x.device) >= rate
                scales = (kept / (1 - rate)).to(x.dtype).index_select(1, documents)
            if recompute is None:
                x, weights = block(x, cos, sin, attend, output_weights, scales)
            else:
                x, weights = recompute(block.__call__, x, cos, sin, attend, output_weights, scales)
            if output_states:
                states.append(x)
            if output_weights:
                attentions.append(weights)
        return x, states, attentions


class ProbeAttention(nn.MultiheadAttention):
    """Attention of one query to the rows of every sequence; the base class gives the published parameter names."""

    def forward(self, query: Tensor, x: Tensor, attend: PackedAttention) -> Tensor:  # type: ignore[override]
        """query (1, hidden), x (N, hidden); gives (B, hidden)."""
        heads, hidden = self.num_heads, x.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias  # rows of q, k, v
        q = F.linear(query, weight[:hidden], bias[:hidden]).unflatten(-1, (heads, -1))
        k, v = F.linear(x, weight[hidden:], bias[hidden:]).unflatten(-1, (2 * heads, -1)).chunk(2, dim=1)
        return self.out_proj(attend.pool(q.expand(attend.packing.count, -1, -1), k, v).flatten(1))


class PoolingHead(nn.Module):
    """One learned query attends to the tokens of a sequence; r + mlp(norm(r)) follows."""

    def __init__(self, config: OVEncoderConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.attention = ProbeAttention(config.hidden_size, config.num_attention_heads)
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, attend: PackedAttention) -> Tensor:
        pooled = self.attention(self.probe[0], x, attend)
        return pooled + self.mlp(self.norm(pooled))


def initial_values(module: nn.Module, std: float) -> Iterator[tuple[Tensor, Callable[[Tensor], Any]]]:
    """The parameters that belong to a module itself, each with what fills it in place.

    Normal weights, zero biases, norms one; xavier for the pooling projection, N(0, 1) for its query.
    """
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        yield module.weight, partial(nn.init.normal_, std=std)
        if module.bias is not None:
            yield module.bias, nn.init.zeros_
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        yield module.weight, nn.init.ones_
        if isinstance(module, nn.LayerNorm):
            yield module.bias, nn.init.zeros_
    elif isinstance(module, nn.Embedding):
        yield module.weight, partial(nn.init.normal_, std=std)
    elif isinstance(module, nn.MultiheadAttention):
        yield module.in_proj_weight, nn.init.xavier_uniform_
        yield module.in_proj_bias, nn.init.zeros_
    elif isinstance(module, PoolingHead):
        yield module.probe, nn.init.normal_


def init_weights(module: nn.Module, std: float) -> None:
    """Gives the parameters of a module itself their initial values."""
    for parameter, fill in initial_values(module, std):
        fill(parameter)
