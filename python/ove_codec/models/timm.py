"""The encoder for timm; importing this registers `ov_encoder_base`, `ov_encoder_large` and `ov_encoder_huge`.

    import timm
    import ove_codec.models.timm

    model = timm.create_model("ov_encoder_large", num_classes=400)
    logits = model(images)  # or clips (B, C, T, H, W)

Weights come from a file: `pretrained=True, pretrained_cfg_overlay={"file": "model.safetensors"}`. Needs
`pip install 'ove_codec[timm]'`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

try:
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
    from timm.models._features import feature_take_indices
except ImportError as error:
    raise ImportError(f"ove_codec.models.timm needs timm ({error}): pip install 'ove_codec[timm]'") from error

from ove_codec.models.attention import PackedAttention, check_backend
from ove_codec.models.checkpoint import unwrapped
from ove_codec.models.config import OVEncoderConfig
from ove_codec.models.encoder import OVEncoderOutput, PackedEncoder
from ove_codec.models.layers import init_weights
from ove_codec.models.packing import packing
from ove_codec.models.pixels import pixel_rows, with_batch_axis
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD

_NAMES = ("base", "large", "huge")
_POOLS = ("map", "avg", "")


class OVEncoderTimm(PackedEncoder, nn.Module):
    """The same parameters as `OVEncoder`, and a classifier `fc` where there are classes.

    Args:
        config: sizes and options; `num_channels` is replaced by `in_chans`.
        num_classes: 0 leaves out the classifier.
        in_chans: channels of an image.
        global_pool: "map" (the pooling head), "avg", or "" for all tokens.
        drop_rate: dropout before the classifier.
        attention: backend, see `ove_codec.models.attention`.

    Raises:
        ValueError: global_pool or attention is none of the above, or "map" without a head.
    """

    def __init__(
        self,
        config: OVEncoderConfig,
        num_classes: int = 0,
        in_chans: int = 3,
        global_pool: str = "map",
        drop_rate: float = 0.0,
        attention: str = "auto",
    ) -> None:
        super().__init__()
        self.config = OVEncoderConfig.from_dict({**config.to_dict(), "num_channels": in_chans})
        self.attention = check_backend(attention)
        self.build(self.config)
        self.num_features = self.head_hidden_size = self.embed_dim = config.hidden_size
        self.drop_rate = drop_rate
        self.feature_info = [
            {"module": f"encoder.layers.{i}", "num_chs": config.hidden_size, "reduction": config.patch_size}
            for i in range(config.num_hidden_layers)
        ]
        self.reset_classifier(num_classes, global_pool)
        self.apply(partial(init_weights, std=config.initializer_range))

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier, or none for 0; and another way to pool where it is given."""
        if global_pool is not None:
            if global_pool not in _POOLS or (global_pool == "map" and self.head is None):
                raise ValueError(f"global_pool must be one of {_POOLS}('map' needs a head), got {global_pool!r}")
            self.global_pool = global_pool
        self.num_classes = num_classes
        weight = self.embeddings.patch_embedding.weight
        self.fc = nn.Linear(self.num_features, num_classes).to(weight) if num_classes > 0 else nn.Identity()
        init_weights(self.fc, self.config.initializer_range)

    def get_classifier(self) -> nn.Module:
        """The classifier; the identity where there is none."""
        return self.fc

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay should leave alone."""
        return {"head.probe"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names by depth, for layer-wise learning rates."""
        return {
            "stem": r"^embeddings|^layernorm_pre",
            "blocks": [(r"^encoder\.layers\.(\d+)", None), (r"^layernorm_post|^head", (99999,))],
        }

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Runs blocks again in the backward pass instead of keeping activations."""
        self.encoder._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        self.encoder.gradient_checkpointing = enable

    def _run(self, x: Tensor, states: bool) -> OVEncoderOutput:
        rows, positions = pixel_rows(self.config, x)
        batch, length = rows.shape[:2]
        bounds = [b * length for b in range(batch + 1)]
        flat = rows.flatten(0, 1), positions.flatten(0, 1)
        out = self.encode(self.config, *flat, bounds, None, self.attention, output_hidden_states=states, pool=False)
        return with_batch_axis(out, batch)

    def forward_features(self, x: Tensor) -> Tensor:
        """Tokens (B, L, hidden) after the final norm, of images (B, C, H, W) or clips (B, C, T, H, W)."""
        return self._run(x, states=False).last_hidden_state

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pooled tokens (B, hidden), or (B, L, hidden) where they are not pooled; classified unless `pre_logits`."""
        if self.global_pool == "avg":
            x = x.mean(1)
        elif self.global_pool == "map":
            assert self.head is not None
            batch, length = x.shape[:2]
            bounds = packing([b * length for b in range(batch + 1)], batch * length)
            x = self.head(x.flatten(0, 1), PackedAttention(bounds, self.attention, x.device, x.dtype))
        x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes), or features where there is no classifier."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Outputs of some blocks.

        Args:
            x: images (B, C, H, W); clips (B, C, T, H, W) with output_fmt "NLC" only.
            indices: blocks; the last n for an integer, all for None.
            norm: apply the final norm to them.
            stop_early: without effect; `features_only` models have no blocks beyond the last that is asked for.
            output_fmt: "NCHW" or "NLC".
            intermediates_only: leave out the final tokens.

        Raises:
            ValueError: output_fmt is another, or a clip has no such form.
        """
        if output_fmt not in ("NCHW", "NLC") or (output_fmt == "NCHW" and x.ndim != 4):
            raise ValueError(f"output_fmt must be 'NLC', or 'NCHW' for images, got {output_fmt!r}")
        taken, _ = feature_take_indices(len(self.encoder.layers), indices)
        out = self._run(x, states=True)
        assert out.hidden_states is not None
        maps = [out.hidden_states[i + 1] for i in taken]
        if norm and self.layernorm_post is not None:
            maps = [self.layernorm_post(tokens) for tokens in maps]
        if output_fmt == "NCHW":
            grid = [side // self.config.patch_size for side in x.shape[-2:]]
            maps = [tokens.transpose(1, 2).unflatten(2, grid).contiguous() for tokens in maps]
        return maps if intermediates_only else (out.last_hidden_state, maps)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Takes off what `forward_intermediates` does not need for these blocks; returns their numbers."""
        taken, last = feature_take_indices(len(self.encoder.layers), indices)
        self.encoder.layers = self.encoder.layers[: last + 1]
        if prune_norm:
            self.layernorm_post = None
        if prune_head:
            self.head = None
            self.reset_classifier(0, "")
        return list(taken)


