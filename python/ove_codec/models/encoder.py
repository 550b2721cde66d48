"""The 3D-RoPE vision transformer on packed tokens.

A pre-norm ViT without class token or learned positions: a linear patch embedding, a norm, blocks of attention and MLP,
and, with a head, a final norm and an attention pooling with one learned query. Sequences are packed one after another;
attention stays within a sequence. Parameter names and shapes are those of the published checkpoints.
"""

from __future__ import annotations

import os
import warnings
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ove_codec.models.attention import AttentionChoice, PackedAttention
from ove_codec.models.checkpoint import load, save
from ove_codec.models.config import OVEncoderConfig
from ove_codec.models.layers import Embeddings, Layers, PoolingHead, init_weights, make_norm
from ove_codec.models.packing import packing
from ove_codec.models.rope import rope_tables


class OVEncoderOutput(NamedTuple):
    """What the encoder returns.

    Attributes:
        last_hidden_state: (N, hidden), normalised if the model has a head, the residual stream otherwise.
        pooler_output: (B, hidden), one row per sequence; None without a head.
        hidden_states: on request, layers + 1 tensors (N, hidden): the input of every block, and the output of the last
            block before the final norm.
        attentions: on request, for each layer a tuple with one tensor (heads, L, L) per sequence (or window); rows are
            queries.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[tuple[Tensor, ...], ...] | None = None


class PackedEncoder:
    """The modules and the way through them, for every class that carries the published parameter names."""

    embeddings: Embeddings
    layernorm_pre: nn.Module
    encoder: Layers
    layernorm_post: nn.Module | None
    head: PoolingHead | None

    def build(self, config: OVEncoderConfig) -> None:
        """Makes the modules; to be called once, after the constructor of nn.Module."""
        self.embeddings = Embeddings(config)
        self.layernorm_pre = make_norm(config)
        self.encoder = Layers(config)
        self.layernorm_post = make_norm(config) if config.use_head else None
        self.head = PoolingHead(config) if config.use_head else None

    def encode(
        self,
        config: OVEncoderConfig,
        patches: Any,
        positions: Any,
        cu_seqlens: Any,
        max_seqlen: int | None,
        attention: str,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        pool: bool = True,
        windows: Any = None,
    ) -> OVEncoderOutput:
        """What `OVEncoder.forward` does, by the backend `attention`; without the pooling head unless `pool`."""
        weight = self.embeddings.patch_embedding.weight
        patches = torch.as_tensor(patches)
        positions = torch.as_tensor(positions)
        if patches.ndim != 2 or patches.shape[1] != config.patch_dim or not patches.is_floating_point():
            raise ValueError(
                f"patches must be (N, {config.patch_dim}) floating point, got {patches.dtype} {tuple(patches.shape)}"
            )
        check_positions(positions, len(patches), config.rope_temporal_size)
        known_max = None if output_attentions else max_seqlen
        if windows is None:
            attended = pooled_over = packing(cu_seqlens, len(patches), known_max)
        else:
            attended = packing(windows, len(patches), known_max, "windows")
            pooled_over = packing(cu_seqlens, len(patches))
        # Weights that a loader keeps elsewhere until they are used have no device of their own yet.
        device = patches.device if weight.is_meta else weight.device
        patches, positions = patches.to(device, weight.dtype), positions.to(device)

        dropout = config.attention_dropout if self.encoder.training else 0.0
        dtype = _compute_dtype(weight.dtype, device)
        attend = PackedAttention(attended, attention, device, dtype, dropout)
        cos, sin = rope_tables(positions, config.head_dim, config.rope_theta, config.rope_layout)
        x = self.layernorm_pre(self.embeddings(patches))
        x, states, attentions = self.encoder(x, cos, sin, attend, output_hidden_states, output_attentions)
        pooled = None
        if self.layernorm_post is not None:
            x = self.layernorm_post(x)
        if self.head is not None and pool:
            over = attend if windows is None else PackedAttention(pooled_over, attention, device, dtype)
            pooled = self.head(x, over)
        return OVEncoderOutput(
            x,
            pooled,
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )


class OVEncoder(AttentionChoice, PackedEncoder, nn.Module):
    """The encoder. `forward` takes packed patch rows; `encode_pixels` takes whole images and clips.

    Args:
        config: sizes and options.
        attention: the backend, see `ove_codec.models.attention`; can be changed later through `model.attention`.

    `torch.compile(model, fullgraph=True)` works if nothing must be read from a device: with `max_seqlen`, or with
    `cu_seqlens` as a list of Python integers, which compiles again for every list. Batches that fill a fixed budget, B
    sequences of `max_seqlen` rows, share one graph.

    Raises:
        ValueError: there is no such backend.
    """

    def __init__(self, config: OVEncoderConfig, attention: str = "auto") -> None:
        super().__init__()
        self.config = config
        self.attention = attention
        self.build(config)
        self.init_weights(self)

    def init_weights(self, part: nn.Module) -> None:
        """Gives all parameters of a part of the model their initial values."""
        part.apply(partial(init_weights, std=self.config.initializer_range))

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """In training, runs every block again in the backward pass instead of keeping its activations.

        Args:
            options: of torch.utils.checkpoint.checkpoint, e.g. `context_fn` for selective checkpointing.
        """
        self.encoder._gradient_checkpointing_func = partial(checkpoint, **{"use_reentrant": False, **options})
        self.encoder.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keeps activations again."""
        self.encoder.gradient_checkpointing = False

    @classmethod
    def from_config(cls, config: str | OVEncoderConfig, *, attention: str = "auto") -> OVEncoder:
        """A model with random weights, from a named configuration ("ov-encoder-base", ...) or a given one.

        Raises:
            ValueError: an unknown configuration or backend.
        """
        return cls(OVEncoderConfig.named(config) if isinstance(config, str) else config, attention)

    @classmethod
    def from_pretrained(
        cls, directory: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32, attention: str = "auto"
    ) -> OVEncoder:
        """Reads `config.json` and `model.safetensors` (or its shards) from a local directory; in eval mode.

        See `ove_codec.models.checkpoint.load` for what is checked and raised.
        """
        model = load(cls, directory, dtype)
        model.attention = attention
        return model

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Writes `config.json` and `model.safetensors`; makes the directory if it is missing."""
        save(self, self.config, directory)

    def forward(
        self,
        patches: Any,
        positions: Any,
        cu_seqlens: Any = None,
        *,
        max_seqlen: int | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        windows: Any = None,
    ) -> OVEncoderOutput:
        """Encodes packed sequences of patches.

        Args:
            patches: (N, C*p*p) floating point, normalised pixels, channel first, then row and column in the patch.
            positions: (N, 3) t, h, w of every patch: slot, patch row, patch column; finite numbers from 0 on. A
                warning is given for slots beyond the configuration's `rope_temporal_size`, which training has not
                seen.
            cu_seqlens: (B+1,) integers: sequence b is the rows cu_seqlens[b] to cu_seqlens[b+1]; none is empty. None
                means one sequence.
            max_seqlen: upper bound of the sequence lengths. The values of `cu_seqlens` on a GPU are then neither
                waited for nor checked.
            output_hidden_states: also return the hidden states.
            output_attentions: also return the attention weights; needs memory proportional to L^2, and reads
                `cu_seqlens`.
            windows: (W+1,) bounds of attention, if they differ from `cu_seqlens`, which then bound only the pooling;
                `max_seqlen` is then the longest window.
        Arrays are tensors or NumPy arrays, cu_seqlens also a list; they are moved to the device (and patches to the
        type) of the weights. Values of positions are checked only on the CPU.

        Raises:
            ValueError: a shape is wrong, a position is negative or not finite, cu_seqlens does not divide the rows, or
                the attention backend cannot run here; the message names the argument.
            ImportError: the attention backend is not installed.
        """
        return self.encode(
            self.config,
            patches,
            positions,
            cu_seqlens,
            max_seqlen,
            self.attention,
            output_hidden_states,
            output_attentions,
            windows=windows,
        )


def check_positions(positions: Tensor, rows: int, temporal_size: int | None) -> None:
    """Raises ValueError unless positions are (rows, 3), finite and not negative; warns of slots from temporal_size on.

    Values are looked at only where that costs nothing: on the host, and not while torch.compile traces.
    """
    if positions.shape != (rows, 3):
        raise ValueError(f"positions must be ({rows}, 3), got {tuple(positions.shape)}")
    if positions.device.type != "cpu" or torch.compiler.is_compiling() or rows == 0:
        return
    low, high = positions.min().item(), positions.max().item()  # NaN if any is
    if not (low >= 0 and high < float("inf")):
        row = int(((positions >= 0) & (positions < float("inf"))).all(1).logical_not().nonzero()[0])
        raise ValueError(
            f"positions must be finite and not negative, got (t, h, w) = {tuple(positions[row].tolist())} in row {row}"
        )
    if temporal_size is not None and high >= temporal_size and (slot := positions[:, 0].max().item()) >= temporal_size:
        warnings.warn(
            f"positions has the slot t = {slot:g}, beyond the {temporal_size} of rope_temporal_size; "
            "map long clips onto these slots",
            stacklevel=6,
        )


def _compute_dtype(weights: torch.dtype, device: torch.device) -> torch.dtype:
    """The type that linear maps give."""
    if device.type != "meta" and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return weights
