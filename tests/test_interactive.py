"""What makes work at a prompt and in notebooks pleasant: reprs, indexing, plots, signatures, suggestions."""

from __future__ import annotations

import inspect
import io
import pickle
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

import ove_codec
from ove_codec import _drawing, presets
from ove_codec._sampling import at_rate
from support import clips, ffmpeg

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
FEW: dict[str, Any] = {"num_frames": 5, "size": 56, "budget": 30}
TAKE_PARAMETERS = ("select", "select_arrays", "batches")


@pytest.fixture(scope="module")
def clip(stream_folder: Path) -> Path:
    return clips.moving_clip(stream_folder)


@pytest.fixture(scope="module")
def picture(clip: Path) -> ove_codec.Picture:
    return next(picture for picture in ove_codec.open(clip) if picture.type == "B")


# Reprs


@needs_x265
def test_reprs_are_one_line(clip: Path, picture: ove_codec.Picture) -> None:
    selection = ove_codec.select(clip, **FEW)
    assert repr(ove_codec.open(clip)) == f"Video({str(clip)!r}: hevc 168x104, 24 pictures)" or len(str(clip)) >= 80
    assert repr(picture) == f"Picture({picture.index}: B, {picture.pts:.3f} s, 168x104, POC {picture.poc})"
    assert repr(selection) == "Selection(paper: 30 of 80 patches in 5 pictures of 4 x 4)"
    assert repr(ove_codec.tokenize(clip, selection)) == "Tokens(30 patches of 588 values in 1 clip, float32 on cpu)"


@needs_x265
def test_notebooks_show_pictures(clip: Path, picture: ove_codec.Picture) -> None:
    video = ove_codec.open(clip.rename(clip.with_name("<b>.mp4")))
    try:
        html = video._repr_html_()
    finally:
        Path(video.name).rename(clip)
    assert "&lt;b&gt;.mp4" in html and "<b>" not in html and "168 x 104" in html
    selection = ove_codec.select(clip, **FEW)
    with Image.open(io.BytesIO(picture._repr_png_())) as image:
        assert image.size == (168, 104)
    with Image.open(io.BytesIO(selection._repr_png_())) as image:
        assert image.size == (5 * 160 + 4 * 6, 160)


# Indexing


@needs_x265
def test_pictures_by_number(clip: Path) -> None:
    video = ove_codec.open(clip)
    every = list(video)
    keys: tuple[Any, ...] = (0, 3, -1, -24, np.int64(7))
    for key in keys:
        assert video[key].index == every[key].index
        np.testing.assert_array_equal(video[key].residual, every[key].residual)
    for part in (slice(2, 9, 3), slice(None, 4), slice(-3, None), slice(9, 2, -2), slice(5, 5)):
        assert [one.index for one in video[part]] == [one.index for one in every[part]]
    for wrong in (24, -25):
        with pytest.raises(IndexError, match=f"picture {wrong} is not in the video, which has 24"):
            video[wrong]
    with pytest.raises(TypeError):
        video["3"]  # type: ignore[index]


@pytest.mark.skipif(not ffmpeg.available(), reason="ffmpeg is not installed")
def test_motion_pictures(tmp_path: Path) -> None:
    path = tmp_path / "mpeg4.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=2"]
    ffmpeg.run(["-v", "error", *source, "-c:v", "mpeg4", path])
    video = ove_codec.open(path)
    assert repr(video[-1]).startswith("MotionPicture(9: P, 1.800 s, 64x48")
    assert _drawing.draw_picture(video[-1], "motion").image.shape == (48, 64, 3)
    with pytest.raises(ove_codec.UnsupportedStreamError, match="residual"):
        _drawing.draw_picture(video[-1], "residual")


# Plots


@needs_x265
@pytest.mark.parametrize("kind", _drawing.KINDS)
def test_drawings(picture: ove_codec.Picture, kind: str) -> None:
    drawing = _drawing.draw_picture(picture, kind)
    assert drawing.image.shape == (104, 168, 3) and drawing.image.dtype == np.uint8
    assert len(np.unique(drawing.image.reshape(-1, 3), axis=0)) > 2
    if kind == "residual":
        levels = np.abs(picture.residual[:104, :168].astype(float))
        assert drawing.most == np.percentile(np.abs(picture.residual), 99.5) or drawing.most == levels.max()
        expected = _drawing.colors(np.clip(levels / drawing.most, 0, 1)).astype(np.uint8)
        np.testing.assert_array_equal(drawing.image, expected)


