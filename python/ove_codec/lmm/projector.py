"""From the features of a tower to embeddings of a language model."""

from __future__ import annotations

from torch import Tensor, nn


class SpatialMergeProjector(nn.Module):
    """Makes one embedding of the features of m x m patches that follow each other.

    linear_2(gelu(linear_1(concatenated block))), with a norm of every feature before in a "merger".

    Args:
        feature_size: channels of a feature.
        merge_size: m.
        embedding_size: channels of an embedding.
        kind: "merger" or "mlp", as in `LMMConfig`.
    """

    def __init__(self, feature_size: int, merge_size: int, embedding_size: int, kind: str) -> None:
        super().__init__()
        self.area = merge_size**2
        block = feature_size * self.area
        hidden = block if kind == "merger" else embedding_size
        self.norm = nn.LayerNorm(feature_size, eps=1e-6) if kind == "merger" else nn.Identity()
        self.linear_1 = nn.Linear(block, hidden)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(hidden, embedding_size)

    def forward(self, features: Tensor) -> Tensor:
        """(N, feature_size) to (N / m^2, embedding_size)."""
        blocks = self.norm(features).reshape(-1, self.area * features.shape[-1])
        return self.linear_2(self.act(self.linear_1(blocks)))
