"""The page about the output of `select-dataset`: what it is made from, and what is wrong with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ove_codec
from ove_codec import _tar
from ove_codec.cli import main
from support import clips, ffmpeg

pa = pytest.importorskip("pyarrow", reason="data sets need pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from ove_codec.datasets import (  # noqa: E402 (pyarrow comes first)
    Failure,
    failure_table,
    list_clips,
    select_dataset,
    write_report,
)  # fmt: skip
from ove_codec.datasets.job import Job, Result  # noqa: E402
from ove_codec.datasets.output import Output  # noqa: E402
from support import report  # noqa: E402
from support.report import FEW, Parsed, copied, entries, make_output, page_of  # noqa: E402

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")


@pytest.fixture
def videos(stream_folder: Path) -> Path:
    return report.finished(stream_folder)[0]


@pytest.fixture
def output(stream_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(report.finished(stream_folder)[1], tmp_path / "out"))


@pytest.fixture(scope="module")
def clip(stream_folder: Path) -> Path:
    return clips.moving_clip(stream_folder)


@pytest.mark.parametrize("settings", [
    {"format": "webdataset"},
    {"format": "webdataset", "video": True},
    {"format": "reference", "preset": "llava", "params": {"num_frames": 4, "size": 96, "budget": 72}},
    {"params": {**FEW, "budget": None, "tau": 0.2}},
], ids=["webdataset", "with videos", "reference", "by a threshold"])  # fmt: skip
def test_formats(clip: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    sources = [copied(clip, tmp_path / "in" / f"{n}.mp4", n) for n in range(3)]
    out = make_output(tmp_path / "out", sources, **settings)
    if settings.get("video"):
        shutil.rmtree(tmp_path / "in")  # the shards hold them
    made = write_report(out)
    assert (made.clips, made.playing) == (3, 3)
    page = Parsed(out / "_report.html")
    assert "Selected again" not in page.text
    params = {"preset": settings.get("preset", "paper"), **settings.get("params", FEW)}
    selection = ove_codec.select(clip, **params)
    bars = [a for a in page.all("rect") if a["class"] == "bar"]
    counts = selection.mask.sum(axis=(1, 2))
    told = [int(m) for m in re.findall(r"picture \d+: (\d+) tokens", page.text)]
    assert told == [n for n in counts.tolist() if n] * 3 and len(bars) >= len(told)


def test_clips_in_tar_files(clip: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for name in ("a/1", "a/2"):
            _tar.add_sample(
                tar, name, {"txt": b"words", "mp4": copied(clip, tmp_path / "x.mp4", len(name)).read_bytes()}
            )
    job = Job(params=FEW)
    output = Output(str(tmp_path / "out"), job, 9, 1 << 28)
    for one in list_clips(tmp_path / "in.tar").clips:
        result = job.process(one)
        assert isinstance(result, Result)
        output.add(result)
    output.flush()
    output.close()
    made = write_report(tmp_path / "out")
    assert (made.clips, made.playing) == (2, 2)


def test_clips_that_have_gone(output: Path, videos: Path, clip: Path, tmp_path: Path) -> None:
    lines = entries(output)
    for manifest in output.glob("_manifest/part-*.jsonl"):
        manifest.write_text(manifest.read_text().replace(str(videos), str(tmp_path / "moved")))
    made = write_report(output)
    page = Parsed(output / "_report.html")
    assert (made.shown, made.playing) == (3, 0) and len(lines) == 3
    assert page.text.count("the file is no longer there; give its new place with --input") == 3
    assert sum(a["aria-label"].startswith(("Mean heat", "Tokens kept")) for a in page.all("svg")) == 6
    assert write_report(output, source=videos).playing == 3
    # Another content under the same name, and no such name.
    copied(clip, tmp_path / "other" / "one.mp4", 77)
    (tmp_path / "other" / "two.mp4").write_bytes(b"")
    assert write_report(output, source=tmp_path / "other").playing == 0
    text = Parsed(output / "_report.html").text
    assert "its content has changed since" in text and "is empty" in text and "has no clip with this name" in text


def test_relative_places(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count from where the run was, not from where the report is made."""
    shutil.copy(videos / "one.mp4", tmp_path / "one.mp4")
    monkeypatch.chdir(tmp_path)
    select_dataset("one.mp4", "out", workers=1, **FEW)
    monkeypatch.chdir("/")
    assert write_report(tmp_path / "out").playing == 1


