"""Selections and tokens made on a GPU are those of the CPU: on a GPU where there is one, and on the kernels' twin."""

from __future__ import annotations

import copy
import dataclasses
import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ove_codec
from ove_codec import _core, _cuda_backend, _cuda_scorer, _jobs, cuda, ops
from ove_codec.ops import patches as patch_ops
from ove_codec.ops import rows as row_ops
from support import ffmpeg, scenes, twin
from support.twin import assert_close, same

PRESETS: list[tuple[str, dict[str, Any]]] = [
    ("paper", {"budget": 300}),
    ("paper", {"budget": 5, "keep_first_frame": False}),
    ("paper", {"tau": 0.2, "num_frames": 7}),
    ("paper", {"tau": 2.0, "keep_first_frame": False}),
    ("paper", {"budget": 200, "percentile_scope": "clip", "bits_weight": 0.3, "i_pictures": "keep"}),
    ("paper", {"budget": 200, "compensate": "mean", "vector": "both", "resize": "letterbox", "padding": "zero"}),
    ("paper", {"budget": 200, "compensate": "affine", "vector": "displacement", "resize": "native"}),
    ("llava", {"num_frames": 5, "budget": 700}),
    ("probe", {"num_frames": 12, "budget": 400}),
    ("probe", {"num_frames": 6, "budget": 100, "percentile_scope": "clip", "static_level": 0.9}),
    ("bitcost", {"budget": 100, "size": 98}),
    ("paper", {"budget": 200, "local_variance": 5, "compensate": "median", "vector": "both"}),
    ("probe", {"num_frames": 6, "budget": 100, "local_variance": True}),
    ("paper", {"budget": 200, "intra_blocks": "median", "compensate": "similarity"}),
    ("paper", {"budget": 200, "intra_blocks": "max", "vector": "both", "compensate": "mean", "local_variance": 3}),
    ("paper", {"budget": 90, "sampling": "bits", "num_frames": 4, "intra_blocks": "zero"}),
    ("ove", {"budget": 300}),
    ("ove", {"num_frames": 4, "budget": 90}),
    ("ove", {"num_frames": 3, "tau": 0.25, "accumulate": "max"}),
    ("ove", {"num_frames": 3, "budget": 90, "percentile_scope": "clip", "bits_weight": 0.4, "i_pictures": "keep"}),
    ("ove", {"num_frames": 3, "budget": 90, "percentile_scope": "clip", "bits_weight": 0.4, "accumulate": "max"}),
    ("ove", {"frame_ids": [1, 4], "budget": 50, "vector": "both", "compensate": "similarity", "intra_blocks": "max"}),
    ("ove", {"start": 0.05, "end": 0.19, "num_frames": 2, "budget": 50, "fuse": "max", "intra_blocks": "median"}),
    ("ove", {"num_frames": 3, "budget": 60, "sampling": "bits", "local_variance": 3, "i_pictures": "as_coded"}),
    ("probe", {"num_frames": 3, "budget": 60, "accumulate": "sum", "local_variance": 3}),
    ("llava", {"num_frames": 2, "budget": 700, "accumulate": "max"}),
    ("bitcost", {"num_frames": 3, "budget": 100, "size": 98, "accumulate": "sum"}),
]


def make_clip(
    folder: Path, name: str, size: tuple[int, int], frames: int, pixel_format: str = "yuv420p", x265: str = "bframes=3"
) -> Path:
    path = folder / f"cuda-{name}.mp4"
    if not path.exists():
        ffmpeg.encode(scenes.moving_scene(size, frames, pixel_format, seed=7), size, pixel_format, x265, path)
    return path


@pytest.fixture(scope="module")
def clips(stream_folder: Path) -> dict[str, Path]:
    return {
        "b": make_clip(stream_folder, "b", (192, 112), 14),
        "odd": make_clip(stream_folder, "odd", (150, 86), 6),
        "ten": make_clip(stream_folder, "ten", (128, 96), 5, "yuv420p10le"),
    }


