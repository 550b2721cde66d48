"""Which tokens tell how things move? Small encoders trained from scratch under one token budget.

`python bench/motion_probe.py` makes a synthetic action data set (``motion_clips``), encodes it to HEVC, chooses the
tokens of every clip in several ways (``motion_methods``), trains an encoder on each (``motion_training``) with several
seeds, and writes a table and a plot (``motion_report``). With `--ablation` it also goes back to the value of "paper" in
each parameter of the preset "ove", and adds what that leaves out, on a data set that shares no clip with the first.

What is done is kept in `--clips`, and a run goes on where the one before it ended. `--large` is for a GPU.
"""
# ruff: noqa: E402

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# PyTorch imports a package of NVIDIA's that is called as cuda.py here is, which must not be found in this folder.
HERE = Path(__file__).resolve().parent
sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]

import torch

sys.path.append(str(HERE))

import motion_clips
import motion_methods
import motion_report
import motion_training
import numpy as np

from ove_codec.presets import COMMON, PRESETS

# What "ove" might have beside what it has, or instead of it; the ablation shows what they do.
CANDIDATES: tuple[dict[str, Any], ...] = (
    {"sampling": "bits"},
    {"percentile_scope": "clip"},
    {"compensate": "similarity"},
    {"intra_blocks": "zero"},
    {"intra_blocks": "max"},
    {"accumulate": "max"},
    {"percentile": 99.0},
)
SETS = {"choice": 1, "report": 20}  # data sets that share no clip, by what their clips are drawn from


@dataclasses.dataclass(frozen=True)
class Setting:
    name: str
    side: int  # of the pictures
    train_clips: int
    test_clips: int
    grid: motion_methods.Grid
    training: motion_training.Training
    seeds: int = 3

    def clips(self, data: str) -> list[motion_clips.Clip]:
        """Those to train on, then those to test on."""
        return motion_clips.clips(self.train_clips + self.test_clips, self.side, SETS[data])


SMALL = Setting(
    "small", 112, 480, 288,
    motion_methods.Grid(num_frames=16, size=56, patch_size=8, budget=98),
    motion_training.Training(
        hidden=64, layers=2, heads=2, epochs=30, batch=24, learning_rate=3e-3, rope_theta=30.0
    ),
)  # fmt: skip
LARGE = Setting(
    "large", 224, 6000, 1536,
    motion_methods.Grid(num_frames=32, size=224, patch_size=14, budget=512),
    motion_training.Training(
        hidden=384, layers=6, heads=6, epochs=40, batch=64, learning_rate=1e-3, rope_theta=100.0
    ),
)  # fmt: skip
SETTINGS = {setting.name: setting for setting in (SMALL, LARGE)}


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of a table: a way to choose tokens (``motion_methods.select``) with parameters overridden."""

    label: str
    choice: str
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)


def compared() -> list[Method]:
    """The rows of the main table: what asks no codec, every preset, and some on pictures that are cheap to decode."""
    anchored = [Method(f"{name}, sampling=anchors", name, {"sampling": "anchors"}) for name in ("paper", "ove")]
    return [*(Method(name, name) for name in (*motion_methods.BASELINES, *PRESETS)), *anchored]


def ablated() -> list[Method]:
    """The rows of the ablation: "ove", each of its parameters as "paper" has it, and what it might have instead."""
    ove = {**COMMON, **PRESETS["ove"]}
    paper = {**COMMON, **PRESETS["paper"]}
    changes: list[dict[str, Any]] = [{name: paper[name]} for name in COMMON if ove[name] != paper[name]]
    changes += [c for c in CANDIDATES if all(ove[name] != value for name, value in c.items()) and c not in changes]
    rows = [Method("ove", "ove")]
    for change in changes:
        text = ", ".join(f"{name}={value}" for name, value in change.items())
        rows.append(Method(f"ove, {text}", "ove", change))
    return [*rows, Method("paper", "paper")]


def cpu_seconds() -> float:
    """CPU time of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def encode(clips: Sequence[motion_clips.Clip], folder: Path) -> float:
    """Makes the clips that are missing; returns the CPU time."""
    begin = cpu_seconds()
    for clip in clips:
        path = folder / f"{clip.name}.mp4"
        if not path.exists():
            motion_clips.encode(clip, path)
    return cpu_seconds() - begin


def scene_hash() -> str:
    """Of what makes the clips."""
    return hashlib.sha256((HERE / "motion_clips.py").read_bytes()).hexdigest()[:12]


