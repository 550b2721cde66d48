"""The GPU's functions in plain loops on the CPU, in the place of the kernels: what Python does around them is run."""

import ctypes
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import ove_codec
from ove_codec import cuda

FOLDER = Path(
    os.environ.get("OVE_TEST_MODULES", Path(__file__).resolve().parents[2] / "build" / "dev" / "tests" / "cpp")
)


STREAM = 0  # the address that launches are told


def operations() -> int:
    """What the twin's steps would have queued on a GPU so far."""
    count = ctypes.CDLL(str(next(FOLDER.glob("ove_cuda_twin*.so")))).ove_twin_operations
    count.restype = ctypes.c_int64
    return int(count())


def load() -> ModuleType:
    """Skips the test where the twin is not built, for which CUDA's headers are needed."""
    found = sorted(FOLDER.glob("ove_cuda_twin*.so"))
    if not found:
        pytest.skip("the twin of the kernels is not built; `make test` builds it where nvcc is")
    spec = importlib.util.spec_from_file_location("_cuda", found[0])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Done:
    """An event behind what is queued, which is done at once."""

    def synchronize(self) -> None:
        pass

    def query(self) -> bool:
        return True


def put_in_place(monkeypatch: pytest.MonkeyPatch) -> str:
    """Until the end of the test "the GPU" is the CPU. Gives what to pass as `device`."""
    module = load()

    @contextmanager
    def working_on(device: Any, *, behind_caller: bool = False) -> Iterator[torch.device]:
        yield torch.device("cpu")

    @contextmanager
    def launching(device: torch.device) -> Iterator[tuple[ModuleType, int]]:
        yield module, STREAM

    monkeypatch.setattr(cuda, "working_on", working_on)
    monkeypatch.setattr(cuda, "launching", launching)
    monkeypatch.setattr(cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(cuda, "new_stream", lambda device: object())
    monkeypatch.setattr(cuda, "record", lambda device: Done())
    monkeypatch.setattr(cuda, "wait", lambda event, tensors: None)
    monkeypatch.setattr(cuda, "use", lambda tensors: None)
    monkeypatch.setattr(cuda, "pinned", lambda size: torch.empty(size, dtype=torch.uint8))
    return "cuda"


def in_place() -> bool:
    return cuda.pinned.__module__ != cuda.__name__


def is_exact(params: dict[str, Any]) -> bool:
    """Whether scores of a GPU are the CPU's to the bit: all but local variances, which are added up in another order,
    and those that logarithms of bits or cube roots go into, which a GPU's library may round otherwise."""
    energies = sum(params[name] > 0 for name in ("mv_weight", "residual_weight", "bits_weight"))
    roots = params["fuse"] == "geomean" and energies == 3
    return params["local_variance"] == 0 and params["bits_weight"] == 0 and not roots


def assert_close(there: Any, here: Any, params: dict[str, Any]) -> None:
    """The numbers of a GPU are the CPU's, to the bit where ``is_exact`` says so."""
    there = there.cpu().numpy() if isinstance(there, torch.Tensor) else there
    if is_exact(params):
        np.testing.assert_array_equal(there, here)
    else:
        # Quantized heat may be rounded to the next level.
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1.0 if params["quantize"] else 1e-5)


def same(there: ove_codec.Selection, here: ove_codec.Selection) -> None:
    """The selection made on a GPU is that of the CPU: the same patches in the same order, scores as ``assert_close``
    demands."""
    assert there.positions.dtype == torch.int32 and there.scores.dtype == torch.float32
    assert there.mask.dtype == torch.bool and there.valid.dtype == torch.bool
    back = there.cpu()
    np.testing.assert_array_equal(back.frame_ids, here.frame_ids)
    assert_close(back.scores, here.scores, here.params)
    np.testing.assert_array_equal(back.mask, here.mask)
    np.testing.assert_array_equal(back.positions, here.positions)
    np.testing.assert_array_equal(back.valid, here.valid)
    assert (back.geometry, back.preset, back.params) == (here.geometry, here.preset, here.params)
    if here.scales is None:
        assert back.scales is None
    else:
        assert_close(back.scales, here.scales, here.params)
    assert len(there) == len(here)
