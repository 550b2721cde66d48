"""The motion probe in a tiny setting: what its clips show, what its methods keep, and how its runs go on."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ove_codec
from ove_codec.presets import COMMON, PRESETS
from ove_codec.selection import Geometry
from support import ffmpeg

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [*sys.path, str(BENCH)])
    import motion_probe

    return motion_probe


def tiny(probe: Any) -> Any:
    grid = probe.motion_methods.Grid(num_frames=5, size=28, patch_size=7, budget=32)
    training = probe.motion_training.Training(
        hidden=32, layers=1, heads=1, epochs=2, batch=4, learning_rate=1e-3, rope_theta=30.0
    )
    return probe.Setting("tiny", 56, 12, 6, grid, training, seeds=2)


def turning(way: Any) -> float:
    """How much a way turns to the right, y pointing down."""
    steps = np.diff(way, axis=0)
    return float((steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]).sum())


@pytest.mark.parametrize("label", range(8))
@pytest.mark.parametrize("kind", ["motion", "brief", "pan"])
def test_a_class_is_how_the_disc_moves(probe: Any, kind: str, label: int) -> None:
    clips = probe.motion_clips
    clip = clips.Clip(kind, label, 112, 7)
    acting = clips.action(clip, np.random.default_rng(clip.seed))
    assert acting.centres.shape == (clip.frames, 2) and acting.moving.sum() == (24 if kind == "brief" else 64)
    assert (acting.centres >= acting.radius - 1e-6).all() and (acting.centres <= 112 - acting.radius + 1e-6).all()
    steps = np.diff(acting.centres, axis=0)
    assert not steps[~acting.moving[1:]].any()
    way = acting.centres[-1] - acting.centres[0]
    name = clips.CLASSES[label]
    expected = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}.get(name, (0, 0))
    assert np.sign(np.round(way, 6)).tolist() == list(expected)
    turned = turning(acting.centres[acting.moving])
    assert np.sign(np.round(turned, 6)) == {"clockwise": 1, "counter-clockwise": -1}.get(name, 0)
    extent = np.ptp(acting.centres, axis=0)
    assert extent.max() > 25 and (expected == (0, 0) or extent.min() == 0)


def test_mirrored_clips_have_mirrored_classes(probe: Any) -> None:
    """A picture with one bright patch on the disc's way, as tokens: mirrors move it as the class says."""
    clips, training = probe.motion_clips, probe.motion_training
    side, patch, n = 28, 7, 4
    rng = np.random.default_rng(1)
    patches = torch.from_numpy(rng.standard_normal((8, 16, 3 * patch * patch)).astype(np.float32))
    h, w = np.divmod(np.arange(16), n)
    positions = torch.from_numpy(np.stack([np.arange(16.0), h, w], 1).astype(np.float32)).expand(8, -1, -1)
    picture = patches.unflatten(-1, (3, patch, patch)).unflatten(1, (n, n))
    picture = picture.permute(0, 3, 1, 4, 2, 5).reshape(8, 3, side, side)
    for kind in range(8):
        made = training.mirrored(patches, positions, torch.arange(8), side, patch, kind)
        expected = picture
        for bit, turn in ((1, lambda p: p.flip(-1)), (2, lambda p: p.flip(-2)), (4, lambda p: p.transpose(-1, -2))):
            expected = turn(expected) if kind & bit else expected
        shown = torch.empty_like(expected)
        for row in range(16):
            _, y, x = (int(v) for v in made.positions[0, row])
            tile = made.patches[:, row].unflatten(-1, (3, patch, patch))
            shown[:, :, y * patch : (y + 1) * patch, x * patch : (x + 1) * patch] = tile
        assert torch.equal(shown, expected)
        for label in range(8):
            way = probe.motion_clips._way(label, np.linspace(0, 1, 33), 1.0)
            for bit, signs in ((1, (-1, 1)), (2, (1, -1))):
                way = way * signs if kind & bit else way
            way = way[:, ::-1] if kind & 4 else way
            other = clips._way(int(made.labels[label]), np.linspace(0, 1, 33), 1.0)
            same = way - way.mean(0), other - other.mean(0)
            turned = [turning(part) for part in same]
            if clips.CLASSES[label].endswith("clockwise"):
                assert np.sign(turned[0]) == np.sign(turned[1])
            elif "and" in clips.CLASSES[label]:
                np.testing.assert_allclose(np.abs(same[0]), np.abs(same[1]), atol=1e-9)
            else:
                np.testing.assert_allclose(same[0], same[1], atol=1e-9)


needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")


@needs_x265
def test_all_methods_keep_the_same_number_of_patches(probe: Any, tmp_path: Path) -> None:
    methods, clips, grid = probe.motion_methods, probe.motion_clips, tiny(probe).grid
    clip = clips.Clip("motion", 0, 56, 3)
    path = tmp_path / "clip.mp4"
    acting = clips.encode(clip, path)
    pictures, _ = clips.render(clip)
    decoded = ove_codec.frames(path, [0, 40], resize="native", normalize=False).float().mean(1).numpy()
    expected = (pictures[[0, 40]].astype(float) - 16) * 255 / 219
    assert np.abs(decoded - expected).mean() < 6  # full range, and what the encoder loses
    shares = {}
    for method in probe.compared():
        selection = methods.select(path, method.choice, method.overrides, grid, seed=3)
        rows, places = methods.tokens(path, selection, grid)
        assert rows.shape == (32, 3 * 7 * 7) and places.shape == (32, 3) and selection.mask.sum() == 32
        assert np.abs(places[:, 0] - selection.frame_ids[selection.positions[:, 0]] / 63 * 4).max() < 1e-5
        touching, count = methods.on_the_action(selection, acting, 56)
        assert count == 32
        shares[method.label] = touching
    assert shares["ove"] > shares["random patches"] and shares["pixel difference"] > shares["uniform frames"]
    uniform = methods.select(path, "uniform frames", {}, grid, 0)
    assert uniform.frame_ids.tolist() == [0, 63] and uniform.mask.all()
    one, other = (methods.select(path, "random patches", {}, grid, seed).mask for seed in (1, 2))
    assert (one != other).any()


