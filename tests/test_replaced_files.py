"""A file that is replaced after a video was opened and indexed: every reading ends in an error that names the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from support.pixels import encode, needs_ffmpeg

pytestmark = needs_ffmpeg
SCENE = "testsrc2=s=160x96:r=25:d=1.2"
OTHER = "mandelbrot=s={}:r=25:start_scale=0.5,trim=duration={}"
PICTURES = 30


def made(path: Path, codec: str, source: str, *arguments: str) -> bytes:
    encode(path, *(arguments or ("-pix_fmt", "yuv420p")), "-bf", "2", "-g", "10", source=source, codec=codec)
    return path.read_bytes()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    return {codec: made(folder / f"{codec}.mp4", codec, SCENE) for codec in ("libx265", "libx264")}


@pytest.fixture(scope="module")
def replacements(tmp_path_factory: pytest.TempPathFactory, originals: dict[str, bytes]) -> dict[str, bytes]:
    """By name; those that begin with a codec stand for files of the other one too."""
    folder = tmp_path_factory.mktemp("replacements")
    found: dict[str, bytes] = {}
    for codec, other in (("libx265", "libx264"), ("libx264", "libx265")):
        path = folder / f"{codec}.mp4"
        plain = ("-pix_fmt", "yuv420p")
        profile = ("-pix_fmt", "yuv444p10le") if codec == "libx265" else ("-pix_fmt", "yuv444p")
        found |= {
            f"{codec} size": made(path, codec, OTHER.format("96x160", 1.2)),
            f"{codec} larger": made(path, codec, OTHER.format("320x192", 1.2)),
            f"{codec} profile": made(path, codec, SCENE, *profile),
            f"{codec} content": made(path, codec, OTHER.format("160x96", 1.2), *plain, "-crf", "40"),
            f"{codec} shorter": made(path, codec, OTHER.format("160x96", 0.4)),
            f"{codec} codec": originals[other],
            f"{codec} cut": originals[codec][: len(originals[codec]) // 2],
            f"{codec} garbage": np.random.default_rng(5).bytes(20_000),
            f"{codec} empty": b"",
        }
    return found


def in_order(video: ove_codec.Video, path: Path) -> Any:
    return [picture.residual.sum() for picture in video]


def indexed(video: ove_codec.Video, path: Path) -> Any:
    return [picture.mv.sum() for picture in video.read(range(PICTURES))]


def at_random(video: ove_codec.Video, path: Path) -> Any:
    for first in (23, 4, 17):
        list(video.read(sorted({first, PICTURES - 1, 11})))


def sought(video: ove_codec.Video, path: Path) -> Any:
    return list(video.seek(index=14))


def tokenized(video: ove_codec.Video, path: Path) -> Any:
    selection = ove_codec.select(path.with_name("original.mp4"), num_frames=6, budget=60, size=96, patch_size=16)
    return ove_codec.tokenize(video, selection)


def framed(video: ove_codec.Video, path: Path) -> Any:
    return ove_codec.frames(video, [3, 16, 28])


def selected(video: ove_codec.Video, path: Path) -> Any:
    return ove_codec.select(video, num_frames=8, budget=50)


ACTIONS = [in_order, indexed, at_random, sought, tokenized, framed, selected]
KINDS = ["size", "larger", "profile", "content", "shorter", "codec", "cut", "garbage", "empty"]


def replaced(folder: Path, before: bytes, after: bytes, threads: int) -> tuple[ove_codec.Video, Path]:
    path = folder / "replaced.mp4"
    path.write_bytes(before)
    (folder / "original.mp4").write_bytes(before)
    video = ove_codec.open(path, threads=threads)
    assert len(video) == PICTURES
    path.write_bytes(after)
    return video, path


@pytest.mark.parametrize("codec", ["libx265", "libx264"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", ACTIONS)
def test_replaced(
    tmp_path: Path,
    originals: dict[str, bytes],
    replacements: dict[str, bytes],
    codec: str,
    threads: int,
    kind: str,
    action: Callable[[ove_codec.Video, Path], Any],
) -> None:
    video, path = replaced(tmp_path, originals[codec], replacements[f"{codec} {kind}"], threads)
    if kind in ("content", "shorter") and action is in_order:
        # Another sound video of the same form: reading it from its beginning gives its pictures.
        assert len(action(video, path)) == (PICTURES if kind == "content" else 10)
        return
    for _ in range(2):  # the error comes again
        with pytest.raises(ove_codec.Error, match=r"replaced\.mp4"):
            action(video, path)


@pytest.mark.parametrize("codec", ["libx265", "libx264"])
def test_replaced_while_it_is_read(
    tmp_path: Path, originals: dict[str, bytes], replacements: dict[str, bytes], codec: str
) -> None:
    """Bytes that change under an iterator: pictures, then an error of the library or the end, never anything else."""
    for number, kind in enumerate(KINDS):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(originals[codec])
        video = ove_codec.open(path, threads=2)
        readers: list[Iterator[Any]] = [iter(video), video.read(range(PICTURES)), video.read([25, 29])]
        next(readers[0])
        path.write_bytes(replacements[f"{codec} {kind}"])
        for reader in readers:
            outcome = rest(reader)
            assert str(path) in str(outcome) if isinstance(outcome, ove_codec.Error) else len(outcome) <= PICTURES


def rest(reader: Iterator[Any]) -> list[Any] | ove_codec.Error:
    try:
        return list(reader)
    except ove_codec.Error as error:
        return error


@pytest.mark.parametrize("codec", ["libx265", "libx264"])
@pytest.mark.parametrize("seed", range(8))
def test_bytes_replaced_in_place(tmp_path: Path, originals: dict[str, bytes], codec: str, seed: int) -> None:
    """Packets of the same sizes with other bits: what cannot be told is decoded, all else is an error with the name."""
    rng = np.random.default_rng(seed)
    before = originals[codec]
    begin = before.index(b"mdat") + 4
    end = begin - 8 + int.from_bytes(before[begin - 8 : begin - 4], "big")
    after = bytearray(before)
    for at in rng.integers(begin, end - 64, 1 + seed):
        length = int(rng.choice([1, 4, 60]))
        after[at : at + length] = rng.bytes(length)
    chosen = np.unique(rng.integers(0, PICTURES, 5))
    actions: list[Callable[[ove_codec.Video], Any]] = [
        lambda video: list(video.read(chosen.tolist())),
        lambda video: list(video.seek(index=int(chosen[0]))),
        lambda video: ove_codec.frames(video, chosen, size=32),
        list,
    ]
    for action in actions:
        video, _ = replaced(tmp_path, before, bytes(after), threads=1 + seed % 3)
        try:
            action(video)
        except ove_codec.Error as error:
            said = str(error)
        else:
            continue
        assert "replaced.mp4" in said


@pytest.mark.parametrize("codec", ["libx265", "libx264"])
@pytest.mark.parametrize("container", ["mp4", "fragmented", "edited", "mkv", "ts"])
def test_a_source_that_was_opened_reads_the_same(tmp_path: Path, codec: str, container: str) -> None:
    path = tmp_path / f"clip.{'mp4' if container in ('fragmented', 'edited') else container}"
    options = {"fragmented": ("-movflags", "frag_keyframe+empty_moov"), "edited": ("-ss", "0.3")}.get(container, ())
    made(path, codec, SCENE, "-pix_fmt", "yuv420p", *options)
    opened = ove_codec._core.OpenedSource(path)
    again, anew = ove_codec._core.Packets(opened), ove_codec._core.Packets(path)
    assert again.info == anew.info == opened.info
    assert again.extradata == anew.extradata
    assert list(again) == list(anew)


def test_a_source_that_was_opened_is_looked_at_again_once_replaced(
    tmp_path: Path, originals: dict[str, bytes], replacements: dict[str, bytes]
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(originals["libx264"])
    opened = ove_codec._core.OpenedSource(path)
    for name in ("size", "larger", "profile", "shorter", "codec"):
        path.write_bytes(replacements[f"libx264 {name}"])
        again, anew = ove_codec._core.Packets(opened), ove_codec._core.Packets(path)
        assert again.info == anew.info, name
        assert list(again) == list(anew), name
