"""The processors of LLaVA-OneVision-2 and Mage-VL: messages or prompts with images and videos to model inputs."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from PIL import Image
from transformers import AutoTokenizer, BatchFeature, ProcessorMixin

from ove_codec.models.hf.vlm_configuration import check_version
from ove_codec.models.hf.vlm_frames import FrameRule, SampledFrames, given_frames, read_frames
from ove_codec.models.hf.vlm_images import LlavaOnevision2ImageProcessor, model_inputs
from ove_codec.models.vision_info import (
    canvases_of,
    fetch_codec_video,
    fetch_image,
    is_source,
    video_source,
    visual_parts,
)
from ove_codec.models.visuals import (
    IMAGE_PAD,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
    Visual,
    canvas_visual,
    frames_visual,
)

BACKENDS = ("codec", "frames")
_COSTLY_PIXELS = 1_000_000
_PLACEHOLDER = re.compile(
    f"(?P<video>{re.escape(VISION_START + VIDEO_PAD + VISION_END)}\n?)"
    f"|(?P<image>{re.escape(VISION_START)}(?:{re.escape(IMAGE_PAD)})+{re.escape(VISION_END)})"
)
_STRAY = re.compile(re.escape(IMAGE_PAD) + "|" + re.escape(VIDEO_PAD))

# ChatML as Qwen has it: a part of a message that is an image or video is its placeholder.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type in ['image', 'image_url'] or (part.type is not defined and part.image is defined) %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type in ['video', 'video_url'] or (part.type is not defined and part.video is defined) %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class LlavaOnevision2Processor(ProcessorMixin):
    """Tokenizer and image processor of a `LlavaOnevision2ForConditionalGeneration`.

    A prompt has <|vision_start|><|image_pad|><|vision_end|> for an image, and the same with <|video_pad|> for a video,
    as chat templates write them. In place of a video's block, and of a line break after it, come the times and image
    tokens of its frames or canvases; the rest of the prompt stays as it is. An image may have all its tokens already.

    Args:
        image_processor: gives patch and merge size, and the bounds on images.
        tokenizer: of the language model.
        chat_template: of conversations; without one the tokenizer's, where that knows images, else Qwen's ChatML.
        codec_config: settings of `ove_codec.canvases.codec_canvases` for codec videos; without them the `codec` block
            of `preprocessor_config.json`.
    """

    joins_canvases: ClassVar[bool] = True  # all canvases of a video in one grid row

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        codec_config: Mapping[str, Any] | None = None,
    ) -> None:
        check_version()
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        if not isinstance(image_processor, LlavaOnevision2ImageProcessor):
            raise TypeError(
                f"image_processor must be a LlavaOnevision2ImageProcessor, got {type(image_processor).__name__}"
            )
        self.image_processor: LlavaOnevision2ImageProcessor
        self.tokenizer: Any
        self.codec_config = dict(codec_config or getattr(image_processor, "codec", None) or {})
        self.image_token, self.video_token = IMAGE_PAD, VIDEO_PAD

    @classmethod
    def _get_arguments_from_pretrained(cls, path: Any, processor_dict: Any = None, **kwargs: Any) -> list[Any]:
        """Image processor and tokenizer; the Auto class would give transformers' own image processor."""
        tokens = {name: value for name, value in kwargs.items() if name not in ("min_pixels", "max_pixels")}
        return [
            LlavaOnevision2ImageProcessor.from_pretrained(path, **kwargs),
            AutoTokenizer.from_pretrained(path, **tokens),
        ]

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> Any:
        """As of every processor; also writes `preprocessor_config.json`, which other readers look for."""
        saved = super().save_pretrained(save_directory, **kwargs)
        self.image_processor.save_pretrained(save_directory)
        return saved

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        *,
        video_backend: str = "codec",
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        codec_config: Mapping[str, Any] | None = None,
        num_frames: int | None = None,
        max_frames: int = FrameRule.max_frames,
        target_fps: float | None = None,
        fps: float | None = None,
        timestamp_decimals: int = 1,
        return_tensors: Any = None,
        **text_kwargs: Any,
    ) -> BatchFeature:
        """Prompts with images and videos to model inputs.

        Args:
            images: of all prompts, in order: what `fetch_image` takes.
            text: a prompt, or several.
            videos: of all prompts, in order: codec canvases (with `images`, `src_positions` and `fps`); a list of
                frames or a uint8 array (T, H, W, 3); or what `video_backend` reads: a path, URL, bytes,
                file object or opened Video.
            video_backend: "codec" makes canvases; "frames" decodes uniform frames.
            min_pixels, max_pixels: bounds on the area of images and frames; of canvases, `max_pixels` only.
            codec_config: settings of `ove_codec.canvases.codec_canvases` for this call, over those of the processor.
            num_frames, max_frames, target_fps: of "frames", see `FrameRule`.
            fps: of videos that are given as frames, for their times; 30 where None.
            timestamp_decimals: of the seconds before frames and canvases.
            return_tensors: "pt", "np" or None.
            **text_kwargs: of the tokenizer, such as padding and padding_side.

        Returns:
            `input_ids`, `attention_mask`, and where there are images or videos `pixel_values` (N, 3*p*p),
            `image_grid_thw` (n, 3) and `patch_positions` (N, 3) of all, in the order of their tokens.

        Raises:
            ValueError: placeholders and images or videos differ in number; a canvas does not fit the patches; an option
                is not allowed.
            OSError, ove_codec.Error: an image or video cannot be read.
        """
        if text is None:
            raise ValueError("text must be a prompt or a list of prompts")
        if video_backend not in BACKENDS:
            raise ValueError(f"video_backend must be one of {', '.join(BACKENDS)}, got {video_backend!r}")
        texts = [text] if isinstance(text, str) else list(text)
        rule = FrameRule(num_frames, max_frames, target_fps)
        image_list, video_list = _flat(images), _flat_videos(videos)
        for kind, given in (("image", image_list), ("video", video_list)):
            wanted = sum(match.lastgroup == kind for one in texts for match in _PLACEHOLDER.finditer(one))
            if wanted != len(given):
                raise ValueError(f"text has {wanted} {kind} placeholders, but there are {len(given)} {kind}s")

        def of_image(image: Any) -> Visual:
            return self.image_processor.visual(fetch_image(image), min_pixels, max_pixels)

        def of_video(video: Any) -> Visual:
            if is_source(video) and video_backend == "codec":
                video = fetch_codec_video(video, **self.codec_settings(max_pixels, codec_config))
            form = self.image_processor.format
            if (made := canvases_of(video)) is not None:
                canvases = (made.images, made.src_positions, form, made.fps)
                return canvas_visual(*canvases, joined=self.joins_canvases, decimals=timestamp_decimals)
            frames = read_frames(video, rule) if is_source(video) else given_frames(video, fps)
            pictures = [self.image_processor.fitted(frame, min_pixels, max_pixels) for frame in frames.pictures]
            return frames_visual(pictures, form, frames.numbers, frames.fps, timestamp_decimals)

        queue = {"image": iter(image_list), "video": iter(video_list)}
        visuals: list[Visual] = []

        def replaced(match: re.Match[str]) -> str:
            kind = str(match.lastgroup)
            visuals.append((of_image if kind == "image" else of_video)(next(queue[kind])))
            text = visuals[-1].text
            if kind == "image" and match.group() not in (text, VISION_START + IMAGE_PAD + VISION_END):
                raise ValueError(
                    f"text has {match.group().count(IMAGE_PAD)} tokens for an image that makes {text.count(IMAGE_PAD)}"
                )
            return text

        for one in texts:
            if stray := _STRAY.search(_PLACEHOLDER.sub("", one)):
                raise ValueError(
                    f"text has {stray.group()} outside of {VISION_START}{stray.group()}{VISION_END}: {one[:200]!r}"
                )
        filled = [_PLACEHOLDER.sub(replaced, one) for one in texts]
        data = dict(self.tokenizer(filled, **text_kwargs))
        if visuals:
            data.update(model_inputs(visuals))
        return BatchFeature(data, tensor_type=return_tensors)

    def codec_settings(
        self, max_pixels: int | None = None, codec_config: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Settings of `ove_codec.canvases.codec_canvases` that fit the tower.

        `max_pixels` is that of the call, else of `codec_config`, else of the processor, else the image processor's.

        Raises:
            ValueError: `patch` is another than the tower's.
        """
        images = self.image_processor
        given = {**self.codec_config, **(codec_config or {})}
        settings = {"patch": images.patch_size, "block": images.merge_size}
        settings |= {name: value for name, value in given.items() if value is not None}
        if settings["patch"] != images.patch_size:
            raise ValueError(
                f"codec_config has patch {settings['patch']}, but the tower's patch_size is {images.patch_size}"
            )
        if max_pixels is not None:
            settings["max_pixels"] = max_pixels
        if "max_pixels" not in settings:
            settings["max_pixels"] = images.max_pixels
            if images.max_pixels > _COSTLY_PIXELS:
                warnings.warn(
                    f"canvases of codec videos may have up to {images.max_pixels} samples, the limit for images, which "
                    "is slow and makes many tokens; set max_pixels, for example to 150000",
                    stacklevel=3,
                )
        return settings

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = False,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: Any = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Messages to a prompt, or to model inputs.

        Args:
            conversation: messages {"role", "content"}, or several conversations of them. Contents are strings or lists
                of parts: {"type": "text", "text"}, {"type": "image", "image"}, {"type": "video", "video"}; for a video
                also `video_start`, `video_end`, `fps` and `max_pixels`, see `fetch_codec_video`.
            chat_template: instead of the processor's.
            add_generation_prompt: end where the assistant's next turn begins.
            tokenize: give model inputs, of the images and videos that the messages name.
            return_dict: all inputs; otherwise `input_ids` alone.
            return_tensors: as for the call.
            processor_kwargs: arguments of the call, such as padding, video_backend or codec_config.
            **kwargs: with `tokenize` further arguments of the call; otherwise of the chat template.
        """
        several = bool(conversation) and not isinstance(conversation[0], Mapping)
        conversations = list(conversation) if several else [conversation]
        given = dict(processor_kwargs or {})
        if tokenize:
            given |= kwargs
        template = chat_template or self._template()
        texts = [
            self.tokenizer.apply_chat_template(
                _plain(one),
                chat_template=template,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
                **({} if tokenize else kwargs),
            )
            for one in conversations
        ]
        if not tokenize:
            return texts if several else texts[0]
        images, videos = [], []
        for kind, part in visual_parts(conversations):
            if kind == "image":
                images.append(fetch_image(part))
            else:
                videos.append(self._video_of(part, given))
        inputs = self(images=images, text=texts, videos=videos, return_tensors=return_tensors, **given)
        return inputs if return_dict else inputs["input_ids"]

    def _video_of(self, part: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        """A message's video, with the part's own settings taken into account."""
        source = video_source(part)
        if canvases_of(source) is not None:
            return source
        fps = part.get("fps")
        if not is_source(source):
            return given_frames(source, fps or given.get("fps"))
        if given.get("video_backend", BACKENDS[0]) == "codec":
            bound = part.get("max_pixels", given.get("max_pixels"))
            return fetch_codec_video(part, **self.codec_settings(bound, given.get("codec_config")))
        sizes = {name: given[name] for name in ("num_frames", "max_frames") if name in given}
        rule = FrameRule(**sizes, target_fps=fps or given.get("target_fps"))
        return read_frames(source, rule, part.get("video_start"), part.get("video_end"))

    def _template(self) -> str:
        if self.chat_template is not None:
            return str(self.chat_template)
        of_tokenizer = getattr(self.tokenizer, "chat_template", None)
        return of_tokenizer if isinstance(of_tokenizer, str) and VIDEO_PAD in of_tokenizer else CHAT_TEMPLATE


class MageVLProcessor(LlavaOnevision2Processor):
    """As `LlavaOnevision2Processor`, of Mage-VL: every canvas is a grid row of its own."""

    joins_canvases: ClassVar[bool] = False

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        codec_config: Mapping[str, Any] | None = None,
    ) -> None:  # transformers reads the names of the parts from here
        super().__init__(image_processor, tokenizer, chat_template, codec_config)


def _flat(images: Any) -> list[Any]:
    """One image, several, or lists of several, as one list."""
    if images is None:
        return []
    if isinstance(images, list | tuple):
        return [one for image in images for one in _flat(image)]
    return list(images) if _ndim(images) == 4 else [images]


def _flat_videos(videos: Any) -> list[Any]:
    """One video, several, or lists of several, as one list; a list of pictures is one video."""
    if videos is None:
        return []
    if canvases_of(videos) is not None or is_source(videos) or isinstance(videos, SampledFrames):
        return [videos]
    if not isinstance(videos, list | tuple):
        return list(videos) if _ndim(videos) == 5 else [videos]
    if videos and all(isinstance(part, Image.Image) or _ndim(part) == 3 for part in videos):
        return [videos]
    return [one for video in videos for one in _flat_videos(video)]


def _ndim(value: Any) -> int:
    return int(getattr(value, "ndim", 0))


def _plain(conversation: Any) -> list[dict[str, Any]]:
    """Messages without images and videos themselves, which templates may copy or print."""

    def part_of(part: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value if isinstance(value, str) else "" for name, value in part.items()}

    return [
        {**message, "content": [part_of(part) for part in content]}
        if isinstance(content := message.get("content"), list | tuple)
        else dict(message)
        for message in conversation
    ]
