"""The GPU's functions in plain loops on the CPU, in the place of the kernels: what Python does around them is run."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from ove_codec import cuda, selection

FOLDER = Path(
    os.environ.get("OVE_TEST_MODULES", Path(__file__).resolve().parents[2] / "build" / "dev" / "tests" / "cpp")
)


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


def put_in_place(monkeypatch: pytest.MonkeyPatch) -> str:
    """Until the end of the test "the GPU" is the CPU. Gives what to pass as `device`."""
    module = load()

    @contextmanager
    def working_on(device: Any, *, behind_caller: bool = False) -> Iterator[torch.device]:
        yield torch.device("cpu")

    @contextmanager
    def launching(device: torch.device) -> Iterator[tuple[ModuleType, int]]:
        yield module, 0

    monkeypatch.setattr(cuda, "working_on", working_on)
    monkeypatch.setattr(cuda, "launching", launching)
    monkeypatch.setattr(selection, "working_on", working_on)
    monkeypatch.setattr(cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(cuda, "new_stream", lambda device: object())
    monkeypatch.setattr(cuda, "record", lambda device: object())
    monkeypatch.setattr(cuda, "wait", lambda event, tensors: None)
    monkeypatch.setattr(cuda, "use", lambda tensors: None)
    monkeypatch.setattr(cuda, "wait_for_decoder", lambda device: None)
    monkeypatch.setattr(cuda, "pinned", lambda size: torch.empty(size, dtype=torch.uint8))
    return "cuda"


def in_place() -> bool:
    return cuda.pinned.__module__ != cuda.__name__
