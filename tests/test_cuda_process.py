"""What surrounds the kernels in a process: drivers, other libraries' memory, other threads, captured graphs."""

from __future__ import annotations

import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import ove_codec
from ove_codec import _core, cuda, ops
from ove_codec.ops import ClipPlanes
from ove_codec.ops import patches as patch_ops
from ove_codec.ops import rows as row_ops
from ove_codec.presets import resolve
from support import twin


def test_a_pytorch_without_cuda_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the driver says."""
    kernels = types.SimpleNamespace(has_driver=lambda: True, unavailable_reason=lambda device: "", __file__="")
    monkeypatch.setattr(ove_codec, "_cuda", kernels, raising=False)
    monkeypatch.setitem(sys.modules, "ove_codec._cuda", kernels)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not cuda.available()
    assert "has no CUDA; install a PyTorch" in str(cuda.unavailable_reason())


def test_whether_cuda_is_available_is_asked_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes forked from one that has initialised the driver cannot use it."""

    def initialise(device: int) -> str:
        raise AssertionError("the driver is initialised here")

    module = str(next(twin.FOLDER.glob("ove_cuda_twin*.so"), ""))
    if not module:
        pytest.skip("the twin of the kernels is not built")
    kernels = types.SimpleNamespace(has_driver=lambda: True, unavailable_reason=initialise, __file__=module)
    monkeypatch.setattr(ove_codec, "_cuda", kernels, raising=False)
    monkeypatch.setitem(sys.modules, "ove_codec._cuda", kernels)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert cuda.available()
    kernels.__file__ = "nothing"
    assert "a process that queries the NVIDIA driver fails" in str(cuda.unavailable_reason())
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(AssertionError, match="initialised here"):
        cuda.available()


def test_a_gather_of_patches_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table goes up from memory that a replay would find changed."""
    assert torch.Tag.cudagraph_unsafe in torch.ops.ove_codec.gather_patches.default.tags
    twin.put_in_place(monkeypatch)
    monkeypatch.setattr(cuda, "capturing", lambda: True)
    clip = ClipPlanes([torch.zeros(1, n, n, dtype=torch.uint8) for n in (16, 8, 8)])
    arguments = (torch.tensor([(0, 0, 0)]), torch.tensor([0, 1], dtype=torch.int32))
    monkeypatch.setattr(patch_ops, "_gather", patch_ops._gather_cuda)
    with pytest.raises(RuntimeError, match="before the CUDA graph is captured"):
        ops.gather_patches([clip], *arguments, resize="crop", size=16, patch_size=8)


class Event:
    """An event that has passed when it is said so."""

    passed = False

    def query(self) -> bool:
        return self.passed


class OnGpu(torch.Tensor):
    """A tensor that says it lies on a GPU."""

    is_cuda = True


class Borrowed:
    """An array of another library."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.tensor.__dlpack_device__()


def test_borrowed_memory_stays_until_the_stream_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's allocator knows nothing of it."""
    events: list[Event] = []

    def record(device: torch.device) -> Event:
        events.append(Event())
        return events[-1]

    monkeypatch.setattr(cuda, "record", record)
    monkeypatch.setattr(cuda, "_held", [])
    monkeypatch.setattr(torch, "from_dlpack", lambda array: array.tensor.as_subclass(OnGpu))
    monkeypatch.setattr(row_ops, "_gather", lambda tokens, index: tokens[index])
    tokens = Borrowed(torch.ones(4, 2))
    index = torch.tensor([1, 3])
    address = tokens.tensor.data_ptr()
    for _ in range(2):
        ops.gather_tokens(tokens, index)
    assert [[t.data_ptr() for t in kept] for _, kept in cuda._held] == [[address], [address]]
    events[1].passed = True
    ops.gather_tokens(tokens, index)
    assert [event for event, _ in cuda._held] == [events[0], events[2]]
    ops.gather_tokens(torch.ones(4, 2), index)
    assert len(events) == 3


@pytest.mark.parametrize("step", ["gather_rows", "scatter_rows", "add_rows", "gather_patches", "score"])
def test_launches_let_other_threads_run(step: str) -> None:
    """Where the queue of a GPU is full, a launch waits; here the twin's loops take the time."""
    launch, _kept = long_launch(twin.load(), step)
    done = threading.Event()

    def work() -> None:
        launch()
        done.set()

    thread = threading.Thread(target=work)
    steps = 0
    thread.start()
    while not done.is_set():
        steps += 1
        time.sleep(0.001)
    thread.join()
    assert steps > 5, "a launch holds the GIL"


def long_launch(kernels: Any, step: str) -> tuple[Callable[[], None], list[Any]]:
    """A launch that takes the twin a good part of a second, and the memory that it works on."""
    if step == "gather_patches":
        planes = [torch.zeros(1, n, n, dtype=torch.uint8) for n in (64, 32, 32)]
        positions = torch.zeros(3000, 3, dtype=torch.int64)
        bounds = torch.tensor([0, len(positions)], dtype=torch.int32)
        form: dict[str, Any] = {"bit_depth": 8, "matrix": "bt601", "full_range": False, "chroma_shift": (1, 1)}
        form |= {"chroma_site": (0.0, 0.5), "quarter_turns": 0, "mirrored": False, "low_bits": 0, "frames": 1}
        form |= {"resize": "crop", "size": 64, "patch_size": 32, "mean": (0.0,) * 3, "std": (1.0,) * 3}
        at = [(p.data_ptr(), *p.stride()) for p in planes]
        table = np.frombuffer(kernels.clip_descriptor(at, width=64, height=64, **form), np.uint8).copy()
        out = torch.empty(len(positions), 3 * 32 * 32)
        arguments: tuple[Any, ...] = (table.ctypes.data, 1, 32, bounds.data_ptr(), positions.data_ptr(), len(positions))
        arguments += ("float32", out.data_ptr(), 0)
        kept: list[Any] = [planes, positions, bounds, table, out]
    elif step == "score":
        params = resolve("paper", {"budget": 4, "size": 448, "patch_size": 14, "fuse": "max"})
        plan = _core.HeatPlan(_core.Scorer(params, (0, 0, 2048, 2048), 0, False), 0)
        memory = np.zeros(kernels.clip_bytes(plan.tables, 1, 1) + 256, np.uint8)
        block, scores = np.frombuffer(plan.block, np.uint8).copy(), np.empty((32, 32), np.float32)
        room = (block.ctypes.data, memory.ctypes.data, 1, 1)
        arguments = (plan.tables, room, 1, scores.ctypes.data, 0)
        kept = [memory, block, scores]
    else:
        count, size = 2000, 6000
        every, packed, index = torch.zeros(count, size), torch.zeros(count, size), torch.arange(count)
        there, here = ((t.data_ptr(), count, 4 * size) for t in (every, packed))
        arguments = (there, index.data_ptr(), here, *(("float32",) if step == "add_rows" else ()), 0)
        kept = [every, packed, index]
    return lambda: getattr(kernels, step)(*arguments), kept
