"""A causal language model that sees: vision tower, spatial-merge projector, and any causal LM of transformers."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, GenerationMixin, PreTrainedModel

from ove_codec.lmm import towers
from ove_codec.lmm.config import LMMConfig
from ove_codec.lmm.projector import SpatialMergeProjector
from ove_codec.models.packing import placed

PARTS = ("vision_tower", "projector", "language_model")


class LMMForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Vision tower, spatial-merge projector and causal language model.

    Images and clips come as packed patches, as `LMMProcessor` makes them: one row a patch, in merge order, all images
    and clips of the batch one after the other as their placeholders stand in `input_ids`.
    """

    config_class = LMMConfig
    main_input_name = "input_ids"
    input_modalities = ("image", "video", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules: Sequence[str] = ("SpatialMergeProjector", "Block", "Qwen3VLVisionBlock", "Siglip2EncoderLayer")
    _skip_keys_device_placement = ("past_key_values", "cache")

    def __init__(self, config: LMMConfig) -> None:
        super().__init__(config)
        self.vision_tower = towers.build(config.vision_config, config.select_layer)
        self.projector = SpatialMergeProjector(
            self.vision_tower.feature_size,
            config.merge_size // self.vision_tower.merged,
            config.text_config.hidden_size,
            config.projector,
        )
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        tied = getattr(self.language_model, "_tied_weights_keys", None)
        if isinstance(tied, list):  # transformers 4; from 5 on the tied weights of submodels are found
            self._tied_weights_keys = [f"language_model.{name}" for name in tied]
        self._keeps_logits = "logits_to_keep" in inspect.signature(self.language_model.forward).parameters
        self.post_init()
        # Sharding wants classes that are there: those of this tower and this language model.
        unsplit = {*self._no_split_modules, *(self.language_model._no_split_modules or ())}
        self._no_split_modules = sorted(unsplit & {type(module).__name__ for module in self.modules()})

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def get_vision_features(self, patches: Tensor, patch_positions: Tensor, patch_cu_seqlens: Tensor) -> Tensor:
        """Embeddings (N / merge_size^2, hidden size of the language model) of packed images and clips.

        Args:
            patches: (N, row size of the tower) normalised samples.
            patch_positions: (N, 3) integers t, h, w, blocks of merge_size x merge_size one after the other.
            patch_cu_seqlens: (B + 1,) integers, bounds of the images and clips.

        Raises:
            ValueError: a shape is wrong, a block is incomplete, or the tower takes whole frames and gets other patches.
        """
        check_vision_inputs(
            patches, patch_positions, patch_cu_seqlens, self.vision_tower.row_size, self.config.merge_size
        )
        return self.projector(self.vision_tower(patches, patch_positions, patch_cu_seqlens))

    def embed(
        self,
        input_ids: Tensor,
        patches: Tensor | None = None,
        patch_positions: Tensor | None = None,
        patch_cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Embeddings (B, L, hidden) of the tokens, those of images and clips in place.

        Raises ValueError where `input_ids` hold more or fewer vision tokens than there are features.
        """
        embeddings: Tensor = self.get_input_embeddings()(input_ids)
        places = input_ids == self.config.vision_token_id
        if patches is None:
            if wanted := int(places.sum()):
                raise ValueError(f"input_ids hold {wanted} vision tokens, but patches is None")
            if self.training and any(
                p.requires_grad for p in (*self.vision_tower.parameters(), *self.projector.parameters())
            ):
                embeddings = embeddings + 0 * self._blank_features().sum().to(embeddings)
            return embeddings
        if patch_positions is None or patch_cu_seqlens is None:
            raise ValueError("patches need patch_positions and patch_cu_seqlens")
        features = self.get_vision_features(patches, patch_positions, patch_cu_seqlens)
        return placed(embeddings, places, features, patches=len(patches), kind="vision")

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        patches: Tensor | None = None,
        patch_positions: Tensor | None = None,
        patch_cu_seqlens: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The language model's output on text, images and clips.

        Args:
            input_ids: (B, L) tokens, with a vision token for every feature; or give `inputs_embeds` (B, L, hidden).
            labels: (B, L) targets, -100 where there is none; the output then has the loss. It is 0 without any target.
                In training the logits are those of the positions that any row has a target after, K of L, where the
                language model can leave out the others: they would take more memory than the model.
            patches, patch_positions, patch_cu_seqlens: as for `get_vision_features`; only in the step whose
                `input_ids` hold the vision tokens, not while decoding with a cache.
            **kwargs: whatever the language model takes, its cache included.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if input_ids is not None:
            inputs_embeds = self.embed(input_ids, patches, patch_positions, patch_cu_seqlens)
        elif patches is not None:
            raise ValueError("patches need input_ids, which give the places of their features; inputs_embeds do not")
        untargeted = labels is not None and not bool((labels[..., 1:] != -100).any())
        if (
            labels is not None
        ):  # with a cache samples in one row would see one another, and recomputed layers themselves
            kwargs.setdefault("use_cache", False)
        if untargeted:
            labels = None
        elif labels is not None and self.training and self._keeps_logits:
            shifted = nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
            kept = (shifted != -100).any(0).nonzero()[:, 0]
            labels = shifted[:, kept]
            kwargs |= {"logits_to_keep": kept, "shift_labels": labels}
        out = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            labels=labels,
            **kwargs,
        )
        if untargeted:
            out["loss"] = out.logits.float().sum() * 0
        return out

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        *,
        input_ids: Tensor | None = None,
        patches: Tensor | None = None,
        patch_positions: Tensor | None = None,
        patch_cu_seqlens: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generates text after a prompt of text, images and clips, with the language model's own `generate`.

        The prompt is embedded once, so beams and repeats need no copies of images, and the cache is whatever the
        language model has. Arguments as for `forward` and for `generate` of transformers, whose result it gives: the
        prompt's tokens and the new ones.
        """
        input_ids = inputs if input_ids is None else input_ids
        if input_ids is None:
            raise ValueError("generate needs input_ids")
        self.language_model.generation_config = self.generation_config
        embeddings = self.embed(input_ids, patches, patch_positions, patch_cu_seqlens)
        return self.language_model.generate(input_ids=input_ids, inputs_embeds=embeddings, **kwargs)

    def _blank_features(self) -> Tensor:
        """Features of one black block: in a batch without images they keep the parts in the graph, which
        DistributedDataParallel waits for.
        """
        m = self.config.merge_size
        cells = torch.cartesian_prod(torch.arange(m), torch.arange(m)).reshape(-1, 2)
        positions = nn.functional.pad(cells, (1, 0)).to(self.device)
        patches = torch.zeros(len(cells), self.vision_tower.row_size, device=self.device)
        return self.get_vision_features(patches, positions, torch.tensor([0, len(cells)], device=self.device))


def check_vision_inputs(patches: Tensor, positions: Tensor, cu_seqlens: Tensor, row_size: int, merge_size: int) -> None:
    """Raises ValueError, with the argument's name, where a shape or the order of the blocks is wrong."""
    if patches.ndim != 2 or patches.shape[1] != row_size:
        raise ValueError(f"patches must be (N, {row_size}), got {tuple(patches.shape)}")
    if positions.shape != (len(patches), 3) or positions.is_floating_point():
        raise ValueError(
            f"patch_positions must be ({len(patches)}, 3) integers, got {tuple(positions.shape)} {positions.dtype}"
        )
    if cu_seqlens.ndim != 1 or len(cu_seqlens) < 2 or cu_seqlens.is_floating_point():
        raise ValueError(
            f"patch_cu_seqlens must be (B + 1,) integers, got {tuple(cu_seqlens.shape)} {cu_seqlens.dtype}"
        )
    bounds = cu_seqlens.tolist()
    area = merge_size**2
    if bounds[0] != 0 or bounds[-1] != len(patches) or any(b <= a for a, b in itertools.pairwise(bounds)):
        raise ValueError(f"patch_cu_seqlens must increase from 0 to the {len(patches)} patches, got {bounds}")
    if any(bound % area for bound in bounds):
        raise ValueError(f"patch_cu_seqlens must be multiples of the {area} patches of a merge block, got {bounds}")
    if positions.numel() and positions.min() < 0:
        raise ValueError(f"patch_positions must not be negative, got {positions[(positions < 0).any(1)][0].tolist()}")
    blocks = positions.reshape(-1, area, 3)
    steps = torch.arange(area, device=positions.device)
    inside = torch.stack((torch.zeros_like(steps), steps // merge_size, steps % merge_size), dim=1)
    corner = blocks[:, :1]
    if (blocks != corner + inside).any() or (corner[..., 1:] % merge_size).any():
        raise ValueError(
            f"patch_positions must list blocks of {merge_size} x {merge_size} patches, each row by row: put patches in "
            f"the order of ove_codec.lmm.order_for_merge"
        )


AutoModelForImageTextToText.register(LMMConfig, LMMForConditionalGeneration, exist_ok=True)