def test_names_that_are_no_text(clip: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    try:
        shutil.copy(clip, path)
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    made = write_report(make_output(tmp_path / "out", [path]))
    assert made.playing == 1 and "caf\\xe9.mp4" in (tmp_path / "out" / "_report.html").read_text()


def test_what_was_kept_is_shown(output: Path) -> None:
    """Where selecting again gives other patches the panels show those of the shards, and the page says so."""
    for shard in output.glob("part-*.parquet"):
        table = pq.read_table(shard)
        moved = [[[t, (h + 1) % 4, w] for t, h, w in row] for row in table["positions"].to_pylist()]
        kind = table.schema.field("positions").type
        pq.write_table(
            table.set_column(table.schema.get_field_index("positions"), "positions", pa.array(moved, kind)), shard
        )
    made = write_report(output)
    assert made.playing == 3
    assert len(re.findall(r"Selected again, it gives \d", Parsed(output / "_report.html").text)) == 3


def test_nothing_selected_yet(tmp_path: Path) -> None:
    Output(str(tmp_path / "out"), Job(params=FEW), 2, 1 << 20).close()
    made = write_report(tmp_path / "out")
    assert (made.clips, made.failed, made.shown) == (0, 0, 0)
    page = Parsed(tmp_path / "out" / "_report.html")
    assert "No clip is finished yet." in page.text and "No clip failed" in page.text


def test_all_failed(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"")
    made = write_report(make_output(tmp_path / "out", [tmp_path / "bad.mp4"]))
    assert (made.clips, made.failed) == (0, 1)
    text = Parsed(tmp_path / "out" / "_report.html").text
    assert "No clip is finished yet." in text and "bad.mp4: is empty" in text and "100 % of all" in text


def test_outputs_from_before(output: Path) -> None:
    """Manifests without figures of the clips, and no record of the runs."""
    for manifest in output.glob("_manifest/part-*.jsonl"):
        lines = [json.loads(line) for line in manifest.read_text().splitlines()]
        kept = [{k: v for k, v in line.items() if k not in ("statistics", "run")} for line in lines]
        manifest.write_text("".join(json.dumps(line) + "\n" for line in kept))
    (output / "_manifest" / "runs.jsonl").unlink()
    made = write_report(output)
    page = Parsed(output / "_report.html")
    assert (made.clips, made.playing, made.tokens) == (3, 3, 120)
    assert "3 of 3 clips were selected by an older version" in page.text
    assert "did not record when each was done" in page.text


def test_thousands_of_clips(output: Path) -> None:
    """The page and the table of failures stay in bounds, whatever there is."""
    (line,) = [line for line in entries(output) if line["name"] == "one.mp4"]
    for shard in range(6):
        lines = [{**line, "name": f"{shard}/{n}.mp4"} for n in range(1000)]
        (output / f"_manifest/part-{100 + shard:06}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        pq.write_table(pa.table({"name": [x["name"] for x in lines]}), output / f"part-{100 + shard:06}.parquet")
    many = [Failure(f"{n}.mp4", "", "OSError" if n < 4000 else "Rare", "it is broken " * 20) for n in range(4010)]
    pq.write_table(failure_table(many), output / "_failures.parquet")
    made = write_report(output, clips=0)
    page = Parsed(output / "_report.html")
    assert (made.clips, made.failed) == (6003, 4010) and made.num_bytes < 1 << 20
    failed = [a for a in page.all("td") if a.get("data-label") == "reason"]
    assert len(failed) == 1003 and f"{4010 - 1003} more are in _failures.parquet" in page.text
    assert page.text.count("Rare") >= 4


# What is wrong


def _cut(path: Path, keep: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no settings": (
        lambda out: (out / "_manifest/job.json").unlink(),
        r"not an output of select-dataset: _manifest/job",
    ),
    "settings cut": (lambda out: _cut(out / "_manifest/job.json"), r"job\.json is damaged, .*: restore it"),
    "settings of another": (lambda out: (out / "_manifest/job.json").write_text("[1]"), r"job\.json does not hold"),
    "no shard": (lambda out: (out / "part-000001.parquet").unlink(), r"part-000001\.parquet is missing.*run select-d"),
    "shard cut": (
        lambda out: _cut(out / "part-000000.parquet"),
        r"part-000000\.parquet is damaged.*remove part-000000",
    ),
    "shard of another": (
        lambda out: shutil.copy(out / "part-000001.parquet", out / "part-000000.parquet"),
        r"it holds 1 clips, but its manifest lists 2.*remove part-000000\.parquet and _manifest/part-000000\.jsonl",
    ),
    "other clips": (lambda out: _swap(out), r"damaged at the clip .*: the file has no such row\. To repair it, remove"),
    "manifest cut": (
        lambda out: _cut(out / "_manifest/part-000001.jsonl"),
        r"jsonl, line 1, is damaged, .*run select-",
    ),
    "manifest of another": (
        lambda out: (out / "_manifest/part-000001.jsonl").write_text('{"name": 5}\n'),
        r"part-000001\.jsonl, line 1, is damaged, name is not text: remove part-000001\.parquet and",
    ),
    "failures cut": (
        lambda out: _cut(out / "_failures.parquet"),
        r"failures\.parquet is damaged, .*: remove it, and run",
    ),
    "failures of another": (
        lambda out: pq.write_table(pa.table({"name": ["x"]}), out / "_failures.parquet"),
        r"failures\.parquet is damaged, it lacks the column where",
    ),
}


def _swap(out: Path) -> None:
    table = pq.read_table(out / "part-000001.parquet")
    keys = pa.array(["0" * 64] * len(table))
    pq.write_table(table.set_column(table.schema.get_field_index("key"), "key", keys), out / "part-000001.parquet")


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(output: Path, damage: str) -> None:
    (output / "_report.html").write_text("before")
    spoil, message = DAMAGE[damage]
    spoil(output)
    with pytest.raises(ValueError, match=message) as caught:
        write_report(output)
    assert str(output) in str(caught.value)
    assert (output / "_report.html").read_text() == "before"


def test_damage_of_a_tar_file(clip: Path, tmp_path: Path) -> None:
    out = make_output(tmp_path / "out", [copied(clip, tmp_path / "x.mp4", 1)], format="webdataset")
    _cut(out / "part-000000.tar")
    with pytest.raises(ValueError, match=r"part-000000\.tar is damaged, it is cut off: remove part-000000\.tar and"):
        write_report(out)


@pytest.mark.parametrize(("name", "value", "fits"), [
    ("heat", [1, float("inf")], False), ("heat", 3, False), ("curve", ["x"], False), ("kept", -1, False),
    ("patches", "many", False), ("width", [1], False), ("ended", None, True), ("curve", [0.5], True),
    ("heat", [1.0], True), ("patches", 0, True),
])  # fmt: skip
def test_hostile_figures(output: Path, name: str, value: Any, fits: bool) -> None:
    """What is no figure is refused; what does not fit to the clip is left out."""
    manifest = output / "_manifest" / "part-000001.jsonl"
    line = json.loads(manifest.read_text())
    line["statistics"][name] = value
    manifest.write_text(json.dumps(line) + "\n")
    if fits:
        assert page_of(output).text.count("Tokens per frame") == 3
    else:
        with pytest.raises(ValueError, match=rf"part-000001\.jsonl, line 1, is damaged, {name} is no"):
            write_report(output)


def test_a_folder_outside(clip: Path, tmp_path: Path) -> None:
    """A manifest cannot name files elsewhere."""
    settings: dict[str, Any] = {"preset": "llava", "params": {"num_frames": 4, "size": 96, "budget": 72}}
    out = make_output(tmp_path / "out", [copied(clip, tmp_path / "x.mp4", 1)], format="reference", **settings)
    manifest = out / "_manifest" / "part-000000.jsonl"
    line = json.loads(manifest.read_text())
    (tmp_path / "sample_x").mkdir()
    for folder, message in (("../sample_x", "names no folder"), ("sample_x", "the folder is missing")):
        manifest.write_text(json.dumps({**line, "folder": folder}) + "\n")
        with pytest.raises(ValueError, match=message):
            write_report(out)


def test_command(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(output), "-o", str(tmp_path / "page.html"), "--clips", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["clips"], facts["failed"], facts["shown"], facts["playing"]) == (3, 1, 2, 2)
    assert (
        facts["page"] == str(tmp_path / "page.html") and facts["num_bytes"] == (tmp_path / "page.html").stat().st_size
    )
    assert not (output / "_report.html").exists()
    assert main(["report", str(output)]) == 0
    assert f"{output}/_report.html" in capsys.readouterr().out
    for argv, message in (
        ([str(tmp_path / "nowhere")], "nowhere: there is no such folder; give the one that select-dataset wrote"),
        ([str(tmp_path)], "is not an output of select-dataset"),
        ([str(output), "-o", str(tmp_path / "no" / "page.html")], "No such file or directory"),
        ([str(output), "--max-size", "0"], "max_bytes must be 1 or more"),
        ([str(output), "--input", str(tmp_path / "gone")], "gone: there is no such file or folder"),
    ):
        assert main(["report", *argv]) == 1
        assert message in capsys.readouterr().err


def test_urls(output: Path) -> None:
    """A folder in a file system that is none of this machine's, here fsspec's in memory."""
    fsspec = pytest.importorskip("fsspec", reason="URLs need fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(output), "/reported", recursive=True)
    made = write_report("memory://reported")
    assert made.playing == 3 and len(memory.cat_file("/reported/_report.html")) == made.num_bytes
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_report("memory://nothing")


def test_without_extras(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'ove_codec\[dataset\]'"):
        write_report(output)
