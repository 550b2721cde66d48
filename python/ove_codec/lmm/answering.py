"""Answers of a model to conversations about images and videos, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ove_codec.lmm.data import SAMPLE_ERRORS
from ove_codec.lmm.messages import Message
from ove_codec.lmm.model import LMMForConditionalGeneration
from ove_codec.lmm.processor import LMMProcessor
from ove_codec.lmm.samples import LMMSample


@dataclass(frozen=True)
class Conversation:
    """Turns that an answer is to follow, and what their placeholders stand for: see `LMMProcessor.sample`.

    Attributes:
        name: what it is called where it cannot be read.
    """

    messages: Sequence[Message]
    images: Sequence[Any] = ()
    videos: Sequence[Any] = ()
    name: str = ""


@dataclass
class Answerer:
    """A model and its processor at work.

    Attributes:
        unreadable: name and reason of every conversation whose images, videos or text could not be read; its answer is
            "", and it has no likelihood.
    """

    model: LMMForConditionalGeneration
    processor: LMMProcessor
    batch_size: int = 1
    unreadable: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {self.batch_size}")
        self.processor = self.processor.changed(prompt="chat")

    def answers(self, conversations: Sequence[Conversation], **generation: Any) -> Iterator[str]:
        """The answer to each conversation, in order; `generation` are arguments of transformers' `generate`."""
        for first in range(0, len(conversations), self.batch_size):
            samples = [self._sample(c) for c in conversations[first : first + self.batch_size]]
            good = [sample for sample in samples if sample is not None]
            texts = iter(self._generate(good, generation) if good else ())
            yield from ("" if sample is None else next(texts) for sample in samples)

    @torch.no_grad()
    def log_likelihood(self, conversation: Conversation, continuation: str) -> tuple[float, bool]:
        """Natural log of the probability that the answer begins with `continuation`, and whether greedy decoding does.

        (-inf, False) where the conversation cannot be read.
        """
        sample = self._sample(conversation)
        if sample is None:
            return -float("inf"), False
        added: list[int] = self.processor.tokenizer(continuation, add_special_tokens=False)["input_ids"]
        if not added:
            return 0.0, True
        whole = LMMSample([*sample.input_ids, *added], [*sample.labels, *added], sample.vision)
        batch = {k: v.to(self.model.device) for k, v in self.processor.collate([whole], labels=False).items()}
        logits = self.model(**batch).logits[0, -len(added) - 1 : -1].float().log_softmax(-1)
        targets = torch.tensor(added, device=logits.device)
        found = logits.gather(1, targets[:, None]).sum()
        return float(found), bool((logits.argmax(-1) == targets).all())

    def _sample(self, conversation: Conversation) -> LMMSample | None:
        try:
            return self.processor.sample(
                conversation.messages, conversation.images, conversation.videos, add_generation_prompt=True
            )
        except SAMPLE_ERRORS as error:
            self.unreadable[conversation.name] = " ".join(f"{type(error).__name__}: {error}".split())
            return None

    def _generate(self, samples: Sequence[LMMSample], generation: dict[str, Any]) -> list[str]:
        batch = self.processor.collate(samples, padding_side="left", labels=False)
        batch = {name: value.to(self.model.device) for name, value in batch.items()}
        tokenizer = self.processor.tokenizer
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": self.processor.pad_token_id}
        tokens = self.model.generate(**batch, **{**ends, **generation})
        texts = self.processor.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]
