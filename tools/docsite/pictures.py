"""The pictures of the documentation, of one clip: what its bits say, heat, and the patches that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from demo import make_clip
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import ove_codec
from ove_codec.viz import Panels, colors

Pixels = NDArray[np.uint8]
SHOWN = 51  # display index of the picture that is looked at: one with B slices, in which both things move
PRESET = "ove"
SAMPLED: dict[str, Any] = {"num_frames": 48, "size": 224, "budget": 1280}
_SCALE = 2  # picture samples to those of a drawing
_ARROW, _BLOCK = (255, 214, 64), (120, 205, 255)


def draw(folder: Path) -> None:
    """Writes all pictures, WebP, and the clip that they are of."""
    clip = folder / "clip.mp4"
    if not clip.exists():
        make_clip(clip)
    _of_codec(clip, folder)
    _of_heat(clip, folder)
    _of_presets(clip, folder)
    _panels(clip, folder)


def _of_codec(clip: Path, folder: Path) -> None:
    """Pixels, motion, residual, coding blocks and bits of one picture."""
    (picture,) = ove_codec.open(clip).read([SHOWN])
    pixels = ove_codec.frames(clip, [SHOWN], resize="native", normalize=False)[0].permute(1, 2, 0).numpy()
    pixels = pixels[: picture.height, : picture.width]
    faint = (0.35 * pixels.mean(axis=2, keepdims=True) + 12).repeat(3, axis=2).astype(np.uint8)
    _save(pixels, folder / "picture.webp")
    _save_image(_arrows(faint, picture), folder / "motion.webp")
    residual = picture.residual[: picture.height, : picture.width].astype(np.int32)
    _save(np.clip(128 + 4 * residual, 0, 255).astype(np.uint8), folder / "residual.webp")
    _save_image(_blocks(faint, picture), folder / "blocks.webp")
    level = np.log1p(picture.bits) / max(1.0, float(np.log1p(picture.bits).max()))
    side = picture.ctb_size
    bits = colors(level).repeat(side, axis=0).repeat(side, axis=1)[: picture.height, : picture.width]
    _save(np.maximum(bits, faint).astype(np.uint8), folder / "bits.webp")


def _arrows(background: Pixels, picture: ove_codec.Picture) -> Image.Image:
    """List 0, or list 1 where there is none: from where samples come to where they are, four times as long."""
    image = _enlarged(background)
    pen = ImageDraw.Draw(image)
    step = 4  # a vector each 16x16 samples
    for row in range(step // 2, picture.height // 4, step):
        for column in range(step // 2, picture.width // 4, step):
            used = int(picture.pred[row, column])
            if not used:
                continue
            vector = picture.mv[row, column, 0 if used & 1 else 1].astype(float)
            if not vector.any():
                continue
            x, y = 4 * column * _SCALE, 4 * row * _SCALE
            dx, dy = vector * _SCALE  # quarter samples, drawn four times as long
            pen.line([(x + dx, y + dy), (x, y)], _ARROW, 3)
            pen.ellipse([x - 5, y - 5, x + 5, y + 5], _ARROW)
    return image


def _blocks(background: Pixels, picture: ove_codec.Picture) -> Image.Image:
    """The coding blocks; those that are not skipped are filled."""
    image = _enlarged(background)
    pen = ImageDraw.Draw(image)
    for row in range(picture.height // 4):
        for column in range(picture.width // 4):
            side = int(picture.cu_size[row, column])
            if (4 * row) % side or (4 * column) % side:
                continue
            x, y = 4 * column * _SCALE, 4 * row * _SCALE
            fill = None if picture.skip[row, column] else (40, 92, 140)
            pen.rectangle([x, y, x + side * _SCALE - 1, y + side * _SCALE - 1], fill, _BLOCK)
    return image


def _of_heat(clip: Path, folder: Path) -> None:
    """Motion energy, residual energy, heat, patch scores and the mask of one picture."""
    params: dict[str, Any] = {"frame_ids": [SHOWN], "budget": 40, "keep_first_frame": False}
    parts = {"energy-motion": (1, 0), "energy-residual": (0, 1), "heat": (0.5, 0.5)}
    for name, (mv, residual) in parts.items():
        selection = ove_codec.select(clip, "paper", mv_weight=mv, residual_weight=residual, **params)
        _save(colors(selection.heat(0)).astype(np.uint8), folder / f"{name}.webp")
    score = selection.scores[0] / selection.scores[0].max()
    _save(colors(score).repeat(14, axis=0).repeat(14, axis=1).astype(np.uint8), folder / "scores.webp")
    (panels,) = Panels(clip, selection).at([0])
    _save(panels.selected, folder / "selected.webp")


def _of_presets(clip: Path, folder: Path) -> None:
    """What presets keep of one sampled picture under one budget."""
    for preset in ("paper", "bitcost", "ove"):
        selection = ove_codec.select(clip, preset, **SAMPLED)
        slot = int(np.argmin(np.abs(selection.frame_ids - SHOWN)))
        (panels,) = Panels(clip, selection).at([slot])
        _save(panels.selected, folder / f"preset-{preset}.webp")


def _panels(clip: Path, folder: Path) -> None:
    """The four panels, moving."""
    panels = Panels(clip, ove_codec.select(clip, PRESET, **SAMPLED))
    moving: list[list[Image.Image]] = [[], [], [], []]
    for panel_set in panels:
        for images, pixels in zip(moving, panel_set, strict=True):
            images.append(Image.fromarray(pixels))
    milliseconds = [round(1000 * seconds) for seconds in panels.durations()]
    for name, images in zip(("dense", "sampled", "heat", "selected"), moving, strict=True):
        images[0].save(
            folder / f"panel-{name}.webp", save_all=True, append_images=images[1:], duration=milliseconds, loop=0,
            quality=60, method=2,
        )  # fmt: skip


def _enlarged(pixels: Pixels) -> Image.Image:
    image = Image.fromarray(pixels)
    return image.resize((image.width * _SCALE, image.height * _SCALE), Image.Resampling.BICUBIC)


def _save(pixels: Pixels, path: Path) -> None:
    _save_image(Image.fromarray(pixels), path)


def _save_image(image: Image.Image, path: Path) -> None:
    image.save(path, quality=85, method=4)
