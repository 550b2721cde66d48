"""Whole images and clips as patch rows with positions, by the arguments of the reference model."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ove_codec.models.config import OVEncoderConfig

if TYPE_CHECKING:
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


def pixel_rows(
    config: OVEncoderConfig,
    pixel_values: Any,
    visible_indices: Any = None,
    patch_positions: Any = None,
) -> tuple[Tensor, Tensor]:
    """The patches (B, L, C*p*p) that are encoded, and their positions (B, L, 3).

    Args:
        config: gives number of channels and patch size.
        pixel_values, visible_indices, patch_positions: see `encode_pixels`.

    Raises:
        ValueError: a shape is wrong; or, where they lie on the host, an index is outside the patches.
    """
    pixel_values = torch.as_tensor(pixel_values)
    if not pixel_values.is_floating_point():
        raise ValueError(f"pixel_values must be normalised, floating point pixels, got {pixel_values.dtype}")
    if pixel_values.ndim == 4:
        pixel_values = pixel_values.unsqueeze(2)
    if pixel_values.ndim != 5 or pixel_values.shape[1] != config.num_channels:
        raise ValueError(f"pixel_values must be (B, {config.num_channels}, [T,] H, W), got {tuple(pixel_values.shape)}")
    rows, columns = (side // config.patch_size for side in pixel_values.shape[-2:])
    patches = patchify(pixel_values, config.patch_size)
    batch, count = patches.shape[:2]
    if batch * count == 0:
        raise ValueError(f"pixel_values {tuple(pixel_values.shape)} hold no whole patch of {config.patch_size} samples")

    index = torch.arange(count, device=patches.device).expand(batch, -1)
    if visible_indices is not None:
        visible = torch.as_tensor(visible_indices)
        if visible.ndim != 2 or len(visible) != batch or visible.shape[1] == 0 or visible.is_floating_point():
            raise ValueError(
                f"visible_indices must be ({batch}, K) integers, got {visible.dtype} {tuple(visible.shape)}"
            )
        gathered = visible.shape[1] != count
        _check_indices(visible, count, gathered)
        index = visible.to(patches.device, torch.int64)
        if gathered:
            patches = patches.take_along_dim(index[..., None], dim=1)
    if patch_positions is None:
        positions = torch.stack((index // (rows * columns), index // columns % rows, index % columns), dim=-1)
    else:
        positions = torch.as_tensor(patch_positions)
    if positions.shape != (batch, patches.shape[1], 3):
        raise ValueError(f"patch_positions must be ({batch}, {patches.shape[1]}, 3), got {tuple(positions.shape)}")
    return patches, positions


def encode_pixels(
    model: OVEncoder,
    pixel_values: Any,
    visible_indices: Any = None,
    patch_positions: Any = None,
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
        ValueError: a shape is wrong, an index lies outside the patches, or what `OVEncoder.forward` raises.
    """
    patches, positions = pixel_rows(model.config, pixel_values, visible_indices, patch_positions)
    batch, length = patches.shape[:2]
    out = model(
        patches.flatten(0, 1),
        positions.flatten(0, 1),
        [b * length for b in range(batch + 1)],
        output_hidden_states=output_hidden_states,
        output_attentions=output_attentions,
    )
    return with_batch_axis(out, batch)


def with_batch_axis(out: OVEncoderOutput, batch: int) -> OVEncoderOutput:
    """Rows of equally long sequences, (B*L, ...), as (B, L, ...)."""
    states = out.hidden_states and tuple(state.unflatten(0, (batch, -1)) for state in out.hidden_states)
    return out._replace(last_hidden_state=out.last_hidden_state.unflatten(0, (batch, -1)), hidden_states=states)


def _check_indices(visible: Tensor, count: int, gathered: bool) -> None:
    """Looks at values only where that costs nothing: on the host, and not while torch.compile traces."""
    if torch.compiler.is_compiling():
        return
    on_host = visible.device.type == "cpu"
    if on_host and (int(visible.min()) < 0 or (gathered and int(visible.max()) >= count)):
        raise ValueError(f"visible_indices must be from 0 to {count - 1}")
    if not gathered and not (on_host and bool((visible == torch.arange(count)).all())):
        warnings.warn(
            "there are as many visible_indices as patches, so every patch is kept in place and the indices only give "
            "positions",
            stacklevel=4,
        )
