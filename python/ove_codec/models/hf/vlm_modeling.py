"""LLaVA-OneVision-2 and Mage-VL as models of transformers: a vision tower and a language model of the library."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from ove_codec.models.hf.modeling import attention_backend
from ove_codec.models.hf.vlm_configuration import (
    LlavaOnevision2Config,
    LlavaOnevision2VisionConfig,
    MageVLConfig,
    MageVLVisionConfig,
)
from ove_codec.models.layers import initial_values
from ove_codec.models.packing import placed
from ove_codec.models.tower import OVTowerOutput, PackedTower


class _Complete(PreTrainedModel):
    """A model that is read whole, or not at all."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As of every model of transformers.

        Raises:
            ValueError: a tensor is missing, and would stay random.
        """
        with_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        if missing := sorted(info["missing_keys"]):
            raise ValueError(
                f"{pretrained_model_name_or_path} lacks {len(missing)} of the model's tensors, so these would be "
                "random: "
                f"{', '.join(missing[:8])}"
            )
        return (model, info) if with_info else model


class LlavaOnevision2VisionModel(PackedTower, _Complete):
    """The same parameters and results as `ove_codec.models.OVTower`."""

    config_class = LlavaOnevision2VisionConfig
    base_model_prefix = "visual"
    main_input_name = "pixel_values"
    input_modalities = ("image", "video")
    supports_gradient_checkpointing = True
    _no_split_modules = ("Block", "Merger")
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flash_attn_2 = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: LlavaOnevision2VisionConfig) -> None:
        super().__init__(config)
        self.build_tower(config.tower_config())
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Fills what no file gave; transformers marks the parameters that were read."""
        for parameter, fill in initial_values(module, self.config.initializer_range):
            if not getattr(parameter, "_is_hf_initialized", False):
                fill(parameter)

    def get_input_embeddings(self) -> nn.Module:
        """The patch embedding."""
        return self.embeddings.patch_embedding

    def forward(self, pixel_values: Tensor, grid_thw: Any, patch_positions: Tensor, pool: bool = True) -> OVTowerOutput:
        """As `OVTower.forward`; without the pooling head unless `pool`."""
        attention = attention_backend(self.config)
        return self.run(self.config.tower_config(), pixel_values, grid_thw, patch_positions, attention, pool=pool)


class MageVLVisionModel(LlavaOnevision2VisionModel):
    """As `LlavaOnevision2VisionModel`, of Mage-VL."""

    config_class = MageVLVisionConfig


