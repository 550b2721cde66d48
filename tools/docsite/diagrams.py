"""The diagrams of the documentation, as SVG, of the same clip as the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pictures import PRESET, SAMPLED
from svg import Drawing

import ove_codec
from ove_codec.models import OVEncoderConfig, collage_tokens, frame_tokens, image_tokens, pack
from ove_codec.models.rope import rope_angles

_WIDTH = 720.0


def draw(folder: Path) -> None:
    """Writes all diagrams, of the clip that is in the folder."""
    clip = folder / "clip.mp4"
    selection = ove_codec.select(clip, PRESET, **SAMPLED)
    _gop(clip).write(folder / "gop.svg")
    _over_time(selection).write(folder / "tokens-per-picture.svg")
    _budgets(selection).write(folder / "budget.svg")
    _positions(selection).write(folder / "positions.svg")
    _rope().write(folder / "rope.svg")
    _batch(clip, selection).write(folder / "batch.svg")
    _fields().write(folder / "fields.svg")


def _gop(clip: Path, first: int = 40, count: int = 17) -> Drawing:
    """Pictures in display order: type, size, number in decoding order, and what they refer to."""
    video = ove_codec.open(clip)
    index = video.index
    shown = range(first, first + count)
    pictures = {picture.index: picture for picture in video.read(shown)}
    at_poc = {int(index.poc[i]): i for i in shown}
    order = np.argsort(np.argsort(index.packet[first : first + count]))
    drawing = Drawing(_WIDTH, 300)
    step = (_WIDTH - 90) / count
    top, bottom, tallest = 150.0, 216.0, float(index.packet_bytes[first : first + count].max())

    def middle(i: int) -> float:
        return 90 + step * (i - first + 0.5)

    for i in shown:
        used = pictures[i].pred
        lists = [
            reference
            for number in (0, 1)
            for reference in np.unique(pictures[i].ref_poc[..., number][(used & (1 << number)) > 0]).tolist()
        ]
        for reference in sorted({at_poc[poc] for poc in lists if poc in at_poc}):
            drawing.arc((middle(i), top - 4), (middle(reference), top - 4), 10 + 7 * abs(i - reference), "faint")
    for i in shown:
        kind = str(index.type[i])
        drawing.rect(middle(i) - step / 2 + 2, top, step - 4, 30, f"type-{kind.lower()}", round=4)
        drawing.text(middle(i), top + 20, kind, "on-mark", anchor="middle")
        height = max(1.0, 60 * float(index.packet_bytes[i]) / tallest)
        drawing.rect(middle(i) - step / 2 + 6, bottom + 40 - height + 20, step - 12, height, "mark")
        drawing.text(middle(i), 206, str(int(index.poc[i])), anchor="middle")
        drawing.text(middle(i), 294, str(int(order[i - first])), "soft", anchor="middle")
    for y, text in ((60, "refers to"), (170, "type"), (206, "POC"), (250, "bytes"), (294, "decoded as")):
        drawing.text(0, y, text, "soft")
    return drawing


def _axes(drawing: Drawing, box: tuple[float, float, float, float], x: str, y: str) -> None:
    left, top, right, bottom = box
    drawing.line([(left, bottom), (right, bottom)], "axis")
    drawing.text(right, bottom + 34, x, "soft", anchor="end")
    drawing.text(left - 46, top - 10, y, "soft")


def _over_time(selection: ove_codec.Selection) -> Drawing:
    """How many patches each sampled picture keeps."""
    counts = np.count_nonzero(selection.mask, axis=(1, 2))
    drawing = Drawing(_WIDTH, 220)
    left, top, right, bottom = box = (50.0, 30.0, _WIDTH, 180.0)
    _axes(drawing, box, "sampled picture", "patches kept")
    most = int(counts[1:].max())
    scale = (bottom - top) / (1.25 * most)
    step = (right - left) / len(counts)
    for t, count in enumerate(counts.tolist()):
        height = min(count * scale, bottom - top)
        drawing.rect(left + t * step + 1, bottom - height, step - 2, height, "mark", round=1.5)
        if t % 8 == 0:
            drawing.text(left + (t + 0.5) * step, bottom + 16, str(t), anchor="middle")
    kept = "kept whole" if selection.mask[0][selection.valid].all() else "kept first"
    drawing.text(left + step + 4, top + 8, f"{counts[0]}, {kept}", "soft")
    for value in (0, most):
        drawing.text(left - 8, bottom - value * scale + 4, str(value), anchor="end")
    return drawing


def _budgets(selection: ove_codec.Selection) -> Drawing:
    """The share of all heat that the best patches hold, over their number."""
    scores = np.sort(selection.scores, axis=None)[::-1].astype(np.float64)
    shares = np.concatenate([[0], np.cumsum(scores) / scores.sum()])
    drawing = Drawing(_WIDTH, 260)
    left, top, right, bottom = box = (50.0, 30.0, _WIDTH - 20, 210.0)
    _axes(drawing, box, "patches kept, of all", "heat kept")

    def at(share: float, heat: float) -> tuple[float, float]:
        return left + share * (right - left), bottom - heat * (bottom - top)

    for heat in (0.0, 0.5, 1.0):
        drawing.line([at(0, heat), at(1, heat)], "grid")
        drawing.text(left - 8, at(0, heat)[1] + 4, f"{100 * heat:.0f} %", anchor="end")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawing.text(at(share, 0)[0], bottom + 16, f"{100 * share:.0f} %", anchor="middle")
    drawing.line([at(0, 0), at(1, 1)], "soft-line")
    drawing.text(*at(0.62, 0.52), "chosen at random", "soft")
    numbers = np.unique(np.linspace(0, len(scores), 200).astype(int))
    drawing.line([at(n / len(scores), float(shares[n])) for n in numbers.tolist()], "strong")
    for share in (0.03125, 0.125):  # both ends of the page's range that the plot can show apart
        heat = float(shares[round(share * len(scores))])
        drawing.dot(*at(share, heat), 4, "mark")
        x, y = at(share, heat)
        drawing.text(x + 10, y + 5, f"{100 * share:.1f} %: {100 * heat:.0f} %")
    return drawing


def _positions(selection: ove_codec.Selection, count: int = 4) -> Drawing:
    """Patch grids of some sampled pictures, and a few tokens with their (t, h, w)."""
    slots = np.linspace(1, len(selection.frame_ids) - 1, count).astype(int).tolist()
    _, rows, columns = selection.mask.shape
    cell = 9.0
    drawing = Drawing(_WIDTH, 260)
    gap = (_WIDTH - count * columns * cell) / (count - 1)
    for n, t in enumerate(slots):
        x, y = n * (columns * cell + gap), 24.0
        drawing.text(x, 14, f"t = {t}")
        for h in range(rows):
            for w in range(columns):
                kind = "mark" if selection.mask[t, h, w] else "cell"
                drawing.rect(x + w * cell + 0.5, y + h * cell + 0.5, cell - 1, cell - 1, kind)
        kept = selection.positions[selection.positions[:, 0] == t]
        drawing.text(x, y + rows * cell + 22, f"{len(kept)} tokens", "soft")
        if len(kept):
            first = ", ".join(map(str, kept[0].tolist()))
            drawing.text(x, y + rows * cell + 42, f"({first}), …")
    drawing.text(0, 252, "h counts patch rows from the top, w patch columns from the left", "soft")
    return drawing


def _rope() -> Drawing:
    """How many turns each rotary pair makes over 64 steps along its axis."""
    config = OVEncoderConfig.named("ov-encoder-large")
    head = config.hidden_size // config.num_attention_heads
    one = np.ones((1, 3), np.int64)
    angles = rope_angles(torch.from_numpy(one), head, config.rope_theta, "interleaved")[0, ::2].numpy()
    sizes = (head // 8, 3 * head // 16, 3 * head // 16)
    drawing = Drawing(_WIDTH, 210)
    left, top, bottom = 50.0, 40.0, 150.0
    step = (_WIDTH - left) / len(angles)
    turns = np.log10(np.maximum(angles * 64 / (2 * np.pi), 1e-4)) + 4
    highest = float(turns.max())
    start = 0
    for axis, size, kind in zip(("t: time slot", "h: patch row", "w: patch column"), sizes, "ijk", strict=True):
        x = left + start * step
        drawing.text(x + 2, 18, f"{axis}, {size} pairs")
        for i in range(size):
            height = (bottom - top) * float(turns[start + i]) / highest
            drawing.rect(x + i * step + 1.5, bottom - height, step - 3, height, f"axis-{kind}", round=2)
        start += size
    drawing.line([(left, bottom), (_WIDTH, bottom)], "axis")
    for power in (-4, -2, 0):
        y = bottom - (bottom - top) * (power + 4) / highest
        drawing.text(left - 8, y + 4, {-4: "10⁻⁴", -2: "10⁻²", 0: "1"}[power], anchor="end")
    drawing.text(0, 34, "turns", "soft")
    drawing.text(left, 178, f"{len(angles)} pairs of channels of one head ({head} channels), by axis", "soft")
    drawing.text(left, 198, "turns that each makes over 64 steps, logarithmic", "soft")
    return drawing


def _batch(clip: Path, selection: ove_codec.Selection) -> Drawing:
    """Four sequences of different kinds, one behind the other."""
    frames = ove_codec.frames(clip, num_frames=4)
    names = ("image", "4 frames", "collage", "codec tokens")
    parts = [
        image_tokens(frames[0], 14),
        frame_tokens(frames, 14),
        collage_tokens(frames, 14, columns=2),
        ove_codec.tokenize(clip, selection),
    ]
    bounds: Sequence[int] = pack(parts).cu_seqlens.tolist()
    drawing = Drawing(_WIDTH, 120)
    scale = (_WIDTH - 30) / bounds[-1]
    for name, start, end, kind in zip(names, bounds, bounds[1:], ("i", "j", "k", "l"), strict=False):
        drawing.rect(15 + start * scale + 1, 34, (end - start) * scale - 2, 36, f"axis-{kind}", round=4)
        drawing.text(15 + (start + end) / 2 * scale, 22, name, anchor="middle")
    for bound in bounds:
        drawing.text(15 + bound * scale, 92, str(bound), anchor="middle")
    drawing.text(15, 114, "cu_seqlens: where each sequence begins and ends among the packed tokens", "soft")
    return drawing


def _fields() -> Drawing:
    """Where the blocks and the residual of two field macroblocks lie in the frame that is shown."""
    drawing = Drawing(_WIDTH, 270)
    cell, top = 24.0, 40.0
    kinds = ("type-i", "type-p")

    def blocks(x: float, title: str, order: Sequence[tuple[int, int]]) -> None:
        drawing.text(x, 18, title)
        for row, (field, number) in enumerate(order):
            y = top + row * cell
            for column in range(4):
                drawing.rect(x + column * cell + 1, y + 1, cell - 2, cell - 2, kinds[field], round=3)
            drawing.text(x + 4 * cell + 8, y + cell / 2 + 5, f"{('top', 'bottom')[field]} {number}", "soft")

    blocks(0, "decoded: two macroblocks", [(field, number) for field in (0, 1) for number in range(4)])
    blocks(250, "pred, mv, ref_poc, qp, ...", [(field, number) for number in range(4) for field in (0, 1)])
    x, height = 500.0, 8 * cell / 32
    drawing.text(x, 18, "residual: rows of samples")
    for row in range(32):
        drawing.rect(x, top + row * height + 0.5, 4 * cell, height - 1, kinds[row % 2])
    drawing.text(x + 4 * cell + 8, top + cell / 2, "top and bottom", "soft")
    drawing.text(x + 4 * cell + 8, top + cell / 2 + 18, "in turn", "soft")
    drawing.text(
        0,
        262,
        "One column of macroblocks, 16 samples wide and 32 high: rows of 4x4 blocks, then rows of samples",
        "soft",
    )
    return drawing
