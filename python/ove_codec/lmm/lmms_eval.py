"""A model plug-in for lmms-eval, known to it as ``ove_lmm`` once ove_codec is installed.

    python -m lmms_eval --model ove_lmm --model_args pretrained=DIRECTORY,video_mode=codec,budget=2048 \\
        --tasks mvbench,videomme,mmstar --batch_size 1

Beside ``pretrained`` (a directory that `LMMForConditionalGeneration.save_pretrained` and `LMMProcessor.save_pretrained`
wrote) the model arguments are ``device``, ``dtype``, ``attn_implementation``, ``system_prompt``, ``unreadable_file``,
settings of `LMMProcessor` (``timestamps``, ``max_length``), fields of `VisionReader` (``video_mode``, ``num_frames``,
``video_size``, ...) and, in codec mode, parameters of the selection (``budget``, ...), ``num_frames`` among them.
With ``video_mode=codec`` videos must be HEVC or H.264; convert others first.

What cannot be read is answered with an empty text, which counts as wrong; it is counted in a warning, and listed in
``unreadable_file``, one JSON object a line and one file a process.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ove_codec.lmm.answering import Answerer, Conversation
from ove_codec.lmm.messages import IMAGE, VIDEO
from ove_codec.lmm.model import LMMForConditionalGeneration
from ove_codec.lmm.processor import LMMProcessor
from ove_codec.lmm.vision import VisionReader
from ove_codec.presets import COMMON

try:
    from lmms_eval.api.model import lmms
except ImportError as error:
    raise ImportError("ove_codec.lmm.lmms_eval needs lmms-eval: pip install lmms-eval") from error

_log = logging.getLogger(__name__)
_READER_FIELDS = {f.name for f in fields(VisionReader)}
_PROCESSOR_FIELDS = {"timestamps", "max_length", "template_arguments"}
_SETTINGS_OF_GENERATE = ("max_new_tokens", "min_new_tokens", "temperature", "top_p", "top_k", "num_beams", "do_sample")


def manifest() -> Any:
    """What the entry point gives to lmms-eval's registry."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="ove_lmm",
        simple_class_path=f"{__name__}.OveLMM",
        chat_class_path=f"{__name__}.OveLMMChat",
    )


