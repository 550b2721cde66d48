"""Vision towers behind one interface: packed patches in, features out, in the order of the patches.

`OVTower` takes any patches of images and clips and attends within each of them; `Qwen3VLTower` and `Siglip2Tower` take
whole frames and attend within a frame, as those models do with video. Blocks and norms behind the hidden state that is
asked for, and pooling heads, are dropped: they are neither computed, nor saved, nor left without gradients.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel
from transformers.models.siglip2.configuration_siglip2 import Siglip2VisionConfig
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionModel

from ove_codec.lmm import tower_configs
from ove_codec.lmm.merge import inverse_order, order_for_merge
from ove_codec.models.hf import OneVisionEncoderModel


class VisionTower(nn.Module, ABC):
    """The interface of a tower.

    Attributes:
        row_size: values in a patch row, C * p * p, times the frames in a patch.
        feature_size: channels of a feature.
        merged: m where one feature stands for m x m patches of the input, else 1.
    """

    row_size: int
    feature_size: int
    merged: int = 1

    @abstractmethod
    def forward(self, patches: Tensor, positions: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Features of packed images and clips.

        Args:
            patches: (N, row_size) normalised samples, channel first, then frame, row and column in the patch.
            positions: (N, 3) t, h, w, in merge order where `merged` is more than 1.
            cu_seqlens: (B + 1,) bounds of the images and clips.

        Returns:
            (N / merged^2, feature_size), in the order of the patches.

        Raises:
            ValueError: a shape is wrong, or a frame lacks patches and the tower takes whole frames.
        """


class OVTower(VisionTower):
    """`OVEncoder`: codec tokens or frames, 3D positions as they are."""

    def __init__(self, model: OneVisionEncoderModel, depth: int, final: bool) -> None:
        super().__init__()
        self.row_size = model.config.encoder_config().patch_dim
        self.feature_size = model.config.hidden_size
        model.encoder.layers = model.encoder.layers[:depth]
        self.norm = model.layernorm_post if final and model.layernorm_post is not None else nn.Identity()
        model.layernorm_post = model.head = None
        self.model = model

    def forward(self, patches: Tensor, positions: Tensor, cu_seqlens: Tensor) -> Tensor:
        out = self.model(patches=patches, patch_positions=positions, cu_seqlens=cu_seqlens)
        features: Tensor = self.norm(out.last_hidden_state)
        return features


class Siglip2Tower(VisionTower):
    """SigLIP2 NaFlex: every frame is an image of its own, its position embedding resized to its grid."""

    def __init__(self, model: Siglip2VisionModel, depth: int, final: bool) -> None:
        super().__init__()
        body = getattr(model, "vision_model", model)  # transformers 4 has the layers one module deeper
        config = body.config
        self.channels, self.patch_size = config.num_channels, config.patch_size
        self.row_size = self.channels * self.patch_size**2
        self.feature_size = config.hidden_size
        body.encoder.layers = body.encoder.layers[:depth]
        if not final:
            body.post_layernorm = nn.Identity()
        body.use_head = False
        if hasattr(body, "head"):
            del body.head
        self.model = body

    def forward(self, patches: Tensor, positions: Tensor, cu_seqlens: Tensor) -> Tensor:
        frame, cell, grids = whole_frames(positions, cu_seqlens, "SigLIP2")
        frame, cell = frame.to(patches.device), cell.to(patches.device)
        weight = self.model.embeddings.patch_embedding.weight
        # SigLIP2's patches have their channels last.
        rows = patches.to(weight).unflatten(1, (self.channels, -1)).transpose(1, 2).flatten(1)
        lengths = [height * width for height, width in grids]
        padded = rows.new_zeros(len(grids), max(lengths), self.row_size)
        padded[frame, cell] = rows
        mask = torch.zeros(padded.shape[:2], dtype=torch.int32, device=rows.device)
        mask[frame, cell] = 1
        shapes = torch.tensor(grids, device=rows.device)
        features: Tensor = self.model(padded, mask, shapes).last_hidden_state[frame, cell]
        return features


