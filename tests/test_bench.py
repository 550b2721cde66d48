"""The benchmark measures, says what it could not measure, and puts its table where the README wants it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import ove_codec
from ove_codec import cuda, ops
from support import clips, ffmpeg, twin

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import run

    return run


def fake_result(codec: str = "hevc", **changes: float) -> dict[str, Any]:
    seconds = {
        **{"pyav decode 1": 1.0, "pyav decode 2": 0.5, "libavcodec decode 1": 1.1, "ove read 1": 0.25},
        **{
            "ove read 2": 0.125,
            "ove select 1": 0.2,
            "ove tokens 1": 0.9,
            "torchcodec uniform_own 1": 1.8,
            "torchcodec uniform_torch 1": 1.9,
        },
    }
    seconds |= changes
    clip = {
        **{"clip": "720p, B", "codec": codec, "width": 1280, "height": 720, "pictures": 60, "video_seconds": 2.0},
        **{"kbit_per_second": 2500.0, "b_pictures": 40, "pictures_that_64_need": 50},
        # The whole machine was slow in the second turn.
        **{"seconds": seconds, "turns": {key: [value, 3 * value, value] for key, value in seconds.items()}},
        **{"counts": {"ove read 1": 60, "decord decode 1": 59}},
        "errors": {"opencv decode 1": "Error: no"},
    }
    peaks = {"ove read 2": [100.0, 110.0], "ove tokens 2": [200.0, None], "pyav decode 2": [90.0, 90.0]}
    return {
        "machine": {"cpu": "A CPU", "cores": 2, "system": "Linux", "python": "3"},
        **{"runs": 5, "versions": {"ove": "1", "pyav": "2"}, "missing": {"torchcodec": "ImportError: not here"}},
        **{"clips": [clip], "memory": [{"clip": "long", "video_seconds": [60, 600], "peak_mb": peaks}]},
        "import": {"seconds": 0.2, "numpy_seconds": 0.1, "torch": False},
    }


@pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
def test_measurement(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    import clips

    monkeypatch.setitem(clips.SIZES, "360p", (96, 64))
    clips.encode([clips.QUICK], tmp_path)
    clip = clips.QUICK.path(tmp_path)
    assert not (tmp_path / "scene.yuv").exists()
    assert len(ove_codec.open(clips.repeated(clip, 3))) == 3 * clips.FRAME_RATE
    (tmp_path / "decord.py").write_text("raise ImportError('broken\\nhere')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    assert bench.Worker("decord", 1).missing == "ImportError: broken"

    workers = {(library, 1): bench.Worker(library, 1) for library in ("ove", "pyav")}
    report = bench.measure(clip, workers, 2)
    assert set(report["seconds"]) == {"pyav decode 1", "ove read 1", "ove select 1", "ove tokens 1"}
    assert report["counts"]["pyav decode 1"] == report["counts"]["ove read 1"] == 30
    assert set(report["turns"]) == set(report["seconds"])
    assert all(len(times) == 2 and sum(times) / 2 == report["seconds"][key] for key, times in report["turns"].items())
    assert report["errors"] == {}

    failed = bench.measure(tmp_path / "decord.py", workers, 1)
    assert failed["seconds"] == {} and set(failed["errors"]) == set(report["seconds"])
    workers["pyav", 1].process.kill()
    ended = bench.measure(clip, workers, 1)
    assert set(ended["seconds"]) == {"ove read 1", "ove select 1", "ove tokens 1"}
    assert "status -9" in ended["errors"]["pyav decode 1"]
    for worker in workers.values():
        worker.close()
    facts = bench.describe("small", clip)
    assert (facts["width"], facts["height"], facts["pictures"]) == (96, 64, 30)


def test_ratios_are_those_within_a_turn(bench: ModuleType) -> None:
    clip = {"turns": {"a": [2.0, 8.0, 3.0], "b": [1.0, 2.0, 3.0]}}
    assert bench.report.quotient(clip, "a", "b") == 2  # of 2, 4 and 1; that of the medians is 1.5
    assert bench.report.quotient(clip, "a", "c") is None


def test_cores(bench: ModuleType) -> None:
    import os

    assert sorted(bench.jobs.cores()) == sorted(os.sched_getaffinity(0))


def test_report(bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    bench.report.finish(fake_result(), tmp_path / "results", readme)
    text = capsys.readouterr().out
    assert "| 1.00 | 0.500 (2.00x) | 1.10 (1.10) |" in text
    assert "| 0.250 (4.00x) | 0.125 (2.00x) | 0.200 (0.80) | 0.900 (0.90) |" in text
    assert "| - | failed | " in text
    assert "missed" not in text
    assert "torchcodec was not measured: ImportError: not here." in text
    assert "opencv decode 1: Error: no." in text
    assert "decord decode 1 gave 59 of 60 pictures" in text
    filled = readme.read_text()
    assert filled.startswith("before\n<!-- bench -->\n") and filled.endswith("<!-- /bench -->\nafter\n")
    assert "\nold\n" not in filled and text.splitlines()[0] in filled
    saved = json.loads((tmp_path / "results" / "cpu.json").read_text())
    assert saved["clips"][0]["ratios"]["read"] == 4
    assert all(target["met"] for target in saved["targets"])


@pytest.mark.parametrize(
    ("codec", "key", "seconds", "shown"),
    [
        ("hevc", "ove read 1", 0.5, "**2.00x**"),
        ("h264", "ove read 1", 0.37, "**2.70x**"),
        ("hevc", "ove read 2", 0.2, "**1.25x**"),
        ("hevc", "ove select 1", 0.3, "**1.20**"),
        ("h264", "ove select 1", 0.45, "0.45 | 720p, B | **missed**"),
        ("hevc", "ove tokens 1", 1.2, "**1.20**"),
        ("hevc", "torchcodec uniform_torch 1", 0.9, "**1.00x**"),
    ],
)
def test_missed_targets_show(
    bench: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    codec: str,
    key: str,
    seconds: float,
    shown: str,
) -> None:
    bench.report.finish(fake_result(codec, **{key: seconds}), tmp_path, None)
    text = capsys.readouterr().out
    assert shown in text and "**missed**" in text


def test_plot_is_deterministic(bench: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = [tmp_path / name for name in ("a.svg", "b.svg")]
    for path in paths:
        bench.report.plot(fake_result(), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "720p, B" in paths[0].read_text()


def test_charts_show_the_tables(bench: ModuleType, tmp_path: Path) -> None:
    """The dots are the figures of the tables: each on its row, in units of the axis."""
    pytest.importorskip("matplotlib")
    import charts

    page = charts.MEASUREMENTS.read_text(encoding="utf-8")
    for name, make in charts.OF_TABLES.items():
        chart = make(page)
        charts.draw(chart, tmp_path / f"{name}.svg")
        drawn, kept = ((folder / f"{name}.svg").read_text() for folder in (tmp_path, charts.RESULTS))
        places = [np.array(re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', text), float) for text in (drawn, kept)]
        dots = [value for panel in chart.panels.values() for values in panel.values() for value in values]
        assert len(places[0]) > len(dots) - dots.count(None)
        np.testing.assert_allclose(
            places[0], places[1], atol=3, err_msg=f"{name}.svg is not of the table: run bench/charts.py"
        )
        assert all(f">{row}<" in kept for row in chart.rows)
    encoder = charts.encoder(page).panels[""]
    first = charts.tables(page, "encoder")[0][0]
    assert encoder["packed tokens"][0] == float(first["packed tokens"].split(" ")[0])
    assert encoder["all patches embedded, eager attention"][-1] is None
    h264, row = charts.h264(page).panels["one thread"], charts.tables(page, "h264")[0][3]
    share = float(row["select + tokenize (share of PyAV)"].split("(")[1].strip("*)"))
    assert h264["select + tokenize"][3] == pytest.approx(share, abs=0.01)
    with pytest.raises(ValueError, match="no marks <!-- gone -->"):
        charts.tables(page, "gone")


def test_scene(bench: ModuleType) -> None:
    import scene

    width, height = 64, 48
    shown = [np.frombuffer(frame, np.uint8) for frame in scene.frames(width, height, 4)]
    assert [len(frame) for frame in shown] == [width * height * 3 // 2] * 4
    assert b"".join(scene.frames(width, height, 4)) == b"".join(frame.tobytes() for frame in shown)
    luma = np.array([frame[: width * height] for frame in shown], float)
    assert luma.std() > 10
    steps = abs(np.diff(luma, axis=0)).mean(axis=1)
    assert steps[0] > 1 and steps[2] > 3 * steps[0], "the camera moves, and there is a cut"


def test_interpolation_on_grid(bench: ModuleType) -> None:
    import scene

    rng = np.random.default_rng(0)
    plane = rng.random((16, 16), np.float32)
    y, x = rng.uniform(-20, 40, (2, 10)).astype(np.float32)
    grid = scene.between(plane, y, x)
    points = scene.between(plane, *map(np.ascontiguousarray, np.meshgrid(y, x, indexing="ij")))
    np.testing.assert_allclose(grid, points, atol=1e-5)
    on_sample = scene.between(plane, np.array([3], np.float32), np.array([5], np.float32))
    assert on_sample == plane[3, 5]


def load_cuda_bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    spec = spec_from_file_location("cuda_bench", ROOT / "bench" / "cuda.py")
    assert spec and spec.loader
    cuda_bench = module_from_spec(spec)
    spec.loader.exec_module(cuda_bench)
    return cuda_bench


def test_what_the_kernels_are_compared_with_does_the_same_job(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda_bench = load_cuda_bench(monkeypatch)
    random = np.random.default_rng(2)
    frames, height, width = 3, 90, 160
    planes = [
        torch.from_numpy(
            random.integers(115, 141, shape, dtype=np.uint8).repeat(5, 1).repeat(5, 2)
        )  # no colour is clipped
        for shape in ((frames, height // 5, width // 5), (frames, 9, 16), (frames, 9, 16))
    ]
    assert planes[1].shape == (frames, height // 2, width // 2)
    positions = torch.tensor([(0, 0, 0), (0, 15, 15), (2, 3, 9)])
    ours = ops.gather_patches(
        [ops.ClipPlanes(planes)], positions, torch.tensor([0, 3], dtype=torch.int32),
        resize="crop", size=224, patch_size=14,
    )  # fmt: skip
    theirs = cuda_bench.torch_patches(planes, positions, torch.float32)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=0.06)  # its chroma is interpolated twice

    mv = random.integers(-60, 60, (2, 180, 320, 2), dtype=np.int16)
    residual = random.integers(-40, 40, (2, 720, 1280), dtype=np.int16)
    selection = ove_codec.select_arrays(mv, residual, budget=9)
    scores = cuda_bench.torch_scores(torch.from_numpy(mv), torch.from_numpy(residual))
    np.testing.assert_allclose(scores.numpy(), selection.scores, rtol=1e-3)

    mv, residual = (np.concatenate([a, a[::-1] // 2, a // 3]) for a in (mv, residual))
    both = np.stack([mv, np.zeros_like(mv)], 3)
    previous = np.broadcast_to(np.arange(-1, 5, dtype=np.int32)[:, None, None, None], both.shape[:4])
    accumulated = ove_codec.select_arrays(
        both, residual, ref_poc=previous, poc=np.arange(6), pred=np.ones(both.shape[:3], np.uint8), preset="ove",
        frame_ids=[1, 2, 5], budget=9,
    )  # fmt: skip
    sums = cuda_bench.torch_accumulated_scores(
        torch.from_numpy(mv), torch.from_numpy(residual), torch.tensor([1, 2, 5])
    )
    np.testing.assert_allclose(sums.numpy(), accumulated.scores, rtol=1e-3)


def test_the_benchmark_of_the_gpu_on_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """All its jobs run, on less of everything, once and without a clock."""
    twin.put_in_place(monkeypatch)
    cuda_bench = load_cuda_bench(monkeypatch)
    small = {
        "FRAMES": 3,
        "TOKENS": 20,
        "SAMPLED": 2,
        "EMBEDDED": (20, 5000),
        "MULTIPLIED": 16,
        "HIDDEN": 8,
        "CLIPS": 3,
        "ROWS": (10,),
        "COPIED": 1 << 10,
        "WIDTH": 320,
        "HEIGHT": 192,
    }
    for name, value in small.items():
        monkeypatch.setattr(cuda_bench, name, value)
    ran = []

    def once(jobs: Sequence[Callable[[], object]], runs: int) -> float:
        for job in jobs:
            job()
        ran.append(runs)
        return 1.0

    monkeypatch.setattr(cuda_bench, "milliseconds", once)
    monkeypatch.setattr(cuda_bench, "rotated", lambda moved, device: range(2))
    result = {
        "device": "none",
        "torch": "0",
        "end_to_end": [],
        **cuda_bench.kernels(1, torch.device("cpu")),
    }
    report = cuda_bench.report(result).split("\n")
    # A copy and a product; kernels and what they are compared with; embeddings of two numbers of patches by two models.
    assert len(ran) == 2 + 2 * 8 + 4 * 3
    embedded = [line.split(" | ")[:2] for line in report if line.startswith(("| 20 |", "| 768 |"))]
    assert embedded == [[f"| {n}", width] for width in ("768", "1024") for n in (20, 768)]  # all there are


def test_the_bound_of_what_fusing_could_save(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import fused_embedding

    assert fused_embedding.MODELS == {"base": 768, "large": 1024} and fused_embedding.PLANE_BYTES == 45 * 45 * 3 // 2
    # Without products: planes, rows twice, weights and values; without memory: the products.
    memory = fused_embedding.seconds(10, 4, 1.0, float("inf"))
    assert memory.apart == 30370 + 4 * 5880 + 4704 + 80
    assert memory.apart_cached == memory.fused == 30370 + 4704 + 80
    products = fused_embedding.seconds(10, 4, float("inf"), 1.0)
    assert products.apart == products.apart_cached == products.fused == 2 * 10 * 588 * 4
    assert len(fused_embedding.table().split("\n")) == 2 + 2 * 2 * 4


def test_the_benchmark_of_the_gpu_tells_why_it_cannot_run() -> None:
    if cuda.available():
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, "bench/cuda.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"bench/cuda.py needs a GPU: {cuda.unavailable_reason()}\n"


@pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
def test_routes(stream_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import routes

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(routes, "HOW", {"preset": "paper", "num_frames": 8, "size": 56, "budget": 60})
    monkeypatch.setattr(routes, "CODECS", {name: routes.CODECS[name] for name in ("HEVC", "MPEG-4")})
    page, results = tmp_path / "page.md", tmp_path / "routes.json"
    page.write_text("before\n<!-- routes -->\nold\n<!-- /routes -->\nafter\n")
    arguments = ["--source", str(clips.moving_clip(stream_folder)), "--seconds", "1", "--runs", "1"]
    monkeypatch.setattr("sys.argv", ["routes.py", *arguments, "--results", str(results), "--readme", str(page)])
    routes.main()
    lines = json.loads(results.read_text())["lines"]
    assert [(line["codec"], line["route"]) for line in lines] == [
        ("HEVC", "native"),
        ("MPEG-4", "vectors alone"),
        ("MPEG-4", "transcode"),
    ]
    assert lines[0]["shared"] == 1 and all(line["seconds"] > 0 and line["decode"] > 0 for line in lines)
    text = page.read_text()
    assert text.startswith("before\n<!-- routes -->\n") and text.endswith("<!-- /routes -->\nafter\n")
    assert text.count("| MPEG-4 |") == 2 and "old" not in text
