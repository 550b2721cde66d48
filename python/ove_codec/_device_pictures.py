"""Decoded pictures whose arrays go up to a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ove_codec import _core, cuda

if TYPE_CHECKING:
    from ove_codec.video import Video

_ARRAYS = frozenset({"pred", "mv", "ref_poc", "residual", "qp", "cu_size", "skip", "bits"})


class DevicePicture:
    """A ``Picture`` whose arrays are CUDA tensors of the same shapes and dtypes.

    An array goes up, through pinned memory, when it is first asked for, and stays: on the stream that the video was
    opened with, else on the one that is current then.
    """

    def __init__(self, picture: _core.Picture, device: Any) -> None:
        self._picture = picture
        self._device = device

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._picture, name)
        if name in _ARRAYS:
            with cuda.working_on(self._device) as chosen:
                value = cuda.upload(value, chosen)
            self.__dict__[name] = value
        return value

    def cpu(self) -> _core.Picture:
        """The picture as it was decoded."""
        return self._picture


class DeviceVideo:
    """A ``Video`` whose pictures are given as ``DevicePicture``; `on_cpu` is the video itself."""

    def __init__(self, video: Video, device: Any) -> None:
        with cuda.working_on(device) as chosen:
            self.device = chosen
        self._given = device
        self.on_cpu = video

    @property
    def info(self) -> dict[str, Any]:
        return self.on_cpu.info

    @property
    def index(self) -> _core.VideoIndex:
        return self.on_cpu.index

    def __len__(self) -> int:
        return len(self.on_cpu)

    def __iter__(self) -> Iterator[DevicePicture]:
        return (DevicePicture(picture, self._given) for picture in self.on_cpu)

    def read(self, frame_ids: Iterable[int], *, residual: bool = True) -> Iterator[DevicePicture]:
        """``Video.read``."""
        return (DevicePicture(p, self._given) for p in self.on_cpu.read(frame_ids, residual=residual))

    def seek(
        self, *, index: int | None = None, pts: float | None = None, residual: bool = True
    ) -> Iterator[DevicePicture]:
        """``Video.seek``."""
        pictures = self.on_cpu.seek(index=index, pts=pts, residual=residual)
        return (DevicePicture(picture, self._given) for picture in pictures)
