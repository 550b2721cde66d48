"""Whether and where CUDA kernels can run: on which device and stream, and why not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["available", "unavailable_reason"]

_held: list[tuple[Any, tuple[Any, ...]]] = []  # memory of other libraries, with the event behind its use
_holding = threading.Lock()
_usable: set[int] = set()  # numbers of devices on which kernels were found to run


def available(device: int = 0) -> bool:
    """Whether kernels can run on the device with this number."""
    return unavailable_reason(device) is None


def unavailable_reason(device: int = 0) -> str | None:
    """Why kernels cannot run on the device with this number: not built, no driver or an old one, a PyTorch without
    CUDA, no such device, or a compute capability that is too low. None if they can.

    Does not initialise the driver in this process: if nothing has initialised it yet, another process asks it, so that
    processes forked later can use it.
    """
    try:
        from ove_codec import _cuda
    except ImportError as error:
        return f"this ove_codec has no CUDA kernels ({error}); build it on a machine with nvcc 12.0 or later"
    if not _cuda.has_driver():
        return "there is no NVIDIA driver on this machine"
    try:
        import torch
    except ImportError as error:
        return f"PyTorch, whose memory and streams the kernels use, cannot be imported ({error}); install it"
    if torch.version.cuda is None:
        return f"this PyTorch ({torch.__version__}) has no CUDA; install a PyTorch built with CUDA"
    if torch.cuda.is_initialized():
        return _cuda.unavailable_reason(device) or None
    return _ask_elsewhere(_cuda.__file__, device) or None


_QUESTION = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_cuda", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.unavailable_reason(int(sys.argv[2])))
"""


