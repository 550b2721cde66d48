"""The encoder as a model of transformers."""

from __future__ import annotations

import os
import re
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ove_codec.models.checkpoint import WRAPPERS, has_wrapped_names
from ove_codec.models.encoder import PackedEncoder
from ove_codec.models.hf.configuration import OneVisionEncoderConfig
from ove_codec.models.layers import initial_values
from ove_codec.models.pixels import pixel_rows, with_batch_axis

# By the names of transformers. Its "sdpa" stands for PyTorch's own kernels, whichever suits the batch.
_BACKENDS = {
    "eager": "eager",
    "sdpa": "auto",
    "flex_attention": "flex_attention",
    "flash_attention_2": "flash_attention_2",
}


def attention_backend(config: PretrainedConfig) -> str:
    """The backend of `ove_codec.models.attention` for a configuration's attn_implementation; ValueError for others."""
    name = config._attn_implementation
    if name not in _BACKENDS:
        raise ValueError(f"attn_implementation must be one of {', '.join(_BACKENDS)}, got {name!r}")
    return _BACKENDS[name]


class OneVisionEncoderModel(PackedEncoder, PreTrainedModel):
    """The same parameters and results as `ove_codec.models.OVEncoder`, for whole images and clips or packed patches."""

    config_class = OneVisionEncoderConfig
    base_model_prefix = "onevision_encoder"
    main_input_name = "pixel_values"
    input_modalities = ("image", "video")
    supports_gradient_checkpointing = True
    _no_split_modules = ("Block",)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flash_attn_2 = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__(config)
        self.build(config.encoder_config())
        self.post_init()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As of every model of transformers; names lose the prefixes of torch.compile and DistributedDataParallel.

        Raises:
            ValueError: a block's attention is missing: the weights are of another model, and would stay random.
        """
        wrapped = pretrained_model_name_or_path is not None and has_wrapped_names(pretrained_model_name_or_path)
        if wrapped:
            kwargs.setdefault("key_mapping", {rf"^(?:{'|'.join(map(re.escape, WRAPPERS))})+": ""})
        with_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        if absent := sorted(name for name in info["missing_keys"] if ".self_attn." in name):
            raise ValueError(
                f"{pretrained_model_name_or_path} has no {absent[0]}: it is not a OneVision-Encoder; load a tower of "
                "LLaVA-OneVision-2 or Mage-VL with ove_codec.models.load_tower"
            )
        if wrapped:
            # transformers 5 keeps the mapping, and would apply its reverse, which there is not, to what is saved.
            model.__dict__.pop("_weight_conversions", None)
        return (model, info) if with_info else model

    def _init_weights(self, module: nn.Module) -> None:
        """Fills what no file gave; transformers marks the parameters that were read."""
        for parameter, fill in initial_values(module, self.config.initializer_range):
            if not getattr(parameter, "_is_hf_initialized", False):
                fill(parameter)

    def get_input_embeddings(self) -> nn.Module:
        """The patch embedding."""
        return self.embeddings.patch_embedding

    def forward(
        self,
        pixel_values: Tensor | None = None,
        visible_indices: Tensor | None = None,
        patch_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        patches: Tensor | None = None,
        cu_seqlens: Any = None,
        max_seqlen: int | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Encodes a batch of images or clips of one size, or packed patches.

        Args:
            pixel_values: (B, C, H, W) or (B, C, T, H, W), normalised.
            visible_indices: (B, K) integers, see `ove_codec.models.encode_pixels`.
            patch_positions: (B, L, 3) t, h, w of the encoded patches; (N, 3) with `patches`, which need them.
            output_attentions: also return attention weights, whatever the attention implementation.
            output_hidden_states: also return the input of every block and the output of the last.
            return_dict: False gives a tuple of what is not None.
            patches: instead of pixel_values, (N, C*p*p) packed rows, e.g. of `ove_codec.tokenize`.
            cu_seqlens: with `patches`, (B+1,) bounds of the sequences.
            max_seqlen: with `patches`, see `OVEncoder.forward`.

        Returns:
            last_hidden_state and hidden_states (B, L, hidden), pooler_output (B, hidden) or None without a head,
            attentions (B, heads, L, L) a layer. With `patches` (N, hidden), (B, hidden), and attentions a tuple a layer
            of (heads, L, L) a sequence.

        Raises:
            ValueError: not exactly one of pixel_values and patches is given, a shape is wrong, a position or index is
                out of range, or the attention implementation is not known.
        """
        if (pixel_values is None) == (patches is None):
            raise ValueError("give either pixel_values or patches")
        attention = attention_backend(self.config)
        config = self.config.encoder_config()
        batch = None
        if pixel_values is not None:
            if cu_seqlens is not None or max_seqlen is not None:
                raise ValueError("cu_seqlens and max_seqlen belong to patches, not to pixel_values")
            rows, positions = pixel_rows(config, pixel_values, visible_indices, patch_positions)
            batch, length = rows.shape[:2]
            patches, patch_positions = rows.flatten(0, 1), positions.flatten(0, 1)
            cu_seqlens = [b * length for b in range(batch + 1)]
        elif patch_positions is None or visible_indices is not None:
            raise ValueError("patches need patch_positions, and exclude visible_indices")
        out = self.encode(
            config,
            patches,
            patch_positions,
            cu_seqlens,
            max_seqlen,
            attention,
            self.config.output_hidden_states if output_hidden_states is None else output_hidden_states,
            self.config.output_attentions if output_attentions is None else output_attentions,
        )
        attentions: Any = out.attentions
        if batch is not None:
            out = with_batch_axis(out, batch)
            attentions = attentions and tuple(torch.stack(layer) for layer in attentions)
        result = BaseModelOutputWithPooling(
            last_hidden_state=out.last_hidden_state,
            pooler_output=out.pooler_output,
            hidden_states=out.hidden_states,
            attentions=attentions,
        )
        if return_dict is None:
            return_dict = getattr(self.config, "return_dict", True)
        return result if return_dict else result.to_tuple()
