"""The backend of a GPU: pictures are decoded on the CPU; scores, ranks and patches are made by kernels, in tensors."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ove_codec import _core, cuda
from ove_codec._cuda_scorer import ClipScorer
from ove_codec._jobs import numbered
from ove_codec._reading import Pictures, Places, Ranked, Reads, Scorable, Scored, read_pictures, scorer_for
from ove_codec.ops.patches import DTYPES

# Of decoded rows that go up at a time; a picture that needs more gets it.
_CHUNK_BYTES = 1 << 25
# Pictures of NVDEC that one launch reads where they lie; those of two launches are kept meanwhile.
_FRAMES_A_LAUNCH = _core.StagedPictures.most_frames // 2
_TABLE_BYTES = 256  # at least those of a clip's entry in a table of the kernels
_ARRAYS = frozenset({"pred", "mv", "ref_poc", "residual", "qp", "cu_size", "skip", "bits"})


class DevicePicture:
    """A ``Picture`` whose arrays are CUDA tensors of the same shapes and dtypes.

    An array goes up, through pinned memory, when it is first asked for, and stays: on the stream that the video was
    opened with, else on the one that is current then.
    """

    def __init__(self, picture: Any, backend: Cuda) -> None:
        self._picture = picture
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"a picture has no attribute {name!r}")
        value = getattr(self._picture, name)
        if name in _ARRAYS:
            with self._backend.on():
                value = self._backend.tensor(value)
            self.__dict__[name] = value
        return value

    def __repr__(self) -> str:
        return f"{self._picture!r} on {self._backend.device}"

    def cpu(self) -> Any:
        """The picture as it was decoded."""
        return self._picture


class Cuda:
    """See ``Backend``.

    Args:
        device: as for ``cuda.working_on``, which also says what is raised; a stream is that of all work.
    """

    is_cpu = False
    decoders: tuple[str, ...] = ("cpu", "nvdec")

    def __init__(self, device: Any) -> None:
        self._given = device
        with cuda.working_on(device) as chosen:
            self.device = chosen

    @contextmanager
    def on(self, *, behind_caller: bool = False) -> Iterator[None]:
        with cuda.working_on(self._given, behind_caller=behind_caller):
            yield

    def current(self) -> Cuda:
        return Cuda(self.device)

    def workers(self, count: int) -> Sequence[Cuda]:
        return [Cuda(cuda.new_stream(self.device)) for _ in range(count)]

    def pictures(self, pictures: Iterator[Any]) -> Iterator[Any]:
        return (DevicePicture(picture, self) for picture in pictures)

    def tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return cuda.upload(array, self.device)

    def record(self) -> Any:
        return cuda.record(self.device)

    def wait(self, event: Any, tensors: Sequence[Any]) -> None:
        cuda.wait(event, tensors)

    def score(self, pictures: Pictures, reads: Reads, count: int, params: dict[str, Any]) -> Scored:
        counted = _counted(pictures, reads, params)
        whole = params["percentile_scope"] == "clip"
        slots = sorted({slot for _, slot in counted})
        scales = None
        scorer: _core.Scorer
        if not counted:  # nothing has heat; a picture is read for its size
            picture = next(read_pictures(pictures, [reads[0][0]], params))
            scorer = scorer_for(picture, params)
            zeros = torch.zeros((count, *scorer.valid().shape), dtype=torch.float32, device=self.device)
            scales = torch.zeros(3, dtype=torch.float32, device=self.device) if whole else None
            return Scored(zeros, scales, scorer)

        # A file's pictures that count alone are scored where they are decoded: packing one to go up takes as long.
        if params["accumulate"] == "none" and not whole:
            decoded = pictures.score(counted, params, None)
            if decoded is not None:
                return Scored(self._spread(self.tensor(decoded.values), slots, count), None, decoded.scorer)

        def make(picture: Scorable) -> ClipScorer:
            nonlocal scorer
            scorer = scorer_for(picture, params)
            return ClipScorer(params, scorer, picture.ctb_size, len(counted), len(slots), whole, self.device)

        values = torch.empty(0)
        done = 0
        for clip, measured in _rounds(pictures, counted, params, make):
            found = clip.measure()
            if not done:
                scales = found if whole else None
                values = torch.empty((len(slots), *scorer.valid().shape), dtype=torch.float32, device=self.device)
            clip.score(values[done : done + len(measured)])
            done += len(measured)
        return Scored(self._spread(values, slots, count), scales, scorer)

    def _spread(self, scored: torch.Tensor, slots: Sequence[int], count: int) -> torch.Tensor:
        """Scores of `count` sampled pictures, of which `scored` are those of the slots; 0 for the others."""
        if len(slots) == count:
            return scored
        values = scored.new_zeros((count, *scored.shape[1:]))
        return values.index_copy_(0, self.tensor(np.array(slots, np.int64)), scored)

    def heats(
        self,
        pictures: Pictures,
        reads: Reads,
        params: dict[str, Any],
        scorer: _core.Scorer,
        scales: Any,
    ) -> Iterator[torch.Tensor]:
        counted = _counted(pictures, reads, params)
        sampled = len({slot for _, slot in counted})
        grid = scorer.geometry
        canvas = (grid["rows"] * params["patch_size"], grid["columns"] * params["patch_size"])

        def make(picture: Scorable) -> ClipScorer:
            return ClipScorer(params, scorer, picture.ctb_size, len(counted), sampled, False, self.device)

        cold = deque(slot for _, slot in reads if slot is not None)  # until they are found to have heat
        for clip, measured in _rounds(pictures, counted, params, make):
            clip.measure(scales)
            for number, slot in enumerate(measured):
                while cold.popleft() != slot:
                    yield torch.zeros(canvas, dtype=torch.float32, device=self.device)
                heat = torch.empty(canvas, dtype=torch.float32, device=self.device)
                clip.render(number, heat)
                yield heat
        for _ in cold:
            yield torch.zeros(canvas, dtype=torch.float32, device=self.device)

    def rank(
        self, clips: Sequence[tuple[Scored, npt.NDArray[np.bool_]]], params: dict[str, Any], *, fetch: bool
    ) -> list[Ranked]:
        """Ranks all clips in one go. How many patches are kept is known beforehand unless `tau` decides it, which waits
        for the GPU; so does `fetch`."""
        device = self.device
        scores = [scored.values for scored, _ in clips]
        valid = [scored.scorer.valid() for scored, _ in clips]
        plans = [_core.ranking_plan(v, whole, params) for v, (_, whole) in zip(valid, clips, strict=True)]
        kept = [plan[3] for plan in plans]
        by_tau = None in kept
        first = np.cumsum([0, *(s.numel() for s in scores)]).tolist()
        first_kept = np.cumsum([0, *(n or 0 for n in kept)]).tolist()
        mask = torch.empty(first[-1], dtype=torch.bool, device=device)
        positions = torch.empty((first_kept[-1], 3), dtype=torch.int32, device=device)
        sizes = [
            v.size + plan[0].size + (0 if plan[1] is None else plan[1].size)
            for v, plan in zip(valid, plans, strict=True)
        ]
        tables = cuda.Upload(sum(sizes) + _TABLE_BYTES * len(clips), device)
        valid_at = [tables.add(v.tobytes()) for v in valid]
        with cuda.launching(device) as (kernels, stream):
            ranked = [
                kernels.ranked_clip(
                    scores[i].data_ptr(),
                    tables.there + valid_at[i],
                    tables.there + tables.add(plan[0].tobytes()),
                    0 if plan[1] is None else tables.there + tables.add(plan[1].tobytes()),
                    (first[i], first_kept[i]),
                    scores[i].shape[0],
                    tuple(scores[i].shape[1:]),
                    plan[2],
                    kept[i] or 0,
                    plan[4],
                    clips[i][0].scorer.full_score,
                )
                for i, plan in enumerate(plans)
            ]
            ranked_at = tables.add(b"".join(ranked))
            tables.send()
            work = torch.empty(kernels.rank_bytes(first[-1], len(clips)), dtype=torch.uint8, device=device)
            kernels.rank_patches(
                tables.there + ranked_at,
                len(clips),
                first[-1],
                None if by_tau else first_kept[-1],
                any(plan[4] for plan in plans),
                params,
                work.data_ptr(),
                mask.data_ptr(),
                positions.data_ptr(),
                stream,
            )
        masks = [mask[first[i] : first[i + 1]].view(s.shape) for i, s in enumerate(scores)]
        if by_tau:
            chosen = [m.nonzero().to(torch.int32) for m in masks]
            on_cpu = [c.cpu().numpy() for c in chosen] if fetch else None
        else:
            chosen = [positions[begin:end] for begin, end in itertools.pairwise(first_kept)]
            on_cpu = np.split(positions.cpu().numpy(), first_kept[1:-1]) if fetch else None
        there = [
            tables.device[at : at + v.size].view(torch.bool).view(v.shape)
            for at, v in zip(valid_at, valid, strict=True)
        ]
        return [Ranked(chosen[i], masks[i], there[i], None if on_cpu is None else on_cpu[i]) for i in range(len(clips))]

    def patches(self, clips: Sequence[Places], decoder: str, dtype: torch.dtype) -> torch.Tensor:
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be float32, float16 or bfloat16, not {dtype}")
        bounds = np.cumsum([0, *(len(clip.positions) for clip in clips)]).tolist()
        size = 3 * clips[0].patch_size ** 2
        rows = torch.empty((bounds[-1], size), dtype=dtype, device=self.device)
        for number, clip in enumerate(clips):
            begin, end = bounds[number : number + 2]
            if end > begin:
                with numbered(number if len(clips) > 1 else None):
                    self._gather(clip, decoder, rows[begin:end])
        return rows

    def _gather(self, chosen: Places, decoder: str, rows: torch.Tensor) -> None:
        device, positions = self.device, chosen.positions
        # A chunk's pictures are clips of one frame each to the kernel.
        there = np.zeros((len(positions), 3), np.int64)
        there[:, 1:] = positions
        on_device = self.tensor(there)
        with cuda.launching(device) as (kernels, stream):
            nvdec = (kernels.primary_context(), stream) if decoder == "nvdec" else None
        pictures = _core.StagedPictures(**chosen.request, nvdec=nvdec)
        with closing(_Lent(device)) as lent:
            self._gather_staged(pictures, chosen, on_device, lent, rows)

    def _gather_staged(
        self, pictures: _core.StagedPictures, chosen: Places, on_device: torch.Tensor, lent: _Lent, rows: torch.Tensor
    ) -> None:
        starts, positions = chosen.starts, chosen.positions
        chunk = cuda.Upload(_CHUNK_BYTES, self.device)  # rows that patches touch, of pictures whose rows lie together
        clips: list[bytes] = []  # what the kernel reads of them
        frames: list[Any] = []  # of NVDEC, that they lie in
        first = 0  # the place of the first one

        def send(next_bytes: int) -> None:
            nonlocal chunk, clips, frames
            if clips:
                chunk.send()
                begin, end = int(starts[first]), int(starts[first + len(clips)])
                bounds = starts[first : first + len(clips) + 1] - begin
                self._launch(clips, bounds, chosen.patch_size, on_device[begin:end], rows[begin:end])
            if frames:
                lent.add(frames)
            chunk, clips, frames = cuda.Upload(next_bytes, self.device), [], []

        while (place := pictures.next()) is not None:
            if clips and place != first + len(clips):
                send(_CHUNK_BYTES)
            touched = positions[starts[place] : starts[place + 1]]
            used, clip = pictures.stage(touched, chunk.here, chunk.used, chunk.capacity, chunk.there)
            if clip is None:
                send(max(used - chunk.used, _CHUNK_BYTES))
                used, clip = pictures.stage(touched, chunk.here, chunk.used, chunk.capacity, chunk.there)
            assert clip is not None
            if not clips:
                first = place
            chunk.used = used
            clips.append(clip)
            if (frame := pictures.frame) is not None:
                frames.append(frame)
            if len(frames) == _FRAMES_A_LAUNCH:
                send(_CHUNK_BYTES)
        send(0)

    def _launch(
        self,
        clips: list[bytes],
        bounds: npt.NDArray[np.int64],
        patch_size: int,
        positions: torch.Tensor,
        rows: torch.Tensor,
    ) -> None:
        descriptors = cuda.upload(b"".join(clips), self.device)
        cu_seqlens = self.tensor(bounds.astype(np.int32))
        with cuda.launching(self.device) as (kernels, stream):
            kernels.gather_patches(
                descriptors.data_ptr(),
                len(clips),
                patch_size,
                cu_seqlens.data_ptr(),
                positions.data_ptr(),
                len(rows),
                DTYPES[rows.dtype],
                rows.data_ptr(),
                stream,
            )


class _Lent:
    """Frames of NVDEC that launches read: the decoder gets them back when those are done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._launches: deque[tuple[Any, list[Any]]] = deque()  # each with the event behind it

    def add(self, frames: list[Any]) -> None:
        """Takes the frames that the launch queued last reads, and waits for the one before."""
        self._launches.append((cuda.record(self._device), frames))
        if len(self._launches) > 1:
            self._give_back()

    def _give_back(self) -> None:
        self._launches[0][0].synchronize()
        self._launches.popleft()

    def close(self) -> None:
        """Waits for all launches."""
        while self._launches:
            self._give_back()