def facts_of(setting: Setting, data: str, method: Method) -> dict[str, Any]:
    """What decides the result of a method: where it differs, the result is made anew."""
    facts = {
        "setting": dataclasses.asdict(setting),
        "data": data,
        "method": dataclasses.asdict(method),
        "preset": PRESETS.get(method.choice),
        "scene": scene_hash(),
    }
    return dict(json.loads(json.dumps(facts)))


def run_method(setting: Setting, data: str, method: Method, seeds: int, clips: Path, out: Path, device: str) -> None:
    """Chooses the tokens of all clips once and trains an encoder for each seed; adds what is missing in `out`.

    Without seeds only the tokens are chosen, which tells how many lie on the action.
    """
    torch.set_num_threads(1)
    facts = facts_of(setting, data, method)
    result: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    if result.get("facts") != facts:
        result = {"facts": facts, "label": method.label, "runs": {}}
    if "on_action" in result and all(str(seed) in result["runs"] for seed in range(seeds)):
        return
    begin = cpu_seconds()
    every = setting.clips(data)
    patches, positions, touching = [], [], []
    for clip in every:
        path = clips / f"{clip.name}.mp4"
        selection = motion_methods.select(path, method.choice, method.overrides, setting.grid, clip.seed)
        rows, places = motion_methods.tokens(path, selection, setting.grid)
        if len(rows) != setting.grid.budget:
            raise ValueError(f"{method.label} keeps {len(rows)} patches of {path.name}, not {setting.grid.budget}")
        patches.append(rows)
        positions.append(places)
        acting = motion_clips.action(clip, np.random.default_rng(clip.seed))
        touching.append(motion_methods.on_the_action(selection, acting, setting.side))
    labels = torch.tensor([clip.label for clip in every])
    tokens = motion_training.TokenSet(
        torch.from_numpy(np.stack(patches)), torch.from_numpy(np.stack(positions)), labels
    )
    n = setting.train_clips
    train_set, test_set = (
        motion_training.TokenSet(tokens.patches[part], tokens.positions[part], labels[part])
        for part in (slice(0, n), slice(n, None))
    )
    kinds = np.array([clip.kind for clip in every])
    result["on_action"] = {
        kind: float(np.mean([t[0] / t[1] for t, k in zip(touching, kinds, strict=True) if k == kind]))
        for kind in motion_clips.KINDS
    }
    result["tokens_cpu_seconds"] = result.get("tokens_cpu_seconds", 0.0) + cpu_seconds() - begin
    write(result, out)
    for seed in range(seeds):
        if str(seed) in result["runs"]:
            continue
        begin = cpu_seconds()
        trained = motion_training.train(
            train_set, test_set, setting.training, setting.grid.size, setting.grid.patch_size, seed, device
        )
        right = np.array(trained["predicted"]) == test_set.labels.numpy()
        accuracy = {kind: float(right[kinds[n:] == kind].mean()) for kind in motion_clips.KINDS}
        result["runs"][str(seed)] = {
            "accuracy": {**accuracy, "overall": float(right.mean())},
            "loss": trained["losses"][-1],
            "cpu_seconds": cpu_seconds() - begin,
        }
        write(result, out)


def write(result: dict[str, Any], out: Path) -> None:
    part = out.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.rename(out)


def slug(method: Method) -> str:
    return "".join(c if c.isalnum() or c in "=_" else "-" for c in method.label)


