"""Patch rows and frames against a plain NumPy twin, PyAV's pictures and libswscale."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ove_codec
from ove_codec import _core
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD, frames, tokenize
from support.pixels import (
    FFMPEG,
    MATRICES,
    av_pictures,
    canvas_of,
    cut,
    encode,
    grid_of,
    needs_ffmpeg,
    turn,
    twin_canvas,
)

torch = pytest.importorskip("torch")

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    depth = draw(st.sampled_from([8, 9, 10, 12, 16]))
    shift = draw(st.sampled_from([(0, 0), (1, 0), (1, 1), (0, 1), (2, 0)]))
    components = draw(st.sampled_from([1, 3, 3, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = np.uint8 if depth == 8 else np.uint16
    shapes = [(height, width)] + 2 * [(-(-height >> shift[1]), -(-width >> shift[0]))]
    extreme = draw(st.booleans())  # only the lowest and the highest value
    planes = [rng.integers(0, 2**depth, s) for s in shapes[:components]]
    planes = [((p >> (depth - 1)) * (2**depth - 1) if extreme else p).astype(dtype) for p in planes]
    options = {
        "bit_depth": depth,
        "chroma_shift": shift,
        "chroma_site": draw(st.sampled_from([(0, 0.5), (0.5, 0.5), (0, 0), (0.5, 0), (0, 1), (0.5, 1)])),
        "matrix": draw(st.sampled_from([*MATRICES, "rgb", "ycgco"])) if components == 3 else "bt709",
        "full_range": draw(st.booleans()),
        "quarter_turns": draw(st.integers(0, 3)),
        "mirrored": draw(st.booleans()),
        "resize": draw(st.sampled_from(["crop", "letterbox", "stretch", "native"])),
        "size": draw(st.integers(8, 90)),
        "patch_size": draw(st.sampled_from([1, 2, 7, 8])),
    }
    return planes, options


@settings(deadline=None, max_examples=300)
@given(cases())
def test_patches_equal_the_twin(case: tuple[list[np.ndarray], dict[str, Any]]) -> None:
    planes, options = case
    p = options["patch_size"]
    if options["resize"] == "native" and min(planes[0].shape) < p:
        with pytest.raises(ValueError, match="no patch"):
            _core.gather_planes(planes, [(0, 0)], **options)
        return
    canvas = twin_canvas(planes, options)
    positions = grid_of(canvas, p)
    positions = np.random.default_rng(len(positions)).permutation(positions)
    rows = _core.gather_planes(planes, positions, **options)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, cut(canvas, positions, p), rtol=0, atol=5e-5)


def test_strided_planes_and_defaults() -> None:
    """Rows may lie apart; mean and std default to CLIP's."""
    rng = np.random.default_rng(5)
    wide = [rng.integers(0, 256, s, dtype=np.uint8) for s in ((40, 80), (20, 40), (20, 40))]
    planes = [wide[0][:, 8:72], wide[1][:, 4:36], wide[2][:, 4:36]]
    options: dict[str, Any] = {"resize": "crop", "size": 28, "patch_size": 14}
    rows = _core.gather_planes(planes, [(1, 0), (0, 1)], **options)
    np.testing.assert_allclose(rows, cut(twin_canvas(planes, options), np.array([(1, 0), (0, 1)]), 14), atol=5e-5)