class OveLMM(lmms):
    """The plug-in with lmms-eval's simple interface: a text, and its images and videos before it."""

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        device: str | None = None,
        batch_size: int | str = 1,
        dtype: str = "bfloat16",
        attn_implementation: str | None = None,
        system_prompt: str | None = None,
        unreadable_file: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self._rank = int(os.environ.get("RANK", 0))
        self._world_size = int(os.environ.get("WORLD_SIZE", 1))
        if device is None:
            local = os.environ.get("LOCAL_RANK", "0")
            device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
        options = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
        self._model = LMMForConditionalGeneration.from_pretrained(
            pretrained, local_files_only=True, dtype=getattr(torch, dtype), **options
        ).eval()
        self._model.to(device)
        processor = LMMProcessor.from_pretrained(pretrained).changed(**_processor_settings(pretrained, settings))
        self._answerer = Answerer(self._model, processor, int(batch_size))
        self._system_prompt = system_prompt
        self._unreadable_file = unreadable_file

    @property
    def model(self) -> LMMForConditionalGeneration:
        return self._model

    @property
    def tokenizer(self) -> Any:
        return self._answerer.processor.tokenizer

    @property
    def device(self) -> torch.device:
        return torch.device(self._model.device)

    @property
    def batch_size(self) -> int:
        return self._answerer.batch_size

    @property
    def unreadable(self) -> dict[str, str]:
        """Task, split and document of every sample that could not be read so far, with the reason."""
        return self._answerer.unreadable

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The answer to each request, cut at the first of its `until` texts."""
        answers: list[str] = [""] * len(requests)
        for generation, until, members in _grouped([self._generation(r.args) for r in requests]):
            conversations = [self._conversation(requests[i].args) for i in members]
            for i, text in zip(members, self._answerer.answers(conversations, **generation), strict=True):
                answers[i] = _cut(text, until)
                self.cache_hook.add_partial(
                    "generate_until", (requests[i].args[0], self._generation(requests[i].args)), answers[i]
                )
        self._report()
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Log probability of each continuation as the beginning of an answer, and whether it is the greedy one."""
        found = []
        for request in requests:
            context, target, *rest = request.args
            if rest:
                visuals, doc_id, task, split = rest
                doc = self.task_dict[task][split][doc_id]
                continuation = target(doc) if callable(target) else target
                conversation = self._asked(context, _listed(visuals(doc)), f"{task}/{split}/{doc_id}")
            else:  # of the continuation alone
                continuation = target
                conversation = self._asked(context, [], str(context))
            found.append(self._answerer.log_likelihood(conversation, continuation))
        self._report()
        return found

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[list[str]]:
        """For each request the answers of all its rounds; the task makes a round's question of the answers before."""
        results = []
        for request in requests:
            generation, until = _generation_settings(self._generation(request.args))
            answers: list[str] = []
            for conversation in self._rounds(request.args, answers):
                answers.append(_cut(next(self._answerer.answers([conversation], **generation)), until))
            results.append(answers)
        self._report()
        return results

    def _generation(self, arguments: Sequence[Any]) -> dict[str, Any]:
        return dict(arguments[1])

    def _conversation(self, arguments: Sequence[Any]) -> Conversation:
        context, _, visuals, doc_id, task, split = arguments
        doc = self.task_dict[task][split][doc_id]
        return self._asked(context, _listed(visuals(doc)), f"{task}/{split}/{doc_id}")

    def _rounds(self, arguments: Sequence[Any], answers: list[str]) -> Iterator[Conversation]:
        context, _, visuals, doc_to_text, doc_id, task, split = arguments
        doc = self.task_dict[task][split][doc_id]
        name = f"{task}/{split}/{doc_id}"
        yield self._asked(context, _listed(visuals(doc)), name)
        info = None
        while True:
            shown, context, terminal, _, info = doc_to_text(
                doc, previous_output=list(answers), round_idx=len(answers), previous_round_info=info
            )
            if terminal:
                return
            yield self._asked(context, _listed(shown), name)

    def _asked(self, text: str, visuals: Sequence[Any], name: str) -> Conversation:
        """One question; placeholders in the text are kept where there is one for every image and video."""
        images = [v for v in visuals if _is_image(v)]
        videos = [v for v in visuals if not _is_image(v)]
        if text.count(IMAGE) != len(images) or text.count(VIDEO) != len(videos):
            marks = "".join(f"{IMAGE if _is_image(v) else VIDEO}\n" for v in visuals)
            text = marks + _without_placeholders(text)
        return Conversation([*self._system(), {"role": "user", "content": text}], images, videos, name)

    def _system(self) -> list[dict[str, str]]:
        return [] if self._system_prompt is None else [{"role": "system", "content": self._system_prompt}]

    def _report(self) -> None:
        if not self.unreadable:
            return
        _log.warning("%d samples could not be read; their answers are empty", len(self.unreadable))
        if self._unreadable_file is not None:
            file = Path(self._unreadable_file)
            file = file.with_name(f"{file.stem}-{self._rank}{file.suffix}")
            lines = [json.dumps({"sample": name, "reason": why}) for name, why in self.unreadable.items()]
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")


