"""The selection formulas at full resolution in plain NumPy: slow, obvious, and written apart from the C++ code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = dict[str, Any]
Window = tuple[int, int, int, int]


def window_blocks(block_map: Array, window: Window) -> Array:
    """The 4x4 blocks that touch the display window."""
    x, y, w, h = window
    return block_map[y // 4 : -(-(y + h) // 4), x // 4 : -(-(x + w) // 4)]


def window_samples(block_map: Array, side: int, window: Window) -> Array:
    """A map of square blocks at sample resolution, cropped to the display window."""
    x, y, w, h = window
    return block_map.repeat(side, 0).repeat(side, 1)[y : y + h, x : x + w]


def fields(
    mv: Array, pred: Array | None, ref_poc: Array | None, poc: int, vector: str
) -> list[tuple[Array, Array, Array]]:
    """[(vx, vy, used)] in luma samples, per 4x4 block."""
    v = mv.astype(np.float64) / 4
    used = [(mv[..., k, :] != 0).any(-1) if pred is None else (pred >> k & 1) != 0 for k in (0, 1)]
    lists = [np.where(used[k][..., None], v[..., k, :], 0.0) for k in (0, 1)]
    if vector == "l0":
        field = lists[0]
    elif vector == "l0_else_l1":
        field = np.where(used[0][..., None], lists[0], lists[1])
    elif vector == "displacement":
        assert ref_poc is not None
        distance = [np.where(poc == ref_poc[..., k], 1, poc - ref_poc[..., k].astype(np.float64)) for k in (0, 1)]
        moved = [lists[k] / distance[k][..., None] for k in (0, 1)]
        count = np.maximum(1, used[0].astype(int) + used[1])
        field = (moved[0] + moved[1]) / count[..., None]
    else:
        return [(lists[k][..., 0], lists[k][..., 1], used[k]) for k in (0, 1)]
    return [(field[..., 0], field[..., 1], np.ones(field.shape[:2], bool))]


def fitted(vx: Array, vy: Array, mode: str, few: tuple[Array, Array]) -> tuple[Any, Any]:
    """Camera vectors of a least-squares fit at sample resolution; the median of `few` where few samples move."""
    h, w = vx.shape
    u, v = np.meshgrid(np.linspace(-1, 1, w), np.linspace(-1, 1, h))
    uu, vv, dx, dy = u.ravel(), v.ravel(), vx.ravel(), vy.ravel()
    points = np.flatnonzero((dx != 0) | (dy != 0))
    if points.size < 64:
        return np.full((h, w), np.median(few[0])), np.full((h, w), np.median(few[1]))
    points = points[:: max(1, math.ceil(points.size / 5000))]
    one, zero = np.ones_like(uu), np.zeros_like(uu)
    if mode == "similarity":
        rows_x, rows_y = np.stack([one, zero, uu, -vv], 1), np.stack([zero, one, vv, uu], 1)
    else:
        rows_x = np.stack([one, uu, vv, zero, zero, zero], 1)
        rows_y = np.stack([zero, zero, zero, one, uu, vv], 1)

    def solve(p: Array) -> Array:
        return np.linalg.lstsq(np.concatenate([rows_x[p], rows_y[p]]), np.concatenate([dx[p], dy[p]]), rcond=None)[0]

    params = solve(points)
    if points.size >= 128:
        error = np.hypot(dx[points] - rows_x[points] @ params, dy[points] - rows_y[points] @ params)
        # Equally good points are kept in raster order; float noise must not decide between them.
        order = np.argsort(np.round(error, 9), kind="stable")
        params = solve(points[order[: max(64, round(points.size * 0.7))]])
    return (rows_x @ params).reshape(h, w), (rows_y @ params).reshape(h, w)


def local_variance(a: Array, k: int) -> Array:
    padded = np.pad(a, k // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k))
    return windows.var(axis=(2, 3))


def reference_local_variance(a: Array, k: int) -> Array:
    """By integral images in single precision that lack their leading zeros: one row and one column fewer."""

    def mean(b: Array) -> Array:
        ii = np.pad(b, k // 2, mode="edge").cumsum(0, dtype=np.float32).cumsum(1, dtype=np.float32)
        return (ii[k:, k:] - ii[:-k, k:] - ii[k:, :-k] + ii[:-k, :-k]) / np.float32(k * k)

    a = a.astype(np.float32)
    return np.maximum(mean(a * a) - mean(a) ** 2, 0)


def stretched(a: Array, height: int, width: int) -> Array:
    """Nearest neighbour onto height x width samples."""
    rows, columns = (np.minimum(np.arange(n) * m // n, m - 1) for n, m in ((height, a.shape[0]), (width, a.shape[1])))
    return a[rows][:, columns]


def at_middles(a: Array, window: Window) -> Array:
    """A field that is linear over the samples of the window, at the middles of its 4x4 blocks (inside the window)."""
    for axis, (begin, length) in enumerate(((window[1], window[3]), (window[0], window[2]))):
        blocks = -(-(begin + length) // 4) - begin // 4
        places = (4 * np.arange(blocks) - begin % 4 + 1.5).clip(0, length - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, length - 1)
        share = (places - low).reshape((-1, 1) if axis == 0 else (1, -1))
        a = a.take(low, axis) * (1 - share) + a.take(high, axis) * share
    return a


def motion(picture: Arrays, window: Window, params: Arrays) -> tuple[Array, Array]:
    """(|v| at sample resolution, the values that its percentile is taken of)."""
    x, y, w, h = window
    reference = params["motion_map"] == "reference"
    if reference:  # the map of the blocks that lie wholly in the window
        window = (x // 4 * 4, y // 4 * 4, max(1, w // 4) * 4, max(1, h // 4) * 4)
    all_fields = fields(
        picture["mv"], picture.get("pred"), picture.get("ref_poc"), picture.get("poc", 0), params["vector"]
    )
    per_sample = params["compensate"] in ("similarity", "affine")
    fills = params["intra_blocks"] != "as_coded" and not picture.get("intra")
    no_vector = np.zeros(picture["mv"].shape[:2], bool)
    if fills:
        no_vector = (picture["pred"] & 3) == 0
    counted = ~window_blocks(no_vector, window)
    lengths, middles, uses = [], [], []
    for field in all_fields:
        vx, vy, used = (window_samples(a, 4, window) if per_sample else window_blocks(a, window) for a in field)
        blocks_x, blocks_y = (window_blocks(a, window) for a in field[:2])
        at_camera = (blocks_x[counted], blocks_y[counted]) if counted.any() else (np.zeros(1), np.zeros(1))
        cx, cy = np.zeros(vx.shape), np.zeros(vx.shape)
        if params["compensate"] == "median":
            cx, cy = (np.full(vx.shape, np.median(a)) for a in at_camera)
        elif params["compensate"] == "mean":
            cx, cy = (np.full(vx.shape, a.mean()) for a in at_camera)
        elif per_sample:
            cx, cy = fitted(vx, vy, params["compensate"], at_camera)
        lengths.append(np.hypot(vx - cx, vy - cy))
        if per_sample:
            cx, cy = at_middles(cx, window), at_middles(cy, window)
        middles.append(np.hypot(blocks_x - cx, blocks_y - cy))
        uses.append((used, window_blocks(field[2], window)))

    def longer(first: Array, second: Array, used_first: Array, used_second: Array) -> Array:
        both = used_first & used_second
        return np.where(used_second & ~used_first, second, np.where(both, np.maximum(first, second), first))

    values, at_blocks = lengths[0], middles[0]
    if len(lengths) > 1:
        values = longer(lengths[0], lengths[1], uses[0][0], uses[1][0])
        at_blocks = longer(middles[0], middles[1], uses[0][1], uses[1][1])
    if fills:
        others = at_blocks[counted]
        fill = {
            "zero": lambda: 0.0,
            "median": lambda: np.median(others) if others.size else 0.0,
            "max": lambda: max(1e-6, others.max(initial=0)),
        }[params["intra_blocks"]]()
        filled = window_samples(no_vector, 4, window) if per_sample else ~counted
        values = np.where(filled, fill, values)
    samples = values if per_sample else window_samples(values, 4, (window[0] % 4, window[1] % 4, *window[2:]))
    if params["local_variance"]:
        variance = reference_local_variance if reference else local_variance
        samples = values = variance(samples, params["local_variance"])
    return stretched(samples, h, w) if reference else samples, values


def residual_level(picture: Arrays, window: Window) -> Array:
    x, y, w, h = window
    return np.abs(
        np.clip(picture["residual"][y : y + h, x : x + w].astype(int) >> (picture["bit_depth"] - 8), -128, 127)
    )


def energy(values: Array, scale_values: Array, floor: float, q: float) -> Array:
    return np.clip(values / max(np.percentile(scale_values, q), floor), 0, 1)


def values_of(pictures: list[Arrays], window: Window, params: Arrays) -> dict[str, tuple[Array, Array]]:
    """What a sampled picture counts of itself and of those before it: (values at samples, those of its percentile)."""
    join = (lambda parts: np.max(parts, 0)) if params["accumulate"] == "max" else (lambda parts: np.sum(parts, 0))
    values = {}
    if params["mv_weight"]:
        parts = [motion(picture, window, params) for picture in pictures]
        values["mv"] = join([p[0] for p in parts]), join([p[1] for p in parts])
    if params["residual_weight"]:
        level = join([residual_level(picture, window) for picture in pictures])
        values["residual"] = level, level
    if params["bits_weight"]:
        bits = join([picture["bits"].astype(np.float64) for picture in pictures])
        cost = window_samples(np.log1p(bits), pictures[0]["ctb_size"], window)
        values["bits"] = cost, cost
    return values


def heat_at_source(pictures: list[Arrays], window: Window, params: Arrays, clip: Arrays | None = None) -> Array:
    """The fused heat of the display window in coded orientation. `clip`: values of all pictures, by name."""
    clip = clip or {}
    energies, weights = [], []
    q = params["percentile"]
    for name, (samples, values) in values_of(pictures, window, params).items():
        floor = 1.0 if name == "residual" else 1e-6
        energies.append(energy(samples, clip.get(name, values), floor, q))
        weights.append(params[f"{name}_weight"])
    stack = np.stack(energies)
    heat = {
        "weighted": lambda: np.tensordot(weights, stack, 1),
        "max": lambda: stack.max(0),
        "sum": lambda: stack.sum(0).clip(0, 1),
        "geomean": lambda: stack.prod(0) ** (1 / len(stack)),
    }[params["fuse"]]()
    if params["center_prior"]:
        h, w = heat.shape
        sigma = max(1.0, params["center_sigma"] * min(h, w))
        yy, xx = np.mgrid[0:h, 0:w]
        bell = np.exp(-((yy - (h - 1) / 2) ** 2 + (xx - (w - 1) / 2) ** 2) / (2 * sigma**2))
        heat = (heat * (1 + params["center_prior"] * bell / bell.max())).clip(0, 1)
    if params["quantize"]:
        heat = np.floor(255 * heat.clip(0, 1).astype(np.float32))
    return heat


def resize_matrix(source: int, resized: int, offset: int, canvas: int, cubic: bool) -> Array:
    """(canvas, source): a row of weights for each canvas sample."""
    matrix = np.zeros((canvas, source))
    for i in range(canvas):
        if not 0 <= i - offset < resized:
            continue
        position = (i - offset + 0.5) * source / resized - 0.5
        for tap in range(math.floor(position) - 1, math.floor(position) + 3):
            d = abs(position - tap)
            if not cubic:
                weight = max(0.0, 1 - d)
            elif d <= 1:
                weight = 1.25 * d**3 - 2.25 * d**2 + 1
            else:
                weight = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0
            matrix[i, min(max(tap, 0), source - 1)] += weight
    return matrix


def geometry(width: int, height: int, params: Arrays) -> tuple[int, int, int, int, int, int]:
    """(resized width, height, offset x, y, rows, columns) of a display picture."""
    size, patch = params["size"], params["patch_size"]
    if params["resize"] == "native":
        return width, height, 0, 0, height // patch, width // patch
    if params["resize"] == "stretch":
        resized = (size, size)
    else:
        reference = min(width, height) if params["resize"] == "crop" else max(width, height)
        resized = tuple(max(1, round(n * (size / reference))) for n in (width, height))
    offsets = [(size - n) // 2 if size >= n else -((n - size) // 2) for n in resized]
    return *resized, *offsets, size // patch, size // patch


def canvas_heat(
    picture: Arrays | list[Arrays],
    window: Window,
    rotation: int,
    params: Arrays,
    clip: Arrays | None = None,
    mirrored: bool = False,
) -> Array:
    """The heat of a sampled picture, or, where energies are accumulated, of several, of which it is the last."""
    pictures = picture if isinstance(picture, list) else [picture]
    pictures = [p for p in pictures if not (p.get("intra") and params["i_pictures"] == "zero")]
    _, _, w, h = window
    width, height = (h, w) if rotation % 180 else (w, h)
    rw, rh, ox, oy, rows, columns = geometry(width, height, params)
    p = params["patch_size"]
    if not pictures:
        return np.zeros((rows * p, columns * p))
    heat = heat_at_source(pictures, window, params, clip)
    heat = np.rot90(heat[:, ::-1] if mirrored else heat, -rotation // 90)
    cubic = params["interpolation"] == "cubic"
    canvas = resize_matrix(height, rh, oy, rows * p, cubic) @ heat @ resize_matrix(width, rw, ox, columns * p, cubic).T
    if params["quantize"]:
        return np.round(canvas.clip(0, 255))
    return np.maximum(canvas, 0) if cubic else canvas


def patch_sums(canvas: Array, patch: int) -> Array:
    h, w = canvas.shape
    return canvas.reshape(h // patch, patch, w // patch, patch).sum((1, 3))


def valid_patches(width: int, height: int, params: Arrays) -> Array:
    rw, rh, ox, oy, rows, columns = geometry(width, height, params)
    p = params["patch_size"]
    inside = np.zeros((rows * p, columns * p), bool)
    inside[max(oy, 0) : oy + rh, max(ox, 0) : ox + rw] = True
    return np.asarray(inside.reshape(rows, p, columns, p).all((1, 3)))


def kept(scores: Array, valid: Array, params: Arrays, intra: Array | list[bool] | None = None) -> Array:
    """The mask by sorting every patch of the clip."""
    frames, rows, columns = scores.shape
    area = params["patch_size"] ** 2 * (255 if params["quantize"] else 1)
    mask = np.zeros(scores.shape, bool)
    ranked = []
    first = [  # the first picture by score; 663608941 / 2^30 is the golden ratio, whose multiples are spread evenly
        (-float(scores[0, h, w]) if valid[h, w] else 1e-4, (h * columns + w) * 663608941 % 2**30, h, w)
        for h, w in np.argwhere(valid | (params["padding"] == "zero")).tolist()
    ]
    share = None if params["budget"] is None else max(1, int(params["first_frame_share"] * params["budget"]))
    before = {(h, w) for _, _, h, w in sorted(first)[:share]} if params["keep_first_frame"] else set()
    for t in range(frames):
        whole = 1 if params["i_pictures"] == "keep" and intra is not None and intra[t] else 2
        for h in range(rows):
            for w in range(columns):
                if not valid[h, w] and params["padding"] == "exclude":
                    continue
                score = float(scores[t, h, w]) if valid[h, w] else -1e-4
                rank = 0 if t == 0 and (h, w) in before else whole
                if params["tau"] is not None:
                    mask[t, h, w] = rank < 2 or score / area > params["tau"]
                ranked.append((rank, -score, t, h, w))
    if params["tau"] is None:
        for _, _, t, h, w in sorted(ranked)[: params["budget"]]:
            mask[t, h, w] = True
    return mask


def along_sizes(sizes: list[int], intra: list[bool], num_frames: int) -> list[int]:
    """Pictures evenly along their cumulative sizes, by bisection of the factor that makes sizes shares."""
    count = len(sizes)
    if num_frames >= count:
        return list(range(count))
    if num_frames == 1:
        return [0]
    others = [max(1, b) for b, i in zip(sizes, intra, strict=True) if not i]
    weights = [float(np.median(others)) if i and others else max(1, b) for b, i in zip(sizes, intra, strict=True)]

    def shares(factor: float) -> list[float]:
        return [1.0 if i in (0, count - 1) else min(1.0, factor * b) for i, b in enumerate(weights)]

    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(shares(middle)) < num_frames else (low, middle)
    chosen: list[int] = []
    so_far = 0.0
    for i, share in enumerate(shares(high)):
        so_far += share
        if so_far >= len(chosen) + 0.5 - 1e-9:
            chosen.append(i)
    return chosen[:num_frames]
