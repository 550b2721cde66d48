"""The four panels: what each shows, and the files they go into."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import ove_codec
from ove_codec import _drawing, viz
from support import clips, ffmpeg

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

SMALL: dict[str, Any] = {"num_frames": 9, "size": 56, "patch_size": 14, "budget": 60}
CHOICES: list[dict[str, Any]] = [
    SMALL,
    {**SMALL, "tau": 0.2, "budget": None, "keep_first_frame": False},
    {**SMALL, "preset": "probe", "size": 224},
    {**SMALL, "preset": "bitcost", "resize": "letterbox", "size": 112},
    {**SMALL, "resize": "native", "budget": 300},
    {**SMALL, "preset": "llava", "size": 576, "patch_size": 16, "budget": 2000},
]


@pytest.fixture(scope="module")
def clip(stream_folder: Path) -> Path:
    return clips.moving_clip(stream_folder)


def panels_of(clip: Path, params: dict[str, Any]) -> viz.Panels:
    return viz.Panels(clip, ove_codec.select(clip, **params))


def expected_picture(panels: viz.Panels, slot: int) -> np.ndarray:
    """A picture as a panel shows it, from a frame of its own."""
    geometry = panels.selection.geometry
    k = max(1, 200 // max(geometry.canvas_width, geometry.canvas_height)) if geometry.resize != "native" else 1
    frame = ove_codec.frames(
        panels.video,
        [int(panels.selection.frame_ids[slot])],
        size=k * geometry.size,
        resize=geometry.resize,
        normalize=False,
    )
    picture = frame[0].permute(1, 2, 0).numpy()[: k * geometry.canvas_height, : k * geometry.canvas_width]
    image = Image.fromarray(np.ascontiguousarray(picture))
    if image.size != (panels.width, panels.height):
        image = image.resize((panels.width, panels.height), Image.Resampling.LANCZOS)
    return np.asarray(image)


@pytest.mark.parametrize("params", CHOICES)
def test_panels(clip: Path, params: dict[str, Any]) -> None:
    panels = panels_of(clip, params)
    selection = panels.selection
    longest = max(selection.geometry.canvas_width, selection.geometry.canvas_height)
    assert max(panels.width, panels.height) <= 320
    assert panels.width >= min(longest, 168) and panels.width * selection.geometry.canvas_height == pytest.approx(
        panels.height * selection.geometry.canvas_width, rel=0.02
    )
    whole = int(np.count_nonzero(selection.valid))
    worth = max(1, len(selection) // whole)
    anchors = [i * len(panels) // worth for i in range(worth)]
    assert panels.sampled_slots == anchors

    every = list(panels)
    assert [panel_set.t for panel_set in every] == list(range(len(panels)))
    for panel_set in every:
        t = panel_set.t
        for pixels in panel_set:
            assert pixels.shape == (panels.height, panels.width, 3) and pixels.dtype == np.uint8
        picture = expected_picture(panels, t)
        np.testing.assert_array_equal(panel_set.dense, picture)
        frozen = max(slot for slot in anchors if slot <= t)
        np.testing.assert_array_equal(panel_set.sampled, every[frozen].dense)

        rows, columns = selection.mask.shape[1:]
        y = ((np.arange(panels.height) + 0.5) * rows / panels.height).astype(int)
        x = ((np.arange(panels.width) + 0.5) * columns / panels.width).astype(int)
        kept = selection.mask[t][np.ix_(y, x)]
        np.testing.assert_array_equal(panel_set.selected[kept], picture[kept])
        rest = panel_set.selected[~kept].astype(int)
        assert np.ptp(rest, axis=-1).max(initial=0) == 0 and rest.max(initial=0) <= 81

        level = np.clip(selection.heat(t) / (255 if selection.params["quantize"] else 1), 0, 1)
        if level.shape == (panels.height, panels.width):
            light = picture @ np.array([0.299, 0.587, 0.114])
            shown = np.maximum(viz.colors(level), 0.22 * light[..., None])
            np.testing.assert_allclose(panel_set.heat, shown, atol=1)

    slots = [0, 3, len(panels) - 1]
    for panel_set, slot in zip(panels.at(slots), slots, strict=True):
        for pixels, other in zip(panel_set, every[slot], strict=True):
            np.testing.assert_array_equal(pixels, other)


def test_frames_in_chunks_are_the_same(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panels = panels_of(clip, SMALL)
    expected = [panel_set.dense for panel_set in panels]
    monkeypatch.setattr(viz.panels, "_CHUNK", 1)
    for panel_set, dense in zip(panels, expected, strict=True):
        np.testing.assert_array_equal(panel_set.dense, dense)


def test_heat_is_brighter_where_there_is_more() -> None:
    brightness = viz.colors(np.linspace(0, 1, 256)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(brightness) > 0).all()
    assert brightness[0] < 16 and brightness[-1] > 240


def test_captions(clip: Path) -> None:
    titles, about = zip(*panels_of(clip, SMALL).captions(), strict=True)
    assert titles == ("Dense", "Sampled", "Heat", "Selected")
    assert about == (
        "9 pictures, 144 tokens",
        "3 whole pictures, 48 tokens",
        "motion + residual",
        "60 tokens, 41.7 % of dense",
    )
    assert panels_of(clip, CHOICES[3]).captions()[2] == ("Heat", "bits")
    assert panels_of(clip, CHOICES[2]).captions()[2] == ("Heat", "motion + residual, camera removed")


def find(image: np.ndarray, pixels: np.ndarray) -> tuple[int, int]:
    """The one place (x, y) of the pixels in the image."""
    height, width = pixels.shape[:2]
    corners = np.argwhere((image[: -height + 1, : -width + 1] == pixels[0, 0]).all(axis=-1))
    places = [(x, y) for y, x in corners if (image[y : y + height, x : x + width] == pixels).all()]
    assert len(places) == 1
    return places[0]


def test_strip(clip: Path, tmp_path: Path) -> None:
    panels = panels_of(clip, {**SMALL, "budget": 144})
    path = tmp_path / "strip.png"
    size = viz.save_strip(panels, path, 3)
    image = np.asarray(Image.open(path))
    assert image.shape == (size[1], size[0], 3)
    expected = list(panels)
    for row in (0, 2):  # dense and heat differ from slot to slot; with this budget, the others equal the first
        slots = viz.busy_slots(panels.selection, 3)
        places = [find(image, list(expected[slot])[row]) for slot in slots] if row == 2 else []
        assert [x for x, _ in places] == sorted({x for x, _ in places})
        assert len({y for _, y in places}) <= 1


def test_columns_are_where_something_happens(clip: Path) -> None:
    selection = ove_codec.select(clip, **SMALL)
    heat = selection.scores.sum(axis=(1, 2))
    slots = viz.busy_slots(selection, 3)
    assert slots == [start + int(np.argmax(heat[start : start + 3])) for start in (0, 3, 6)]
    assert viz.busy_slots(selection, 100) == list(range(9))


def test_whole_pictures_and_kinds(clip: Path) -> None:
    selection = ove_codec.select(clip, **SMALL)
    panels = viz.Panels(clip, selection, kinds=viz.KINDS, whole=True)
    titles = [title for title, _ in panels.captions()]
    assert titles == ["Whole", "Dense", "Sampled", "Heat", "Selected", "Motion", "Residual", "Bits", "Blocks"]
    pictures = list(ove_codec.open(clip))
    for panel_set in panels.at([1, 5]):
        picture = pictures[selection.frame_ids[panel_set.t]]
        assert panel_set["Whole"].shape == (round(panels.width * 104 / 168), panels.width, 3)
        marked = (panel_set["Whole"] == (255, 196, 0)).all(axis=-1)
        columns = np.flatnonzero(marked.sum(axis=0) > marked.shape[0] * 0.9) + 0.5
        expected = [(168 - 104) / 2 / 168 * panels.width, (168 + 104) / 2 / 168 * panels.width]
        assert columns[[0, -1]] == pytest.approx(expected, abs=2.5)
        # The middle 104 of 168 columns are the canvas, as of the pixels.
        drawn = _drawing.draw_picture(picture, "blocks").image[:, 32:136]
        whole = Image.fromarray(drawn).resize((panels.width, panels.height), Image.Resampling.BOX)
        assert np.abs(panel_set["Blocks"].astype(int) - np.asarray(whole)).mean() < 6
        for title in titles[5:]:
            assert panel_set[title].shape == panel_set.dense.shape
    assert not viz.Panels(clip, ove_codec.select(clip, **{**SMALL, "resize": "letterbox"}), whole=True).whole
    with pytest.raises(ValueError, match="unknown panel 'moton'; did you mean motion"):
        viz.Panels(clip, selection, kinds=["moton"])


def test_headings(clip: Path) -> None:
    panels = panels_of(clip, {**SMALL, "preset": "ove"})
    assert panels.heading() == (
        "clip.mp4",
        "preset ove, size=56, budget=60, 9 of 24 pictures sampled",
    )
    tokens = int(panels.selection.mask[3].sum())
    assert panels.label(3) == f"{panels.seconds[3]:.2f} s, {tokens} token{'s' * (tokens != 1)}"


def test_svg(clip: Path, tmp_path: Path) -> None:
    panels = viz.Panels(clip, ove_codec.select(clip, **SMALL), kinds=["motion"], whole=True)
    size = viz.save_strip(panels, tmp_path / "strip.svg", 2)
    root = ElementTree.parse(tmp_path / "strip.svg").getroot()
    assert (root.get("width"), root.get("height")) == tuple(map(str, size))
    images = root.findall("{*}image")
    assert len(images) == 2 * 6 + 1  # two columns of six panels, and the scale
    assert all(str(image.get("href")).startswith("data:image/png;base64,") for image in images)
    texts = [text.text for text in root.findall("{*}text")]
    assert {"clip.mp4", "Whole", "Motion", "motion + residual"} <= set(texts)


@pytest.mark.parametrize("steps", [1, 3, 9])
def test_texts_are_readable_on_a_phone(clip: Path, tmp_path: Path, steps: int) -> None:
    """Where the picture is 390 pixels wide, no text is smaller than 8, and none runs out of it or into another."""
    panels = viz.Panels(clip, ove_codec.select(clip, **{**SMALL, "preset": "ove"}), kinds=viz.KINDS, whole=True)
    width, _ = viz.save_strip(panels, tmp_path / "strip.svg", steps)
    lines: dict[float, list[tuple[float, float]]] = {}
    for text in ElementTree.parse(tmp_path / "strip.svg").getroot().findall("{*}text"):
        size, x, y = (float(text.get(name, 0)) for name in ("font-size", "x", "y"))
        assert size * 390 / width >= 8 or width <= 390
        length = viz.sheet.font(round(size)).getlength(text.text)
        left = x - {"start": 0, "middle": length / 2, "end": length}[text.get("text-anchor", "start")]
        lines.setdefault(y, []).append((left, left + length))
    for spans in lines.values():
        ends = [0.0, *(place for span in sorted(spans) for place in span), float(width)]
        assert ends == sorted(ends)


def test_strip_of_one_picture(clip: Path, tmp_path: Path) -> None:
    panels = panels_of(clip, {**SMALL, "num_frames": 1, "budget": 5})
    viz.save_strip(panels, tmp_path / "strip.png", 6)
    viz.save_animation(panels, tmp_path / "still.gif", panels)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng"])
def test_animation(suffix: str, clip: Path, tmp_path: Path) -> None:
    panels = panels_of(clip, SMALL)
    path = tmp_path / f"moving{suffix}"
    size = viz.save_animation(panels, path, panels)
    with Image.open(path) as image:
        assert image.size == size
        assert getattr(image, "n_frames", 1) == len(panels)
    assert sum(panels.durations()) == pytest.approx(clips.PICTURES / 25, abs=3 / 25)


def test_mp4(clip: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    panels = panels_of(clip, SMALL)
    path = tmp_path / "moving.mp4"
    size = viz.save_animation(panels, path, panels)
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert (container.streams.video[0].width, container.streams.video[0].height) == size
    assert len(pictures) == len(panels)
    assert size[0] % 2 == size[1] % 2 == 0
    dense = next(iter(panels)).dense
    places = [
        pictures[0][top : top + panels.height, 20 : 20 + panels.width] for top in range(40, size[1] - panels.height)
    ]
    assert min(np.abs(place.astype(int) - dense).mean() for place in places) < 12


def test_outputs_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(viz.animation, "import_module", absent)
    for name in ("a.png", "a.svg", "a.gif", "a.webp", "a.apng"):
        viz.check_output(name)
    with pytest.raises(ModuleNotFoundError, match=r"ove_codec\[video\]"):
        viz.check_output("a.mp4")
    with pytest.raises(ValueError, match=r"a\.txt: its suffix must be one of \.png"):
        viz.check_output("a.txt")
