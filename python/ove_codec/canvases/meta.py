"""What `meta.json` tells about canvases, under the names that `codec-video-prep` gives its facts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec.canvases.clip import Clip
from ove_codec.canvases.planning import CanvasPlan, Group


def meta_of(clip: Clip, plan: CanvasPlan, good: NDArray[np.bool_], score: str) -> dict[str, Any]:
    """Facts about a clip, its canvases and the settings, ready for JSON."""
    config, (rows, columns) = clip.config, plan.grid
    groups = [_group(plan, number, group) for number, group in enumerate(plan.groups)]
    return {
        "fps": clip.fps,
        "mode": config.mode,
        "score": score,
        "config": {name: value for name, value in vars(config).items() if value is not None},
        "metadata": {"total_frames": clip.total, "fps": clip.fps, "height": clip.height, "width": clip.width},
        "total_frames": clip.total,
        "orig_hw": [clip.height, clip.width],
        **{key: list(plan.size) for key in ("processed_hw", "resize_hw", "padded_hw")},
        "pad_bottom_right": [0, 0],
        "patch": config.patch,
        "block_size": config.block,
        **{key: [rows, columns] for key in ("grid_hw", "hb_wb")},
        "S_full": rows * columns,
        "sampled_frames": len(plan.frame_ids),
        "seq_len": len(plan.frame_ids),
        "avoid_keyframes": config.avoid_keyframes,
        "grouping_mode": config.grouping,
        "group_size": config.group_size,
        "images_per_group": config.images_per_group,
        "min_group_frames": config.min_group_frames,
        "max_group_frames": config.max_group_frames,
        "readiness_sum_threshold": plan.threshold,
        "readiness_coverage_bins": config.coverage_bins,
        "readiness_delta_ratio": config.delta_ratio,
        "bitcost_grid": config.bitcost_grid,
        "bitcost_pct": config.percentile,
        "bad_frames": plan.frame_ids[~good].tolist(),
        "num_groups": len(groups),
        "tail_frames": len(plan.frame_ids) - plan.groups[-1].end,
        "group_specs": [
            {"group_idx": i, "start": start, "end": end, "frame_count": end - start, "stop_reason": reason}
            for i, (start, end, reason, _) in enumerate(plan.groups)
        ],
        "groups": groups,
        "total_images": plan.num_canvases,
        "total_patches": len(plan.positions),
    }


def _group(plan: CanvasPlan, number: int, group: Group) -> dict[str, Any]:
    """Facts about a group. Its frames begin with the anchor, which changed places with the first one if that is bad."""
    config = plan.config
    slots = np.arange(group.start, group.end)
    slots[[0, group.anchor - group.start]] = group.anchor, group.start
    first = number * config.images_per_group
    used = plan.blocks[first + 1 : first + config.images_per_group, :, 0]
    counts = {place: count for place, slot in enumerate(slots) if (count := int(np.count_nonzero(used == slot)))}
    return {
        "group_idx": number,
        "group_start_idx": group.start,
        "group_end_idx": group.end,
        "group_frame_count": group.end - group.start,
        "group_stop_reason": group.reason,
        "frame_ids": plan.frame_ids[slots].tolist(),
        "selected_blocks": sum(counts.values()),
        "selected_blocks_per_frame": {str(place): count for place, count in counts.items()},  # places in frame_ids
        "global_img_offset": first,
        "num_canvases": config.images_per_group,
    }