def _config(name: str) -> OVEncoderConfig:
    return OVEncoderConfig.named(f"ov-encoder-{name}")


def _filter(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    return {unwrapped(name): tensor for name, tensor in state.items()}


def _register(name: str) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        model: nn.Module = build_model_with_cfg(
            partial(OVEncoderTimm, _config(name)),
            f"ov_encoder_{name}",
            pretrained,
            pretrained_filter_fn=_filter,
            feature_cfg={"out_indices": 3, "feature_cls": "getter"},
            **kwargs,
        )
        return model

    create.__name__ = f"ov_encoder_{name}"
    create.__doc__ = f"The encoder of the configuration ov-encoder-{name}."
    registered: Callable[..., nn.Module] = register_model(create)
    return registered


default_cfgs = generate_default_cfgs(
    {
        f"ov_encoder_{name}": {
            "num_classes": 0,
            "input_size": (3, _config(name).image_size, _config(name).image_size),
            "pool_size": None,
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": CLIP_MEAN,
            "std": CLIP_STD,
            "first_conv": "embeddings.patch_embedding",
            "classifier": "fc",
            "license": "apache-2.0",
        }
        for name in _NAMES
    }
)
ov_encoder_base, ov_encoder_large, ov_encoder_huge = (_register(name) for name in _NAMES)
