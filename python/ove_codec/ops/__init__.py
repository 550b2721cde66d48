"""Operators on packed tokens, on CPU and CUDA tensors, which torch.compile traces: torch.ops.ove_codec.*.

Arguments may be arrays of any library that gives ``__dlpack__``; results are tensors, which give it too.
"""

from ove_codec.ops.patches import ClipPlanes, gather_patches
from ove_codec.ops.rows import gather_tokens, scatter_tokens

__all__ = ["ClipPlanes", "gather_patches", "gather_tokens", "scatter_tokens"]
