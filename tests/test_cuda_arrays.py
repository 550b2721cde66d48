"""Selections of arrays made on a GPU, or on the kernels' twin, are those of the CPU, whatever the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ove_codec
from ove_codec import _cuda_scorer, cuda
from ove_codec import selection as selection_module
from support import twin
from support.twin import assert_close, same


def test_arrays(device: str) -> None:
    random = np.random.default_rng(5)
    mv = random.integers(-40, 40, (4, 12, 17, 2), dtype=np.int16)
    residual = random.integers(-90, 90, (4, 48, 68), dtype=np.int16)
    arguments: dict[str, Any] = {"size": 42, "budget": 11, "window": (1, 2, 60, 44), "rotation": 90}
    here = ove_codec.select_arrays(mv, residual, **arguments)
    same(ove_codec.select_arrays(mv, residual, device=device, **arguments), here)


def random_arrays(random: np.random.Generator) -> dict[str, Any]:
    """A few pictures that pan, of objects in some of them, with what is to be known of them."""
    count, height, width = (int(n) for n in random.integers((1, 20, 20), (10, 70, 70)))
    depth, ctb_size = int(random.choice([8, 10])), int(random.choice([16, 32]))
    blocks = (-(-height // 4), -(-width // 4))
    mv = random.integers(-3, 4, (count, *blocks, 2, 2)) + random.integers(-40, 41, (count, 1, 1, 2, 2))
    mv[:, : blocks[0] // 2, : blocks[1] // 3] += random.integers(-90, 91, (count, 1, 1, 2, 2))
    residual = random.integers(-300, 301, (count, height, width)) * (random.random((count, height, width)) < 0.1)
    ctus = (-(-height // ctb_size), -(-width // ctb_size))
    return {
        "mv": mv.astype(np.int16),
        "residual": (residual << (depth - 8)).astype(np.int16),
        "pred": random.choice(4, (count, *blocks), p=[0.1, 0.4, 0.3, 0.2]).astype(np.uint8),
        "ref_poc": random.integers(-4, 14, (count, *blocks, 2), dtype=np.int32),
        "poc": np.arange(count),
        "bits": random.integers(0, 4000, (count, *ctus), dtype=np.int32),
        "ctb_size": ctb_size,
        "bit_depth": depth,
        "types": "".join(random.choice(list("IPPB"), count)),
        "pts": np.arange(count) / 25,
    }


CHOICES: dict[str, list[Any]] = {
    "preset": list(ove_codec.PRESETS),
    "accumulate": ["none", "sum", "sum", "max"],
    "i_pictures": ["as_coded", "zero", "keep"],
    "percentile_scope": ["frame", "clip"],
    "percentile": [50.0, 95.0, 100.0],
    "compensate": ["none", "median", "mean", "similarity", "affine"],
    "vector": ["l0", "l0_else_l1", "both", "displacement"],
    "motion_map": ["exact", "reference"],
    "intra_blocks": ["as_coded", "zero", "median", "max"],
    "sampling": ["time", "bits"],
    "num_frames": [1, 2, 3, 64],
    "fuse": ["weighted", "max", "sum", "geomean"],
    "residual_weight": [0.0, 0.5],
    "bits_weight": [0.0, 0.7],
    "local_variance": [0, 0, 3],
    "resize": ["crop", "letterbox", "stretch", "native"],
    "padding": ["exclude", "zero"],
    "center_prior": [0.0, 0.3],
    "start": [None, None, 0.02],
}


@pytest.mark.parametrize("seed", range(60))
def test_random_mixes(device: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    monkeypatch.setattr(_cuda_scorer, "_MOST_BYTES", [1, 200_000, 1 << 28][seed % 3])
    arrays = random_arrays(random)
    params = {name: values[random.integers(len(values))] for name, values in CHOICES.items() if random.random() < 0.7}
    if len(arrays["pts"]) == 1:
        params.pop("start", None)
    if params.get("fuse") == "geomean":  # whose roots make much of what rounding leaves of a variance of 0
        params.pop("local_variance", None)
    params = {"mv_weight": 0.5, **params, "size": 42, "patch_size": 7, "budget": int(random.integers(1, 60))}
    here = ove_codec.select_arrays(**arrays, **params)
    there = ove_codec.select_arrays(**arrays, **params, device=device)
    same(there, here)
    t = int(random.integers(len(here.frame_ids)))
    assert_close(there.heat(t), here.heat(t), here.params)


@pytest.mark.parametrize("producer", ["torch", "cupy"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"vector": "displacement", "bits_weight": 0.4, "fuse": "max"},
        {"residual_weight": 0.0, "compensate": "similarity", "motion_map": "reference"},
        {"mv_weight": 0.0, "quantize": True},
        {"mv_weight": 0.0, "vector": "displacement"},
        {"preset": "ove", "num_frames": 2, "bits_weight": 0.4},
    ],
    ids=str,
)
def test_arrays_there(device: str, params: dict[str, Any], producer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays that lie on the GPU stay there."""
    twinned = twin.in_place()
    if producer == "cupy":
        if twinned:
            pytest.skip("CuPy's arrays lie on a GPU")
        cupy = pytest.importorskip("cupy")
    if twinned:
        monkeypatch.setattr(cuda, "lies_on_gpu", lambda array: isinstance(array, torch.Tensor))
        monkeypatch.setattr(selection_module, "lies_on_gpu", cuda.lies_on_gpu)
    random = np.random.default_rng(5)
    arrays: dict[str, Any] = {
        "mv": random.integers(-40, 40, (4, 12, 17, 2, 2), dtype=np.int16),
        "residual": random.integers(-400, 400, (4, 47, 66), dtype=np.int16),
        "pred": random.integers(0, 4, (4, 12, 17), dtype=np.uint8),
        "ref_poc": random.integers(-4, 4, (4, 12, 17, 2), dtype=np.int32),
        "bits": random.integers(0, 4000, (4, 3, 5), dtype=np.int32),
    }
    poc = np.arange(4)
    there: dict[str, Any] = {
        name: cupy.asarray(a) if producer == "cupy" else torch.from_numpy(a).to("cpu" if twinned else "cuda")
        for name, a in arrays.items()
    }
    arguments: dict[str, Any] = {
        "poc": poc,
        "bit_depth": 10,
        "size": 42,
        "budget": 11,
        "window": (1, 2, 60, 44),
        "rotation": 90,
    }
    here = ove_codec.select_arrays(**arrays, **arguments, **params)
    same(ove_codec.select_arrays(**there, **arguments, **params, device=device), here)
    with pytest.raises(ValueError, match="are on a GPU: move every array there"):
        ove_codec.select_arrays(**there, **arguments, **params)
    wrong: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("mv is missing", {"mv": None}, {}),
        ("residual is missing", {"residual": None}, {}),
        ("pred is missing", {"pred": None}, {"intra_blocks": "zero"}),
        ("ref_poc is missing", {"ref_poc": None}, {"vector": "displacement"}),
        ("bits are missing", {"bits": None}, {"bits_weight": 1}),
        ("bits has 3x3 CTUs of 16 samples, too few", {"bits": there["bits"][:, :, :3]}, {"bits_weight": 1}),
        ("pred must have the shape", {"pred": there["pred"][:, :, :4]}, {}),
        ("fewer than its display window needs", {}, {"window": (8, 2, 60, 44)}),
        ("bit_depth must be from 8 to 16", {}, {"bit_depth": 7}),
    ]
    for message, instead, more in wrong:
        arguments_then = {**there, **arguments, "ctb_size": 16, **instead, **more}
        with pytest.raises(ValueError, match=message):
            ove_codec.select_arrays(**arguments_then, device=device)
    with pytest.raises(ValueError, match="mv must be int16 on a GPU"):
        ove_codec.select_arrays(there["mv"].astype("int32") if producer == "cupy" else there["mv"].int(),
                                there["residual"], size=42, device=device)  # fmt: skip


