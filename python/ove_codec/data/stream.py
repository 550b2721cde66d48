"""An iterable data set of packed batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from ove_codec.data.batch import ClipBatch, Place, collate
from ove_codec.data.sampler import BEGUN, BatchPlan


class ClipStream(BatchPlan, torch.utils.data.IterableDataset[ClipBatch]):
    """Packed batches, divided among ranks and workers: `DataLoader(stream, batch_size=None, num_workers=4)`.

    Worker w of K makes the batches w, w + K, ... of a rank, so a DataLoader returns them in the same order for any K
    (unless `in_order` is False). `state_dict(batch)` gives the position after a batch, and ``load_state_dict``, called
    before an iteration, resumes there. ``set_epoch`` reaches persistent workers. torchdata's StatefulDataLoader saves
    the states of the workers.

    Arguments are those of ``BatchPlan``.
    """

    _own: Place | None = None  # in a worker of a StatefulDataLoader: where it goes on

    def __iter__(self) -> Iterator[ClipBatch]:
        info = torch.utils.data.get_worker_info()
        own, self._own = self._own, None
        if info is None:
            return self._batches(self._places())
        self._position[BEGUN] = 1
        return self._batches(self._places(info.id, info.num_workers, own))

    def _batches(self, places: Iterator[Place]) -> Iterator[ClipBatch]:
        for place in places:
            yield replace(collate(self.dataset.__getitems__(self.indices(*place))), place=place)

    def state_dict(self, batch: ClipBatch | None = None) -> dict[str, Any]:
        info = torch.utils.data.get_worker_info()
        if info is None or batch is not None:
            return super().state_dict(batch)
        place = self._given or self._own or Place(self.epoch, 0)
        return {"epoch": place.epoch, "batch": place.number, "workers": info.num_workers, "settings": self._settings()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        info = torch.utils.data.get_worker_info()
        if "workers" not in state:
            super().load_state_dict(state)
            return
        if info is None or info.num_workers != state["workers"]:
            raise ValueError(
                f"the state belongs to one of {state['workers']} workers of a StatefulDataLoader: use the same number"
            )
        self._own = self._checked(state)
