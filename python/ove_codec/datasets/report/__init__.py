"""An HTML report on the output of ``select_dataset``: animated clips, and figures of the data set."""

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
    """Facts about a page.

    Attributes:
        page: path or URL of it.
        num_bytes: its size.
        clips: selected from.
        failed: clips without a result in the last run.
        shown: sampled clips.
        playing: the sampled clips that could be read again.
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
    """Writes a self-contained HTML page about the output of ``select_dataset``.

    It shows the four panels of ``ove_codec.viz`` of some clips over time, their heat and tokens per frame, budget
    curves, the shares of patches and heat that are kept, clips and tokens per second, a list of the clips with reasons
    why some were slow, and the failures with their reasons. Figures of the whole data set come from the manifests: one
    at a time is in memory, with 48 bytes per clip and the thousand slowest clips. Shards are read for the sampled
    clips; the others are only checked for completeness. The videos of sampled clips are read again; if that fails, the
    page says why, and shows what the shards and manifests hold.

    Args:
        output: folder that ``select_dataset`` wrote, or its URL. A run may still be working in it.
        page: file to write, atomically; None for _report.html in `output`.
        clips: the most clips to show.
        seed: chooses them: the same clips for the same seed.
        source: where the data set is now, as for ``select_dataset``, if it has moved. Clips are identified by name and
            content.
        column: with paths or URLs, in tables.
        max_bytes: size limit of the pictures in the page, shared by the clips; they are scaled down and thinned out to
            fit.
        threads: of the decoders; 0 for all cores.
        watch: for a progress bar: gets the clips to draw and their number, and yields the clips.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: ``select_dataset`` did not write the folder, a file in it is damaged or missing (the message names
            it and the remedy), or an argument is bad.
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
