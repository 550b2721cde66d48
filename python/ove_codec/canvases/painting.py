"""From a plan to canvases: which blocks of which pictures go where, and which frames show nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec.canvases.clip import Clip
from ove_codec.canvases.planning import CanvasPlan, plan_blocks

_TESTED_ROWS = 32  # of a frame, at least, in the first test for bad frames
_DOUBT = 2.0  # frames that come so near to a bound of the first test are tested again by all rows


def paint(clip: Clip, draft: CanvasPlan) -> tuple[NDArray[np.uint8], NDArray[np.bool_], CanvasPlan]:
    """The canvases of a plan (n, H, W, 3), which frames are good (T,), and the plan that heeds it."""
    return _Painter(clip).paint(draft)


class _Painter:
    """Brings blocks of frames onto canvases, and finds the frames that show nothing.

    Whether a frame is good counts only where something of it is chosen. So all frames are taken for good at first, and
    only groups that turn out to have bad ones are tested whole and planned anew.
    """

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._step = max(1, clip.size[0] // _TESTED_ROWS)

    def paint(self, draft: CanvasPlan) -> tuple[NDArray[np.uint8], NDArray[np.bool_], CanvasPlan]:
        images = np.zeros((draft.num_canvases, *draft.size, 3), np.uint8)
        good = np.ones(len(draft.frame_ids), bool)
        used = np.unique(draft.blocks[..., 0][draft.blocks[..., 0] >= 0])
        good[used] = self._place(draft, range(len(draft.groups)), used, images)
        bad = [number for number, group in enumerate(draft.groups) if not good[group.start : group.end].all()]
        if not bad:
            return images, good, draft
        untested = np.setdiff1d(np.concatenate([np.arange(*draft.groups[i][:2]) for i in bad]), used)
        good[untested] = self._place(draft, (), untested, images)
        final = plan_blocks(
            draft.block_scores, draft.frame_ids, draft.size, replace(draft.config, threshold=draft.threshold), good
        )
        final = replace(final, config=draft.config)
        for number in bad:
            images[number * draft.config.images_per_group :][: draft.config.images_per_group] = 0
        self._place(final, bad, np.empty(0, np.int64), images)
        return images, good, final

    def _place(
        self, plan: CanvasPlan, groups: Sequence[int], tested: NDArray[Any], images: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Writes the canvases of these groups; (len(tested),) which of the sampled frames `tested` are good."""
        per_group, across = plan.config.images_per_group, plan.size[1] // (plan.config.patch * plan.config.block)
        canvases = np.array([g * per_group + i for g in groups for i in range(per_group)], np.int64)
        blocks = plan.blocks[canvases]
        canvas, places = np.nonzero(blocks[..., 0] >= 0)
        slots, numbers = blocks[canvas, places].T
        ids = self._clip.slots[slots]
        order = np.argsort(ids, kind="stable")
        rows = np.stack([numbers // across, numbers % across, canvases[canvas], places // across, places % across], -1)
        asked = self._clip.slots[tested]
        pictures = np.union1d(ids, asked)
        if not len(pictures):
            return np.ones(0, bool)
        starts = np.searchsorted(ids[order], pictures)
        side = plan.config.patch * plan.config.block
        facts = self._clip.place_blocks(
            self._clip.shown[pictures],
            starts=np.append(starts, len(ids)),
            placements=rows[order].astype(np.int32),
            images=images,
            side=side,
            facts_step=self._step if len(tested) else 0,
        )
        if not len(tested):
            return np.ones(0, bool)
        at = np.searchsorted(pictures, asked)
        if self._step > 1 and len(doubtful := np.unique(at[~is_good(facts[at], _DOUBT)])):
            facts[doubtful] = self._clip.place_blocks(
                self._clip.shown[pictures[doubtful]],
                starts=np.zeros(len(doubtful) + 1, np.int64),
                placements=np.empty((0, 5), np.int32),
                images=images,
                side=side,
                facts_step=1,
            )
        return is_good(facts[at])


def is_good(facts: NDArray[np.float64], doubt: float = 1.0) -> NDArray[np.bool_]:
    """Whether frames show something: not black, of one colour, or green as damaged ones are.

    `facts` are those of ``_core.place_blocks``, one row a frame. Bounds are wider by the factor `doubt`.
    """
    mean, deviation, spread = (facts[:, i:12:3] for i in range(3))  # columns: luma, red, green, blue
    black = (mean[:, 0] <= 8 * doubt) & (deviation[:, 0] <= 6 * doubt)
    flat = (deviation <= 4 * doubt).all(1) & (spread[:, 1:] <= 12 * doubt).all(1)
    screen = facts[:, 12] >= 0.35 / doubt
    others = np.maximum(mean[:, 1], mean[:, 3])
    over = mean[:, 2] - others
    green = (mean[:, 2] > 120 / doubt) & (over > 80 / doubt) & (deviation[:, 2] < 50 * doubt)
    good: NDArray[np.bool_] = ~(black | flat | screen | green)
    return good