def test_known_colours() -> None:
    """Limited-range white, black, and BT.709 red to R'G'B' within rounding of the codes."""
    kr, kb = MATRICES["bt709"]
    red = [16 + 219 * kr, 128 + 224 * -kr / (2 * (1 - kb)), 128 + 224 * 0.5]
    for ycc, rgb in (((235, 128, 128), (1, 1, 1)), ((16, 128, 128), (0, 0, 0)), (red, (1, 0, 0))):
        planes = [np.full(s, round(v), np.uint8) for v, s in zip(ycc, ((8, 8), (4, 4), (4, 4)), strict=True)]
        row = _core.gather_planes(
            planes, [(0, 0)], matrix="bt709", resize="native", size=8, patch_size=8, mean=(0, 0, 0), std=(1, 1, 1)
        )
        np.testing.assert_allclose(row.reshape(3, 64), np.repeat(np.array(rgb)[:, None], 64, 1), atol=0.006)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": [(2, 0)]}, "not on the grid"),
        ({"positions": [(0, -1)]}, "not on the grid"),
        ({"positions": [0, 1]}, "positions"),
        ({"planes": [np.zeros((8, 8), np.float32)]}, "uint8"),
        ({"planes": [np.zeros((8, 8), np.uint8)] * 2}, "one or three"),
        ({"planes": [np.zeros((8, 8), np.uint8)] * 3}, "chroma planes of 4x4"),
        ({"planes": [np.zeros((8, 8), np.uint8)], "bit_depth": 10}, "uint16"),
        ({"bit_depth": 17}, "16 bits"),
        ({"chroma_shift": (-1, 0)}, "format"),
        ({"quarter_turns": 4}, "quarter_turns"),
        ({"resize": "zoom"}, "'letterbox'"),
        ({"size": 0}, "size"),
        ({"size": 1 << 20}, "size"),
        ({"patch_size": 0}, "patch_size"),
        ({"std": (1, 0, 1)}, "std"),
        ({"mean": (1, float("nan"), 1)}, "mean"),
        ({"matrix": "xyz"}, "bt709"),
    ],
)
def test_bad_arguments(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "planes": [np.zeros((8, 8), np.uint8)], "positions": [(0, 0)], "resize": "native", "size": 8, "patch_size": 4,
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        _core.gather_planes(arguments.pop("planes"), arguments.pop("positions"), **arguments)


# Whole videos.


def a_selection(frame_ids: Any, size: tuple[int, int], resize: str, side: int, patch: int, seed: int = 0) -> Any:
    canvas_w, canvas_h = canvas_of(*size, resize, side)[:2]
    rows, columns = canvas_h // patch, canvas_w // patch
    mask = np.random.default_rng(seed).random((len(frame_ids), rows, columns)) < 0.3
    mask[len(frame_ids) // 2] = False  # a sampled picture with nothing selected
    geometry = SimpleNamespace(
        resize=resize, size=side, patch_size=patch, rows=rows, columns=columns,
        source_width=size[0], source_height=size[1],
    )  # fmt: skip
    positions = np.argwhere(mask).astype(np.int32)
    ids = np.asarray(frame_ids, np.int64)
    return SimpleNamespace(frame_ids=ids, positions=positions, geometry=geometry, on_damage="raise")


def check_clip(path: Path, resize: str = "letterbox", side: int = 96, patch: int = 8) -> None:
    """tokenize() and frames() give the twin's values of PyAV's pictures."""
    pictures = av_pictures(path)
    turned = turn(pictures[0][0][0], pictures[0][1]["quarter_turns"], pictures[0][1]["mirrored"])
    ids = np.unique(np.linspace(0, len(pictures) - 1, 7).astype(np.int64))
    selection = a_selection(ids, turned.shape[::-1], resize, side, patch)
    tokens = tokenize(path, selection, threads=2)
    canvases = [twin_canvas(pictures[i][0], pictures[i][1] | {"resize": resize, "size": side}) for i in ids]
    expected = np.concatenate(
        [cut(c, selection.positions[selection.positions[:, 0] == t, 1:], patch) for t, c in enumerate(canvases)]
    )
    np.testing.assert_allclose(tokens.patches.numpy(), expected, rtol=0, atol=5e-5)
    assert tokens.positions.tolist() == selection.positions.tolist()
    assert tokens.cu_seqlens.tolist() == [0, len(expected)]
    whole = frames(path, ids, size=side, resize=resize)
    np.testing.assert_allclose(whole.numpy(), np.stack(canvases), rtol=0, atol=5e-5)


@needs_ffmpeg
@pytest.mark.parametrize("resize", ["crop", "letterbox", "stretch", "native"])
def test_resizes(tmp_path: Path, resize: str) -> None:
    check_clip(encode(tmp_path / "a.mp4", "-pix_fmt", "yuv420p"), resize)


@needs_ffmpeg
@pytest.mark.parametrize(
    "arguments",
    [
        ("-pix_fmt", "yuv420p10le", "-colorspace", "bt2020nc", "-color_primaries", "bt2020"),
        ("-pix_fmt", "yuv422p10le"),
        ("-pix_fmt", "yuv420p12le", "-colorspace", "bt709"),
        ("-pix_fmt", "yuv444p", "-colorspace", "bt709", "-color_range", "pc"),
        ("-pix_fmt", "gray"),
        ("-pix_fmt", "gbrp"),
        ("-pix_fmt", "yuvj420p"),
    ],
    ids=lambda a: a[1],
)
def test_pixel_formats(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    check_clip(encode(tmp_path / "a.mp4", *arguments))


@needs_ffmpeg
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation(tmp_path: Path, degrees: int) -> None:
    plain = encode(tmp_path / "plain.mp4", "-pix_fmt", "yuv420p")
    turned = tmp_path / "turned.mp4"
    counterclockwise = str(-degrees % 360)
    before: list[Any] = [FFMPEG, "-v", "error", "-y"]
    new = [*before, "-display_rotation", counterclockwise, "-i", plain, "-c", "copy", turned]
    if subprocess.run(new, capture_output=True, check=False).returncode:  # FFmpeg before 6.0
        old = [*before, "-i", plain, "-c", "copy", "-metadata:s:v", f"rotate={counterclockwise}", turned]
        subprocess.run(old, check=True)
    assert _core.stream_info(turned)["rotation"] == degrees
    check_clip(turned, "crop")
    upright, seen = frames(plain, [3], resize="native"), frames(turned, [3], resize="native")
    # Half of a chroma sample's width apart: 4:2:0 sits left, which is not left any more when turned.
    assert (torch.rot90(upright, -degrees // 90, (2, 3)) - seen).abs().mean() < 0.05


@needs_ffmpeg
def test_conformance_window(tmp_path: Path) -> None:
    """186x110 is coded as 192x112; cropped samples never show."""
    check_clip(encode(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", source="testsrc2=s=186x110:r=25:d=0.4"), "native")


@needs_ffmpeg
def test_variable_frame_rate(tmp_path: Path) -> None:
    select = "select='not(between(mod(n,9),2,5))',setpts=PTS+0.3/TB"
    check_clip(encode(tmp_path / "a.mkv", "-pix_fmt", "yuv420p", "-vf", select, "-vsync", "vfr"))


@needs_ffmpeg
def test_edit_list(tmp_path: Path) -> None:
    """Cutting without encoding leaves pictures that are decoded and not shown."""
    whole = encode(tmp_path / "whole.mp4", "-pix_fmt", "yuv420p", "-g", "12")
    part = tmp_path / "part.mp4"
    subprocess.run([str(FFMPEG), "-v", "error", "-ss", "0.68", "-i", whole, "-c", "copy", part], check=True)
    shown = _core.packet_times(part)[1]
    assert not shown.all()
    check_clip(part)


@needs_ffmpeg
@pytest.mark.parametrize(("location", "mean", "peak"), [(2, 0.02, 1), (0, 1.5, 20)])
def test_against_swscale(tmp_path: Path, location: int, mean: float, peak: int) -> None:
    """libswscale's R'G'B' of 8-bit 4:2:0: the same where chroma sits at the top left, as it interpolates it there;
    near it where it sits left, where libswscale repeats its rows."""
    path = tmp_path / "a.mp4"
    chroma = ["-pix_fmt", "yuv420p", "-x265-params", f"log-level=none:crf=5:chromaloc={location}"]
    encode(path, *chroma, source="testsrc2=s=128x96:r=5:d=0.4,gblur=3")
    ours = frames(path, [1], resize="native", normalize=False)[0].numpy().astype(int)
    position = 0 if location == 2 else 128
    scale = f"scale=in_h_chr_pos=0:in_v_chr_pos={position}:flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp"
    command = [str(FFMPEG), "-v", "error", "-i", str(path), "-vf", f"{scale},format=rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    theirs = np.frombuffer(raw, np.uint8).reshape(2, 96, 128, 3)[1].transpose(2, 0, 1).astype(int)
    assert np.abs(ours - theirs).mean() < mean
    assert np.abs(ours - theirs).max() <= peak


@needs_ffmpeg
def test_frames_choice_and_dtype(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", source="testsrc2=s=64x64:r=25:d=0.4")
    every = frames(path, size=32, normalize=False)
    assert every.dtype == torch.uint8
    assert every.shape == (10, 3, 32, 32)
    assert torch.equal(frames(path, [7, 0, 7, -1], size=32, normalize=False), every[[7, 0, 7, 9]])
    assert torch.equal(frames(path, num_frames=4, size=32, normalize=False), every[[0, 3, 6, 9]])
    assert torch.equal(frames(path, num_frames=64, size=32, normalize=False), every)
    assert torch.equal(frames(path, fps=12.5, size=32, normalize=False), every[::2])
    assert torch.equal(frames(path, fps=1000.0, size=32, normalize=False), every)
    assert torch.equal(frames(path.read_bytes(), [2], size=32, normalize=False), every[[2]])
    assert frames(path, [0], size=32, dtype=torch.bfloat16).dtype == torch.bfloat16
    mean, std = (torch.tensor(c)[:, None, None] for c in (CLIP_MEAN, CLIP_STD))
    torch.testing.assert_close(frames(path, [4], size=32)[0] * std + mean, every[4] / 255, rtol=0, atol=0.5001 / 255)
    bad: dict[str, Any]
    for bad in ({"frame_ids": [10]}, {"frame_ids": [-11]}, {"frame_ids": []}, {"frame_ids": [0.5]}, {"num_frames": 0}):
        with pytest.raises(ValueError, match="frame"):
            frames(path, **bad)
    for both in ({"num_frames": 1}, {"fps": 1.0}):
        with pytest.raises(ValueError, match="one of frame_ids, num_frames and fps"):
            frames(path, [0], **both)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="fps must be a positive number"):
            frames(path, fps=rate)


@needs_ffmpeg
@pytest.mark.parametrize("open_gop", [0, 1])
def test_any_choice_of_frames(tmp_path: Path, open_gop: int) -> None:
    """Pictures that are not needed are not decoded, and that changes nothing."""
    params = f"log-level=none:keyint=12:min-keyint=12:open-gop={open_gop}:bframes=4:ref=3:scenecut=0"
    path = tmp_path / "a.mp4"
    encode(path, "-pix_fmt", "yuv420p", "-x265-params", params, source="testsrc2=s=96x64:r=25:d=1.6")
    video = ove_codec.open(path)
    every = frames(video, size=64)
    assert len(every) == 40
    for i in range(40):
        assert torch.equal(frames(video, [i], size=64)[0], every[i])
    chosen = np.random.default_rng(3).permutation(40)[:5]
    assert torch.equal(frames(io.BytesIO(path.read_bytes()), chosen, size=64), every[chosen])


@needs_ffmpeg
def test_batches(tmp_path: Path) -> None:
    one = encode(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", source="testsrc2=s=96x64:r=25:d=0.4")
    two = encode(tmp_path / "b.mp4", "-pix_fmt", "yuv420p", source="testsrc=s=64x96:r=25:d=0.4")
    selections = [
        a_selection([0, 4, 9], (96, 64), "crop", 56, 14, 1),
        a_selection([1, 2, 5], (64, 96), "crop", 56, 14, 2),
    ]
    packed = tokenize([one, two.read_bytes()], selections, dtype=torch.bfloat16)
    single = [tokenize(s, c) for s, c in zip((one, two), selections, strict=True)]
    assert packed.cu_seqlens.dtype == torch.int32
    assert packed.cu_seqlens.tolist() == [0, len(single[0]), len(single[0]) + len(single[1])]
    assert torch.equal(packed.patches, torch.cat([s.patches for s in single]).bfloat16())
    assert torch.equal(packed.positions, torch.cat([s.positions for s in single]))
    with pytest.raises(ValueError, match="the same length"):
        tokenize([one, two], selections[:1])
    with pytest.raises(TypeError, match=r"selection must be what ove_codec\.select returned, not str"):
        tokenize(one, "paper")  # type: ignore[arg-type]
    for size in (0, -1, "big", 2.5):
        with pytest.raises(ValueError, match="size must be a positive whole number, not"):
            frames(one, [0], size=size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give only one of frame_ids, num_frames and fps"):
        frames(one, [0], num_frames=2)
    half = tokenize([one, two], selections, dtype="bfloat16")
    assert torch.equal(half.patches, packed.patches)
    assert frames(one, [0], size=28, dtype="torch.float16").dtype == torch.float16
    for wrong in ("float17", "int8", torch.int8, np.float16):
        with pytest.raises(ValueError, match=r"dtype must be a floating-point dtype of PyTorch or its name"):
            tokenize(one, selections[0], dtype=wrong)  # type: ignore[arg-type]


@needs_ffmpeg
def test_a_clip_at_fault_is_named_by_its_number(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", source="testsrc2=s=96x64:r=25:d=0.4")
    data, chosen = path.read_bytes(), a_selection([0, 4, 9], (96, 64), "crop", 56, 14, 1)
    damaged = bytearray(data)
    for packet in list(_core.Packets(data))[1:]:
        start = packet["position"] + 4
        damaged[start : start + len(packet["data"]) - 4] = bytes(len(packet["data"]) - 4)
    for wrong in (b"no video", bytes(damaged)):
        with pytest.raises(ove_codec.Error, match=r"clip 2: <bytes>") as error:
            tokenize([data, data, wrong], [chosen] * 3)
        with pytest.raises(ove_codec.Error) as alone:
            tokenize(wrong, chosen)
        assert type(error.value) is type(alone.value) and str(error.value) == f"clip 2: {alone.value}"
        assert error.value.position == alone.value.position
    with pytest.raises(ove_codec.Error, match=r"clip 2: <bytes>"):
        list(ove_codec.batches([data, data, b"no video"], 2, transcode=False, residual_weight=0, num_frames=2, size=56))


@needs_ffmpeg
def test_selections_that_do_not_fit(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", source="testsrc2=s=96x64:r=25:d=0.4")
    with pytest.raises(ValueError, match="96x64"):
        tokenize(path, a_selection([0, 4, 9], (64, 96), "crop", 56, 14))
    with pytest.raises(ValueError, match="10 frames"):
        tokenize(path, a_selection([0, 4, 10], (96, 64), "crop", 56, 14))
    unordered = a_selection([0, 4, 9], (96, 64), "crop", 56, 14)
    unordered.positions = unordered.positions[::-1]
    with pytest.raises(ValueError, match="ascending"):
        tokenize(path, unordered)
    empty = a_selection([0, 4, 9], (96, 64), "crop", 56, 14)
    empty.positions = np.empty((0, 3), np.int32)
    assert tokenize(path, empty).patches.shape == (0, 3 * 14 * 14)


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the clips of ../shared")
@pytest.mark.parametrize(
    "name",
    [
        "torchcodec_discard_first_keyframe.mp4",
        "torchcodec_test_non_zero_start.mp4",
        "torchcodec_nasa_13013_rotated.mp4",
        "torchcodec_testsrc2_12bit_hdr.mp4",
        "torchcodec_testsrc2_444_8bit_hevc.mp4",
        "torchcodec_h265_10bits.mp4",
        "androidx_h265_bframes.mp4",
        "androidx_hlg10-color-test.mp4",
        "androidx_sample_h265.ts",
        "androidx_fragmented_captions_h265.mp4",
        "torchcodec_testsrc2_vp9.webm",
    ],
)
def test_real_clips(name: str) -> None:
    check_clip(CLIPS / name, "crop", 112, 14)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.h264"])
def test_h264_pictures_behind_a_later_key_frame(tmp_path: Path, name: str) -> None:
    """Reading begins at their key frame. libavcodec takes parameter sets of H.264 with a picture only."""
    path = encode(tmp_path / name, "-g", "10", "-pix_fmt", "yuv420p", "-bsf:v", "dump_extra=k", codec="libx264")
    whole = frames(path, size=64, normalize=False)
    for chosen in ([10], [17], [29], [3, 25]):
        assert torch.equal(frames(path, chosen, size=64, normalize=False), whole[chosen])
