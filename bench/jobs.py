"""One measurement in a process of its own: `python jobs.py JOB FILE THREADS` prints it as JSON.

With one thread, the process stays on one core. Imports are not part of the times, except of the job `import`.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable

FRAMES, TOKENS = 64, 2048


def read(path: str, threads: int) -> Callable[[], int]:
    """Motion and residual of every picture."""
    import ove_codec

    def run() -> int:
        pictures = 0
        for picture in ove_codec.open(path, threads=threads):
            assert picture.mv.size
            assert picture.residual.size
            pictures += 1
        return pictures

    return run


def decode(path: str, threads: int) -> Callable[[], int]:
    """PyAV: every picture to Y'CbCr planes, nothing converted or copied."""
    import av

    def run() -> int:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO" if threads > 1 else "NONE"
            stream.thread_count = threads
            return sum(1 for _ in container.decode(stream))

    return run


def select(path: str, threads: int) -> Callable[[], int]:
    import ove_codec

    return lambda: len(ove_codec.select(path, num_frames=FRAMES, budget=TOKENS, threads=threads).positions)


def tokens(path: str, threads: int) -> Callable[[], int]:
    """From the file to 2048 normalised patches."""
    import torch

    import ove_codec

    torch.set_num_threads(threads)

    def run() -> int:
        selection = ove_codec.select(path, num_frames=FRAMES, budget=TOKENS, threads=threads)
        return len(ove_codec.tokenize(path, selection, threads=threads).patches)

    return run


def import_package(path: str, threads: int) -> Callable[[], int]:
    def run() -> int:
        import ove_codec  # noqa: F401

        return int("torch" in sys.modules)

    return run


JOBS = {"read": read, "decode": decode, "select": select, "tokens": tokens, "import": import_package}


def main() -> None:
    job, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    run = JOBS[job](path, threads)
    wall, cpu = time.perf_counter(), time.process_time()
    count = run()
    print(
        json.dumps(
            {
                "wall": time.perf_counter() - wall,
                "cpu": time.process_time() - cpu,
                "count": count,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