class Qwen3VLTower(VisionTower):
    """Qwen3-VL's tower, without its deepstack mergers: their output goes into later layers of Qwen3-VL's own language
    model, where any other has no place for it. Its main merger makes the final output.
    """

    def __init__(self, model: Qwen3VLVisionModel, depth: int, final: bool) -> None:
        super().__init__()
        config = model.config
        self.row_size = config.in_channels * config.temporal_patch_size * config.patch_size**2
        self.block = int(config.spatial_merge_size)
        self.merged = self.block if final else 1
        self.feature_size = config.out_hidden_size if final else config.hidden_size
        model.blocks = model.blocks[:depth]
        model.deepstack_visual_indexes = []
        model.deepstack_merger_list = nn.ModuleList()
        if not final:
            model.merger = nn.Identity()
        self.model = model

    def forward(self, patches: Tensor, positions: Tensor, cu_seqlens: Tensor) -> Tensor:
        _, _, grids = whole_frames(positions, cu_seqlens, "Qwen3-VL")
        order = order_for_merge(positions.cpu(), self.block, cu_seqlens.cpu())
        rows = patches.to(self.model.patch_embed.proj.weight)
        moved = bool((order[:-1] > order[1:]).any())
        if moved and self.merged > 1:
            raise ValueError(f"positions must be in the order of order_for_merge with merge_size {self.block}")
        if moved:
            rows = rows[torch.from_numpy(order).to(rows.device)]
        grid_thw = torch.tensor([(1, *grid) for grid in grids], device=rows.device)
        out = self.model(rows, grid_thw=grid_thw)
        features: Tensor = out[0] if isinstance(out, tuple) else out.pooler_output
        if moved:
            features = features[torch.from_numpy(inverse_order(order)).to(rows.device)]
        return features


def whole_frames(positions: Tensor, cu_seqlens: Tensor, who: str) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
    """For every patch the number of its frame and its cell in raster order; for every frame its rows and columns.

    Raises ValueError where a frame has not every patch of its grid once, or the patches of a frame lie apart.
    """
    places = positions.cpu()
    bounds = cu_seqlens.cpu().tolist()
    frames: list[Tensor] = []
    cells: list[Tensor] = []
    grids: list[tuple[int, int]] = []
    for start, stop in itertools.pairwise(bounds):
        clip = places[start:stop]
        changes = torch.nonzero(clip[1:, 0] != clip[:-1, 0])[:, 0] + 1
        for first, last in itertools.pairwise([0, *changes.tolist(), len(clip)]):
            part = clip[first:last, 1:]
            rows, columns = (part.amax(dim=0) + 1).tolist()
            cell = part[:, 0] * columns + part[:, 1]
            if len(cell) != rows * columns or not torch.equal(cell.sort().values, torch.arange(len(cell))):
                raise ValueError(
                    f"{who} takes whole frames, but frame t={int(clip[first, 0])} has {len(cell)} patches of a grid of "
                    f"{rows} x {columns}: read videos with mode='frames', or use an OVEncoder for codec tokens"
                )
            frames.append(torch.full((len(cell),), len(grids)))
            cells.append(cell)
            grids.append((rows, columns))
    return torch.cat(frames), torch.cat(cells), grids


def build(config: PretrainedConfig, select_layer: int | None, model: Any = None) -> VisionTower:
    """The tower of a configuration, with random weights or around a `model` that was loaded."""
    depth, final = tower_configs.depth_of(config, select_layer), select_layer is None
    if isinstance(config, Qwen3VLVisionConfig):
        return Qwen3VLTower(Qwen3VLVisionModel._from_config(config) if model is None else model, depth, final)
    if isinstance(config, Siglip2VisionConfig):
        return Siglip2Tower(Siglip2VisionModel._from_config(config) if model is None else model, depth, final)
    return OVTower(OneVisionEncoderModel._from_config(config) if model is None else model, depth, final)
