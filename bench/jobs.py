"""What is measured: the jobs of each library, and the process that runs them.

`python bench/jobs.py ove read FILE --threads 1 --runs 3` runs one job, for profilers. run.py starts one such process a
library and thread count without job and file, and sends it lines of JSON, [job, file]. A process stays on as many cores
as it may use threads, from before the library is loaded; loading it is not part of any time, opening the file is.
"""

import argparse
import ctypes
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

# PyTorch imports a package of NVIDIA's that is called as cuda.py here is.
HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != HERE]

FRAMES, TOKENS, SIZE = 64, 2048, 224
Job = Callable[[str], int]  # takes a file, returns the number of pictures, tokens or frames


def ove(threads: int) -> tuple[str, dict[str, Job]]:
    """read: motion and residual of all pictures; select: 64 frames; tokens: from file to 2048 normalised patches."""
    import ove_codec

    def read(path: str) -> int:
        pictures = 0
        for picture in ove_codec.open(path, threads=threads):
            assert picture.mv.size and picture.residual.size
            pictures += 1
        return pictures

    def select(path: str) -> int:
        return len(ove_codec.select(path, num_frames=FRAMES, budget=TOKENS, threads=threads).positions)

    def tokens(path: str) -> int:
        selection = ove_codec.select(path, num_frames=FRAMES, budget=TOKENS, threads=threads)
        return len(ove_codec.tokenize(path, selection, threads=threads).patches)

    return ove_codec.__version__, {"read": read, "select": select, "tokens": tokens}


def pyav(threads: int) -> tuple[str, dict[str, Job]]:
    """decode: Y'CbCr planes as the decoder leaves them, by PyAV's own FFmpeg."""
    av = import_module("av")

    def decode(path: str) -> int:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO" if threads > 1 else "NONE"
            stream.thread_count = threads
            return sum(1 for _ in container.decode(stream))

    return f"{av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}", {"decode": decode}


def libavcodec(threads: int) -> tuple[str, dict[str, Job]]:
    """decode: the same by the system's FFmpeg, from C++."""
    built = sorted(
        Path(__file__).resolve().parents[1].glob("build/*/bench/libavcodec_baseline.so"), key=os.path.getmtime
    )
    if not built:
        raise ImportError("bench/libavcodec.cpp is not built; `make bench` does, and CMake with -DOVE_BENCH=ON")
    library = ctypes.CDLL(str(built[-1]))
    library.libavcodec_decode.argtypes = [ctypes.c_char_p, ctypes.c_int]
    library.libavcodec_decode.restype = ctypes.c_int64

    def decode(path: str) -> int:
        frames = int(library.libavcodec_decode(os.fsencode(path), threads))
        if frames < 0:
            raise RuntimeError(f"libavcodec cannot decode {path}: AVERROR {frames}")
        return frames

    version = library.libavcodec_version()
    return f"{version >> 16}.{version >> 8 & 255}.{version & 255}", {"decode": decode}


def torchcodec(threads: int) -> tuple[str, dict[str, Job]]:
    """decode: RGB; uniform_*: 64 frames at even distances, resized to 224x224 by torchcodec or afterwards by PyTorch.

    All with the default, exact seek mode.
    """
    torch, decoders = import_module("torch"), import_module("torchcodec.decoders")
    resize = import_module("torchcodec.transforms").Resize((SIZE, SIZE))

    def open_file(path: str, **options: Any) -> Any:
        return decoders.VideoDecoder(path, num_ffmpeg_threads=threads, seek_mode="exact", **options)

    def decode(path: str) -> int:
        return sum(1 for _ in open_file(path))

    def uniform(decoder: Any) -> Any:
        last, count = len(decoder) - 1, min(FRAMES, len(decoder))
        return decoder.get_frames_at([round(i * last / max(count - 1, 1)) for i in range(count)]).data

    def uniform_own(path: str) -> int:
        return len(uniform(open_file(path, transforms=[resize])))

    def uniform_torch(path: str) -> int:
        frames = uniform(open_file(path))
        return len(torch.nn.functional.interpolate(frames, (SIZE, SIZE), mode="bilinear", antialias=True))

    jobs: dict[str, Job] = {"decode": decode, "uniform_own": uniform_own, "uniform_torch": uniform_torch}
    return str(import_module("torchcodec").__version__), jobs


def decord(threads: int) -> tuple[str, dict[str, Job]]:
    """decode: RGB."""
    module = import_module("decord")

    def decode(path: str) -> int:
        reader = module.VideoReader(path, ctx=module.cpu(0), num_threads=threads)
        for _ in range(len(reader)):
            reader.next()
        return len(reader)

    return module.__version__, {"decode": decode}


def opencv(threads: int) -> tuple[str, dict[str, Job]]:
    """decode: BGR."""
    cv2 = import_module("cv2")
    cv2.setNumThreads(threads)

    def decode(path: str) -> int:
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        frames = 0
        while capture.read()[0]:
            frames += 1
        return frames

    version = re.search(r"avcodec:\s+YES \(([\d.]+)\)", cv2.getBuildInformation())
    return cv2.__version__ + (f", libavcodec {version[1]}" if version else ""), {"decode": decode}


LIBRARIES = {
    "ove": ove,
    "pyav": pyav,
    "libavcodec": libavcodec,
    "torchcodec": torchcodec,
    "decord": decord,
    "opencv": opencv,
}


def cores() -> list[int]:
    """The cores that this process may use, those first that share no execution units with an earlier one."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    first: list[int] = []
    second: list[int] = []
    seen = set()
    for core in sorted(os.sched_getaffinity(0), reverse=True):  # interrupts prefer low numbers
        siblings = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        group = siblings.read_text().strip() if siblings.exists() else str(core)
        (second if group in seen else first).append(core)
        seen.add(group)
    return first + second


def peak_mb() -> float:
    """Peak resident memory of this process; unlike ru_maxrss, not that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) / 1024 if match else 0.0


def message(error: Exception) -> str:
    """Its first line; some libraries add a stack trace."""
    return f"{type(error).__name__}: {error}".split("\n")[0].rstrip(".")


def measure(job: Job, path: str) -> dict[str, Any]:
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        count = job(path)
        seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
    except Exception as error:
        return {"error": message(error)}
    return {"seconds": seconds, "cpu": cpu, "count": count, "peak_mb": peak_mb()}


def serve() -> Iterator[tuple[str, str]]:
    for line in sys.stdin:
        job, path = json.loads(line)
        yield job, path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("job", nargs="?")
    parser.add_argument("file", nargs="?")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    arguments = parser.parse_args()
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores()[: arguments.threads])
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # PyTorch's
    try:
        version, jobs = LIBRARIES[arguments.library](arguments.threads)
    except Exception as error:
        print(json.dumps({"error": message(error)}), file=answers)
        return
    if arguments.file:
        requests = iter([(arguments.job, arguments.file)] * arguments.runs)
    else:
        print(json.dumps({"version": version}), file=answers)
        requests = serve()
    for job, path in requests:
        print(json.dumps(measure(jobs[job], path)), file=answers)


if __name__ == "__main__":
    main()
