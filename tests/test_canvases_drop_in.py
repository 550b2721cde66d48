"""What takes the place of `codec-video-prep`: its function, its program and files, and vLLM's reading of videos."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ove_codec.canvases import (
    canvas_files,
    codec_canvases,
    patch_processor,
    process_codec_video,
    vllm,
    write_canvases,
)
from ove_codec.cli import preinfer
from support.clips import PICTURES, SIZE, moving_clip

MAX_PIXELS = 10_000
CONFIG: dict[str, Any] = {
    "target_canvas": 8,
    "group_size": 12,
    "images_per_group": 4,
    "patch": 14,
    "max_pixels": MAX_PIXELS,
}
COMMAND = (
    "--num_sampled_frames 24 --grouping_mode readiness --group_size 12 --images_per_group 4 --patch 14 "
    f"--max_pixels {MAX_PIXELS} --readiness_sum_threshold 0 --min_group_frames 8 --max_group_frames 64 "
    "--avoid_keyframes"
).split()


@pytest.fixture(scope="module")
def clip(stream_folder: Path) -> Path:
    return moving_clip(stream_folder)


def test_process_codec_video(clip: Path) -> None:
    wanted = codec_canvases(clip, **CONFIG)
    data = clip.read_bytes()
    configs = (CONFIG, SimpleNamespace(**CONFIG, spatial_mask_mode="off", timeout_seconds=7200, engine="cv-preinfer"))
    for video, config in zip((str(clip), data, io.BytesIO(data)), (*configs, CONFIG), strict=True):
        payload = process_codec_video(video, config)
        assert sorted(payload) == ["fps", "images", "meta", "out_dir", "src_positions"]
        assert all(isinstance(image, Image.Image) and image.mode == "RGB" for image in payload["images"])
        np.testing.assert_array_equal(np.stack([np.asarray(image) for image in payload["images"]]), wanted.images)
        np.testing.assert_array_equal(payload["src_positions"], wanted.src_positions)
        assert payload["fps"] == wanted.fps and isinstance(payload["fps"], float)


def test_process_codec_video_without_settings(clip: Path) -> None:
    payload = process_codec_video(clip)
    np.testing.assert_array_equal(payload["src_positions"], codec_canvases(clip).src_positions)
    with pytest.raises(ValueError, match="'dcvc-rt' is not part of ove_codec"):
        process_codec_video(clip, {"engine": "dcvc-rt"})


@pytest.mark.parametrize("image_format", ["jpg", "png", "npy"])
def test_the_program_writes_the_files(clip: Path, tmp_path: Path, image_format: str) -> None:
    out = tmp_path / "new" / "folder"
    ignored = ["--thread_count", "4", "--decode_backend", "cv_reader_pixels", "--parallel_decode_cv_reader"]
    arguments = ["--video", str(clip), "--out_dir", str(out), *COMMAND, "--canvas_format", image_format, *ignored]
    assert preinfer.main(arguments) == 0
    wanted = codec_canvases(clip, **CONFIG)
    meta = json.loads((out / "meta.json").read_text())
    assert meta["fps"] == wanted.fps == 25 and meta["mode"] == "default"
    assert meta["canvas_files"] == [f"canvas_{i:03}.{image_format}" for i in range(len(wanted))]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*meta["canvas_files"], "frame_ids.npy", "meta.json", "src_patch_position.npy"]
    )
    positions = np.load(out / "src_patch_position.npy")
    assert positions.dtype == np.int32
    np.testing.assert_array_equal(positions, wanted.src_positions)
    np.testing.assert_array_equal(np.load(out / "frame_ids.npy"), wanted.frame_ids)
    for name, image in zip(meta["canvas_files"], wanted.images, strict=True):
        path = out / name
        read = np.load(path) if image_format == "npy" else np.asarray(Image.open(path).convert("RGB"))
        if image_format == "jpg":
            luma = [np.asarray(Image.fromarray(rgb).convert("L"), int) for rgb in (read, image)]
            assert np.abs(luma[0] - luma[1]).mean() < 2
        else:
            np.testing.assert_array_equal(read, image)
    groups = meta["groups"]
    assert sum(group["num_canvases"] for group in groups) == len(wanted)
    assert all(sum(group["selected_blocks_per_frame"]) <= 4 * len(wanted.images[0]) for group in groups)
    assert [group["frame_ids"][0] for group in groups] == wanted.src_positions[:, 0].reshape(len(wanted), -1)[
        ::4, 0
    ].tolist()


def test_the_program_ends_with_1_after_an_error(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    cases = {
        "broken.mp4": ["--video", str(broken), "--out_dir", str(tmp_path / "out")],
        "max_group_frames": ["--video", str(clip), "--out_dir", str(tmp_path / "out"), "--min_group_frames", "200"],
    }
    for message, arguments in cases.items():
        assert preinfer.main(arguments) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        preinfer.main(["--video", str(clip), "--patch", "x", "--out_dir", "y"])
    assert ended.value.code == 1 and "--patch" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_program_s_settings(clip: Path, tmp_path: Path) -> None:
    more = [
        "--frame_sampling_mode", "fps", "--sample_fps", "12.5", "--no_avoid_keyframes", "--grouping_mode", "fixed",
        "--block_size", "1", "--bitcost_pct", "95", "--iframe_score_clip_mode", "non_i_percentile", "--mode", "legacy",
        "--bitcost_grid", "sub",
        "--readiness_sum_threshold_mode", "clamped_sqrt_bpppf",
    ]  # fmt: skip
    assert preinfer.main(["--video", str(clip), "--out_dir", str(tmp_path), *COMMAND, *more]) == 0
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["mode"] == "legacy" and meta["block_size"] == 1
    assert np.load(tmp_path / "frame_ids.npy").tolist() == list(range(0, PICTURES, 2))
    assert [group["group_stop_reason"] for group in meta["groups"]] == ["fixed_group_size"]
    assert meta["config"]["bitcost_grid"] == "sub"
    assert meta["config"]["cap_intra"] == 95 and meta["config"]["percentile"] == 95


def test_the_program_s_threshold_belongs_to_two_modes() -> None:
    arguments = ["--video", "x", "--out_dir", "y", "--readiness_sum_threshold", "5", "--readiness_sum_threshold_mode"]
    found = {
        mode: preinfer.settings_of(preinfer.make_parser().parse_args([*arguments, mode]))["threshold"]
        for mode in ("legacy", "auto", "fixed", "clamped_sqrt_bpppf")
    }
    assert found == {"legacy": 5, "auto": None, "fixed": 5, "clamped_sqrt_bpppf": None}


def test_the_installed_program() -> None:
    program = Path(sys.executable).with_name("ove-cv-preinfer")
    if not program.exists():
        pytest.skip("the package is not installed here")
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    assert "--num_sampled_frames" in done.stdout


def test_files_of_other_formats_are_refused(clip: Path, tmp_path: Path) -> None:
    canvases = codec_canvases(clip, **CONFIG)
    with pytest.raises(ValueError, match="one of jpg, png, npy, not 'gif'"):
        canvas_files(canvases, "gif")
    paths = write_canvases(canvases, tmp_path, "png", video="x")
    assert paths[-1].name == "meta.json" and json.loads(paths[-1].read_text())["video"] == "x"


@pytest.mark.parametrize("image_format", ["jpg", "png", "npy"])
def test_files_written_by_threads_are_those_in_memory(clip: Path, tmp_path: Path, image_format: str) -> None:
    canvases = codec_canvases(clip, **CONFIG)
    paths = write_canvases(canvases, tmp_path, image_format, threads=3)
    contents = canvas_files(canvases, image_format, out_dir=str(tmp_path))
    assert {path.name: path.read_bytes() for path in paths} == contents
    assert [path.name for path in paths] == list(contents)


# A stub of the two modules that vLLM's reading of codec videos is made of, and of the checkpoint's helper.


class _Processor:
    """As the checkpoint's: canvases by its helper's function, one grid row a video, or one a canvas."""

    def __init__(self, helper: ModuleType, joined: bool) -> None:
        self.helper, self.joined = helper, joined

    def __call__(self, paths: list[str]) -> dict[str, Any]:
        grids, positions = [], []
        for path in paths:
            payload = self.helper.process_codec_video(path, SimpleNamespace(**CONFIG))
            count = len(payload["images"])
            width, height = payload["images"][0].size
            grid = [count, height // 14, width // 14]
            grids += [grid] if self.joined else [[1, *grid[1:]]] * count
            positions.append(payload["src_positions"])
        return {"pixel_values": 0, "image_grid_thw": _Tensor(grids), "patch_positions": np.concatenate(positions)}


class _Tensor(np.ndarray[Any, Any]):
    def __new__(cls, values: Any) -> _Tensor:
        return np.asarray(values).view(cls)

    def new_tensor(self, values: Any) -> _Tensor:
        return _Tensor(values)


class _MultiModalProcessor:
    def _rename_codec_outputs_to_video(self, data: dict[str, Any], paths: list[str], processor: Any) -> dict[str, Any]:
        grid = data["video_grid_thw"] = data.pop("image_grid_thw")
        counts = [int(grid[:, 0].sum())] + [0] * (len(paths) - 1)  # the first has them all
        return {**data, "video_num_frames": _Tensor(counts)}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Any:
    """vLLM's module with a processor whose canvases lie in rows of their own, or joined for the model "joined"."""
    name = "vllm.model_executor.models.llava_onevision2"
    for i in range(1, 4):
        monkeypatch.setitem(sys.modules, ".".join(name.split(".")[:i]), ModuleType("parent"))
    host: Any = ModuleType(name)
    helper = ModuleType("checkpoint_code.codec_video_processing_llava_onevision2")
    monkeypatch.setitem(sys.modules, "checkpoint_code", ModuleType("checkpoint_code"))
    monkeypatch.setitem(sys.modules, helper.__name__, helper)
    monkeypatch.setattr(_Processor, "__module__", "checkpoint_code.processing_llava_onevision2")

    @lru_cache
    def load(model: str) -> _Processor:
        host.loads += 1
        return _Processor(helper, model == "joined")

    class Loaded(_MultiModalProcessor):
        pass

    host.loads, host._CODEC_FPS_CACHE, host._load_ov2_processor = 0, {}, load
    host.LlavaOnevision2MultiModalProcessor, host.helper = Loaded, helper
    monkeypatch.setitem(sys.modules, name, host)
    return host


