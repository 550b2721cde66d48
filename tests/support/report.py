"""What the tests of the page about a data set share: a finished run, and a reader of its page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ove_codec.datasets import Clip, Failure, select_dataset, write_report
from ove_codec.datasets.job import Job, Result
from ove_codec.datasets.output import Output
from support import clips

FEW: dict[str, Any] = {"num_frames": 8, "size": 56, "budget": 40}
HOSTILE = "<script>alert(1)</script>.mp4"
BROKEN = '"><img src=x onerror=alert(2)>.mp4'
NAMES = sorted(["one.mp4", "two.mp4", HOSTILE])


def copied(clip: Path, target: Path, number: int) -> Path:
    """The same video, with other bytes at its end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(clip.read_bytes() + (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))
    return target


def make_output(folder: Path, sources: list[Path], **settings: Any) -> Path:
    """What a run leaves behind, made in this process: the clips of `sources`, and failures of those that are broken."""
    job = Job(**{"params": FEW, **settings})
    output = Output(str(folder), job, 2, 1 << 28)
    output.write_run({"engine": "local", "workers": 1, "source": [str(sources[0].parent)]}, first=True)
    failures = []
    for path in sources:
        outcome = job.process(Clip(path.name, str(path)))
        if isinstance(outcome, Result):
            output.add(outcome)
        else:
            assert isinstance(outcome, Failure)
            failures.append(outcome)
    output.flush()
    output.write_failures(failures)
    output.write_lists()
    output.close()
    return folder


def finished(folder: Path) -> tuple[Path, Path]:
    """The clips and the output of a run, made if they are not in the folder yet; tests change copies only.

    Three clips are good and one is broken; two have names that are HTML.
    """
    videos, out = folder / "videos", folder / "selections"
    if not out.exists():
        source = clips.moving_clip(folder)
        for n, name in enumerate(NAMES):
            copied(source, videos / name, n)
        (videos / BROKEN).write_bytes(b"no video")
        summary = select_dataset(videos, out, workers=1, shard_clips=2, **FEW)
        assert (summary.done, summary.failed, summary.shards) == (3, 1, 2)
    return videos, out


def entries(output: Path) -> list[dict[str, Any]]:
    """The lines of all manifests."""
    manifests = sorted(output.glob("_manifest/part-*.jsonl"))
    return [json.loads(line) for path in manifests for line in path.read_text().splitlines()]


class Parsed(HTMLParser):
    """Elements with their attributes, text outside of scripts and styles, and what is not closed as it was opened."""

    VOID = frozenset(["meta", "img", "input", "br", "hr", "link"])

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.code: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(page.read_text("utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            self.code[self._open[-1]] = data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(output: Path, **options: Any) -> Parsed:
    return Parsed(Path(write_report(output, **options).page))