def test_patches_on_the_disc_are_counted(probe: Any) -> None:
    clips, methods = probe.motion_clips, probe.motion_methods
    mask = np.ones((2, 4, 4), bool)
    acting = clips.Action(np.array([[14.0, 14.0], [14.0, 14.0], [21.0, 7.0]]), np.array([True, False, True]), 6.0)
    selection = ove_codec.Selection(
        frame_ids=np.array([0, 2]), positions=np.argwhere(mask).astype(np.int32), scores=mask.astype(np.float32),
        mask=mask, valid=mask[0], geometry=Geometry("crop", 28, 7, 4, 4, 28, 28, 28, 28, 0, 0, (0, 0, 28, 28), 0),
        preset="paper", params={},
    )  # fmt: skip
    # Centre of four patches of 7 samples at (14, 14); at (21, 7) likewise: four each, none of them diagonal ones away.
    assert methods.on_the_action(selection, acting, 28) == (8, 32)
    still = clips.Action(acting.centres, np.zeros(3, bool), 6.0)
    assert methods.on_the_action(selection, still, 28) == (0, 32)


def test_the_ablation_changes_one_thing_a_row(probe: Any) -> None:
    rows = probe.ablated()
    assert rows[0].overrides == {} and rows[-1].choice == "paper"
    ove = {**COMMON, **PRESETS["ove"]}
    changed = [row.overrides for row in rows[1:-1]]
    assert all(len(change) == 1 and all(ove[k] != v for k, v in change.items()) for change in changed)
    paper = {**COMMON, **PRESETS["paper"]}
    for name in PRESETS["ove"]:
        assert {name: paper[name]} in changed
    assert len(changed) == len({str(change) for change in changed})


@needs_x265
def test_runs_go_on_where_they_ended(
    probe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = tiny(probe)
    job = probe.Job(setting, tmp_path, 1, "cpu")
    methods = [probe.Method("uniform frames", "uniform frames"), probe.Method("ove", "ove")]
    for data in probe.SETS:
        job.clips(data).mkdir()
        probe.encode(setting.clips(data), job.clips(data))
        for method in methods:
            probe.run_method(setting, data, method, 1, job.clips(data), job.result_file(data, method), "cpu")
    file, clips = job.result_file("report", methods[1]), job.clips("report")
    first = json.loads(file.read_text())
    assert list(first["runs"]) == ["0"] and first["tokens_cpu_seconds"] > 0
    probe.run_method(setting, "report", methods[1], 2, clips, file, "cpu")
    both = json.loads(file.read_text())
    assert list(both["runs"]) == ["0", "1"] and both["runs"]["0"] == first["runs"]["0"]
    written = file.stat().st_mtime_ns
    probe.run_method(setting, "report", methods[1], 2, clips, file, "cpu")
    assert file.stat().st_mtime_ns == written
    names = [{clip.name for clip in setting.clips(data)} for data in probe.SETS]
    assert not names[0] & names[1] and all(len(n) == 18 for n in names)
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- motion-probe -->\n<!-- /motion-probe -->\nb\n")
    results = {data: job.results(data, methods) for data in probe.SETS}
    assert [len(part) for part in results.values()] == [2, 2]
    probe.motion_report.finish(setting, results, job.costs(), "cpu", tmp_path / "results", readme)
    text = readme.read_text()
    saved = json.loads((tmp_path / "results" / "motion-tiny.json").read_text())
    overall = [run["accuracy"]["overall"] for run in saved["report"][1]["runs"].values()]
    assert f"{100 * np.mean(overall):.1f} ± {100 * np.std(overall, ddof=1):.1f}" in text and "| `ove` |" in text
    assert saved["costs"]["cpu_seconds"] > 0 and text.endswith("<!-- /motion-probe -->\nb\n")
    if (tmp_path / "results" / "motion-tiny.svg").exists():
        assert "![Accuracy by choice of tokens](results/motion-tiny.svg)" in text
    # What another setting or preset gave is not taken for this one's.
    monkeypatch.setitem(PRESETS, "ove", {"percentile": 90.0})
    assert [result["label"] for result in job.results("report", methods)] == ["uniform frames"]


def test_training_learns_from_tokens(probe: Any) -> None:
    """Where the tokens give the class away, two short runs with one seed find it, and alike."""
    training = probe.motion_training
    rng = np.random.default_rng(0)
    labels = torch.arange(64) % 2 + 6  # to and fro, up and down: mirrors do not mix them with others
    steps = torch.linspace(0, 3, 8)
    along, still = steps.expand(64, -1), torch.full((64, 8), 1.5)
    across = labels[:, None] == 6
    positions = torch.stack([along, torch.where(across, still, along), torch.where(across, along, still)], -1)
    patches = torch.from_numpy(rng.standard_normal((64, 8, 12)).astype(np.float32))
    tokens = training.TokenSet(patches, positions, labels)
    config = training.Training(hidden=32, layers=1, heads=1, epochs=40, batch=16, learning_rate=3e-3, rope_theta=10.0)
    found = [training.train(tokens, tokens, config, 8, 2, 5, "cpu") for _ in range(2)]
    assert found[0]["predicted"] == found[1]["predicted"] and found[0]["losses"] == found[1]["losses"]
    assert (np.array(found[0]["predicted"]) == labels.numpy()).mean() > 0.8
    assert found[0]["losses"][-1] < found[0]["losses"][0]