@needs_x265
def test_movement_follows_the_reference(picture: ove_codec.Picture) -> None:
    moved = _drawing.movement(picture)
    for row, column in np.ndindex(*picture.pred.shape):
        used = [i for i in range(2) if picture.pred[row, column] >> i & 1]
        expected = np.zeros(2)
        if used:
            sign = 1 if picture.ref_poc[row, column, used[0]] > picture.poc else -1
            expected = sign * picture.mv[row, column, used[0]] / 4
        np.testing.assert_array_equal(moved[row, column], expected)


def test_drawings_are_turned_for_display() -> None:
    residual = np.arange(8 * 16, dtype=np.int16).reshape(8, 16)
    facts = {"coded_width": 16, "coded_height": 8, "window": (2, 1, 12, 6), "bit_depth": 8, "residual": residual}
    straight = _drawing.draw_picture(_Made(facts, rotation=0, mirrored=False), "residual").image
    turned = _drawing.draw_picture(_Made(facts, rotation=90, mirrored=True), "residual").image
    assert straight.shape == (6, 12, 3)
    np.testing.assert_array_equal(turned, np.rot90(straight[:, ::-1], -1))


class _Made:
    def __init__(self, facts: dict[str, Any], **more: Any) -> None:
        vars(self).update(facts, **more)


@needs_x265
def test_plots(clip: Path, picture: ove_codec.Picture) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    try:
        axes = pyplot.subplots()[1]
        for kind in _drawing.KINDS:
            assert picture.plot(kind, axes=axes) is axes
            assert kind in axes.get_title()
        with pytest.raises(ValueError, match="unknown kind 'moton'; did you mean motion"):
            picture.plot("moton")
        figure = ove_codec.select(clip, **FEW).plot(3)
        shown = [np.asarray(axis.images[0].get_array()).shape for axis in figure.axes if axis.images]
        assert shown == [(56, 56, 3)] * 3 + [(4, 4)] * 3
        arrays = ove_codec.select_arrays(np.ones((2, 14, 14, 2), np.int16), None, residual_weight=0, size=56)
        assert len([axis for axis in arrays.plot().axes if axis.images]) == 2
    finally:
        pyplot.close("all")


@needs_x265
def test_plots_name_the_extra(picture: ove_codec.Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ModuleNotFoundError, match=r"ove_codec\[plot\]"):
        picture.plot()


# Signatures and suggestions


def test_parameters_are_those_of_the_presets() -> None:
    types = get_type_hints(presets.Parameters)
    assert list(types) == list(presets.COMMON)
    choices = {name: type_.__args__ for name, type_ in types.items() if "Literal" in str(type_)}
    texts = [name for name, default in presets.COMMON.items() if isinstance(default, str)]
    assert list(choices) == texts
    for values in (presets.COMMON, *presets.PRESETS.values()):
        for name in choices.keys() & values.keys():
            assert values[name] in choices[name], name


def test_signatures_tell_the_parameters() -> None:
    from ove_codec.data import ClipDataset
    from ove_codec.datasets import select_dataset

    for function in (*(getattr(ove_codec, name) for name in TAKE_PARAMETERS), ClipDataset, select_dataset):
        parameters = inspect.signature(function).parameters
        assert set(presets.COMMON) <= set(parameters), function
        assert not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        assert parameters["budget"].kind is inspect.Parameter.KEYWORD_ONLY
        assert str(parameters["budget"]) == "budget: int | None = <preset>"
    assert pickle.loads(pickle.dumps(ove_codec.select)) is ove_codec.select


def test_typos_get_a_suggestion() -> None:
    with pytest.raises(TypeError, match=r"unknown parameter bugdet; did you mean budget\?"):
        presets.resolve("paper", {"bugdet": 3})
    with pytest.raises(TypeError, match=r"unknown parameter zzz; choose from num_frames, "):
        presets.resolve("paper", {"zzz": 3})
    with pytest.raises(ValueError, match=r"unknown preset 'papr'; did you mean paper\?"):
        presets.resolve("papr", {})
    with pytest.raises(AttributeError, match=r"'selct'; did you mean select\?"):
        _ = ove_codec.selct