class OveLMMChat(OveLMM):
    """The plug-in with lmms-eval's chat interface: messages whose parts are texts, images and videos."""

    is_simple = False

    def _generation(self, arguments: Sequence[Any]) -> dict[str, Any]:
        return dict(arguments[2])

    def _conversation(self, arguments: Sequence[Any]) -> Conversation:
        _, doc_to_messages, _, doc_id, task, split = arguments
        doc = self.task_dict[task][split][doc_id]
        return self._told(doc_to_messages(doc), f"{task}/{split}/{doc_id}")

    def _rounds(self, arguments: Sequence[Any], answers: list[str]) -> Iterator[Conversation]:
        _, doc_to_messages, _, doc_id, task, split = arguments
        doc = self.task_dict[task][split][doc_id]
        name = f"{task}/{split}/{doc_id}"
        yield self._told(doc_to_messages(doc), name)
        info = None
        while True:
            payload = doc_to_messages(
                doc, round_idx=len(answers), previous_output=list(answers), previous_round_info=info
            )
            if not isinstance(payload, tuple) or len(payload) != 4:
                return  # a task of one round
            messages, terminal, _, info = payload
            if terminal:
                return
            yield self._told(messages, name)

    def _told(self, messages: Sequence[dict[str, Any]], name: str) -> Conversation:
        images: list[Any] = []
        videos: list[Any] = []
        turns = [] if messages and messages[0]["role"] == "system" else self._system()
        for message in messages:
            text = ""
            content = message["content"]
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                if part["type"] == "text":
                    text += _without_placeholders(part["text"])
                elif part["type"] == "image":
                    images.append(part["url"])
                    text += f"{IMAGE}\n"
                elif part["type"] == "video":
                    videos.append({"video": part["url"], "start": part.get("start_time"), "end": part.get("end_time")})
                    text += f"{VIDEO}\n"
                else:
                    raise ValueError(f"{name}: parts must be text, image or video, not {part['type']!r}")
            turns.append({"role": message["role"], "content": text})
        return Conversation(turns, images, videos, name)


def _processor_settings(directory: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Model arguments by where they go; ValueError for one that goes nowhere."""
    saved = LMMProcessor.from_pretrained(directory).reader
    codec = settings.get("video_mode", saved.video_mode) == "codec"
    of_selection = set(COMMON) - {"size", "patch_size", "resize"} if codec else set()
    own: dict[str, Any] = {}
    reader: dict[str, Any] = {}
    selection: dict[str, Any] = {}
    for name, value in settings.items():
        if name in of_selection:
            selection[name] = value
        elif name in _READER_FIELDS:
            reader[name] = value
        elif name in _PROCESSOR_FIELDS:
            own[name] = value
        else:
            raise ValueError(f"unknown model argument {name} (video_mode is {'codec' if codec else 'frames'})")
    if selection:
        reader["select"] = {**saved.select, **selection}
    return {**own, "reader": reader}


def _generation_settings(given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Arguments of `generate`, and the texts that end an answer.

    An empty line, which lmms-eval gives as such a text where a task names none, is left aside: it stands between
    examples, not behind answers.
    """
    until = given.get("until") or []
    until = [until] if isinstance(until, str) else list(until)
    settings = {name: given[name] for name in _SETTINGS_OF_GENERATE if given.get(name) is not None}
    settings.setdefault("max_new_tokens", 1024)
    sample = bool(settings.get("do_sample", settings.get("temperature", 0) > 0)) and settings.get("temperature", 1) > 0
    settings["do_sample"] = sample
    if not sample:
        for name in ("temperature", "top_p", "top_k"):
            settings[name] = None
    return settings, [text for text in until if text and text != "\n\n"]


def _grouped(given: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[str], list[int]]]:
    """Requests that are generated alike: settings, ending texts, and the requests' numbers."""
    groups: dict[str, list[int]] = {}
    for i, settings in enumerate(given):
        groups.setdefault(json.dumps(settings, sort_keys=True, default=str), []).append(i)
    for members in groups.values():
        yield (*_generation_settings(given[members[0]]), members)


def _cut(text: str, until: Sequence[str]) -> str:
    for end in until:
        text = text.split(end)[0]
    return text


def _is_image(visual: Any) -> bool:
    if isinstance(visual, (str, os.PathLike)):
        return Path(visual).suffix.lower() in Image.registered_extensions()
    return isinstance(visual, Image.Image)


def _listed(visuals: Any) -> list[Any]:
    """A flat list of images and videos."""
    if visuals is None:
        return []
    if isinstance(visuals, (list, tuple)):
        return [v for part in visuals for v in _listed(part)]
    return [visuals]


def _without_placeholders(text: str) -> str:
    return text.replace(IMAGE, "").replace(VIDEO, "")
