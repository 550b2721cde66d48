"""Scores of sampled pictures on a GPU: pictures go up as they are decoded, and heat and sums are made there."""

from __future__ import annotations

from typing import Any

import torch

from ove_codec import _core, cuda
from ove_codec._reading import PictureArrays, Scorable

# Of pictures that are on the GPU at a time, where percentiles do not need the whole clip; a quarter of it for those
# that are to be added up.
_MOST_BYTES = 1 << 29
# That go up in one copy; a picture that needs more gets it.
_UPLOAD_BYTES = 1 << 26
_RECORD_BYTES = 128  # at least those of a record


class ClipScorer:
    """Scores the sampled pictures of one clip on the current stream of a device, up to `capacity` of them at a time.

    Args:
        pictures, sampled: how many are taken in for how many sampled ones, all in all.
        whole: percentiles are those of the whole clip, all of which is to be on the GPU at a time.
    """

    def __init__(
        self,
        params: dict[str, Any],
        scorer: _core.Scorer,
        ctb_size: int,
        pictures: int,
        sampled: int,
        whole: bool,
        device: torch.device,
    ) -> None:
        self.device = device
        self._plan = _core.HeatPlan(scorer, ctb_size)
        self._accumulates = params["accumulate"] != "none"
        self._left = pictures  # to be taken in
        with cuda.launching(device) as (kernels, _):

            def most(count: int, step: tuple[int, int], total: int) -> int:
                """Of `count` pictures, those that fit `total` bytes, where `step` are the rooms that one more needs."""
                sizes = [kernels.clip_bytes(self._plan.tables, 1 + n * step[0], 1 + n * step[1]) for n in (0, 16)]
                return max(1, min(count, 16 * total // max(1, sizes[1] - sizes[0])))

            if self._accumulates:
                self._room = most(pictures, (1, 0), _MOST_BYTES // 4)
                self.capacity = sampled if whole else most(sampled, (0, 1), _MOST_BYTES - _MOST_BYTES // 4)
            else:
                self._room = self.capacity = sampled if whole else most(sampled, (1, 1), _MOST_BYTES)
            size = kernels.clip_bytes(self._plan.tables, self._room, self.capacity)
        self._memory = torch.empty(size, dtype=torch.uint8, device=device)
        self._block = cuda.upload(self._plan.block, device)
        self._upload: cuda.Upload | None = None  # of the pictures that were not sent yet, like the next three
        self._records: list[bytes] = []
        self._level_blocks = 0  # the most that one of them has
        self._in_place: list[tuple[PictureArrays, int]] = []  # whose records are still to be made
        self._placed = 0  # pictures in the room
        self._first, self._end = 0, 0  # the sampled pictures that those in the room count for
        self._begun = False  # the sums hold those of pictures that are not measured yet
        self.taken = 0  # sampled pictures, wholly
        self._measured = 0

    def _queue(self, step: str, *arguments: int) -> None:
        """Queues this step of the kernels' module on the clip."""
        room = (self._block.data_ptr(), self._memory.data_ptr(), self._room, self.capacity)
        with cuda.launching(self.device) as (kernels, stream):
            getattr(kernels, step)(self._plan.tables, room, *arguments, stream)

    def take_in(self, picture: Scorable, last: bool = True) -> None:
        """Takes in a picture that counts for the next sampled one, whose `last` one it is."""
        if self._accumulates and self._placed + self._waiting == self._room:
            self._accumulate()
        if isinstance(picture, PictureArrays) and picture.entry is not None:
            self._with_room(0)
            self._in_place.append((picture, self.taken))
        else:
            upload = self._with_room(self._plan.most_bytes)
            used, blocks, record = self._plan.pack(
                upload.here + upload.used, upload.there + upload.used, self.taken, picture
            )
            upload.used += used
            self._level_blocks = max(self._level_blocks, blocks)
            self._records.append(record)
        self._left -= 1
        self._end = self.taken + 1
        self.taken += last

    @property
    def _waiting(self) -> int:
        return len(self._records) + len(self._in_place)

    def _with_room(self, size: int) -> cuda.Upload:
        """The upload with room for a picture of so many bytes; the one before is sent where that is full."""
        needed = size + _RECORD_BYTES
        if self._upload is not None:
            if self._upload.used + size + (self._waiting + 1) * _RECORD_BYTES <= self._upload.capacity:
                return self._upload
            self._send()
        self._upload = cuda.Upload(max(needed, min(_UPLOAD_BYTES, self._left * needed)), self.device)
        return self._upload

    def _send(self) -> None:
        """Has the pictures go up, and their arrays come to the clip's memory."""
        if self._upload is None:
            return
        count = self._waiting
        if self._in_place:
            self._records.append(self._records_in_place())
        records = self._upload.there + self._upload.add(b"".join(self._records))
        self._upload.send()
        self._queue("take_in", records, count, self._level_blocks, self._placed)
        if self._in_place:
            cuda.hold(self._in_place[0][0].borrowed)
        self._placed += count
        self._upload, self._records, self._in_place, self._level_blocks = None, [], [], 0

    def _records_in_place(self) -> bytes:
        """The records of the pictures whose arrays lie on the device, which are of one clip."""
        clip = self._in_place[0][0]
        given = {name: array for name, array in vars(clip).items() if isinstance(array, torch.Tensor)}
        for name, array in given.items():
            if array.device != self.device:
                raise ValueError(f"{name} is on {array.device}, but the selection runs on {self.device}: move it there")
        cuda.use(given.values())
        return self._plan.in_place(clip, [(p.entry or 0, slot, p.poc, p.intra) for p, slot in self._in_place])

    def _accumulate(self) -> None:
        """Adds up the pictures in the room, and empties it."""
        self._send()
        if not self._begun:
            self._queue("clear_sums")
            self._begun = True
        self._queue("accumulate", self._placed, self._first, self._end)
        self._placed, self._first = 0, self.taken

    def measure(self, scales: torch.Tensor | None = None) -> torch.Tensor:
        """Measures the sampled pictures taken in, and begins anew. Their scales are those given, or else found.

        Returns the scales of the first one.
        """
        self._accumulate() if self._accumulates else self._send()
        found = torch.empty(3, dtype=torch.float32, device=self.device)
        self._queue("measure", self.taken, 0 if scales is None else scales.data_ptr(), found.data_ptr())
        self._measured, self.taken, self._placed, self._first, self._begun = self.taken, 0, 0, 0, False
        return found

    def score(self, scores: torch.Tensor) -> None:
        """Scores the sampled pictures measured last, to as many rows."""
        self._queue("score", self._measured, scores.data_ptr())

    def render(self, picture: int, canvas: torch.Tensor) -> None:
        """The heat of one of the sampled pictures measured last."""
        self._queue("render", self._measured, picture, canvas.data_ptr())
