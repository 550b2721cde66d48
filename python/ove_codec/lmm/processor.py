"""Turns conversations about images and videos into token ids, labels and packed patches."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AddedToken, AutoProcessor, AutoTokenizer, BatchFeature

from ove_codec._renames import renamed
from ove_codec.lmm import tower_configs
from ove_codec.lmm.config import LMMConfig
from ove_codec.lmm.messages import IMAGE, VIDEO, Message, listed, named_media, plain_message, targets
from ove_codec.lmm.samples import IGNORED, LMMSample, one_row, padded_rows
from ove_codec.lmm.vision import VisionReader, VisionTokens, concatenated

VISION_TOKEN = "<|image_pad|>"
PROMPTS = ("chat", "plain")
_PLACEHOLDER = re.compile(f"({IMAGE}|{VIDEO})")
_FILE = "processor_config.json"
_CALL = ("padding", "padding_side", "max_length", "budget", "videos_kwargs")  # arguments of the processor's call


class LMMProcessor:
    """Tokenizer and vision reader of an `LMMForConditionalGeneration`.

    In the text of a message, <image> and <video> mark the places of images and clips; each becomes as many vision
    tokens as the model makes of it. Messages are {"role", "content"} as chat templates take them (content a string, or
    a list of {"type": "text" | "image" | "video"}), or LLaVA's {"from": "human" | "gpt", "value"}.

    Args:
        tokenizer: of the language model. The vision token is added if it is missing.
        reader: converts images and videos to patches.
        vision_token: the token for one feature. If the tokenizer has <|vision_start|> and <|vision_end|>, they
            surround the tokens of an image or clip.
        timestamps: put the time of every slot of a clip before its tokens, as <1.5 seconds>.
        prompt: "chat" uses the tokenizer's chat template; "plain" omits it: only the images and clips of human turns
            remain, and a text ends with the end token, as in LLaVA's training of projectors.
        max_length: of a sample for training. Longer samples are truncated; if their images and clips do not fit, that
            is an error. Prompts are never truncated.
        template_arguments: further arguments of the chat template, such as enable_thinking.
    """

    def __init__(
        self,
        tokenizer: Any,
        reader: VisionReader | Mapping[str, Any] | None = None,
        *,
        vision_token: str = VISION_TOKEN,
        timestamps: bool = False,
        prompt: str = "chat",
        max_length: int | None = None,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        if prompt not in PROMPTS:
            raise ValueError(f"prompt must be one of {', '.join(PROMPTS)}, not {prompt!r}")
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length must be None or positive, not {max_length}")
        self.tokenizer = tokenizer
        self.reader = reader if isinstance(reader, VisionReader) else VisionReader.from_dict(dict(reader or {}))
        self.vision_token = vision_token
        self.timestamps = timestamps
        self.prompt = prompt
        self.max_length = max_length
        self.template_arguments = dict(template_arguments or {})
        self.vision_token_id = vision_token_id(tokenizer, vision_token)
        known = tokenizer.get_vocab()
        self._around = [[known[name]] if name in known else [] for name in ("<|vision_start|>", "<|vision_end|>")]

    @classmethod
    def for_model(
        cls, config: LMMConfig, tokenizer: Any, reader: Mapping[str, Any] | None = None, **kw: Any
    ) -> LMMProcessor:
        """A processor for the model's tower; `reader` has further fields of `VisionReader`."""
        return cls(tokenizer, VisionReader.from_dict(reader_fields(config, reader or {})), **kw)

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike[str], **kwargs: Any) -> LMMProcessor:
        """Reads what `save_pretrained` wrote; keyword arguments override the file.

        Raises:
            FileNotFoundError: the directory or one of its files is missing.
            ValueError: the file is damaged.
        """
        file = Path(directory) / _FILE
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: processors are read from local directories only")
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            settings = {name: values[name] for name in cls._settings}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is not a processor file of this library: {error!r}") from error
        settings.update({name: kwargs[name] for name in cls._settings if name in kwargs})
        return cls(AutoTokenizer.from_pretrained(directory, local_files_only=True), **settings)

    _settings = ("reader", "vision_token", "timestamps", "prompt", "max_length", "template_arguments")

    def save_pretrained(self, directory: str | os.PathLike[str], **kwargs: Any) -> list[str]:
        """Writes the tokenizer's files and `processor_config.json`."""
        root = Path(directory)
        root.mkdir(parents=True, exist_ok=True)
        values = {name: getattr(self, name) for name in self._settings}
        values["reader"] = self.reader.to_dict()
        text = json.dumps({"processor_class": type(self).__name__, **values}, indent=2, sort_keys=True)
        (root / _FILE).write_text(text + "\n", encoding="utf-8")
        return [*self.tokenizer.save_pretrained(root), str(root / _FILE)]

    def changed(self, **settings: Any) -> LMMProcessor:
        """The same processor with other settings; of `reader` only the fields that are given change."""
        values = {name: getattr(self, name) for name in self._settings}
        if unknown := sorted(set(settings) - set(values)):
            raise ValueError(f"unknown processor setting {', '.join(unknown)}; choose from {', '.join(sorted(values))}")
        if "reader" in settings:
            settings["reader"] = {**self.reader.to_dict(), **settings["reader"]}
        return type(self)(self.tokenizer, **{**values, **settings})

    def sample(
        self,
        messages: Sequence[Message],
        images: Any = None,
        videos: Any = None,
        *,
        add_generation_prompt: bool = False,
    ) -> LMMSample:
        """One conversation; the turns of the assistant are targets.

        Args:
            messages: the turns.
            images: for every <image>, in order: anything for `VisionReader.image`, or `VisionTokens`. A single one
                needs no list.
            videos: for every <video>, in order: anything for `VisionReader.video`, or `VisionTokens`; or a mapping
                with "video", and "start" and "end" in seconds. A single one needs no list.
            add_generation_prompt: end where the assistant's next turn begins.

        Raises:
            ValueError: the number of placeholders differs from that of images or videos, a message has another form,
                or the sample is longer than `max_length` allows.
            OSError, ove_codec.Error: an image or video cannot be read; the message names it.
        """
        segments = list(self._segments([plain_message(m) for m in messages], add_generation_prompt))
        length = None if add_generation_prompt else self.max_length
        return self._encoded(segments, listed(images), listed(videos), length)

    def __call__(
        self,
        text: str | Sequence[str],
        images: Any = None,
        videos: Any = None,
        *,
        padding: bool | str = True,
        padding_side: str = "left",
        max_length: int | None = None,
        budget: int | None = None,
        videos_kwargs: Mapping[str, Any] | None = None,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """A batch of texts with placeholders, for `generate`: left padded, without labels.

        Args:
            text: one, or several.
            images, videos: of all texts, in their order: one, a list, or a list of lists; each as for `sample`.
            padding: True or "longest" fills rows up to the longest, "max_length" up to `max_length`; False takes rows
                of one length only.
            padding_side: "left" or "right".
            max_length: tokens of a row with padding "max_length"; a text is never cut.
            budget: patches of a clip, instead of the reader's; in codec mode.
            videos_kwargs: further settings of videos for this call, see `VisionReader.for_videos`.
            return_tensors: "pt".

        Raises:
            ValueError: an argument is not allowed, or texts and images or videos do not fit; the message says how.
        """
        if return_tensors != "pt":
            raise ValueError(f"return_tensors must be 'pt', not {return_tensors!r}")
        settings = dict(videos_kwargs or {}) | ({} if budget is None else {"budget": budget})
        reader = self.reader.for_videos(**settings) if settings else self.reader
        texts = [text] if isinstance(text, str) else list(text)
        media = {IMAGE: listed(images), VIDEO: listed(videos)}
        samples = []
        for one in texts:
            taken = {mark: media[mark][: one.count(mark)] for mark in media}
            media = {mark: media[mark][len(taken[mark]) :] for mark in media}
            samples.append(self._encoded([(one, False)], taken[IMAGE], taken[VIDEO], None, reader))
        for mark, left in media.items():
            if left:
                raise ValueError(
                    f"text has fewer {mark} placeholders than there are {mark[1:-1]}s: {len(left)} are left"
                )
        lengths = {len(sample.input_ids) for sample in samples}
        if padding not in (True, False, "longest", "max_length"):
            raise ValueError(f"padding must be True, False, 'longest' or 'max_length', not {padding!r}")
        if padding is False and len(lengths) > 1:
            raise ValueError(f"padding must be True: the texts have {min(lengths)} to {max(lengths)} tokens")
        if (padding == "max_length") != (max_length is not None) or max(lengths) > (max_length or max(lengths)):
            raise ValueError(f"with padding='max_length', max_length must be at least {max(lengths)}, not {max_length}")
        return BatchFeature(self.collate(samples, padding_side=padding_side, labels=False, length=max_length))

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        *,
        add_generation_prompt: bool = False,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str = "pt",
        processor_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The text of a conversation with placeholders, for `__call__`; or, with `tokenize`, the result of `__call__`.

        Args:
            conversation: messages, or several conversations of them. For `tokenize` the parts of their contents name
                images and videos: {"type": "image", "image": path, "type": "video", "video": path} (or "path").
            add_generation_prompt: end where the assistant's next turn begins.
            tokenize: return model inputs.
            return_dict: return all of them; otherwise only `input_ids`.
            return_tensors: "pt".
            processor_kwargs: arguments of `__call__`, such as padding or budget; they may also be passed directly.
            **kwargs: of the chat template.
        """
        several = bool(conversation) and not isinstance(conversation[0], Mapping)
        conversations = list(conversation) if several else [conversation]
        own = {name: kwargs.pop(name) for name in _CALL if name in kwargs} | dict(processor_kwargs or {})
        texts = [
            self._rendered([plain_message(m) for m in one], add_generation_prompt, **kwargs) for one in conversations
        ]
        if not tokenize:
            return texts if several else texts[0]
        media: dict[str, list[Any]] = {"image": [], "video": []}
        for kind, source in (found for one in conversations for message in one for found in named_media(message)):
            media[kind].append(source)
        inputs = self(texts, media["image"], media["video"], return_tensors=return_tensors, **own)
        return inputs if return_dict else inputs["input_ids"]

    def batch_decode(self, sequences: Any, **kwargs: Any) -> list[str]:
        """Texts of token ids; see the tokenizer's."""
        texts: list[str] = self.tokenizer.batch_decode(sequences, **kwargs)
        return texts

    def collate(
        self,
        samples: Sequence[LMMSample],
        *,
        padding_side: str = "right",
        labels: bool = True,
        length: int | None = None,
        packed: bool = False,
    ) -> dict[str, Tensor]:
        """A batch: `input_ids`, `attention_mask`, `labels` (B, L), and the patches of all images and clips, packed.

        L is `length`, or that of the longest sample. With `packed`, all samples are concatenated in one row, and
        `position_ids` (1, L), which restart with each sample, replace the mask.
        """
        if not samples:
            raise ValueError("there must be at least one sample")
        if padding_side not in ("left", "right"):
            raise ValueError(f"padding_side must be 'left' or 'right', not {padding_side!r}")
        rows = one_row(samples) if packed else padded_rows(samples, padding_side, length, self.pad_token_id)
        if not labels:
            del rows["labels"]
        items = [item for s in samples for item in s.vision]
        return {**rows, **concatenated(items)} if items else rows

    @property
    def pad_token_id(self) -> int:
        """What fills shorter rows of a batch; masked, so any token will do where the tokenizer has none for it."""
        token = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id or 0) if token is None else int(token)

    def _rendered(self, messages: Sequence[Message], add_generation_prompt: bool, **kwargs: Any) -> str:
        if getattr(self.tokenizer, "chat_template", None) is None:
            raise ValueError("the tokenizer has no chat template: set tokenizer.chat_template, or prompt='plain'")
        text: str = self.tokenizer.apply_chat_template(
            list(messages),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **{**self.template_arguments, **kwargs},
        )
        return text

    def _segments(self, messages: Sequence[Message], add_generation_prompt: bool) -> Iterator[tuple[str, bool]]:
        """The text of a conversation in pieces, and whether each is a target."""
        if self.prompt == "plain":
            if getattr(self.tokenizer, "add_bos_token", False) and self.tokenizer.bos_token:
                yield self.tokenizer.bos_token, False
            for message in messages:
                if message["role"] == "assistant":
                    yield message["content"] + (self.tokenizer.eos_token or ""), True
                else:
                    yield "".join(_PLACEHOLDER.findall(message["content"])), False
            return
        yield from targets(messages, self._rendered, add_generation_prompt)

    def _encoded(
        self,
        segments: Sequence[tuple[str, bool]],
        images: Sequence[Any],
        videos: Sequence[Any],
        max_length: int | None,
        reader: VisionReader | None = None,
    ) -> LMMSample:
        text = "".join(piece for piece, _ in segments)
        for mark, given in ((IMAGE, images), (VIDEO, videos)):
            if text.count(mark) != len(given):
                raise ValueError(
                    f"the text has {text.count(mark)} {mark} placeholders, but there are {len(given)} {mark[1:-1]}s"
                )
        sources = {IMAGE: iter(images), VIDEO: iter(videos)}
        ids: list[int] = []
        labels: list[int] = []
        vision: list[VisionTokens] = []
        needed = 0  # tokens up to the last vision token
        for piece, target in segments:
            for part in _PLACEHOLDER.split(piece):
                if part in sources:
                    item = _read(reader or self.reader, part, next(sources[part]))
                    vision.append(item)
                    new, is_target = self._vision_ids(item), False
                else:
                    new, is_target = self._text_ids(part), target
                ids += new
                labels += new if is_target else [IGNORED] * len(new)
                needed = len(ids) if part in sources else needed
        if max_length is not None and len(ids) > max_length:
            if needed > max_length:
                raise ValueError(f"the images and videos end at token {needed}, beyond max_length {max_length}")
            ids, labels = ids[:max_length], labels[:max_length]
        return LMMSample(ids, labels, vision)

    def _vision_ids(self, item: VisionTokens) -> list[int]:
        first, last = self._around
        area = self.reader.merge_size**2
        if not self.timestamps or item.seconds is None:
            return first + [self.vision_token_id] * (len(item.patches) // area) + last
        ids: list[int] = []
        for seconds, length in zip(item.seconds, item.slot_lengths(), strict=True):
            ids += self._text_ids(f"<{seconds:.1f} seconds>")
            ids += first + [self.vision_token_id] * (length // area) + last
        return ids

    def _text_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        if self.vision_token_id in ids:
            raise ValueError(
                f"a text holds the vision token {self.vision_token!r}: remove it, and mark images with {IMAGE}"
            )
        return ids


def _read(reader: VisionReader, mark: str, source: Any) -> VisionTokens:
    if isinstance(source, VisionTokens):
        return source
    if mark == IMAGE:
        return reader.image(source)
    if isinstance(source, Mapping):  # {"video": source, "start": seconds, "end": seconds}
        return reader.video(source["video"], start=source.get("start"), end=source.get("end"))
    return reader.video(source)


def vision_token_id(tokenizer: Any, vision_token: str = VISION_TOKEN) -> int:
    """The id of the vision token, which is added if the tokenizer lacks it."""
    if vision_token not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(vision_token, special=True, normalized=False)], special_tokens=True)
    return int(tokenizer.convert_tokens_to_ids(vision_token))


def reader_fields(config: LMMConfig, further: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `VisionReader` that the model's tower requires, and `further` ones.

    Raises ValueError if one of these differs from the tower's.
    """
    traits = tower_configs.traits(config.vision_config)
    fixed = {
        "patch_size": traits.patch_size,
        "merge_size": config.merge_size,
        "temporal_patch_size": traits.temporal_patch_size,
        "whole_frames": traits.whole_frames,
    }
    for name, value in fixed.items():
        if further.get(name, value) != value:
            raise ValueError(f"{name} must be {value}, as in the model, not {further[name]!r}")
    usual = {"mean": traits.mean, "std": traits.std, "video_mode": "frames" if traits.whole_frames else "codec"}
    return {**usual, **fixed, **further}


AutoProcessor.register(LMMConfig, LMMProcessor, exist_ok=True)


__getattr__ = renamed(__name__, Sample="LMMSample")