class OnlyDlpack:
    """What a library that is not known gives."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def __len__(self) -> int:
        return len(self._array)


def test_arrays_of_other_libraries() -> None:
    random = np.random.default_rng(5)
    mv = random.integers(-40, 40, (4, 12, 17, 2), dtype=np.int16)
    residual = random.integers(-90, 90, (4, 48, 68), dtype=np.int16)
    here = ove_codec.select_arrays(mv, residual, size=42, budget=11)
    for kind in (torch.from_numpy, OnlyDlpack):
        other = ove_codec.select_arrays(kind(mv), kind(residual), size=42, budget=11)
        np.testing.assert_array_equal(other.scores, here.scores)


class CountOperations(TorchDispatchMode):
    """Counts what PyTorch is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("preset", ["paper", "ove"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole arrays", "one array a picture"])
def test_a_clip_that_lies_there_is_packed_at_once(preset: str, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pictures it has."""
    device = twin.put_in_place(monkeypatch)
    monkeypatch.setattr(cuda, "lies_on_gpu", is_tensor)
    monkeypatch.setattr(selection_module, "lies_on_gpu", is_tensor)
    random = np.random.default_rng(5)
    counts = []
    for pictures in (6, 60):
        mv = torch.from_numpy(random.integers(-40, 40, (pictures, 12, 17, 2), dtype=np.int16))
        residual = torch.from_numpy(random.integers(-400, 400, (pictures, 47, 66), dtype=np.int16))
        arguments: dict[str, Any] = {"preset": preset, "size": 42, "budget": 11}
        arguments["num_frames"] = pictures if preset == "paper" else 3
        if preset == "ove":
            ref_poc = np.broadcast_to(np.arange(-1, pictures - 1, dtype=np.int32)[:, None, None, None],
                                      (pictures, 12, 17, 2)).copy()  # fmt: skip
            arguments |= {"ref_poc": torch.from_numpy(ref_poc), "poc": np.arange(pictures)}
        here = ove_codec.select_arrays(
            mv.numpy(), residual.numpy(), **{k: v.numpy() if k == "ref_poc" else v for k, v in arguments.items()}
        )
        given = (mv, residual) if whole else (list(mv.unbind()), list(residual.unbind()))
        with CountOperations() as operations:
            there = ove_codec.select_arrays(*given, **arguments, device=device)
        same(there, here)
        counts.append(operations.count)
    assert counts[0] == counts[1] < 80, counts


def is_tensor(array: Any) -> bool:
    return isinstance(array[0] if isinstance(array, list) else array, torch.Tensor)
