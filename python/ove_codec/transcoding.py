"""Videos of any codec to HEVC, by libavcodec and libx265, which the FFmpeg of wheels lacks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, overload

from ove_codec import _core
from ove_codec._files import replacing
from ove_codec._progress import bar
from ove_codec._source import Source, VideoStream, rereadable
from ove_codec.limits import Limits
from ove_codec.video import reads_codec

_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


@dataclass(frozen=True)
class Recipe:
    """How libx265 encodes.

    Attributes:
        preset: one of libx265's own, "ultrafast" to "placebo".
        crf: constant rate factor, 0 to 51; lower is better and larger.
        params: more of its parameters, "name=value:name=value"; libavcodec ignores unknown ones.
        pixel_formats: FFmpeg's names; the closest to the source is used. If empty, the source's own, if libx265
            supports it.
    """

    preset: str = "fast"
    crf: float = 23.0
    params: str = ""
    pixel_formats: tuple[str, ...] = ()


RECIPES: dict[str, Recipe] = {
    "reference": Recipe(
        params="keyint=16:min-keyint=16:scenecut=0:bframes=0:ref=1",
        pixel_formats=("yuv420p",),
    ),
    "saliency": Recipe(
        params="keyint=64:min-keyint=1:scenecut=40:open-gop=0:bframes=0:ref=1:temporal-mvp=0"
        ":aq-mode=0:cutree=0:psy-rd=0:psy-rdoq=0"
    ),
}
"""Named recipes.

"reference" is how the reference implementation converts videos for pretraining: an I picture every 16, every other one
predicted from the picture before it, 8 bits, 4:2:0. Models that are trained on its selections have seen such streams.

