"""Plots for notebooks, drawn with matplotlib: `pip install 'ove_codec[plot]'`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ove_codec._drawing import colors, draw_picture, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_picture(picture: Any, kind: str = "motion", axes: Axes | None = None) -> Axes:
    """Draws an array of a ``Picture`` or ``MotionPicture``, and returns the axes.

    Args:
        picture: the picture.
        kind: "motion" (length of the vectors, and arrows along the movement), "residual" (its magnitude), "bits" (of
            each coding tree unit) or "blocks" (coding blocks: intra, inter, skipped).
        axes: where to draw; None for a new figure.

    Raises:
        ValueError: an unknown kind.
        UnsupportedStreamError: the picture has no such array.
        ModuleNotFoundError: matplotlib is not installed.
    """
    plt = _matplotlib()
    drawing = draw_picture(picture, kind)
    if axes is None:
        axes = plt.subplots(figsize=(8, 8 * drawing.image.shape[0] / drawing.image.shape[1]), layout="constrained")[1]
    axes.imshow(drawing.image)
    axes.set_title(f"picture {picture.index}, {picture.type}, {picture.pts:.3f} s: {kind}")
    axes.set_axis_off()
    if drawing.most is None:
        axes.text(0, 1, f" {drawing.about}", transform=axes.transAxes, va="top", color="white", backgroundcolor="black")
    else:
        axes.figure.colorbar(_scale(drawing.most), ax=axes, label=drawing.about, shrink=0.8)
    return axes


def picture_png(picture: Any) -> bytes:
    """The motion of a picture as a PNG file, which notebooks show."""
    return png(draw_picture(picture, "motion").image)


def plot_selection(selection: Any, slots: Sequence[int], pixels: npt.NDArray[np.uint8] | None = None) -> Figure:
    """Draws sampled pictures of a selection above their patch scores, and returns the figure.

    Patches that are dropped are dark.

    Args:
        selection: the selection, in NumPy arrays.
        slots: which of the sampled pictures are drawn.
        pixels: (n, H, W, 3) their canvases; None to draw only scores.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    plt = _matplotlib()
    rows = 1 if pixels is None else 2
    figure, axes = plt.subplots(
        rows, len(slots), figsize=(2.2 * len(slots) + 1, 2.4 * rows + 0.6), squeeze=False, layout="constrained"
    )
    most = float(selection.scores.max(initial=0)) or 1.0
    for column, t in enumerate(slots):
        mask, scores = selection.mask[t], selection.scores[t]
        if pixels is not None:
            patch = np.ones([n // m for n, m in zip(pixels.shape[1:3], mask.shape, strict=True)])
            light = np.kron(np.where(mask, 1, 0.25), patch)
            axes[0, column].imshow((pixels[column] * light[..., None]).astype(np.uint8))
        axes[-1, column].imshow(scores, cmap=_colormap(), vmin=0, vmax=most)
        axes[0, column].set_title(f"{selection.frame_ids[t]}: {np.count_nonzero(mask)} patches", fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(_scale(most), ax=axes[-1].tolist(), label="score", shrink=0.8)
    figure.suptitle(f"{len(selection)} of {selection.mask.size} patches, preset {selection.preset}")
    return figure


def _matplotlib() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        raise ModuleNotFoundError("plots need matplotlib: pip install 'ove_codec[plot]'") from None
    return plt


def _colormap() -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap(colors(np.linspace(0, 1, 256)) / 255, name="heat")


def _scale(most: float) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(0, most), _colormap())
