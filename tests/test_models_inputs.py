"""Images, uniform frames, collages and codec tokens: one model, one packed batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ove_codec import Tokens
from ove_codec.models import (
    OVEncoder,
    OVEncoderConfig,
    collage_tokens,
    encode_pixels,
    frame_tokens,
    image_tokens,
    pack,
    temporal_slots,
)

P = 4
CONFIG = OVEncoderConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=1, patch_size=P)


def frames(count: int, height: int = 8, width: int = 12) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(count))


def patch_at(image: Tensor, row: int, column: int) -> Tensor:
    return image[:, row * P : row * P + P, column * P : column * P + P].flatten()


def check_rows(tokens: Tokens, image: Tensor, places: list[tuple[int, int]]) -> None:
    """Row i is the patch of `image` at places[i]."""
    assert len(tokens.patches) == len(places)
    for row, (r, c) in zip(tokens.patches, places, strict=True):
        assert torch.equal(row, patch_at(image, r, c))


def test_slots() -> None:
    assert temporal_slots(range(8), 8).tolist() == [round(i / 7 * 63) for i in range(8)]
    assert temporal_slots([0, 299, 150], 300).tolist() == [0, 63, 32]
    assert temporal_slots(np.arange(64), 64).tolist() == list(range(64))
    assert temporal_slots([0], 1).tolist() == [0]
    assert temporal_slots([1, 3], 5, slots=4).tolist() == [1, 2]  # 0.75 and 2.25


@pytest.mark.parametrize(
    ("ids", "count", "slots", "message"),
    [
        ([0, 5], 5, 64, "frame_ids must be from 0 to 4"),
        ([-1], 5, 64, "frame_ids must be from 0 to 4"),
        ([0.5], 5, 64, "frame_ids must be"),
        ([[0]], 5, 64, "frame_ids must be"),
        ([0], 0, 64, "num_frames must be positive"),
        ([0], 1, 0, "slots and num_frames"),
    ],
)
def test_bad_slots_are_named(ids: Any, count: int, slots: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        temporal_slots(ids, count, slots)


def test_images() -> None:
    images = frames(2)
    tokens = image_tokens(images, P)
    assert tokens.cu_seqlens.tolist() == [0, 6, 12]
    places = [(r, c) for r in range(2) for c in range(3)]
    for b, image in enumerate(images):
        one = image_tokens(image, P)
        check_rows(one, image, places)
        assert torch.equal(tokens.patches[6 * b : 6 * b + 6], one.patches)
        assert torch.equal(tokens.positions[6 * b : 6 * b + 6], one.positions)
        assert one.positions.tolist() == [[0, r, c] for r, c in places]
    check_rows(image_tokens(frames(1, 11, 9)[0], P), frames(1, 11, 9)[0], [(0, 0), (0, 1), (1, 0), (1, 1)])


def test_frames_are_the_clip_with_time_in_slots() -> None:
    clip = frames(4)
    tokens = frame_tokens(clip, P)
    assert tokens.cu_seqlens.tolist() == [0, 24]
    expected = [[t, r, c] for t in (0, 21, 42, 63) for r in range(2) for c in range(3)]
    assert tokens.positions.tolist() == expected
    sampled = frame_tokens(clip, P, frame_ids=[0, 10, 20, 30], num_frames=31)
    assert torch.equal(sampled.positions, tokens.positions) and torch.equal(sampled.patches, tokens.patches)

    model = OVEncoder(CONFIG).eval()
    with torch.no_grad():
        got = model(tokens.patches, tokens.positions, tokens.cu_seqlens)
        wanted = encode_pixels(model, clip.transpose(0, 1)[None], patch_positions=tokens.positions[None])
    torch.testing.assert_close(got.last_hidden_state, wanted.last_hidden_state[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("columns", [1, 2, 3, 5])
def test_collages(columns: int) -> None:
    """The order is that of the patches of the tiled image; every patch keeps, or loses, its place in the clip."""
    clip, slots = frames(5), [0, 16, 32, 47, 63]
    rows = -(-5 // columns)
    canvas = torch.full((3, rows * 8, columns * 12), float("nan"))
    for i, frame in enumerate(clip):
        y, x = i // columns * 8, i % columns * 12
        canvas[:, y : y + 8, x : x + 12] = frame
    places = [
        (r, c)
        for r in range(rows * 2)
        for c in range(columns * 3)
        if not patch_at(canvas, r, c).isnan().any()
    ]  # fmt: skip
    kept = collage_tokens(clip, P, columns=columns)
    check_rows(kept, canvas, places)
    for (t, h, w), (r, c) in zip(kept.positions.tolist(), places, strict=True):
        frame = r // 2 * columns + c // 3
        assert (t, h, w) == (slots[frame], r % 2, c % 3)
    lost = collage_tokens(clip, P, columns=columns, places="image")
    assert torch.equal(lost.patches, kept.patches)
    assert lost.positions.tolist() == [[0, r, c] for r, c in places]


def test_a_collage_of_true_places_is_the_frames_in_another_order() -> None:
    model = OVEncoder(CONFIG).eval()
    clip = frames(3)
    with torch.no_grad():
        outs = [
            model(tokens.patches, tokens.positions, tokens.cu_seqlens).pooler_output
            for tokens in (frame_tokens(clip, P), collage_tokens(clip, P, columns=2))
        ]
    torch.testing.assert_close(outs[0], outs[1], atol=1e-6, rtol=0)


def test_kinds_mix_in_one_batch() -> None:
    """Every sequence of a mixed batch has the features that it has alone."""
    generator = torch.Generator().manual_seed(0)
    codec = Tokens(
        torch.randn(7, 3 * P * P, generator=generator),
        torch.randint(0, 16, (7, 3), generator=generator),
        torch.tensor([0, 3, 7], dtype=torch.int32),
    )
    parts = [image_tokens(frames(2), P), frame_tokens(frames(4), P), codec, collage_tokens(frames(3), P, columns=2)]
    batch = pack(parts)
    assert batch.cu_seqlens.tolist() == [0, 6, 12, 36, 39, 43, 61]
    assert batch.cu_seqlens.dtype == torch.int32 and len(batch) == 61
    model = OVEncoder(CONFIG).eval()
    with torch.no_grad():
        whole = model(batch.patches, batch.positions, batch.cu_seqlens)
        alone = [model(part.patches, part.positions, part.cu_seqlens) for part in parts]
    for i in (0, 1):
        expected = torch.cat([out[i] for out in alone])
        torch.testing.assert_close(whole[i], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: image_tokens(torch.zeros(3, 8), P), "images must be"),
        (lambda: image_tokens(torch.zeros(3, 3, 8), P), "no whole patch"),
        (lambda: frame_tokens(torch.zeros(3, 8, 8), P), "frames must be"),
        (lambda: frame_tokens(torch.zeros(0, 3, 8, 8), P), "frames must be"),
        (lambda: frame_tokens(frames(3), P, frame_ids=[0, 1], num_frames=5), "one entry for each of the 3 frames"),
        (lambda: frame_tokens(frames(3), P, frame_ids=[0, 1, 2]), "num_frames must be the length of the clip"),
        (lambda: collage_tokens(frames(3), P, columns=0), "columns must be positive"),
        (lambda: collage_tokens(frames(3), P, places="frame"), "places 'clip' or 'image'"),
        (lambda: collage_tokens(frames(3, 9), P), "multiples of 4"),
        (lambda: pack([]), "at least one"),
        (lambda: pack([image_tokens(frames(1), 4), image_tokens(frames(1), 2)]), r"\[12, 48\]"),
    ],
)
def test_bad_inputs_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