"saliency" is for selections that mean what they say. I pictures, which have no vectors, come every 64 and at cuts,
where nothing can be predicted anyway. As before, every vector spans one picture, so that lengths compare. A picture has
one quantiser all over (no adaptive quantisation, no cutree), so that residuals compare from place to place; nothing is
coded for looks alone (no psycho-visual optimisation). Vectors are derived without those of other pictures (no TMVP), so
that a sampled picture is read alone. Bit depth and chroma format of the source stay.
"""


AUTO = "auto:"
"""Before the name of a recipe, where what is HEVC or H.264 is to stay as it is."""


def recipe_of(recipe: str | Recipe | Literal[True]) -> Recipe:
    """The recipe of this name, also behind `AUTO`, "reference" for True. Raises ValueError for a name that there is
    not."""
    if isinstance(recipe, Recipe):
        return recipe
    name = "reference" if recipe is True else recipe.removeprefix(AUTO)
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {recipe!r}; choose from {', '.join(RECIPES)}, or pass an ove_codec.Recipe")
    return RECIPES[name]


@overload
def transcode(
    source: Source,
    target: None = ...,
    recipe: str | Recipe = ...,
    *,
    threads: int = ...,
    limits: Limits | None = ...,
    keep_damaged: Literal[False] = ...,
    start: float | None = ...,
    end: float | None = ...,
    progress: Callable[[int], Any] | bool | None = ...,
) -> bytes: ...
@overload
def transcode(
    source: Source,
    target: str | os.PathLike[str],
    recipe: str | Recipe = ...,
    *,
    threads: int = ...,
    limits: Limits | None = ...,
    keep_damaged: bool = ...,
    start: float | None = ...,
    end: float | None = ...,
    progress: Callable[[int], Any] | bool | None = ...,
) -> dict[str, Any]: ...
def transcode(
    source: Source,
    target: str | os.PathLike[str] | None = None,
    recipe: str | Recipe = "reference",
    *,
    threads: int = 0,
    limits: Limits | None = None,
    keep_damaged: bool = False,
    start: float | None = None,
    end: float | None = None,
    progress: Callable[[int], Any] | bool | None = None,
) -> bytes | dict[str, Any]:
    """Converts a video of any codec that libavcodec decodes to HEVC.

    Only the video stream is converted. Time stamps (also with variable frame rates and edit lists, and a start other
    than 0), rotation, mirroring, colour description, sample aspect ratio and HDR metadata are kept. Matroska keeps
    time stamps to the millisecond, and is refused if rotation or mirroring would be lost. With subsampled chroma, the
    last row or column of an odd size is cut off. Pictures are converted (libswscale) only if the recipe does not allow
    their pixel format, or if their size differs from the first one's. The same source gives the same bytes on every
    machine with the same libraries.

    Args:
        source: path, bytes or binary file object.
        target: file to write, .mp4, .m4v, .mov or .mkv; it appears when it is complete. None to return an MP4 file as
            bytes.
        recipe: "reference", "saliency", or a ``Recipe``.
        threads: of the encoder, 0 for all cores. Decoding takes one.
        limits: of pictures; of these only ``max_luma_samples`` counts.
        keep_damaged: if the source is damaged, write the part before the damage to `target`; the error is still
            raised.
        start, end: seconds; only pictures with `start` <= time < `end` are encoded; None for no bound. They keep their
            time stamps. Pictures before them are decoded, those after them are not read.
        progress: True for a progress bar; or a function that is called after every picture with the number of pictures
            so far. An exception in it ends the work.

    Returns:
        The MP4 file, or where it was written to `target`: "pictures", their number; "skipped", how many precede
        `start`; "moved", how many got a new time stamp, because the source had none or a repeated one; "resized", how
        many had another size than the first; "width", "height", "source_format" and "pixel_format".

    Raises:
        ValueError: an unknown recipe or suffix, a recipe that libx265 refuses for these pictures, or no picture
            between `start` and `end`.
        UnsupportedStreamError: libavcodec has no decoder for the source, or no libx265, as in wheels, whose FFmpeg is
            under the LGPL; or Matroska cannot keep the orientation.
        DecodeError: the source cannot be read, or is damaged; with its byte position. Nothing is left at `target`.
        OSError: the target cannot be written.
    """
    options = _options(recipe_of(recipe), threads, limits, start, end)
    if target is None:
        if keep_damaged:
            raise ValueError("keep_damaged needs a target file to write the pictures to")
        return _in_memory(source, options, progress).bytes()
    suffix = os.path.splitext(os.fspath(target))[1].lower()
    if suffix not in _CONTAINERS:
        raise ValueError(f"{os.fspath(target)}: the suffix must be one of {', '.join(_CONTAINERS)}")
    _refuse_same_file(source, target)
    damage: _core.DecodeError | None = None
    with replacing(target, nameless=True) as part:
        try:
            transcoder = _core.Transcoder(source, part, container=_CONTAINERS[suffix], **options)
            try:
                _run(transcoder, progress)
            except _core.DecodeError as error:
                if not keep_damaged or not transcoder.close_early():
                    raise
                damage = error
        except OSError as error:
            if error.filename == os.fspath(part):
                error.filename = os.fspath(target)
            raise
    if damage is not None:
        raise damage
    return transcoder.facts


def _options(
    recipe: Recipe, threads: int, limits: Limits | None, start: float | None, end: float | None
) -> dict[str, Any]:
    """Arguments of ``_core.Transcoder``."""
    if threads < 0:
        raise ValueError(f"threads must be 0 (all cores) or more, not {threads}")
    return {
        "preset": recipe.preset,
        "crf": recipe.crf,
        "params": recipe.params,
        "pixel_formats": list(recipe.pixel_formats),
        "threads": threads,
        "max_luma_samples": (limits or Limits()).max_luma_samples,
        "start": start,
        "end": end,
    }


def _in_memory(
    source: Source, options: dict[str, Any], progress: Callable[[int], Any] | bool | None
) -> _core.Transcoder:
    """A transcoder that has made an MP4 file in memory."""
    transcoder = _core.Transcoder(source, None, container="mp4", **options)
    _run(transcoder, progress)
    return transcoder


def _refuse_same_file(source: Source, target: str | os.PathLike[str]) -> None:
    """Raises ValueError where writing the target, or what it links to, would replace the source."""
    source = source.file if isinstance(source, VideoStream) else source
    file: Any = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    named = isinstance(file, str | bytes | os.PathLike) and os.path.exists(file) and os.path.exists(target)
    if named and os.path.samefile(file, target):
        raise ValueError(f"{os.fspath(target)}: source and target are the same file; choose another target")


def in_hevc(
    source: Any, recipe: bool | str | Recipe, threads: int = 0, limits: Limits | None = None, on_damage: str = "raise"
) -> Any:
    """A video that ``Video`` reads, for `source`, which may be one that ``ove_codec.open`` gave.

    With True as recipe, or `AUTO` before its name, what ``Video`` reads stays as it is, and everything else is
    transcoded, as "reference" or the recipe says; with a recipe, everything is transcoded.
    """
    return part_in_hevc(source, recipe, threads, limits, on_damage=on_damage)[0]


def part_in_hevc(
    source: Any,
    recipe: bool | str | Recipe,
    threads: int = 0,
    limits: Limits | None = None,
    *,
    start: float | None = None,
    end: float | None = None,
    progress: bool | None = False,
    on_damage: str = "raise",
) -> tuple[Any, int]:
    """``in_hevc``, where only what is shown from `start` on and before `end`, in seconds, is wanted.

    Also gives the display index in `source` of the first picture that was transcoded. What stays as it is stays whole.
    `progress` shows a bar; None where standard error is a terminal. Raises ValueError where damage is to be skipped in
    what is transcoded.
    """
    source = rereadable(getattr(source, "source", source))
    automatic = recipe is True or (isinstance(recipe, str) and recipe.startswith(AUTO))
    chosen = None if recipe is False else recipe_of(recipe)
    if chosen is None or (automatic and reads_codec(_core.stream_info(source)["codec"])):
        return source, 0
    if on_damage == "skip":
        raise ValueError("damage is not skipped in what is transcoded: leave out transcode, or on_damage='skip'")
    with bar(None, progress) as steps:
        transcoder = _in_memory(source, _options(chosen, threads, limits, start, end), lambda _: steps.update())
    return transcoder.bytes(), transcoder.facts["skipped"]


def _run(transcoder: _core.Transcoder, progress: Callable[[int], Any] | bool | None) -> None:
    with bar(None, progress is True) as steps:
        pictures = 0
        while transcoder.step():
            pictures += 1
            steps.update()
            if callable(progress):
                progress(pictures)