class _Part(_Complete):
    """What the whole model and the one without language head have in common."""

    config_class = LlavaOnevision2Config
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("image", "video", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flash_attn_2 = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = ("Block", "Merger")
    _skip_keys_device_placement = ("past_key_values",)


class LlavaOnevision2Model(_Part):
    """The vision tower and the language model without its head."""

    vision_model: type[LlavaOnevision2VisionModel] = LlavaOnevision2VisionModel

    def __init__(self, config: LlavaOnevision2Config) -> None:
        super().__init__(config)
        self.visual = self.vision_model._from_config(config.vision_config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_image_features(self, pixel_values: Tensor, image_grid_thw: Any, patch_positions: Tensor) -> Tensor:
        """Merged tokens (N / m^2, hidden size of the language model); arguments as for `OVTower.forward`."""
        merged = self.visual(pixel_values, image_grid_thw, patch_positions, pool=False).merged
        assert isinstance(merged, Tensor)  # the configuration always has a merger
        return merged

    def embed(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        image_grid_thw: Any = None,
        patch_positions: Tensor | None = None,
    ) -> Tensor:
        """Embeddings (B, L, hidden) of the tokens, merged tokens of images, frames and canvases in place.

        Raises:
            ValueError: `input_ids` hold more or fewer image tokens than the patches make, or an argument is missing.
        """
        embeddings: Tensor = self.get_input_embeddings()(input_ids)
        places = input_ids == self.config.image_token_id
        if pixel_values is None:
            if wanted := int(places.sum()):
                raise ValueError(f"input_ids hold {wanted} image tokens, but pixel_values is None")
            return embeddings
        if image_grid_thw is None or patch_positions is None:
            raise ValueError("pixel_values need image_grid_thw and patch_positions")
        features = self.get_image_features(pixel_values, image_grid_thw, patch_positions)
        return placed(embeddings, places, features, patches=len(pixel_values), kind="image")

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_grid_thw: Any = None,
        patch_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """The language model's output on text, images, frames and canvases.

        Args:
            input_ids: (B, L) tokens, with an image token for every merged token; or give `inputs_embeds`
                (B, L, hidden).
            attention_mask: (B, all tokens so far), 0 at padding.
            position_ids: (B, L); where missing, tokens are counted without padding.
            pixel_values, image_grid_thw, patch_positions: as for `OVTower.forward`, of all images, frames and canvases
                of the batch in the order of their tokens; only in the step whose `input_ids` hold these.
            **kwargs: whatever the language model takes, its cache included.

        Raises:
            ValueError: see `embed`, or not exactly one of input_ids and inputs_embeds is given.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if stray := sorted(name for name in kwargs if name.endswith("_videos") or name == "video_grid_thw"):
            raise ValueError(
                f"{', '.join(stray)} is not supported: videos are frames or canvases in pixel_values, image_grid_thw "
                f"and patch_positions"
            )
        if input_ids is not None:
            inputs_embeds = self.embed(input_ids, pixel_values, image_grid_thw, patch_positions)
        elif pixel_values is not None:
            raise ValueError("pixel_values need input_ids, which give the places of their tokens")
        assert inputs_embeds is not None
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            counted = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
            position_ids = counted[:, -inputs_embeds.shape[1] :]
        out: BaseModelOutputWithPast = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            **kwargs,
        )
        return out


class LlavaOnevision2ForConditionalGeneration(_Part, GenerationMixin):
    """The whole model: text from text, images, frames and canvases."""

    body: type[LlavaOnevision2Model] = LlavaOnevision2Model
    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: LlavaOnevision2Config) -> None:
        super().__init__(config)
        self.model = self.body(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_image_features(self, pixel_values: Tensor, image_grid_thw: Any, patch_positions: Tensor) -> Tensor:
        """As of the model without head."""
        return self.model.get_image_features(pixel_values, image_grid_thw, patch_positions)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_grid_thw: Any = None,
        patch_positions: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits, and with `labels` (B, L), -100 where there is no target, the loss.

        Args:
            logits_to_keep: of the last so many tokens only, or of these places; 0 gives all.
        The other arguments are those of `LlavaOnevision2Model.forward`.
        """
        out = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            image_grid_thw=image_grid_thw,
            patch_positions=patch_positions,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size)
        rest = {name: value for name, value in out.items() if name != "last_hidden_state"}  # the cache's name varies
        return CausalLMOutputWithPast(loss=loss, logits=logits, **rest)

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        *,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_grid_thw: Any = None,
        patch_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generates text; the prompt's tokens and the new ones, as `generate` of transformers gives them.

        The prompt is embedded once, so beams and repeats need no copies of images. Arguments as for `forward` and for
        `generate` of transformers.
        """
        input_ids = inputs if input_ids is None else input_ids
        if input_ids is None:
            raise ValueError("generate needs input_ids")
        embeddings = self.model.embed(input_ids, pixel_values, image_grid_thw, patch_positions)
        return super().generate(input_ids=input_ids, inputs_embeds=embeddings, **kwargs)


class MageVLModel(LlavaOnevision2Model):
    """As `LlavaOnevision2Model`, of Mage-VL."""

    config_class = MageVLConfig
    vision_model: type[LlavaOnevision2VisionModel] = MageVLVisionModel


class MageVLForConditionalGeneration(LlavaOnevision2ForConditionalGeneration):
    """As `LlavaOnevision2ForConditionalGeneration`, of Mage-VL."""

    config_class = MageVLConfig
    body: type[LlavaOnevision2Model] = MageVLModel
