"""Heat, patch scores and rankings against their NumPy twins, on random and on worst-case input."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import saliency_twin as twin
from ove_codec.presets import PRESETS
from ove_codec.selection import Selection, select_arrays
from saliency_twin import Arrays, Window

SMALL: dict[str, Any] = {"num_frames": 64, "size": 56, "patch_size": 14}


def clip_arrays(
    rng: np.random.Generator,
    frames: int = 3,
    height: int = 72,
    width: int = 104,
    *,
    bit_depth: int = 8,
    reach: int = 60,
    ctb: int = 16,
    blocky: bool = True,
) -> Arrays:
    """Arrays of a clip that look like a codec's: vectors in blocks, residuals in some blocks, intra holes."""
    h4, w4 = -(-height // 4), -(-width // 4)
    side = 4 if blocky else 1
    coarse = (frames, -(-h4 // side), -(-w4 // side))
    pred = rng.integers(0, 4, coarse).astype(np.uint8)
    mv = rng.integers(-reach, reach + 1, (*coarse, 2, 2)).astype(np.int16)
    mv[rng.random(coarse) < 0.3] = 0
    for k in (0, 1):
        mv[(pred >> k & 1) == 0, k] = 0
    pred = pred.repeat(side, 1).repeat(side, 2)[:, :h4, :w4]
    mv = mv.repeat(side, 1).repeat(side, 2)[:, :h4, :w4]
    residual = rng.laplace(0, 6 << (bit_depth - 8), (frames, height, width)).astype(np.int16)
    coded = rng.random((frames, -(-height // 16), -(-width // 16))) < 0.5
    residual *= coded.repeat(16, 1).repeat(16, 2)[:, :height, :width]
    poc = 2 * np.arange(frames) + 7
    ref_poc = (poc[:, None, None, None] + rng.choice([-4, -2, 2, 6], (*pred.shape, 2))).astype(np.int32)
    bits = rng.integers(0, 3000, (frames, -(-height // ctb), -(-width // ctb))).astype(np.int32)
    return {
        "mv": mv, "residual": residual, "pred": pred, "ref_poc": ref_poc, "poc": poc, "bits": bits,
        "types": ["I"] + ["P"] * (frames - 1), "bit_depth": bit_depth, "ctb_size": ctb,
    }  # fmt: skip


def picture(arrays: Arrays, i: int) -> Arrays:
    one = {k: v[i] for k, v in arrays.items() if k not in ("bit_depth", "ctb_size", "types", "pts") and v is not None}
    intra = "types" in arrays and arrays["types"][i] == "I"
    return {**one, "bit_depth": arrays["bit_depth"], "ctb_size": arrays.get("ctb_size"), "intra": intra}


def check(
    arrays: Arrays,
    *,
    window: Window | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    preset: str = "paper",
    atol: float = 2e-3,
    quantum: int = 0,
    **params: Any,
) -> Selection:
    """Compares scores, heat and kept patches of every picture; returns the selection."""
    selection = select_arrays(**arrays, window=window, rotation=rotation, mirrored=mirrored, preset=preset, **params)
    p = selection.params
    frames = len(selection.frame_ids)
    first = arrays["residual"] if arrays["residual"] is not None else arrays["mv"]
    height, width = first.shape[1:3] if arrays["residual"] is not None else (4 * n for n in first.shape[1:3])
    window = window or (0, 0, width, height)
    clip = None
    before = [*selection.frame_ids[:1] - 1, *selection.frame_ids[:-1]]
    counted_from = selection.frame_ids if p["accumulate"] == "none" else [i + 1 for i in before]
    groups = [
        [picture(arrays, j) for j in range(i, k + 1)] for i, k in zip(counted_from, selection.frame_ids, strict=True)
    ]
    if p["percentile_scope"] == "clip":
        heated = [[q for q in counted if not (q["intra"] and p["i_pictures"] == "zero")] for counted in groups]
        measured = [twin.values_of(counted, window, p) for counted in heated if counted]
        clip = {name: np.concatenate([m[name][1].ravel() for m in measured]) for name in measured[0]}
    heats = list(selection.heats())
    assert len(heats) == frames
    for t, counted in enumerate(groups):
        expected = twin.canvas_heat(counted, window, rotation, p, clip, mirrored)
        assert heats[t].shape == expected.shape and heats[t].dtype == np.float32
        area = p["patch_size"] ** 2
        np.testing.assert_allclose(heats[t], expected, atol=2e-4 + 2 * quantum)  # a cubic resize can double a step
        np.testing.assert_allclose(
            selection.scores[t], twin.patch_sums(expected, p["patch_size"]), atol=atol + quantum * area / 4
        )
        np.testing.assert_allclose(
            selection.scores[t], twin.patch_sums(heats[t].astype(float), p["patch_size"]), rtol=1e-5, atol=1e-3
        )
    _, _, w, h = window
    if rotation % 180:
        w, h = h, w
    np.testing.assert_array_equal(selection.valid, twin.valid_patches(w, h, p))
    if not p["static_fallback"]:
        intra = [picture(arrays, i)["intra"] for i in selection.frame_ids]
        np.testing.assert_array_equal(selection.mask, twin.kept(selection.scores, selection.valid, p, intra))
    np.testing.assert_array_equal(selection.positions, np.argwhere(selection.mask))
    return selection


@pytest.mark.parametrize("vector", ["l0", "l0_else_l1", "both", "displacement"])
@pytest.mark.parametrize("compensate", ["none", "median", "mean", "similarity", "affine"])
def test_vectors_and_compensation(vector: str, compensate: str) -> None:
    arrays = clip_arrays(np.random.default_rng(1))
    check(arrays, **SMALL, budget=20, vector=vector, compensate=compensate)


@pytest.mark.parametrize("fuse", ["weighted", "max", "sum", "geomean"])
@pytest.mark.parametrize("weights", [(0.3, 0.7, 0), (0, 1, 0), (1, 0, 0), (0.2, 0.3, 0.9), (0, 0, 2)])
def test_fusion(fuse: str, weights: tuple[float, float, float]) -> None:
    arrays = clip_arrays(np.random.default_rng(2))
    mv_weight, residual_weight, bits_weight = weights
    check(
        arrays,
        **SMALL,
        budget=20,
        fuse=fuse,
        mv_weight=mv_weight,
        residual_weight=residual_weight,
        bits_weight=bits_weight,
    )


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(
    ("height", "width", "window"),
    [(72, 104, None), (72, 104, (2, 6, 97, 61)), (104, 72, (3, 1, 66, 99)), (80, 80, (17, 16, 33, 47)), (64, 64, None)],
)
def test_presets_windows_and_rotation(
    preset: str, rotation: int, height: int, width: int, window: Window | None
) -> None:
    arrays = clip_arrays(np.random.default_rng(3), height=height, width=width)
    size = 64 if preset == "llava" else 56
    quantum = 1 if preset == "probe" else 0
    check(arrays, preset=preset, window=window, rotation=rotation, num_frames=5, budget=30, quantum=quantum, size=size)


@pytest.mark.parametrize("resize", ["crop", "letterbox", "stretch", "native"])
@pytest.mark.parametrize("interpolation", ["bilinear", "cubic"])
@pytest.mark.parametrize("size", [14, 70, 301])
def test_resize(resize: str, interpolation: str, size: int) -> None:
    arrays = clip_arrays(np.random.default_rng(4), frames=2, height=61, width=142)
    for padding in ("exclude", "zero"):
        check(
            arrays, num_frames=2, size=size, patch_size=14, resize=resize, interpolation=interpolation, budget=40,
            padding=padding, atol=0.01,
        )  # fmt: skip


@pytest.mark.parametrize("bit_depth", [8, 10, 12])
def test_bit_depth(bit_depth: int) -> None:
    rng = np.random.default_rng(5)
    arrays = clip_arrays(rng, bit_depth=bit_depth)
    arrays["residual"][1] = rng.integers(-(1 << bit_depth) + 1, 1 << bit_depth, arrays["residual"][1].shape)
    check(arrays, **SMALL, budget=20)


@pytest.mark.parametrize("compensate", ["none", "median", "similarity"])
@pytest.mark.parametrize("k", [3, 5])
def test_local_variance(compensate: str, k: int) -> None:
    check(clip_arrays(np.random.default_rng(6)), **SMALL, budget=20, compensate=compensate, local_variance=k)


@pytest.mark.parametrize("compensate", ["none", "median"])
@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("window", [None, (0, 0, 101, 70), (5, 3, 93, 67)])
def test_reference_motion_map(compensate: str, k: int, window: Window | None) -> None:
    arrays = clip_arrays(np.random.default_rng(6), reach=300)
    params = {**SMALL, "budget": 20, "compensate": compensate, "motion_map": "reference"}
    plain = check(arrays, **params, window=window)
    rounded = check(arrays, **params, window=window, local_variance=k)
    assert not np.allclose(plain.scores, rounded.scores)


@pytest.mark.parametrize("center_prior", [True, 0.3, 2.5])
def test_center_prior(center_prior: float) -> None:
    selection = check(clip_arrays(np.random.default_rng(7)), **SMALL, budget=20, center_prior=center_prior)
    assert selection.params["center_prior"] == (0.3 if center_prior is True else center_prior)


@pytest.mark.parametrize("compensate", ["none", "median", "mean", "affine"])
@pytest.mark.parametrize("i_pictures", ["as_coded", "zero"])
def test_clip_scope(compensate: str, i_pictures: str) -> None:
    arrays = clip_arrays(np.random.default_rng(8), frames=5)
    arrays["residual"][2] //= 4
    arrays["mv"][3] *= 5
    selection = check(arrays, **SMALL, budget=20, percentile_scope="clip", compensate=compensate, i_pictures=i_pictures)
    frame = check(arrays, **SMALL, budget=20, compensate=compensate, i_pictures=i_pictures)
    assert not np.allclose(selection.scores, frame.scores)
    np.testing.assert_array_equal(selection.heat(2), list(selection.heats())[2])


@pytest.mark.parametrize("intra_blocks", ["zero", "median", "max"])
@pytest.mark.parametrize("vector", ["l0", "both", "displacement"])
@pytest.mark.parametrize("compensate", ["none", "median", "mean", "similarity", "affine"])
def test_intra_blocks(intra_blocks: str, vector: str, compensate: str) -> None:
    arrays = clip_arrays(np.random.default_rng(26))
    arrays["mv"][:, :, :, :, 0] += np.where((arrays["pred"] != 0)[..., None], 24, 0).astype(np.int16)  # a camera
    params: dict[str, Any] = {**SMALL, "budget": 20, "vector": vector, "compensate": compensate}
    for window in (None, (3, 6, 97, 61)):
        filled = check(arrays, **params, window=window, intra_blocks=intra_blocks)
        plain = check(arrays, **params, window=window)
        np.testing.assert_array_equal(filled.scores[0], plain.scores[0])  # an I picture
        assert (compensate, intra_blocks) == ("none", "zero") or not np.allclose(filled.scores[1:], plain.scores[1:])


@pytest.mark.parametrize("compensate", ["none", "median", "similarity"])
@pytest.mark.parametrize("scope", ["frame", "clip"])
def test_intra_blocks_under_a_local_variance(compensate: str, scope: str) -> None:
    arrays = clip_arrays(np.random.default_rng(27))
    for intra_blocks in ("zero", "median", "max"):
        check(
            arrays, **SMALL, budget=20, compensate=compensate, percentile_scope=scope, intra_blocks=intra_blocks,
            local_variance=3,
        )  # fmt: skip


@pytest.mark.parametrize("intra_blocks", ["zero", "median", "max"])
@pytest.mark.parametrize("compensate", ["none", "median", "affine"])
def test_intra_blocks_of_pictures_without_others(intra_blocks: str, compensate: str) -> None:
    """All blocks are intra, or one is in a picture where nothing moves: with "max" it is what moves."""
    arrays = clip_arrays(np.random.default_rng(28), frames=2)
    arrays["types"] = "PP"
    arrays["mv"][:], arrays["pred"][0], arrays["pred"][1] = 0, 0, 1
    arrays["pred"][1, 8:12, 8:12] = 0
    selection = check(
        arrays, **SMALL, budget=20, intra_blocks=intra_blocks, compensate=compensate, residual_weight=0, resize="native"
    )
    assert (selection.heat(1) > 0).any() == (intra_blocks == "max")
    if intra_blocks == "max":
        heat = selection.heat(1) > 0
        assert heat[32:48, 32:48].all() and heat.sum() == 256


@pytest.mark.parametrize("accumulate", ["sum", "max"])
@pytest.mark.parametrize("scope", ["frame", "clip"])
@pytest.mark.parametrize("compensate", ["none", "median", "similarity"])
@pytest.mark.parametrize("i_pictures", ["as_coded", "zero"])
def test_accumulation(accumulate: str, scope: str, compensate: str, i_pictures: str) -> None:
    arrays = clip_arrays(np.random.default_rng(29), frames=10)
    arrays["types"] = "IPBPIPPIBP"
    arrays["residual"][3] //= 4
    params: dict[str, Any] = {
        "size": 56, "patch_size": 14, "frame_ids": [0, 1, 4, 7, 9], "budget": 20, "percentile_scope": scope,
        "compensate": compensate, "i_pictures": i_pictures, "vector": "displacement", "bits_weight": 0.7,
        "intra_blocks": "median",
    }  # fmt: skip
    selection = check(arrays, **params, accumulate=accumulate)
    assert not np.allclose(selection.scores[2:], check(arrays, **params).scores[2:])
    np.testing.assert_array_equal(selection.heat(3), list(selection.heats())[3])
    check(arrays, **params, accumulate=accumulate, window=(2, 6, 97, 61), rotation=90, fuse="max")
    params |= {"local_variance": 3, "motion_map": "reference"}
    check(arrays, **params, accumulate=accumulate, window=(5, 3, 93, 67), atol=0.01)  # its rounding adds up


@pytest.mark.parametrize("accumulate", ["sum", "max"])
@pytest.mark.parametrize("preset", PRESETS)
def test_accumulation_of_presets(accumulate: str, preset: str) -> None:
    arrays = clip_arrays(np.random.default_rng(30), frames=7, height=80, width=80)
    size = 64 if preset == "llava" else 56
    check(
        arrays, preset=preset, num_frames=3, size=size, budget=30, accumulate=accumulate,
        quantum=1 if preset == "probe" else 0,
    )  # fmt: skip


def test_accumulated_sums_are_exact_where_a_picture_cannot_hold_them() -> None:
    """Residuals at their limits and the largest counts of bits, over more pictures than 8, 16 or 32 bits would hold."""
    frames = 600
    arrays = clip_arrays(np.random.default_rng(31), frames=2, height=16, width=16)
    arrays = {name: np.repeat(np.asarray(arrays[name])[1:], frames, 0) for name in ("mv", "residual", "pred", "bits")}
    arrays["residual"][:, :8], arrays["residual"][:, 8:] = -300, np.arange(16)
    arrays["bits"][:] = 2**31 - 1
    selection = select_arrays(
        **arrays, ctb_size=16, frame_ids=[0, frames - 1], accumulate="sum", resize="native", patch_size=1, budget=1,
        percentile=100, fuse="weighted", mv_weight=0, residual_weight=1, percentile_scope="clip",
    )  # fmt: skip
    np.testing.assert_allclose(selection.heat(1)[0], 1)
    np.testing.assert_allclose(selection.heat(1)[9], np.arange(16) / 128, rtol=1e-6)
    np.testing.assert_allclose(selection.heat(0)[9], np.arange(16) / 128 / (frames - 1), rtol=1e-5)
    bits = select_arrays(
        **arrays, ctb_size=16, frame_ids=[0, frames - 1], accumulate="sum", resize="native", patch_size=1, budget=1,
        preset="bitcost", percentile_scope="clip", percentile=100,
    )  # fmt: skip
    expected = np.log1p(2.0**31 - 1) / np.log1p((frames - 1) * (2.0**31 - 1))
    np.testing.assert_allclose(bits.heat(0)[0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("percentile", [0, 12.5, 50, 95, 99.9, 100])
@pytest.mark.parametrize("fuse", ["weighted", "max"])
def test_percentile(percentile: float, fuse: str) -> None:
    check(clip_arrays(np.random.default_rng(9)), **SMALL, budget=20, percentile=percentile, fuse=fuse)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("case", ["zero", "huge", "one block", "one sample", "noise"])
def test_worst_cases(preset: str, case: str) -> None:
    rng = np.random.default_rng(10)
    arrays = clip_arrays(rng, frames=2, height=64, width=64)
    if "intra_blocks" not in PRESETS[preset]:  # else it has to be known which blocks these are
        arrays.update(pred=None)
    if case == "zero":
        arrays.update({k: np.zeros_like(arrays[k]) for k in ("mv", "residual", "bits")})
    elif case == "huge":
        arrays["mv"] = rng.choice([-32768, 32767], arrays["mv"].shape).astype(np.int16)
        arrays["residual"] = rng.choice([-32768, 32767], arrays["residual"].shape).astype(np.int16)
        arrays["bits"] = rng.choice([0, 2**31 - 1], arrays["bits"].shape).astype(np.int32)
    elif case == "noise":
        arrays["mv"] = rng.integers(-32768, 32768, arrays["mv"].shape).astype(np.int16)
        arrays["residual"] = rng.integers(-300, 300, arrays["residual"].shape).astype(np.int16)
    else:
        arrays.update({k: np.zeros_like(arrays[k]) for k in ("mv", "residual", "bits")})
        if case == "one block":
            arrays["mv"][:, 7, 9] = 13
            arrays["residual"][:, 16:20, 32:36] = -5
        else:
            arrays["residual"][:, 63, 63] = 1
    check(arrays, preset=preset, num_frames=2, size=64, patch_size=16, budget=9, quantum=1 if preset == "probe" else 0)


def test_list_0_alone_equals_two_lists() -> None:
    arrays = clip_arrays(np.random.default_rng(11))
    two = arrays["mv"].copy()
    two[..., 1, :] = 0
    a = select_arrays(two, arrays["residual"], **SMALL, budget=20)
    b = select_arrays(two[..., 0, :], arrays["residual"], **SMALL, budget=20)
    np.testing.assert_array_equal(a.scores, b.scores)


def test_bits_spread_over_partial_ctus() -> None:
    """A CTU's value covers what lies of it in the picture, and the percentile counts samples, not CTUs."""
    bits = np.array([[[100, 0], [0, 10000]]], np.int32)
    selection = select_arrays(
        None, None, bits=bits, ctb_size=64, window=(0, 0, 70, 70), preset="bitcost", num_frames=1, resize="native",
        patch_size=2, budget=1, keep_first_frame=False, percentile=100,
    )  # fmt: skip
    heat = selection.heat(0)
    assert heat.shape == (70, 70)
    np.testing.assert_allclose(heat[:64, :64], np.log1p(100) / np.log1p(10000), rtol=1e-6)
    assert (heat[64:, 64:] == 1).all() and not heat[:64, 64:].any()


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_shape(data: st.DataObject) -> None:
    """Pictures, windows, canvases and patches of all sizes, down to a single sample."""
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    window = (x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    resize = data.draw(st.sampled_from(["crop", "letterbox", "stretch", "native"]))
    patch = data.draw(st.integers(1, 9))
    size = data.draw(st.integers(patch, 30))
    if resize == "native":
        patch = min(patch, *window[2:])
    arrays = clip_arrays(np.random.default_rng(data.draw(st.integers(0, 99))), frames=3, height=height, width=width)
    check(
        arrays,
        window=window,
        rotation=data.draw(st.sampled_from([0, 90, 180, 270])),
        mirrored=data.draw(st.booleans()),
        size=size,
        patch_size=patch,
        resize=resize,
        budget=data.draw(st.integers(1, 50)),
        padding=data.draw(st.sampled_from(["exclude", "zero"])),
        interpolation=data.draw(st.sampled_from(["bilinear", "cubic"])),
        compensate=data.draw(st.sampled_from(["none", "median", "mean"])),
        motion_map=data.draw(st.sampled_from(["exact", "reference"])),
        intra_blocks=data.draw(st.sampled_from(["as_coded", "zero", "median", "max"])),
        frame_ids=data.draw(st.sampled_from([[0], [1], [0, 2]])),
        accumulate=data.draw(st.sampled_from(["none", "sum", "max"])),
        fuse=data.draw(st.sampled_from(["weighted", "max"])),
        center_prior=data.draw(st.sampled_from([0, 0.3])),
        bits_weight=data.draw(st.sampled_from([0, 1.0])),
    )