def _ask_elsewhere(module: str | None, device: int) -> str:
    """What ``unavailable_reason`` of the kernels' module says in a process of its own."""
    command = [sys.executable, "-I", "-S", "-c", _QUESTION, str(module), str(device)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"a process that queries the NVIDIA driver fails: {done.stderr.strip() or done.returncode}"
    return done.stdout.strip()


def is_cpu(device: Any) -> bool:
    """Whether a `device` argument means the CPU; PyTorch is not imported to tell."""
    return device is None or str(device) == "cpu"


def lies_on_gpu(array: Any) -> bool:
    """Whether an array of any library (or the first one of a list) lies in CUDA memory."""
    if isinstance(array, list | tuple) and array:
        array = array[0]
    # kDLCUDA of DLPack
    return hasattr(array, "__dlpack_device__") and int(array.__dlpack_device__()[0]) == 2


def named(device: Any) -> torch.device:
    """The CUDA device of this name or number. Raises ValueError where it is none."""
    import torch

    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device must name a CPU or CUDA device or be a stream, not {device!r}") from None
    if chosen.type != "cuda":
        raise ValueError(f"device must be 'cpu' or a CUDA device, not {chosen}")
    return chosen


@contextmanager
def working_on(device: Any, *, behind_caller: bool = False) -> Iterator[torch.device]:
    """Makes a device, and a stream of it where one is given, the current one.

    Args:
        device: "cuda", "cuda:1", a number, a ``torch.device``, ``torch.cuda.Stream``, ``cupy.cuda.Device`` or
            ``cupy.cuda.Stream``.
        behind_caller: the stream first waits for what is queued on the one that was current.

    Raises:
        ValueError: nothing of that.
        RuntimeError: kernels cannot run there, with the reason.
    """
    import torch

    stream: Any = None
    if isinstance(device, torch.cuda.Stream):
        stream, chosen = device, device.device
    elif hasattr(device, "ptr") and hasattr(device, "device_id"):  # CuPy's stream; -1 is the current device
        number = device.device_id if device.device_id >= 0 else torch.cuda.current_device()
        chosen = torch.device("cuda", number)
        _check(chosen)
        stream = torch.cuda.ExternalStream(device.ptr, chosen)
    elif type(device).__module__.startswith("cupy") and hasattr(device, "id"):
        chosen = torch.device("cuda", device.id)
    else:
        chosen = named(device)
    chosen = _check(chosen)
    if behind_caller and stream is not None:
        stream.wait_stream(torch.cuda.current_stream(chosen))
    with torch.cuda.device(chosen), torch.cuda.stream(stream):
        yield chosen


def _check(device: torch.device) -> torch.device:
    """The device with its number. RuntimeError where kernels cannot run on it."""
    import torch

    number = device.index
    if number is None:
        number = torch.cuda.current_device() if torch.cuda.is_available() else 0
    if number not in _usable:
        if torch.version.cuda is not None:
            with suppress(RuntimeError):  # which the reason tells better
                torch.cuda.init()
        if (reason := unavailable_reason(number)) is not None:
            raise RuntimeError(f"ove_codec cannot run on cuda:{number}: {reason}")
        _usable.add(number)
    return torch.device("cuda", number)


def pinned(size: int) -> torch.Tensor:
    """So many bytes, which copies to a GPU read without waiting; PyTorch gives them out again when those are done."""
    import torch

    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


class Upload:
    """Bytes that go up to a GPU in one copy: pinned memory here, at the address `here`, and as much at `there`."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        import torch

        self._pinned = pinned(capacity)
        self.device = torch.empty(capacity, dtype=torch.uint8, device=device)
        self.capacity = capacity
        self.used = 0

    @property
    def here(self) -> int:
        return self._pinned.data_ptr()

    @property
    def there(self) -> int:
        return self.device.data_ptr()

    def add(self, data: bytes) -> int:
        """Adds bytes, and gives the place of the first one; the next ones begin at a multiple of 16."""
        begin = self.used
        self._pinned[begin : begin + len(data)].numpy()[:] = np.frombuffer(data, np.uint8)
        self.used += -(-len(data) // 16) * 16
        return begin

    def send(self) -> None:
        """Queues the copy of the bytes used so far on the current stream."""
        self.device[: self.used].copy_(self._pinned[: self.used], non_blocking=True)


def upload(array: NDArray[Any] | bytes, device: torch.device) -> torch.Tensor:
    """The array (or bytes, as uint8) on the device, through pinned memory."""
    import torch

    array = np.frombuffer(array, np.uint8) if isinstance(array, bytes) else np.ascontiguousarray(array)
    there = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, device=device)
    if array.size:
        staged = pinned(array.nbytes)
        staged.numpy()[:] = array.reshape(-1).view(np.uint8)
        there.view(-1).view(torch.uint8).copy_(staged, non_blocking=True)
    return there


def new_stream(device: torch.device) -> Any:
    import torch

    return torch.cuda.Stream(device)


def synchronize(device: torch.device) -> None:
    """Waits for the current stream."""
    import torch

    torch.cuda.current_stream(device).synchronize()


def record(device: torch.device) -> Any:
    """An event behind what is queued on the current stream."""
    import torch

    return torch.cuda.current_stream(device).record_event()


def wait(event: Any, tensors: Iterable[torch.Tensor]) -> None:
    """Queues what comes next on the current stream behind the event, and says that the tensors are used there."""
    import torch

    tensors = list(tensors)
    torch.cuda.current_stream(tensors[0].device).wait_event(event)
    use(tensors)


def use(tensors: Iterable[torch.Tensor]) -> None:
    """Says that the current stream uses memory that may have been taken for another: it is free only behind that."""
    import torch

    for tensor in tensors:
        tensor.record_stream(torch.cuda.current_stream(tensor.device))


def capturing() -> bool:
    """Whether the current stream is captured into a CUDA graph."""
    import torch

    return torch.version.cuda is not None and torch.cuda.is_current_stream_capturing()


def hold(tensors: Sequence[torch.Tensor]) -> None:
    """Keeps memory of other libraries, which ``use`` knows nothing of, until the current stream is done with what is
    queued; it goes with a later call that finds the stream there."""
    with _holding:
        _held[:] = [(event, kept) for event, kept in _held if not event.query()]
        if tensors:
            _held.append((record(tensors[0].device), tuple(tensors)))


@contextmanager
def launching(device: torch.device) -> Iterator[tuple[ModuleType, int]]:
    """The module of kernels, with `device` current, and the address of the caller's stream there.

    Raises:
        RuntimeError: kernels cannot run on the device.
    """
    import torch

    device = _check(device)
    with torch.cuda.device(device):
        from ove_codec import _cuda

        yield _cuda, torch.cuda.current_stream().cuda_stream