def test_the_package_lists_its_names() -> None:
    code = (
        "import sys, ove_codec\n"
        "assert {*ove_codec.__all__, 'viz', 'data', 'training'} <= set(dir(ove_codec))\n"
        "assert not any(name.startswith('_') and name != '__version__' for name in dir(ove_codec))\n"
        "assert 'torch' not in sys.modules\n"
        "assert ove_codec.viz.Panels and 'ove_codec.viz' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in dir(ove_codec):
        assert getattr(ove_codec, name) is not None


# Sampling by rate


def test_at_rate_takes_what_is_shown() -> None:
    pts = np.arange(25) / 25 + 0.5
    assert at_rate(pts, 5).tolist() == [0, 5, 10, 15, 20]
    assert at_rate(pts, 1000).tolist() == list(range(25))
    assert at_rate(pts, 0.1).tolist() == [0]
    assert at_rate(np.array([0.0, 0.1, 5.0, 5.1]), 1).tolist() == [0, 1, 2]  # the second stands for four seconds
    assert at_rate(np.array([0.0, 0.2, 0.1, 0.3]), 10).tolist() == [0, 2, 3]
    with pytest.raises(ValueError, match="lower fps"):
        at_rate(np.array([0.0, 1e12]), 30)


@pytest.mark.parametrize("rate", [1, 2, 7.3, 12, 23.976, 25, 60])
def test_at_rate_against_its_twin(rate: float) -> None:
    rng = np.random.default_rng(3)
    pts = np.cumsum(rng.choice([0.02, 0.04, 0.08, 0.5], 200))
    expected, step = [], 0
    while pts[0] + step / rate <= pts[-1] + 1e-6 / rate:
        expected.append(max(i for i in range(200) if pts[i] <= pts[0] + (step + 5e-7) / rate))
        step += 1
    assert at_rate(pts, rate).tolist() == sorted(set(expected))


@needs_x265
def test_select_by_rate(clip: Path) -> None:
    selection = ove_codec.select(clip, fps=5, start=0.2, size=56, budget=30)
    assert selection.frame_ids.tolist() == [5, 10, 15, 20]
    assert (selection.params["fps"], selection.params["num_frames"]) == (5.0, None)
    for wrong, text in (
        ({"fps": 5, "num_frames": 3}, "give either"),
        ({"fps": 5, "frame_ids": [1]}, "give either"),
        ({"fps": 0}, "fps must be a positive number"),
        ({"fps": float("nan")}, "fps must be a positive number"),
        ({"fps": 5, "sampling": "bits"}, "fps samples by time"),
    ):
        with pytest.raises(ValueError, match=text):
            ove_codec.select(clip, **wrong)
    with pytest.raises(ValueError, match="pass pts"):
        ove_codec.select_arrays(np.ones((2, 14, 14, 2), np.int16), None, residual_weight=0, fps=2)


# Tokens that are not packed


@needs_x265
def test_padded_tokens(clip: Path) -> None:
    selections = [ove_codec.select(clip, num_frames=5, size=56, budget=n) for n in (30, 12)]
    tokens = ove_codec.tokenize([clip, clip], selections)
    padded = tokens.padded()
    assert padded.patches.shape == (2, 30, 588) and padded.positions.shape == (2, 30, 3)
    assert padded.mask.sum(dim=1).tolist() == [30, 12]
    for i, (start, end) in enumerate(zip(tokens.cu_seqlens[:-1], tokens.cu_seqlens[1:], strict=True)):
        assert torch.equal(padded.patches[i][padded.mask[i]], tokens.patches[start:end])
        assert torch.equal(padded.positions[i][padded.mask[i]], tokens.positions[start:end])
    assert not padded.patches[~padded.mask].any()
    assert tokens.padded(40).mask.shape == (2, 40)
    with pytest.raises(ValueError, match="length must be at least 30"):
        tokens.padded(29)
    joined = torch.utils.data.default_collate([tokens.padded(40), tokens.padded(40)])
    assert joined.patches.shape == (2, 2, 40, 588) and joined.mask.dtype == torch.bool


# Progress


@needs_x265
@pytest.mark.parametrize("accumulate", ["none", "sum"])
def test_progress(clip: Path, accumulate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ove_codec import _progress

    made: list[tuple[int, bool]] = []
    whole = _progress.bar

    def noted(total: int, shown: bool, *unit: str) -> Any:
        made.append((total, shown))
        return whole(total, shown, *unit)

    monkeypatch.setattr(_progress, "bar", noted)
    monkeypatch.setattr("ove_codec._pictures.bar", noted)
    expected = ove_codec.select(clip, accumulate=accumulate, **FEW)
    assert [shown for _, shown in made if shown] == []
    made.clear()
    shown = ove_codec.select(clip, accumulate=accumulate, progress=True, **FEW)
    np.testing.assert_array_equal(shown.positions, expected.positions)
    assert made == [(24 if accumulate == "sum" else 5, True)]
    made.clear()
    batches = list(ove_codec.batches([clip] * 3, 2, progress=True, **FEW))
    assert len(batches) == 2 and [item for item in made if item[1]] == [(2, True)]


@needs_x265
def test_progress_of_a_transcode(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ove_codec import transcoding

    steps: list[int] = []

    class Bar:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None:
            steps.append(-1)

        def update(self) -> None:
            steps.append(1)

    monkeypatch.setattr(transcoding, "bar", lambda total, shown: Bar() if shown else nullcontext(Bar()))
    ove_codec.transcode(clip, progress=True)
    assert steps == [1] * 24 + [-1]