@pytest.mark.parametrize(("preset", "params"), PRESETS, ids=lambda p: str(p)[:60])
@pytest.mark.parametrize("clip", ["b", "odd", "ten"])
def test_selections(device: str, clips: dict[str, Path], clip: str, preset: str, params: dict[str, Any]) -> None:
    same(
        ove_codec.select(clips[clip], preset, device=device, **params), ove_codec.select(clips[clip], preset, **params)
    )


@pytest.mark.parametrize("scope", ["frame", "clip"])
@pytest.mark.parametrize("preset", ["paper", "probe", "ove"])
def test_heat(device: str, clips: dict[str, Path], preset: str, scope: Any) -> None:
    there = ove_codec.select(clips["b"], preset, device=device, num_frames=6, budget=50, percentile_scope=scope)
    here = ove_codec.select(clips["b"], preset, num_frames=6, budget=50, percentile_scope=scope)
    for t in range(len(here.frame_ids)):
        assert_close(there.heat(t), here.heat(t), here.params)
    with pytest.raises(IndexError, match="t must be from 0 to 5, not 6"):
        there.heat(len(here.frame_ids))


@pytest.mark.parametrize("most_bytes", [1, 1_000_000], ids=["one at a time", "some"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"preset": "ove", "num_frames": 4},
        {"preset": "ove", "num_frames": 4, "accumulate": "max", "bits_weight": 0.4},
        {"preset": "ove", "num_frames": 4, "percentile_scope": "clip", "compensate": "affine"},
    ],
    ids=str,
)
def test_pictures_in_several_parts(
    device: str, clips: dict[str, Path], params: dict[str, Any], most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cuda_scorer, "_MOST_BYTES", most_bytes)
    there = ove_codec.select(clips["b"], device=device, budget=90, **params)
    here = ove_codec.select(clips["b"], budget=90, **params)
    same(there, here)
    assert_close(there.heat(2), here.heat(2), here.params)


@pytest.mark.parametrize("clip", ["b", "odd", "ten", "lossless", "skip"])
@pytest.mark.parametrize("accumulate", ["none", "sum", "max"])
def test_residuals(device: str, stream_folder: Path, clips: dict[str, Path], accumulate: str, clip: str) -> None:
    """Of all kinds of blocks."""
    options = {"lossless": "lossless=1:bframes=2", "skip": "tskip=1:qp=12:bframes=2:scaling-list=default"}
    source = clips[clip] if clip in clips else make_clip(stream_folder, clip, (96, 80), 5, x265=options[clip])
    params: dict[str, Any] = {"budget": 90, "mv_weight": 0.0, "accumulate": accumulate}
    if accumulate != "none":
        params["num_frames"] = 3
    there = ove_codec.select(source, device=device, **params)
    here = ove_codec.select(source, **params)
    same(there, here)
    np.testing.assert_array_equal(there.cpu().scores, here.scores)
    np.testing.assert_array_equal(there.heat(2).cpu().numpy(), here.heat(2))


@pytest.mark.parametrize("preset", ["paper", "ove"])
def test_selections_on_both_have_the_same_methods(
    device: str, clips: dict[str, Path], preset: str, tmp_path: Path
) -> None:
    """What percentiles of the clip depend on goes along wherever the selection goes."""
    params: dict[str, Any] = {"num_frames": 5, "budget": 50, "percentile_scope": "clip"}
    here = ove_codec.select(clips["b"], preset, **params)
    there = ove_codec.select(clips["b"], preset, device=device, **params)
    assert here.cpu() is here
    there.save(tmp_path / "there.npz")
    for back in (there.cpu(), ove_codec.Selection.load(tmp_path / "there.npz")):
        np.testing.assert_array_equal(back.scales, here.scales)
        np.testing.assert_array_equal(back.heat(1), here.heat(1))
        np.testing.assert_array_equal(back.positions, here.positions)
    for one, other in zip(there.heats(), here.heats(), strict=True):
        assert_close(one, other, here.params)


