"""The token order of a spatial merge, and selections of whole merge blocks, against plain loops."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ove_codec

pytest.importorskip("transformers", reason="ove_codec[lmm] is not installed")

from ove_codec.lmm.merge import inverse_order, order_for_merge, select_blocks, whole_blocks


@st.composite
def block_lists(draw: st.DrawFn) -> tuple[int, list[list[tuple[int, int, int]]]]:
    """A merge size, and for each of some sequences the blocks (t, block row, block column) that it has."""
    block = st.tuples(*(st.integers(0, 6) for _ in range(3)))
    blocks = st.lists(block, unique=True, max_size=6)
    return draw(st.integers(1, 3)), draw(st.lists(blocks, min_size=1, max_size=3))


def patches_of(block: tuple[int, int, int], m: int) -> list[tuple[int, int, int]]:
    t, row, column = block
    return [(t, row * m + y, column * m + x) for y in range(m) for x in range(m)]


@given(block_lists(), st.randoms(use_true_random=False))
def test_order_puts_blocks_together(case: tuple[int, list[list[tuple[int, int, int]]]], random: Any) -> None:
    m, sequences = case
    expected, shuffled, bounds = [], [], [0]
    for blocks in sequences:
        patches = [patch for block in sorted(blocks) for patch in patches_of(block, m)]
        expected += patches
        shuffled += random.sample(patches, len(patches))
        bounds.append(len(shuffled))
    positions = np.array(shuffled, np.int64).reshape(-1, 3)
    order = order_for_merge(positions, m, bounds)
    assert [tuple(p) for p in positions[order].tolist()] == expected
    assert sorted(order) == list(range(len(positions)))
    back = inverse_order(order)
    assert np.array_equal(positions[order][back], positions)
    assert np.array_equal(np.asarray(order)[back], np.arange(len(order)))
    assert whole_blocks(positions, m, bounds).all()
    assert np.array_equal(order_for_merge(positions[order], m, bounds), np.arange(len(order)))


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 5)), max_size=60),
)
def test_whole_blocks_are_found(m: int, patches: list[tuple[int, int, int]]) -> None:
    positions = np.array(patches, np.int64).reshape(-1, 3)
    expected = [all(patches.count(other) == 1 for other in patches_of((t, h // m, w // m), m)) for t, h, w in patches]
    found = whole_blocks(positions, m)
    assert found.tolist() == expected
    order = order_for_merge(positions[found], m)  # what is left is in order
    assert len(order) == sum(expected)
    if not all(expected):
        with pytest.raises(ValueError, match="incomplete or has a patch twice"):
            order_for_merge(positions, m)


def test_frames_come_in_block_order() -> None:
    grid = np.array([(0, h, w) for h in range(4) for w in range(4)])
    assert order_for_merge(grid, 2).tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]


@pytest.mark.parametrize(
    ("positions", "m", "bounds", "message"),
    [
        (np.zeros((4, 2), int), 2, None, r"positions must be \(N, 3\) whole numbers"),
        (np.zeros((4, 3)), 2, None, r"positions must be \(N, 3\) whole numbers"),
        (-np.ones((4, 3), int), 2, None, "positions must not be negative"),
        (np.zeros((1, 3), int), 0, None, "merge_size must be a positive whole number"),
        (np.zeros((1, 3), int), 1, [0, 2], "cu_seqlens must ascend from 0 to the 1 positions"),
        (np.zeros((1, 3), int), 1, [[0, 1]], r"cu_seqlens must be \(B \+ 1,\) whole numbers"),
        (np.array([(0, 2, 4), (0, 2, 5), (0, 3, 4)]), 2, None, "block at t=0, h=2, w=4 is incomplete"),
        (np.array([(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 0, 1)]), 2, None, "block at t=0, h=0, w=0 is incomplete"),
        # a block is not made of the patches of two sequences
        (np.array([(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]), 2, [0, 2, 4], "block at t=0, h=0, w=0"),
    ],
)
def test_bad_arguments(positions: Any, m: int, bounds: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        order_for_merge(positions, m, bounds)


def selected(seed: int = 0, **params: Any) -> ove_codec.Selection:
    """Selection of three pictures of random motion, 72 x 56 samples in patches of 8."""
    rng = np.random.default_rng(seed)
    mv = rng.integers(-9, 10, (3, 14, 18, 2, 2))
    residual = rng.integers(-60, 60, (3, 56, 72))
    arrays: ove_codec.Selection = ove_codec.select_arrays(
        mv, residual, types="IPB", **{"resize": "native", "patch_size": 8, "num_frames": 3, "budget": 40, **params}
    )
    return arrays


def expected_blocks(selection: ove_codec.Selection, m: int) -> set[tuple[int, int, int]]:
    """Blocks by rank: the first picture's share of the budget, pictures kept whole, then score; equal ones by position.

    Scores of random motion do not tie within the first picture."""
    frames, rows, columns = selection.scores.shape
    params = selection.params
    ranked = []
    for t, row, column in itertools.product(range(frames), range(rows // m), range(columns // m)):
        cells = [(y, x) for _, y, x in patches_of((t, row, column), m)]
        if not all(selection.valid[cell] for cell in cells):
            continue
        score = float(np.float32(sum(float(selection.scores[(t, *cell)]) for cell in cells)))
        kind = 1 if params["i_pictures"] == "keep" and t == 0 else 2
        hot = params["tau"] is not None and score / (m * m * selection.geometry.patch_size**2) > params["tau"]
        if params["tau"] is None or hot or kind < 2:
            ranked.append((kind, -score, (t, row, column)))
    count = len(ranked) if params["budget"] is None else params["budget"] // m**2
    if params["keep_first_frame"]:
        assert params["budget"] is not None
        first = sorted(one for one in ranked if one[2][0] == 0)
        share = max(1, int(params["first_frame_share"] * count))
        ranked = [(0, *one[1:]) for one in first[:share]] + first[share:] + [one for one in ranked if one[2][0]]
    return {block for *_, block in sorted(ranked)[:count]}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 100),
    st.integers(1, 3),
    st.sampled_from(
        [
            {},
            {"keep_first_frame": False},
            {"keep_first_frame": False, "i_pictures": "keep", "budget": 70},
            {"tau": 0.3, "budget": None, "keep_first_frame": False},
            {"resize": "letterbox", "size": 64, "budget": 90},
        ]
    ),
)
def test_blocks_are_selected_by_their_score(seed: int, m: int, params: dict[str, Any]) -> None:
    selection = selected(seed, **params)
    blocks = select_blocks(selection, m)
    expected = {patch for block in expected_blocks(selection, m) for patch in patches_of(block, m)}
    assert {tuple(p) for p in blocks.positions.tolist()} == expected
    assert np.array_equal(np.argwhere(blocks.mask), blocks.positions) and blocks.positions.dtype == np.int32
    assert len(order_for_merge(blocks.positions, m)) == len(expected)
    if m == 1:
        assert np.array_equal(blocks.mask, selection.mask)


def test_selections_without_a_block() -> None:
    with pytest.raises(ValueError, match="budget must be at least one block of 3 x 3 patches, not 8"):
        select_blocks(selected(budget=8), 3)
    with pytest.raises(ValueError, match="merge_size 10 is larger than the selection's grid of 7 x 9 patches"):
        select_blocks(selected(), 10)
    with pytest.raises(ValueError, match="no source"):
        select_blocks(replace(selected(i_pictures="keep"), _pictures=None), 2)
