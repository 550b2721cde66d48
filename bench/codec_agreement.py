"""Do selections from a file's own codec agree with those after transcoding to HEVC, and which tell more?

`python bench/codec_agreement.py --readme docs/measurements.md` encodes the clips of the motion probe (``motion_clips``)
with x264, x265 and libvpx, selects from each file as it is and after transcoding with every recipe, compares the
patches, and trains a small encoder on the tokens of every way. Results are kept in `--work`, and an interrupted run is
resumed.
"""
# ruff: noqa: E402

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]  # as in motion_probe.py

import numpy as np
import torch

sys.path.append(str(HERE))

import motion_clips
import motion_methods
import motion_probe
import motion_training
import report
import run

import ove_codec
from ove_codec.transcoding import RECIPES

MARKS = ("<!-- codec-agreement -->", "<!-- /codec-agreement -->")
DATA = "report"  # of the motion probe's sets
OWN = "own"
_X265 = "log-level=error:pools=none:frame-threads=1:wpp=0"
ENCODINGS: dict[str, list[str]] = {
    "x264, medium": ["-c:v", "libx264", "-preset", "medium", "-crf", "23"],
    "x265, medium": ["-c:v", "libx265", "-preset", "medium", "-crf", "26", "-x265-params", _X265],
    "x265, fast": ["-c:v", "libx265", "-preset", "fast", "-crf", "26", "-x265-params", _X265],
    "x265, reference's recipe": [
        *("-c:v", "libx265", "-preset", RECIPES["reference"].preset, "-crf", str(RECIPES["reference"].crf)),
        *("-x265-params", f"{RECIPES['reference'].params}:{_X265}"),
    ],
    "libvpx-vp9": ["-c:v", "libvpx-vp9", "-crf", "32", "-b:v", "0", "-cpu-used", "4", "-row-mt", "0"],
}


@dataclasses.dataclass(frozen=True)
class Work:
    """What is compared: a preset, on so many clips of the motion probe, with so many seeds."""

    preset: str
    train_clips: int
    test_clips: int
    seeds: int
    setting: motion_probe.Setting = motion_probe.SMALL

    def clips(self) -> list[motion_clips.Clip]:
        return motion_clips.clips(self.train_clips + self.test_clips, self.setting.side, motion_probe.SETS[DATA])

    def ways(self) -> list[tuple[str, str]]:
        """Every encoding with its own codec, where that is read, and with every recipe."""
        ways = itertools.product(ENCODINGS, (OWN, *RECIPES))
        return [(encoding, way) for encoding, way in ways if way != OWN or not encoding.startswith("libvpx")]