def count_work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels' functions that are called from now on, and "copy" for every copy to the device."""
    calls: list[str] = []
    real_upload, real_send, real_queue = cuda.upload, cuda.Upload.send, _cuda_scorer.ClipScorer._queue

    def upload(*arguments: Any) -> Any:
        calls.append("copy")
        return real_upload(*arguments)

    def send(self: Any) -> None:
        calls.append("copy")
        real_send(self)

    def queue(self: Any, step: str, *arguments: int) -> None:
        calls.append(step)
        real_queue(self, step, *arguments)

    monkeypatch.setattr(cuda, "upload", upload)
    monkeypatch.setattr(cuda.Upload, "send", send)
    monkeypatch.setattr(_cuda_scorer.ClipScorer, "_queue", queue)
    return calls


@pytest.mark.parametrize("preset", ["paper", "probe"])
def test_pictures_that_count_alone_are_scored_where_they_are_decoded(
    clips: dict[str, Path], preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = twin.put_in_place(monkeypatch)
    calls = count_work(monkeypatch)
    there = ove_codec.select(clips["b"], preset, device=device, budget=30)
    assert isinstance(there.scores, torch.Tensor)
    assert not {"take_in", "measure", "score"} & set(calls)


@pytest.mark.parametrize("preset", ["paper", "ove", "probe"])
def test_a_clip_takes_few_operations(stream_folder: Path, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(stream_folder, "long", (96, 64), 64)
    device = twin.put_in_place(monkeypatch)
    calls = count_work(monkeypatch)
    before = twin.operations()
    selection = ove_codec.select(clip, preset, device=device, num_frames=64, budget=300, percentile_scope="clip")
    assert len(selection.frame_ids) == 64
    assert calls.count("score") == calls.count("take_in") == 1
    assert twin.operations() - before + calls.count("copy") <= 60


def test_a_clip_that_fits_is_measured_at_once(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What pictures share is not counted for each of them."""
    device = twin.put_in_place(monkeypatch)
    module = twin.load()
    picture = next(iter(ove_codec.open(clips["b"])))
    scorer = _core.Scorer(ove_codec.presets.resolve("paper", {}), picture.window)
    plan = _core.HeatPlan(scorer, picture.ctb_size)
    monkeypatch.setattr(_cuda_scorer, "_MOST_BYTES", module.clip_bytes(plan.tables, 14, 14))
    selection = ove_codec.select(clips["b"], device=device, budget=90)
    calls = count_work(monkeypatch)
    assert len(list(selection.heats())) == 14
    assert calls.count("measure") == 1


def test_intra_pictures_only(device: str, stream_folder: Path) -> None:
    clip = make_clip(stream_folder, "intra", (96, 64), 4, x265="keyint=1")
    for preset in ("paper", "probe", "ove"):
        there = ove_codec.select(clip, preset, device=device, budget=60, num_frames=3)
        here = ove_codec.select(clip, preset, budget=60, num_frames=3)
        same(there, here)
        assert_close(there.heat(1), here.heat(1), here.params)


def test_results_go_on_without_copies(device: str, clips: dict[str, Path]) -> None:
    there = ove_codec.select(clips["b"], device=device, budget=30)
    tokens = ove_codec.tokenize(clips["b"], there, device=device)
    for tensor in (there.positions, there.scores, tokens.patches, tokens.positions, tokens.cu_seqlens):
        again = torch.from_dlpack(tensor)
        assert again.data_ptr() == tensor.data_ptr()
    here = there.cpu()
    assert np.from_dlpack(here.scores).__array_interface__["data"] == here.scores.__array_interface__["data"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("clip", ["b", "odd", "ten"])
def test_tokens(device: str, clips: dict[str, Path], clip: str, dtype: torch.dtype) -> None:
    selection = ove_codec.select(clips[clip], budget=120, num_frames=5)
    here = ove_codec.tokenize(clips[clip], selection, dtype=dtype)
    there = ove_codec.tokenize(clips[clip], selection, device=device, dtype=dtype)
    assert there.patches.dtype == dtype
    assert torch.equal(there.patches.cpu(), here.patches)
    assert torch.equal(there.positions.cpu(), here.positions)
    assert torch.equal(there.cu_seqlens.cpu(), here.cu_seqlens)


@pytest.mark.parametrize("chunk", [1, 30_000])
def test_tokens_of_a_batch_in_several_chunks(
    device: str, clips: dict[str, Path], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cuda_backend, "_CHUNK_BYTES", chunk)
    sources = [clips["b"], clips["ten"], clips["odd"]]
    params: list[dict[str, Any]] = [
        {"budget": 100}, {"tau": 5.0, "keep_first_frame": False}, {"budget": 40, "resize": "stretch"},
    ]  # fmt: skip
    selections = [ove_codec.select(s, device=device, **p) for s, p in zip(
        sources, params,
        strict=True,
    )]  # fmt: skip
    assert len(selections[1]) == 0
    there = ove_codec.tokenize(sources, selections, device=device)
    here = ove_codec.tokenize(sources, [s.cpu() for s in selections])
    assert torch.equal(there.patches.cpu(), here.patches)
    assert there.cu_seqlens.tolist() == here.cu_seqlens.tolist() == [0, 100, 100, 140]


@pytest.fixture
def operators(device: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where tensors have to lie for the operators to go the GPU's way."""
    if not twin.in_place():
        return "cuda"
    monkeypatch.setattr(patch_ops, "_gather", patch_ops._gather_cuda)
    monkeypatch.setattr(row_ops, "_gather", row_ops._gather_cuda)
    monkeypatch.setattr(row_ops, "_scatter", row_ops._scatter_cuda)
    return "cpu"


def random_clip(random: np.random.Generator) -> ops.ClipPlanes:
    depth, frames = int(random.choice([8, 10])), int(random.integers(1, 3))
    height, width = (int(n) for n in random.integers(7, 24, 2))
    dtype = np.uint8 if depth == 8 else np.uint16
    chroma = (frames, -(-height // 2), -(-width // 2))
    planes = [random.integers(0, 2**depth, s).astype(dtype) for s in ((frames, height, width), chroma, chroma)]
    turns, mirrored = int(random.integers(4)), bool(random.integers(2))
    return ops.ClipPlanes(planes, bit_depth=depth, matrix="bt709", quarter_turns=turns, mirrored=mirrored)


@pytest.mark.parametrize("count", [1, 7, 4096])
def test_patches_of_many_clips(operators: str, count: int) -> None:
    """Clips of any sizes in one batch, some of them without a patch."""
    random = np.random.default_rng(count)
    clips = [random_clip(random) for _ in range(count)]
    numbers = random.integers(0, 3, count)
    places = [
        np.stack([random.integers(0, len(clip.planes[0]), n), *random.integers(0, 2, (2, n))], 1)
        for clip, n in zip(clips, numbers, strict=True)
    ]
    positions = torch.from_numpy(np.concatenate(places))
    bounds = torch.from_numpy(np.concatenate([[0], np.cumsum(numbers)]).astype(np.int32))
    options: dict[str, Any] = {"resize": "stretch", "size": 12, "patch_size": 6}
    there = [
        dataclasses.replace(clip, planes=[torch.from_numpy(p).to(operators) for p in clip.planes]) for clip in clips
    ]
    made = ops.gather_patches(there, positions.to(operators), bounds.to(operators), **options).cpu()
    assert torch.equal(made, cpu_patches(clips, positions, bounds, options))


def cpu_patches(clips: Any, positions: torch.Tensor, bounds: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
    rows = [torch.empty((0, 3 * options["patch_size"] ** 2))]
    for clip, begin, end in zip(clips, bounds.tolist(), bounds.tolist()[1:], strict=False):
        for t, row, column in positions[begin:end].tolist():
            form = {"bit_depth": clip.bit_depth, "matrix": clip.matrix}
            form |= {"quarter_turns": clip.quarter_turns, "mirrored": clip.mirrored}
            planes = [np.ascontiguousarray(plane[t]) for plane in clip.planes]
            rows.append(torch.from_numpy(_core.gather_planes(planes, [(row, column)], **form, **options)))
    return torch.cat(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("shape", [(8,), (3, 5), ()])
def test_rows(operators: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tokens = (torch.arange(40 * int(np.prod(shape, dtype=int))) % 200).reshape(40, *shape).to(operators, dtype)
    index = torch.tensor([3, 39, 0, 3, 17], device=operators)
    assert torch.equal(ops.gather_tokens(tokens, index), tokens[index])
    assert ops.gather_tokens(tokens, index[:0]).shape == (0, *shape)
    packed = tokens[5:8]
    expected = tokens.clone()
    expected[index[:3]] = packed
    assert torch.equal(ops.scatter_tokens(tokens, packed, index[:3]), expected)
    if dtype.is_floating_point:
        added = tokens.index_add(0, index, tokens[:5])
        assert torch.equal(ops.scatter_tokens(tokens, tokens[:5], index, accumulate=True), added)


@pytest.mark.cuda
@pytest.mark.parametrize("preset", ["probe", "ove"])
def test_two_streams_at_once(clips: dict[str, Path], preset: str) -> None:
    names = ["b", "odd", "ten"] * 4
    here = {name: ove_codec.select(clips[name], preset, budget=90, num_frames=4) for name in clips}
    pixels = {name: ove_codec.tokenize(clips[name], here[name]).patches for name in clips}

    def work(name: str) -> tuple[str, ove_codec.Selection, torch.Tensor]:
        stream = torch.cuda.Stream()
        there = ove_codec.select(clips[name], preset, device=stream, budget=90, num_frames=4)
        tokens = ove_codec.tokenize(clips[name], there, device=stream)
        stream.synchronize()
        return name, there, tokens.patches

    with ThreadPoolExecutor(2) as pool:
        for name, there, patches in pool.map(work, names):
            same(there, here[name])
            assert torch.equal(patches.cpu(), pixels[name])


@pytest.mark.cuda
def test_streams_of_cupy(clips: dict[str, Path]) -> None:
    cupy = pytest.importorskip("cupy")
    here = ove_codec.select(clips["b"], budget=50)
    for device in (cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True)):
        there = ove_codec.select(clips["b"], device=device, budget=50)
        torch.cuda.synchronize()
        same(there, here)
        assert (cupy.asnumpy(cupy.from_dlpack(there.positions)) == here.positions).all()


def test_readers(device: str, clips: dict[str, Path]) -> None:
    video = ove_codec.open(clips["b"], device=device)
    here = ove_codec.open(clips["b"])
    assert len(video) == len(here) == len(video.index) and video.info == here.info
    readings = [
        (list(video), list(here)),
        (list(video.read([3, 8])), list(here.read([3, 8]))),
        (list(video.seek(index=9, residual=False)), list(here.seek(index=9, residual=False))),
    ]
    for there, expected in readings:
        assert [p.index for p in there] == [p.index for p in expected]
        for a, b in zip(there, expected, strict=True):
            for name in ("pred", "mv", "ref_poc", "qp", "cu_size", "skip", "bits"):
                tensor = getattr(a, name)
                assert tensor is getattr(a, name)
                np.testing.assert_array_equal(tensor.cpu().numpy(), getattr(b, name))
            assert (a.width, a.window, a.type, a.cpu().poc) == (b.width, b.window, b.type, b.poc)
    np.testing.assert_array_equal(readings[0][0][4].residual.cpu().numpy(), readings[0][1][4].residual)
    with pytest.raises(AttributeError):
        _ = readings[0][0][0].nothing
    same(ove_codec.select(video, device=device, budget=20), ove_codec.select(here, budget=20))
    assert len(ove_codec.tokenize(video, ove_codec.select(here, budget=20)).patches) == 20


def test_pictures_can_be_copied(device: str, clips: dict[str, Path]) -> None:
    picture = next(iter(ove_codec.open(clips["b"], device=device)))
    assert copy.copy(picture).cpu() is picture.cpu()


def test_videos_of_vectors_alone(device: str, stream_folder: Path) -> None:
    """MPEG-4, on either device: what there is is read, and what is not is told in the same words."""
    path = stream_folder / "cuda-vectors.mp4"
    if not path.exists():
        ffmpeg.run(
            ["-v", "error", "-i", make_clip(stream_folder, "b", (192, 112), 14), "-c:v", "mpeg4", "-bf", "2", path]
        )
    there: Any = ove_codec.open(path, device=device)
    here = ove_codec.open(path)
    for name in ("motion", "residual", "bits", "references"):
        assert there.has(name) == here.has(name) == (name == "motion")
    assert here.has("motion") and ove_codec.open(make_clip(stream_folder, "b", (192, 112), 14)).has("residual")
    with pytest.raises(ValueError, match="a video has no 'colour'"):
        here.has("colour")
    for one, other in zip(there.read([1, 4]), here.read([1, 4]), strict=True):
        np.testing.assert_array_equal(one.mv.cpu().numpy(), other.mv)
    params: dict[str, Any] = {"budget": 20, "num_frames": 3, "residual_weight": 0}
    same(ove_codec.select(there, device=device, **params), ove_codec.select(here, **params))
    for on in (device, None):
        (batch,) = ove_codec.batches([path], 1, device=on, **params)
        assert len(batch.tokens) == 20
        for more, what in (({"bits_weight": 1}, "no bits"), ({"vector": "displacement"}, "no distance")):
            with pytest.raises(ove_codec.UnsupportedStreamError, match=rf"cuda-vectors\.mp4.*{what}"):
                list(ove_codec.batches([path], 1, device=on, **params, **more))
    converted = [
        next(ove_codec.batches([path], 1, device=on, transcode=True, budget=20, num_frames=3)) for on in (device, None)
    ]
    same(converted[0].selections[0], converted[1].selections[0])


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_batches(device: str, clips: dict[str, Path], workers: int, count: int) -> None:
    sources = [clips[name] for name in ("b", "odd", "ten", "b", "odd")][:count]
    check_batches(sources, workers, device)


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_on_the_cpu(clips: dict[str, Path], workers: int) -> None:
    check_batches([clips["b"], clips["odd"], clips["ten"]], workers, None)


def check_batches(sources: list[Path], workers: int, device: Any) -> None:
    made = list(ove_codec.batches(sources, 2, device=device, workers=workers, budget=30, num_frames=4))
    assert [len(batch.sources) for batch in made] == [2] * (len(sources) // 2) + [1] * (len(sources) % 2)
    assert [source for batch in made for source in batch.sources] == sources
    for batch in made:
        here = [ove_codec.select(s, budget=30, num_frames=4) for s in batch.sources]
        tokens = ove_codec.tokenize(list(batch.sources), here)
        assert torch.equal(batch.tokens.patches.cpu(), tokens.patches)
        assert torch.equal(batch.tokens.positions.cpu(), tokens.positions)
        assert torch.equal(batch.tokens.cu_seqlens.cpu(), tokens.cu_seqlens)
        assert len(batch.selections) == len(here)


def test_batches_read_no_further_than_they_need(clips: dict[str, Path]) -> None:
    taken = []

    def sources() -> Any:
        for i in range(100):
            taken.append(i)
            yield clips["odd"]

    made = ove_codec.batches(sources(), 2, prefetch=1, budget=9, num_frames=2)
    assert taken == []
    next(made)
    assert len(taken) == 4
    next(made)
    assert len(taken) == 6
    made.close()
    assert len(taken) == 6


@pytest.mark.parametrize(
    "params",
    [
        {"budget": 30, "resize": "native"},
        {"budget": 45, "padding": "zero", "resize": "letterbox", "keep_first_frame": False},
        {"tau": 0.3, "keep_first_frame": False},
        {"preset": "probe", "budget": 60, "static_level": 0.9, "local_variance": 3},
        {"preset": "probe", "budget": 10, "static_level": 0.1},
        {"budget": 7, "i_pictures": "keep"},
        {"preset": "ove", "budget": 60, "num_frames": 4},
        {"preset": "ove", "budget": 60, "num_frames": 3, "accumulate": "max", "percentile_scope": "clip"},
    ],
    ids=str,
)
def test_clips_of_a_batch_are_ranked_as_if_alone(device: str, clips: dict[str, Path], params: dict[str, Any]) -> None:
    """Of other sizes, and lengths: grids, classes and budgets of their own."""
    sources = [clips[name] for name in ("odd", "b", "ten", "b", "odd", "ten", "b")]
    for batch in ove_codec.batches(sources, 5, device=device, workers=2, **params):
        for source, there in zip(batch.sources, batch.selections, strict=True):
            here = ove_codec.select(source, **params)
            same(there, here)
            np.testing.assert_array_equal(there.positions_on_cpu(), here.positions)


@pytest.mark.parametrize("where", ["cpu", "device"])
def test_batches_tell_which_clip_is_at_fault(device: str, where: str, clips: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    on = device if where == "device" else None
    sources = [clips["odd"], clips["odd"], broken, clips["odd"]]
    for size in (1, 2):
        made = ove_codec.batches(sources, size, device=on, budget=9, num_frames=2)
        for _ in range(2 // size):
            next(made)
        with pytest.raises(ove_codec.Error, match=r"broken\.mp4"):
            next(made)
    with pytest.raises(ValueError, match="batch_size and workers"):
        ove_codec.batches([], 0)
    with pytest.raises(TypeError, match="unknown parameter"):
        list(ove_codec.batches([clips["odd"]], 1, device=on, budgets=3))  # type: ignore[call-arg]


def test_urgent_jobs_come_first() -> None:
    order: list[str] = []
    busy = threading.Event()
    pool = _jobs.Pool(1)
    pool.submit(0, lambda: assert_waited(busy))
    for batch, name in ((2, "c"), (1, "a"), (1, "b")):
        pool.submit(batch, functools.partial(order.append, name))
    busy.set()
    while len(order) < 3:
        time.sleep(0.001)
    pool.close()
    assert order == ["a", "b", "c"]


def assert_waited(event: threading.Event) -> None:
    assert event.wait(10)


def test_bad_input(device: str, clips: dict[str, Path]) -> None:
    selection = ove_codec.select(clips["b"], budget=20)
    with pytest.raises(ValueError, match="dtype must be float32, float16 or bfloat16"):
        ove_codec.tokenize(clips["b"], selection, device=device, dtype=torch.float64)
    with pytest.raises(ValueError, match="pictures of 150x86"):
        ove_codec.tokenize(clips["b"], ove_codec.select(clips["odd"], budget=20), device=device)


def test_nvdec_where_there_is_none(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    selection = ove_codec.select(clips["b"], budget=50)
    with pytest.raises(ValueError, match="decoder must be 'cpu', or 'nvdec' if"):
        ove_codec.tokenize(clips["b"], selection, decoder="nvdec")
    if cuda.available():
        pytest.skip("there is a GPU")
    twin.put_in_place(monkeypatch)
    with pytest.raises(ove_codec.Error, match=r"NVDEC.*decode with decoder='cpu'"):
        ove_codec.tokenize(clips["b"], selection, device="cuda", decoder="nvdec")


@pytest.mark.parametrize("name", ["mps", "no device", 1.5])
def test_other_devices(clips: dict[str, Path], name: Any) -> None:
    with pytest.raises(ValueError, match="device must"):
        ove_codec.select(clips["b"], device=name)


def test_without_a_gpu_the_reason_is_told(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "unavailable_reason", lambda number: f"device {number} is for show")
    with pytest.raises(RuntimeError, match="cannot run on cuda:1: device 1 is for show"):
        ove_codec.select(clips["b"], device="cuda:1")
