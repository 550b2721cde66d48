"""A page to look at what ``select_dataset`` wrote: clips that play, and figures of the whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ove_codec._files import replacing
from ove_codec.datasets import places
from ove_codec.datasets.clips import list_clips

PAGE = "_report.html"
_FAILURES = 1000  # rows of the table


@dataclass(frozen=True)
class Report:
    """What a page tells of.

    Attributes:
        page: path or URL of it.
        num_bytes: its size.
        clips: selected from.
        failed: clips without a result in the last run.
        shown: sampled clips.
        playing: those of them that could be read again.
        tokens: of all clips.
    """

    page: str
    num_bytes: int
    clips: int
    failed: int
    shown: int
    playing: int
    tokens: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def write_report(
    output: str | os.PathLike[str],
    page: str | os.PathLike[str] | None = None,
    *,
    clips: int = 8,
    seed: int = 0,
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    column: str | None = None,
    max_bytes: int = 16 << 20,
    threads: int = 0,
    watch: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> Report:
    """Writes an HTML page about the output of ``select_dataset``, that needs nothing beside itself.

    It shows the four panels of ``ove_codec.viz`` of some clips over time, their heat and tokens per frame, budget
    curves, what share of patches and of heat is kept, clips and tokens a second, a list of the clips with why some were
    slow, and the failures with their reasons. Figures of the whole data set come from the manifests, of which one at a
    time is in memory, with 48 bytes a clip and the thousand slowest; shards are read for the sampled clips, and of the
    others only whether they are whole. Sampled clips are also read from where they were selected from; where that
    cannot be, the page says why, and shows what the shards and manifests tell.

    Args:
        output: folder, or URL of one, that ``select_dataset`` wrote. A run may be at work in it.
        page: file to write, which appears whole or not at all; None for _report.html in `output`.
        clips: how many are shown at most.
        seed: chooses them: the same clips for the same seed.
        source: where the data set lies now, as ``select_dataset`` takes it, if it has been moved. Clips are known by
            name, and by content.
        column: of tables in `source`, with the places.
        max_bytes: of the pictures in the page, shared by the clips; smaller and fewer pictures are taken to keep it.
        threads: of the decoders; 0 for all cores.
        watch: gets the clips to draw and their number, and gives them back one by one: for a progress bar.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: ``select_dataset`` did not write it, a file in it is damaged or missing (the message names it, and
            the remedy), or an argument cannot be.
        OSError: the page cannot be written.
        ImportError: an extra is missing.
    """
    from ove_codec.datasets.report import page as html
    from ove_codec.datasets.report.folder import Results
    from ove_codec.datasets.report.samples import Shown, Sources, draw
    from ove_codec.datasets.report.stored import read_stored
    from ove_codec.datasets.report.totals import Reservoir, Totals

    for name, value, least in (("clips", clips, 0), ("max_bytes", max_bytes, 1)):
        if value < least:
            raise ValueError(f"{name} must be {least} or more, not {value}")
    results = Results(os.fspath(output))
    totals, sample = Totals(), Reservoir(clips, seed)
    for shard, entry in results.entries():
        totals.add(entry)
        sample.add(shard, entry)
    failures = results.failures(_FAILURES)
    runs = results.runs()
    moved = None if source is None else {places.printable(c.name): c for c in list_clips(source, column).clips}
    sources = Sources(runs, moved)
    shown: list[Shown] = []
    for shard, entry in sample.clips():
        shown += [Shown(entry, stored) for stored in read_stored(results, shard, [entry])]
    for one in (watch or _unwatched)(shown, len(shown)):
        draw(one, results.settings, sources, max_bytes // len(shown), threads)
    data = html.page(results, totals, failures, shown, runs, seed)
    if page is None:
        results.folder.write(PAGE, data)
    else:
        with replacing(page) as part:
            part.write_bytes(data)
    where = f"{results.place.rstrip('/')}/{PAGE}" if page is None else os.fspath(page)
    playing = sum(one.film is not None for one in shown)
    return Report(where, len(data), totals.clips, failures.count, len(shown), playing, totals.tokens)


def _unwatched(items: Iterable[Any], _: int) -> Iterable[Any]:
    return items