def encode(clip: motion_clips.Clip, folder: Path) -> dict[str, Path]:
    """The clip in every encoding; those that are there already stay."""
    paths = {name: folder / f"{clip.name}.{number}.mkv" for number, name in enumerate(ENCODINGS)}
    if all(path.exists() for path in paths.values()):
        return paths
    pictures, _ = motion_clips.render(clip)
    chroma = np.full(clip.side * clip.side // 2, 128, np.uint8).tobytes()
    raw = b"".join(picture.tobytes() + chroma for picture in pictures)
    size = f"{clip.side}x{clip.side}"
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", str(motion_clips.FRAME_RATE), "-i", "-"]
    for name, path in paths.items():
        part = path.with_suffix(".part.mkv")
        command = ["ffmpeg", "-v", "error", "-y", *source, "-threads", "1", *ENCODINGS[name], str(part)]
        subprocess.run(command, input=raw, check=True)
        part.rename(path)
    return paths


def tokens_of(clip: motion_clips.Clip, work: Work, folder: Path) -> Path:
    """Chooses the tokens of a clip in every way; returns the file that keeps them."""
    file = folder / f"{clip.name}.npz"
    if file.exists():
        return file
    torch.set_num_threads(1)
    grid, arrays = work.setting.grid, dict[str, Any]()
    acting = motion_clips.action(clip, np.random.default_rng(clip.seed))
    paths = encode(clip, folder)
    for number, (encoding, way) in enumerate(work.ways()):
        source: Any = paths[encoding]
        if way != OWN:
            source = ove_codec.transcode(source, recipe=way, threads=1)
        selection = motion_methods.select(source, work.preset, {}, grid, clip.seed)
        made = ove_codec.tokenize(paths[encoding], selection, threads=1)  # pixels of the file itself
        places = made.positions.numpy().astype(np.float32)
        places[:, 0] = (selection.frame_ids / (clip.frames - 1) * (grid.num_frames - 1))[places[:, 0].astype(int)]
        rows = made.patches.numpy().astype(np.float16)
        touching, kept = motion_methods.on_the_action(selection, acting, work.setting.side)
        arrays |= {f"{number}.rows": rows, f"{number}.places": places, f"{number}.mask": np.packbits(selection.mask)}
        arrays |= {f"{number}.shape": selection.mask.shape, f"{number}.touching": touching / kept}
    part = file.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.rename(file)
    return file


def masks_of(found: Any, number: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    shape = tuple(found[f"{number}.shape"])
    return np.unpackbits(found[f"{number}.mask"], count=int(np.prod(shape))).reshape(shape).astype(bool)


def overlaps(files: Sequence[Path], work: Work, one: int, other: int) -> list[float]:
    """The share of the patches of one way that the other keeps too, a clip each; the first picture is left out."""
    shares = []
    for file in files:
        with np.load(file) as found:
            a, b = (masks_of(found, number)[1:] for number in (one, other))
        shares.append(float((a & b).sum() / max(1, a.sum())))
    return shares


def accuracy(files: Sequence[Path], work: Work, number: int) -> list[float]:
    """Per cent of each seed of an encoder trained on the tokens of a way."""
    torch.set_num_threads(1)
    rows, places = [], []
    for file in files:
        with np.load(file) as found:
            rows.append(found[f"{number}.rows"])
            places.append(found[f"{number}.places"])
    labels = torch.tensor([clip.label for clip in work.clips()])
    n, setting = work.train_clips, work.setting
    patches, positions = torch.from_numpy(np.stack(rows)), torch.from_numpy(np.stack(places))
    train, test = (
        motion_training.TokenSet(patches[part], positions[part], labels[part]) for part in (slice(0, n), slice(n, None))
    )
    results = []
    for seed in range(work.seeds):
        trained = motion_training.train(
            train, test, setting.training, setting.grid.size, setting.grid.patch_size, seed, "cpu"
        )
        results.append(100 * float((np.array(trained["predicted"]) == test.labels.numpy()).mean()))
    return results


def measure(work: Work, folder: Path, workers: int) -> dict[str, Any]:
    """Everything that is not there yet, and the outcome."""
    folder.mkdir(parents=True, exist_ok=True)
    clips, ways = work.clips(), work.ways()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        files = list(pool.map(tokens_of, clips, itertools.repeat(work), itertools.repeat(folder), chunksize=1))
        print(f"chose tokens of {len(files)} clips in {len(ways)} ways", file=sys.stderr, flush=True)
        trained = []
        for number in range(len(ways)):
            kept = folder / f"accuracy-{number}-{work.train_clips}-{work.test_clips}-{work.seeds}.json"
            trained.append((kept, None if kept.exists() else pool.submit(accuracy, files, work, number)))
        rows = []
        for number, ((encoding, way), (kept, future)) in enumerate(zip(ways, trained, strict=True)):
            if future is not None:
                kept.write_text(json.dumps(future.result()), encoding="utf-8")
                print(f"{encoding}, {way}", file=sys.stderr, flush=True)
            with_own = [n for n, other in enumerate(ways) if other == (encoding, OWN)]
            touching = [float(np.load(file)[f"{number}.touching"]) for file in files]
            rows.append({
                "encoding": encoding,
                "way": way,
                "overlap": statistics.fmean(overlaps(files, work, with_own[0], number)) if with_own else None,
                "accuracy": json.loads(kept.read_text(encoding="utf-8")),
                "on_action": statistics.fmean(touching),
            })  # fmt: skip
    return {"machine": run.machine(), "work": dataclasses.asdict(work), "rows": rows}


def table(outcome: dict[str, Any]) -> str:
    """The outcome as Markdown."""
    work = outcome["work"]
    grid = work["setting"]["grid"]
    lines = [
        f"Clips of the motion probe, preset `{work['preset']}`, {grid['budget']} tokens a clip. Accuracy in per cent "
        f"of the small encoder on {work['test_clips']} clips, trained on {work['train_clips']}; seeds: {work['seeds']}."
        " Pixels are those of the file in every row. Overlap is the share of the patches selected from the file itself "
        "that are selected after transcoding, too, without those of the first picture. "
        f"{outcome['machine']['cpu']}, {outcome['machine']['cores']} cores.",
        "",
        report.row(["file", "selected from", "overlap with its own codec", "accuracy", "tokens on the action"]),
        report.row(["---"] * 5),
    ]
    for row in outcome["rows"]:
        way = "the file" if row["way"] == OWN else f"HEVC, `{row['way']}`"
        overlap = "-" if row["overlap"] is None or row["way"] == OWN else f"{100 * row['overlap']:.0f} %"
        found = row["accuracy"]
        shown = f"{statistics.fmean(found):.1f}" + (f" ± {statistics.stdev(found):.1f}" if len(found) > 1 else "")
        lines.append(report.row([row["encoding"], way, overlap, shown, f"{100 * row['on_action']:.1f} %"]))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="ove", help="of the selections (default: %(default)s)")
    parser.add_argument("--train-clips", type=int, default=480, metavar="N", help="default: %(default)s")
    parser.add_argument("--test-clips", type=int, default=288, metavar="N", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="processes")
    parser.add_argument("--work", type=Path, default=Path("build/bench/agreement"), help="folder of what is kept")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of codec_agreement.json")
    parser.add_argument("--readme", type=Path, help="page in which to replace the table")
    args = parser.parse_args(argv)
    work = Work(args.preset, args.train_clips, args.test_clips, args.seeds)
    outcome = measure(work, args.work / f"{args.preset}-{motion_probe.scene_hash()}", args.workers)
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "codec_agreement.json").write_text(json.dumps(outcome, indent=1) + "\n", encoding="utf-8")
    print(table(outcome))
    if args.readme:
        report.fill_readme(table(outcome), args.readme, MARKS)


if __name__ == "__main__":
    main()
