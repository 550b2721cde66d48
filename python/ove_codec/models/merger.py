"""The spatial merge behind a tower's encoder: m x m patches become one token of the language model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ove_codec.models.tower_config import OVTowerConfig


class Merger(nn.Module):
    """Norm of every patch, concatenation of each block's m * m patches, two linear maps with a GELU (erf) between.

    With `use_patch_position_encoding` a learned vector of the token's row and one of its column are added.
    """

    def __init__(self, config: OVTowerConfig) -> None:
        super().__init__()
        assert config.out_hidden_size is not None
        self.size = config.spatial_merge_size
        block = config.hidden_size * self.size**2
        self.ln_q = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)  # also where the body has RMSNorm
        self.mlp = nn.Sequential(nn.Linear(block, block), nn.GELU(), nn.Linear(block, config.out_hidden_size))
        self.with_positions = config.use_patch_position_encoding
        if self.with_positions:
            self.pos_emb_h, self.pos_emb_w = (
                nn.Embedding(config.max_position_embeddings, config.out_hidden_size) for _ in range(2)
            )

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Merges patches in merge-block order.

        Args:
            x: (N, hidden) of the encoder.
            positions: (N, 3) t, h, w.

        Returns:
            (N / m^2, out_hidden_size).

        Raises:
            ValueError: a token's row or column is beyond the position tables; not while torch.compile traces.
        """
        merged: Tensor = self.mlp(self.ln_q(x).unflatten(0, (-1, self.size**2)).flatten(1))
        if not self.with_positions:
            return merged
        places = positions[:: self.size**2, 1:].long().to(x.device) // self.size
        rows = self.pos_emb_h.num_embeddings
        if not torch.compiler.is_compiling() and not places.is_meta and int(places.max()) >= rows:
            raise ValueError(
                f"patch_positions has a merged row or column {int(places.max())}, beyond the {rows} of "
                f"max_position_embeddings"
            )
        return merged + self.pos_emb_h(places[:, 0]) + self.pos_emb_w(places[:, 1])
