"""The vision towers of LLaVA-OneVision-2 and Mage-VL: an `OVEncoder` with attention windows and a merger.

Images, frames and canvases lie one after another in packed rows, in merge-block order: frame, block row, block column,
row in the block, column in the block.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ove_codec.models.attention import AttentionChoice
from ove_codec.models.encoder import PackedEncoder
from ove_codec.models.layers import init_weights
from ove_codec.models.merger import Merger
from ove_codec.models.tower_config import OVTowerConfig
from ove_codec.models.tower_file import load_tower_file


class OVTowerOutput(NamedTuple):
    """What a tower returns.

    Attributes:
        encoder: (N, hidden), of the last block, after the final norm if the tower has a head.
        merged: (N / m^2, out_hidden_size), in the order of the merge blocks; None without a merger.
        pooled: with a head (1, hidden) of the whole batch, or without a merger (n, hidden) of the grid rows; else None.
        hidden_states: on request, layers + 1 tensors (N, hidden): the input of every block, and the output of the last.
    """

    encoder: Tensor
    merged: Tensor | None
    pooled: Tensor | None
    hidden_states: tuple[Tensor, ...] | None = None


class PackedTower(PackedEncoder):
    """The modules of a tower and the way through them, for every class with the published parameter names."""

    merger: Merger | None

    def build_tower(self, config: OVTowerConfig) -> None:
        """Makes the modules; to be called once, after the constructor of nn.Module."""
        self.build(config)
        self.merger = None if config.out_hidden_size is None else Merger(config)

    def run(
        self,
        config: OVTowerConfig,
        pixel_values: Any,
        grid_thw: Any,
        patch_positions: Any,
        attention: str,
        output_hidden_states: bool = False,
        pool: bool = True,
    ) -> OVTowerOutput:
        """What `OVTower.forward` does, by the backend `attention`; without the pooling head unless `pool`."""
        patches = torch.as_tensor(pixel_values)
        if patches.ndim == 4:
            patches = patches.flatten(1)
        if patches.ndim != 2 or patches.shape[1] != config.patch_dim or not patches.is_floating_point():
            raise ValueError(
                f"pixel_values must be (N, {config.patch_dim}) floating point, {config.num_channels} channels of "
                f"patch_size {config.patch_size} squared, got {patches.dtype} {tuple(patches.shape)}"
            )
        positions = torch.as_tensor(patch_positions)
        if positions.shape != (len(patches), 3):
            raise ValueError(
                f"patch_positions must be ({len(patches)}, 3), a t, h, w for each row of pixel_values, got "
                f"{tuple(positions.shape)}"
            )
        rows = grid_rows(grid_thw, config.spatial_merge_size, len(patches))
        windows = window_bounds(rows, config.frame_windows_size)
        clips = [0, len(patches)] if self.merger is not None else window_bounds(rows, 0)
        out = self.encode(
            config,
            patches,
            positions,
            clips,
            None,
            attention,
            output_hidden_states=output_hidden_states,
            pool=pool,
            windows=windows,
        )
        x = out.last_hidden_state
        merged = None if self.merger is None else self.merger(x, positions)
        return OVTowerOutput(x, merged, out.pooler_output, out.hidden_states)


class OVTower(AttentionChoice, PackedTower, nn.Module):
    """A vision tower; `load_tower` reads one from a checkpoint.

    Args:
        config: sizes and options.
        attention: the backend, see `ove_codec.models.attention`; may be set again later, as `tower.attention`.

    `torch.compile(tower, fullgraph=True)` works with `grid_thw` as a list of Python integers, for every list of which
    it compiles anew.

    Raises:
        ValueError: there is no such backend.
    """

    def __init__(self, config: OVTowerConfig, attention: str = "auto") -> None:
        super().__init__()
        self.config = config
        self.attention = attention
        self.build_tower(config)
        self.apply(partial(init_weights, std=config.initializer_range))

    def forward(
        self, pixel_values: Any, grid_thw: Any, patch_positions: Any, *, output_hidden_states: bool = False
    ) -> OVTowerOutput:
        """Encodes and merges the patches of images, frames and canvases.

        Args:
            pixel_values: (N, C*p*p) or (N, C, p, p) floating point, normalised patches in merge-block order.
            grid_thw: (n, 3) integers, frames, patch rows and patch columns of every grid row; their products sum to N,
                rows and columns are multiples of m. A grid row attends to itself only, in windows of
                `frame_windows_size` frames.
            patch_positions: (N, 3) t, h, w of every patch: source frame, patch row, patch column. t is absolute: a
                shift of all t changes results.
            output_hidden_states: also return the hidden states.
        Arrays are tensors or NumPy arrays, moved to the device and the type of the weights.

        Raises:
            ValueError: a shape is wrong, the grid does not fit the rows, a position is negative or not finite, or the
                attention backend cannot run here; the message names the argument.
        """
        return self.run(self.config, pixel_values, grid_thw, patch_positions, self.attention, output_hidden_states)


def grid_rows(grid_thw: Any, merge_size: int, rows: int) -> list[tuple[int, int, int]]:
    """The grid rows (t, h, w) as Python integers, checked against the merge size and the number of patches.

    Raises:
        ValueError: the shape is wrong, a side is no positive multiple of merge_size, or the rows of patches are others.
    """
    if isinstance(grid_thw, list | tuple) and all(isinstance(row, list | tuple) for row in grid_thw):
        values: Sequence[Sequence[Any]] = grid_thw
    else:
        grid = torch.as_tensor(grid_thw)
        if grid.ndim != 2 or grid.shape[1] != 3 or grid.is_floating_point():
            raise ValueError(f"grid_thw must be (n, 3) integers, got {grid.dtype} {tuple(grid.shape)}")
        values = grid.tolist()
    checked = []
    for row in values:
        if len(row) != 3 or any(not isinstance(side, int) or isinstance(side, bool) or side < 1 for side in row):
            raise ValueError(f"grid_thw must have rows of three positive integers t, h, w, got {list(row)}")
        t, h, w = row
        if h % merge_size or w % merge_size:
            raise ValueError(
                f"grid_thw has the row {[t, h, w]}, whose h and w must be multiples of spatial_merge_size {merge_size}"
            )
        checked.append((t, h, w))
    total = sum(t * h * w for t, h, w in checked)
    if total != rows or not checked:
        raise ValueError(f"grid_thw has {total} patches in {len(checked)} rows, but pixel_values has {rows}")
    return checked


def window_bounds(rows: Sequence[tuple[int, int, int]], frames: int) -> list[int]:
    """Bounds of the attention windows: every grid row, cut after each `frames` frames where that is positive."""
    bounds = [0]
    for t, h, w in rows:
        step = frames if 0 < frames < t else t
        start = bounds[-1]
        bounds += [start + min(done + step, t) * h * w for done in range(0, t, step)]
    return bounds


def load_tower(
    directory: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32, attention: str = "auto"
) -> OVTower:
    """Reads a vision tower from a local directory with `config.json` and safetensors; in eval mode.

    The directory holds a tower alone, a whole LLaVA-OneVision-2 or Mage-VL model, of which only the tower's tensors are
    read, or a OneVision-Encoder, which has no merger. Nothing is downloaded.

    Args:
        directory: of the checkpoint.
        dtype: of the parameters.
        attention: the backend, see `ove_codec.models.attention`.

    Raises:
        FileNotFoundError: the directory, `config.json` or the weights are missing.
        ValueError: the configuration is of another model or has a key that is not known; a file is damaged; tensors are
            missing, unknown or of another shape. The message names them.
    """
    tower = load_tower_file(OVTower, directory, dtype)
    tower.attention = attention
    return tower