def _counted(pictures: Pictures, reads: Reads, params: dict[str, Any]) -> list[tuple[int, int]]:
    """Display indices of the pictures of `reads` that add heat, each with the slot that it counts for: without I
    pictures, where these have no heat."""
    ids = [i for i, _ in reads]
    off = pictures.intra(ids) if params["i_pictures"] == "zero" else np.zeros(len(ids), bool)
    counted: list[tuple[int, int]] = []
    following = -1
    for (i, slot), is_off in zip(reversed(reads), reversed(off.tolist()), strict=True):
        following = following if slot is None else slot
        if not is_off:
            counted.append((i, following))
    return counted[::-1]


def _rounds(
    pictures: Pictures,
    counted: Sequence[tuple[int, int]],
    params: dict[str, Any],
    make: Callable[[Scorable], ClipScorer],
) -> Iterator[tuple[ClipScorer, list[int]]]:
    """Reads the pictures of `counted` into a scorer, and gives it each time it is full, and at the end, with the slots
    whose pictures it has taken in since."""
    scorer: ClipScorer | None = None
    full: list[int] = []
    slots = [slot for _, slot in counted]
    read = read_pictures(pictures, [i for i, _ in counted], params)
    for picture, slot, following in zip(read, slots, [*slots[1:], None], strict=False):
        scorer = scorer or make(picture)
        scorer.take_in(picture, last=slot != following)
        if slot != following:
            full.append(slot)
        if following is None or len(full) == scorer.capacity:
            yield scorer, full
            full = []
