"""Configuration of a language model with a vision tower."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from ove_codec.lmm import tower_configs

PROJECTORS = ("merger", "mlp")


class LMMConfig(PretrainedConfig):
    """Sizes and options of an `LMMForConditionalGeneration`, stored as `config.json`.

    Args:
        vision_config: of the tower, or its dict; `model_type` names the tower: "onevision_encoder" or "ove_encoder"
            (see `OVEncoderConfig`), "qwen3_vl_vision" ("qwen3_vl" in files of transformers 4) or
            "siglip2_vision_model".
        text_config: of any causal language model that transformers knows, or its dict.
        vision_token_id: the token in `input_ids` that marks the place of a feature of an image or clip.
        merge_size: m; m x m patches become one token.
        select_layer: which hidden state of the tower is projected, as an index into its hidden states (0 to the number
            of blocks, negative ones from the end, before any final norm); later blocks are dropped. None takes the
            tower's final output: after its final norm, and for Qwen3-VL after its own merger.
        projector: "merger" (norm, concatenation of the block, two linear maps with a GELU between; hidden size that of
            the concatenation, as in Qwen2-VL) or "mlp" (the same without norm, hidden size that of the language model:
            with merge_size 1 LLaVA's mlp2x_gelu).

    Raises:
        ValueError: a value is not allowed; the message names it.
    """

    model_type = "ove_lmm"
    sub_configs = {"vision_config": AutoConfig, "text_config": AutoConfig}  # noqa: RUF012 (as transformers has it)

    def __init__(
        self,
        vision_config: PretrainedConfig | dict[str, Any] | None = None,
        text_config: PretrainedConfig | dict[str, Any] | None = None,
        vision_token_id: int = 151655,
        merge_size: int = 2,
        select_layer: int | None = None,
        projector: str = "merger",
        **kwargs: Any,
    ) -> None:
        self.vision_config = tower_configs.make(vision_config)
        if text_config is None:
            text_config = {"model_type": "qwen3"}
        if isinstance(text_config, dict):
            text_config = AutoConfig.for_model(**text_config)
        self.text_config: Any = text_config
        self.vision_token_id = vision_token_id
        self.merge_size = merge_size
        self.select_layer = select_layer
        self.projector = projector
        self._check()
        kwargs.setdefault("tie_word_embeddings", bool(getattr(text_config, "tie_word_embeddings", False)))
        super().__init__(**kwargs)

    def _check(self) -> None:
        for name, value in (("merge_size", self.merge_size), ("vision_token_id", self.vision_token_id)):
            if not isinstance(value, int) or isinstance(value, bool) or value < (name == "merge_size"):
                raise ValueError(
                    f"{name} must be a {'positive' if name == 'merge_size' else 'token'} number: {value!r}"
                )
        if self.vision_token_id >= self.text_config.vocab_size:
            raise ValueError(
                f"vision_token_id {self.vision_token_id} is not one of the {self.text_config.vocab_size} tokens of the "
                "language model"
            )
        if self.projector not in PROJECTORS:
            raise ValueError(f"projector must be one of {', '.join(PROJECTORS)}, not {self.projector!r}")
        tower_configs.check(self.vision_config, self.merge_size, self.select_layer)


AutoConfig.register(LMMConfig.model_type, LMMConfig, exist_ok=True)