class Job:
    """The work of one setting in one folder."""

    def __init__(self, setting: Setting, folder: Path, workers: int | None, device: str) -> None:
        self.setting, self.device = setting, device
        self.cores = len(os.sched_getaffinity(0))
        self.workers = workers or (self.cores if device == "cpu" else 2)
        self.counted_until = time.monotonic()
        self.folder = folder / setting.name
        self.costs_file = self.folder / "costs.json"
        self.folder.mkdir(parents=True, exist_ok=True)

    def costs(self) -> dict[str, float]:
        """Seconds that all runs so far took: wall clock, and CPU of encoding."""
        known = json.loads(self.costs_file.read_text()) if self.costs_file.exists() else {}
        return {"wall_seconds": 0.0, "encoding_cpu_seconds": 0.0, **known}

    def add_costs(self, encoding_cpu_seconds: float = 0.0) -> None:
        """Adds this, and the time since the last call."""
        costs, now = self.costs(), time.monotonic()
        costs["wall_seconds"] += now - self.counted_until
        costs["encoding_cpu_seconds"] += encoding_cpu_seconds
        self.counted_until = now
        self.costs_file.write_text(json.dumps(costs), encoding="utf-8")

    def clips(self, data: str) -> Path:
        return self.folder / f"{data}-clips-{scene_hash()}"

    def encode(self, data: str) -> None:
        """Makes the clips that are missing."""
        folder = self.clips(data)
        folder.mkdir(exist_ok=True)
        missing = [clip for clip in self.setting.clips(data) if not (folder / f"{clip.name}.mp4").exists()]
        if not missing:
            return
        print(f"encoding {len(missing)} clips of the {data} set", file=sys.stderr, flush=True)
        parts = [missing[i : i + 32] for i in range(0, len(missing), 32)]
        with ProcessPoolExecutor(self.cores, mp_context=get_context("spawn")) as pool:
            for seconds in pool.map(encode, parts, [folder] * len(parts)):
                self.add_costs(seconds)

    def result_file(self, data: str, method: Method) -> Path:
        return self.folder / f"{data}-{slug(method)}.json"

    def run(self, data: str, methods: Iterable[Method], seeds: int, until: Callable[[], bool]) -> None:
        """Trains what is missing of these methods, as long as `until` does not say that the time is over."""
        self.counted_until = time.monotonic()
        self.encode(data)
        with ProcessPoolExecutor(self.workers, mp_context=get_context("spawn")) as pool:
            waiting = list(methods)
            running: dict[Any, Method] = {}
            while (waiting and not until()) or running:
                while waiting and len(running) < self.workers and not until():
                    method = waiting.pop(0)
                    arguments = (self.setting, data, method, seeds, self.clips(data))
                    running[pool.submit(run_method, *arguments, self.result_file(data, method), self.device)] = method
                done = next((future for future in running if future.done()), None)
                if done is None:
                    time.sleep(0.2)
                    continue
                print(f"{data}: {running.pop(done).label}", file=sys.stderr, flush=True)
                done.result()
                self.add_costs()

    def results(self, data: str, methods: Iterable[Method]) -> list[dict[str, Any]]:
        """What there is of these methods and fits the setting."""
        found = []
        for method in methods:
            file = self.result_file(data, method)
            if file.exists():
                result = json.loads(file.read_text())
                if result["facts"] == facts_of(self.setting, data, method):
                    found.append(result)
        return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="more and larger clips, a larger encoder: for a GPU")
    parser.add_argument("--ablation", action="store_true", help="also the parameters of the preset 'ove', one by one")
    parser.add_argument("--seeds", type=int, help="default: 3; with 0 tokens are chosen and no encoder is trained")
    parser.add_argument("--only", default="", metavar="REGEX", help="only methods of such a name")
    parser.add_argument("--minutes", type=float, help="begin with no other method after so many; run again to go on")
    parser.add_argument("--workers", type=int, help="encoders trained at a time; default: one a core, two on a GPU")
    parser.add_argument("--device", help="default: cuda where there is one and --large, else cpu")
    parser.add_argument("--clips", type=Path, default=Path("build/bench/motion"), help="folder that keeps what is made")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of motion.json and motion.svg")
    parser.add_argument("--readme", type=Path, help="page in which to replace the table")
    arguments = parser.parse_args(argv)
    if arguments.readme and not motion_report.has_marks(arguments.readme):
        parser.error(f"{arguments.readme} has no marks {' and '.join(motion_report.MARKS)}")
    device = arguments.device or ("cuda" if arguments.large and torch.cuda.is_available() else "cpu")
    job = Job(SETTINGS["large" if arguments.large else "small"], arguments.clips, arguments.workers, device)
    seeds = job.setting.seeds if arguments.seeds is None else arguments.seeds
    begin = time.monotonic()

    def over() -> bool:
        return arguments.minutes is not None and time.monotonic() - begin > 60 * arguments.minutes

    wanted = [("report", compared())] + ([("choice", ablated())] if arguments.ablation else [])
    for data, methods in wanted:
        if not over():
            job.run(data, [method for method in methods if re.search(arguments.only, method.label)], seeds, over)
    motion_report.finish(
        job.setting,
        {data: job.results(data, methods) for data, methods in (("report", compared()), ("choice", ablated()))},
        job.costs(),
        device,
        arguments.results,
        arguments.readme,
    )


if __name__ == "__main__":
    main()
