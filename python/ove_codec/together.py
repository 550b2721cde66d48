"""Selection and tokens of a video together: its pixels are decoded while its patches are scored."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import Unpack

from ove_codec import _core
from ove_codec._backend import CPU, backend_for
from ove_codec._pictures import VideoPictures
from ove_codec._pixels import PixelSource
from ove_codec._sampling import sampled_frames
from ove_codec.limits import Limits
from ove_codec.presets import Parameters, resolve, with_parameters
from ove_codec.selection import select_pictures
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD, Color, Tokens, tokenize
from ove_codec.transcoding import Recipe

if TYPE_CHECKING:
    import torch

_MOST_BYTES = 256 << 20  # of all patches of the sampled pictures


@with_parameters
def tokens(
    source: Any,
    preset: str = "paper",
    *,
    device: Any = None,
    dtype: torch.dtype | str | None = None,
    threads: int = 0,
    limits: Limits | None = None,
    transcode: bool | str | Recipe = False,
    on_damage: str = "raise",
    mean: Color = CLIP_MEAN,
    std: Color = CLIP_STD,
    **params: Unpack[Parameters],
) -> Tokens:
    """The tokens of a video in one call: ``tokenize`` of what ``select`` keeps.

    On the CPU the sampled pictures are decoded while their patches are scored. This needs memory for all patches of
    these pictures until it is known which are kept; if that is more than 256 MiB, tokens are made after the selection.
    If selecting or decoding alone keeps all cores busy, doing both at once saves no time.

    Args:
        source, preset, device, threads, limits, transcode, on_damage, params: as for ``select``.
        dtype, mean, std: as for ``tokenize``.

    Raises:
        ValueError, TypeError, RuntimeError, DecodeError, UnsupportedStreamError: as these two.
    """
    backend, overrides = backend_for(device), dict(params)
    resolved = resolve(preset, overrides)
    pictures = VideoPictures(source, threads, limits, transcode, on_damage=on_damage).checked(resolved)
    request = _dense_request(pictures, resolved, mean, std) if backend.is_cpu else None
    options: dict[str, Any] = {"device": backend, "dtype": dtype, "threads": threads, "mean": mean, "std": std}
    if request is None:
        return tokenize(pictures.video, select_pictures(pictures, preset, overrides, backend), **options)
    with ThreadPoolExecutor(1, thread_name_prefix="ove_codec") as other:
        decoding = other.submit(_core.gather_patches, **request)
        selection = select_pictures(pictures, preset, overrides)
    if decoding.exception() is not None:  # perhaps in a picture of which nothing is kept
        return tokenize(pictures.video, selection, **options)
    return _kept(decoding.result(), selection.mask, selection.positions, dtype)


def _dense_request(pictures: VideoPictures, params: dict[str, Any], mean: Color, std: Color) -> dict[str, Any] | None:
    """What gives all patches of the sampled pictures; None where that is too much, or their size is not one."""
    frame_ids, _ = sampled_frames(pictures, params)
    video = pictures.video
    index = video._index_of(frame_ids)
    window = index.window(frame_ids.tolist()) if isinstance(index, _core.VideoIndex) else None
    if window is None:
        return None
    geometry = _core.Scorer(params, window, video.info["rotation"], video.info["mirrored"]).geometry
    grid, side = (geometry["rows"], geometry["columns"]), params["patch_size"]
    count, patches = len(frame_ids), grid[0] * grid[1]
    if count * patches * 3 * side * side * 4 > _MOST_BYTES:
        return None
    return {
        **PixelSource(video, video.threads, None).request(frame_ids),
        "starts": np.arange(count + 1) * patches,
        "positions": np.tile(np.argwhere(np.ones(grid)).astype(np.int32), (count, 1)),
        "resize": params["resize"],
        "size": params["size"],
        "patch_size": side,
        "source_size": (geometry["source_width"], geometry["source_height"]),
        "mean": mean,
        "std": std,
    }


def _kept(rows: Any, mask: Any, positions: Any, dtype: Any) -> Tokens:
    """Of the rows of all patches, those that the mask keeps."""
    import torch

    from ove_codec.ops.inputs import float_dtype

    return Tokens(
        torch.from_numpy(rows[mask.reshape(-1)]).to(float_dtype(dtype)),
        CPU.tensor(positions.astype(np.int64)),
        CPU.tensor(np.array([0, len(positions)], np.int32)),
    )
