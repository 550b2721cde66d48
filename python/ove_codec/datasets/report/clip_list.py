"""The list of clips: what each kept and took, and why some were slow."""

from __future__ import annotations

import heapq
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ove_codec.datasets.report.charts import percent
from ove_codec.datasets.report.text import escape, number
from ove_codec.video import reads_codec

MOST = 1000  # clips that are listed; of more, the slowest
_SLOW = 2.0  # times the median


@dataclass(frozen=True)
class Line:
    """One clip. `heat` and `kept` are None where they are not known."""

    name: str
    tokens: int
    kept: float | None
    heat: float | None
    seconds: float
    pictures: int
    size: tuple[int, int]
    codec: str

    @property
    def samples(self) -> int:
        """Luma samples of all its pictures."""
        return self.pictures * self.size[0] * self.size[1]


@dataclass
class ClipList:
    """The slowest clips, and the usual cost of all: 16 bytes a clip are kept of the others."""

    count: int = 0
    _slowest: list[tuple[float, int, Line]] = field(default_factory=list)
    _seconds: array[float] = field(default_factory=lambda: array("f"))
    _pictures: array[int] = field(default_factory=lambda: array("I"))
    _sizes: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, entry: dict[str, Any]) -> None:
        facts = entry["statistics"]
        heat = facts.get("heat")
        line = Line(
            str(entry["name"]),
            int(entry["tokens"]),
            facts.get("kept"),
            float(np.mean(heat)) if heat else None,
            float(facts.get("seconds") or 0),
            int(facts.get("pictures") or 0),
            (int(facts.get("width") or 0), int(facts.get("height") or 0)),
            str(facts.get("codec")),
        )
        self._seconds.append(line.seconds)
        self._pictures.append(min(line.pictures, 2**32 - 1))
        self._sizes.append(line.size[0] * line.size[1])
        item = (line.seconds, self.count, line)
        if len(self._slowest) < MOST:
            heapq.heappush(self._slowest, item)
        else:
            heapq.heappushpop(self._slowest, item)
        self.count += 1

    def lines(self) -> list[tuple[Line, str]]:
        """The listed clips, the slowest first, each with why it was slow; "" where it was not."""
        if not self.count:
            return []
        usual = float(np.median(self._seconds))
        pictures, size = float(np.median(self._pictures)), float(np.median(self._sizes))
        ordered = [line for _, _, line in sorted(self._slowest, reverse=True)]
        return [(line, _reason(line, usual, pictures, size)) for line in ordered]


def _reason(line: Line, usual: float, pictures: float, size: float) -> str:
    """What sets a clip apart that took more than twice the median."""
    if line.seconds <= _SLOW * usual or not usual:
        return ""
    reasons = []
    if line.codec != "None" and not reads_codec(line.codec):
        reasons.append(f"{line.codec} is transcoded first")
    if line.pictures > _SLOW * pictures:
        reasons.append(f"{line.pictures / max(pictures, 1):.1f} times the usual pictures")
    area = line.size[0] * line.size[1]
    if area > _SLOW * size:
        reasons.append(f"pictures {area / max(size, 1):.1f} times as large as usual")
    return ", ".join(reasons) or "more bits than usual, or a busy machine"


def clip_list(clips: ClipList) -> str:
    """The clips in a table that can be sorted and searched."""
    lines = clips.lines()
    if not lines:
        return "<p>No clip is finished yet.</p>"
    head = ("clip", "tokens", "heat kept", "mean heat", "seconds", "pictures", "size", "codec", "why slow")
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = []
    for line, reason in lines:
        cells = (
            line.name,
            str(line.tokens),
            "-" if line.kept is None else percent(line.kept),
            "-" if line.heat is None else number(line.heat),
            f"{line.seconds:.2f}",
            str(line.pictures),
            f"{line.size[0]} x {line.size[1]}",
            line.codec,
            reason,
        )
        pairs = zip(head, cells, strict=True)
        body.append("".join(f'<td data-label="{escape(t)}"><bdi>{escape(cell)}</bdi></td>' for t, cell in pairs))
    rows = "".join(f"<tr>{cells}</tr>" for cells in body)
    left = clips.count - len(lines)
    about = f"The {len(lines)} slowest of {clips.count} clips." if left else "Every clip, the slowest first."
    return (
        f"<p class=note>{about} Slow is more than twice the median.</p>"
        "<div class=search><label for=find>Search the clips</label>"
        f"<input id=find type=search autocomplete=off spellcheck=false><output for=find>{len(lines)} of {len(lines)}"
        '</output></div><div class=scroll role=group aria-label="Clips">'
        '<table class="cards titled sorted" data-search=find><caption>Clips</caption>'
        f"<thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