def test_vllm_is_left_alone_unless_asked(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = host._load_ov2_processor
    for value in (None, "0", ""):
        monkeypatch.delenv("OVE_CODEC_VLLM", raising=False)
        if value is not None:
            monkeypatch.setenv("OVE_CODEC_VLLM", value)
        vllm.register()
        assert host._load_ov2_processor is before


def test_vllm_reads_videos_by_ove_codec(host: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVE_CODEC_VLLM", "1")
    vllm.register()
    loader = host._load_ov2_processor
    vllm.register()  # in every process, and more than once
    assert host._load_ov2_processor is loader
    short = tmp_path / "short.mp4"
    short.write_bytes(moving_clip(tmp_path, "s.mp4", SIZE, 6).read_bytes())
    paths = [str(clip), str(short)]
    counts = [len(codec_canvases(path, **CONFIG)) for path in paths]
    assert counts[0] > counts[1] == 4
    for model, wanted in (("rows", counts), ("joined", [1, 1])):
        processor = loader(model)
        assert loader(model) is processor
        data = host.LlavaOnevision2MultiModalProcessor()._rename_codec_outputs_to_video(
            processor(paths), paths, processor
        )
        assert data["video_num_frames"].tolist() == wanted
        rows = np.cumsum(wanted)
        assert rows[-1] == len(data["video_grid_thw"])
    assert host.loads == 2 and loader.cache_info().misses == 2
    assert dict.fromkeys(paths, 25.0) == host._CODEC_FPS_CACHE


def test_other_versions_of_vllm_are_read_as_far_as_they_are_known(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVE_CODEC_VLLM", "1")
    monkeypatch.delattr(_MultiModalProcessor, "_rename_codec_outputs_to_video")
    vllm.register()
    assert host._load_ov2_processor("rows").helper is host.helper and hasattr(host.helper, "process_codec_video")
    monkeypatch.delattr(host, "_load_ov2_processor")
    vllm.register()


def test_without_vllm_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVE_CODEC_VLLM", "1")
    monkeypatch.setitem(sys.modules, "vllm", None)
    vllm.register()


def test_processors_of_transformers_can_be_changed(host: Any, clip: Path) -> None:
    assert patch_processor(_Processor(host.helper, True)) == [host.helper.__name__]
    assert host.helper.process_codec_video is process_codec_video
    assert patch_processor(SimpleNamespace()) == []


def test_data_sets(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    from ove_codec.cli import main
    from ove_codec.datasets import write_report

    moving_clip(tmp_path, "a.mp4")
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no video")
    table = tmp_path / "clips.jsonl"
    table.write_text('{"video": "a.mp4", "id": 7, "conversations": []}\n{"video": "b.mp4", "id": 8}\n')
    settings = [text for name, value in CONFIG.items() for text in ("--set", f"{name}={value}")]
    command = ["select-dataset", str(table), str(tmp_path / "out"), "--format", "canvases", "--workers", "1", *settings]
    assert main(command) == 0
    (line,) = map(json.loads, (tmp_path / "out" / "data.jsonl").read_text().splitlines())
    wanted = codec_canvases(tmp_path / "a.mp4", **CONFIG)
    assert line["id"] == 7 and line["conversations"] == [] and line["fps"] == 25
    assert [Path(name).name for name in line["canvases"]] == [f"canvas_{i:03}.jpg" for i in range(len(wanted))]
    assert all((tmp_path / "out" / name).exists() for name in line["canvases"])
    np.testing.assert_array_equal(np.load(tmp_path / "out" / line["src_patch_position"]), wanted.src_positions)
    capsys.readouterr()
    assert main(command) == 0 and "1 finished before" in capsys.readouterr().out
    assert main([*command, "--set", "patch=16"]) == 1 and "other settings (params)" in capsys.readouterr().err
    report = write_report(tmp_path / "out", tmp_path / "report.html")
    assert report.clips == 1
    for wrong, message in (
        (["--set", "pach=1"], "unknown setting pach"),
        (["--set", "patch"], "write NAME=VALUE"),
        (["--score", "heat"], "score must be"),
        (["--size", "224"], "size: with --format canvases, use"),
        (["--tokens", "float16"], "has no tokens"),
    ):
        target = ["select-dataset", str(table), str(tmp_path / "x"), "--format", "canvases", *wrong]
        assert main(target) == 1 and message in capsys.readouterr().err
