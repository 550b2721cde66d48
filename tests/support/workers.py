"""Groups of gloo processes that run checks, started once for many of them."""

from __future__ import annotations

import importlib
import multiprocessing
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ove_codec.training.ranks import Ranks

Check = Callable[[Ranks, Path], Any]
# Each process by itself, in a group of its own.
alone = Ranks()


def _work(module: str, rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    groups = {n: [dist.new_group(list(range(n))) for _ in range(2)] for n in (1, 2, 4) if n <= world}
    own = [[dist.new_group([r]) for _ in range(2)] for r in range(world)][rank]
    global alone
    alone = Ranks(0, 1, *own)
    checks: dict[str, tuple[int, Check]] = importlib.import_module(module).CHECKS
    for name, (ranks, check) in checks.items():
        result = Path(folder) / f"{name}.{rank}.txt"
        text = ""
        if rank < ranks:
            try:
                (Path(folder) / name).mkdir(exist_ok=True)
                check(Ranks(rank, ranks, *groups[ranks]), Path(folder) / name)
            except BaseException:
                text = traceback.format_exc()
        result.with_suffix(".part").write_text(text)
        result.with_suffix(".part").rename(result)
        if text:  # the others may wait for this one in a collective
            break
    dist.destroy_process_group()


class Workers:
    """Runs `CHECKS` of a module, {name: (ranks, function)}, in order in `world` processes."""

    def __init__(self, module: str, world: int, folder: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torch.distributed", module])
        self.folder, self.world = folder, world
        self.processes = [
            context.Process(target=_work, args=(module, rank, world, str(folder)), daemon=True) for rank in range(world)
        ]
        for process in self.processes:
            process.start()

    def report(self, name: str, seconds: float = 120) -> str:
        """The tracebacks of a check; empty where it passed. Waits for it."""
        end = time.monotonic() + seconds
        files = [self.folder / f"{name}.{rank}.txt" for rank in range(self.world)]
        while not all(file.exists() for file in files):
            if any(f.exists() and f.read_text() for f in self.folder.glob("*.txt")) or time.monotonic() > end:
                time.sleep(1)
                break
            if not any(process.is_alive() for process in self.processes) and not all(f.exists() for f in files):
                return f"no process is left that could run {name}"
            time.sleep(0.02)
        texts = [file.read_text() if file.exists() else "" for file in files]
        if not all(file.exists() for file in files) and not any(texts):
            return f"{name} did not run: an earlier check failed, or it takes too long"
        return "\n".join(texts).strip()

    def close(self) -> None:
        for process in self.processes:
            process.join(10)
            if process.is_alive():
                process.kill()
