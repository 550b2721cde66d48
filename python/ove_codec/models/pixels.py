"""Whole images and clips into the encoder, for callers that used the reference model's arguments."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ove_codec.models.encoder import OVEncoder, OVEncoderOutput


def patchify(pixel_values: Tensor, patch_size: int) -> Tensor:
    """Cuts clips (B, C, T, H, W) into patch rows (B, T*h*w, C*p*p), h = H // p, w = W // p, order t, row, column.

    Samples right of and below the last whole patch are dropped.
    """
    p = patch_size
    b, c, t, height, width = pixel_values.shape
    x = pixel_values[..., : height // p * p, : width // p * p]
    x = x.reshape(b, c, t, height // p, p, width // p, p).permute(0, 2, 3, 5, 1, 4, 6)
    return x.reshape(b, -1, c * p * p)


def encode_pixels(
    model: OVEncoder,
    pixel_values: Tensor,
    visible_indices: Tensor | None = None,
    patch_positions: Tensor | None = None,
    *,
    output_hidden_states: bool = False,
    output_attentions: bool = False,
) -> OVEncoderOutput:
    """Encodes a batch of images or clips of one size.

    Args:
        model: the encoder.
        pixel_values: (B, C, H, W), or (B, C, T, H, W); N = T * (H // p) * (W // p) patches each.
        visible_indices: (B, K) integers t*h*w + row*w + column. With K != N these patches are taken, in this order,
            and have these positions. With K == N no patch is moved: the indices only give the positions, on a grid of
            any number of frames (a warning tells so); pass `patch_positions` to say it plainly.
        patch_positions: (B, L, 3) t, h, w of the patches that are left; goes before the positions of the indices.
        output_hidden_states: as for `OVEncoder.forward`.
        output_attentions: as for `OVEncoder.forward`.

    Returns:
        The output with a batch axis: last_hidden_state and hidden states (B, L, hidden), pooler_output (B, hidden),
        attentions one tuple (of one (heads, L, L) a sample) a layer.

    Raises:
        ValueError: a shape is wrong, or an index lies outside the patches.
    """
    config = model.config
    if pixel_values.ndim == 4:
        pixel_values = pixel_values.unsqueeze(2)
    if pixel_values.ndim != 5 or pixel_values.shape[1] != config.num_channels:
        raise ValueError(f"pixel_values must be (B, {config.num_channels}, [T,] H, W), got {tuple(pixel_values.shape)}")
    rows, columns = (side // config.patch_size for side in pixel_values.shape[-2:])
    patches = patchify(pixel_values, config.patch_size)
    batch, count = patches.shape[:2]
    if count == 0:
        raise ValueError(f"pixel_values {tuple(pixel_values.shape)} hold no whole patch of {config.patch_size} samples")

    index = torch.arange(count, device=patches.device).expand(batch, -1)
    if visible_indices is not None:
        if visible_indices.ndim != 2 or len(visible_indices) != batch or visible_indices.shape[1] == 0:
            raise ValueError(f"visible_indices must be ({batch}, K), got {tuple(visible_indices.shape)}")
        visible = visible_indices.to(patches.device, torch.int64)
        if visible.min() < 0 or (visible.shape[1] != count and visible.max() >= count):
            raise ValueError(f"visible_indices must lie in 0 to {count - 1}")
        if visible.shape[1] != count:
            patches = patches.take_along_dim(visible[..., None], dim=1)
        elif not torch.equal(visible, index):
            warnings.warn(
                "as many visible_indices as patches: no patch is moved, the indices only give positions", stacklevel=2
            )
        index = visible
    if patch_positions is None:
        patch_positions = torch.stack((index // (rows * columns), index // columns % rows, index % columns), dim=-1)
    length = patches.shape[1]
    if patch_positions.shape != (batch, length, 3):
        raise ValueError(f"patch_positions must be ({batch}, {length}, 3), got {tuple(patch_positions.shape)}")

    out = model(
        patches.flatten(0, 1),
        patch_positions.flatten(0, 1),
        torch.arange(batch + 1) * length,
        output_hidden_states=output_hidden_states,
        output_attentions=output_attentions,
    )
    states = out.hidden_states and tuple(state.unflatten(0, (batch, -1)) for state in out.hidden_states)
    return out._replace(last_hidden_state=out.last_hidden_state.unflatten(0, (batch, -1)), hidden_states=states)
