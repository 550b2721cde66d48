"""What an installed ove_codec makes of clips, as JSON; check_wheel.py runs it in one environment after another.

wheel_probe.py clips FOLDER                 every clip of a folder
wheel_probe.py all FOLDER [LIBRARY...]      and the installation, after a look whether these libraries are hidden
wheel_probe.py beside CLIP MODULE...        one clip read by several libraries, imported in this order
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import sys
import zlib
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import numpy as np

# Decoders of these give the same samples in every version of FFmpeg; inverse transforms of older codecs may round.
EXACT = ("hevc", "h264", "vp8", "vp9", "av1")
NATIVE = ("hevc", "h264")
VECTORS = ("mpeg4", "mpeg2video", "mpeg1video")


def checksum(*arrays: Any) -> str:
    crc = 0
    for array in arrays:
        array = np.ascontiguousarray(array)
        crc = zlib.crc32(array.data, zlib.crc32(repr((array.shape, array.dtype.str)).encode(), crc))
    return f"{crc:08x}"


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def frames(path: Path) -> Any:
    """Three frames; without PyTorch as the public function has them before they become tensors."""
    import ove_codec

    if has_torch():
        return ove_codec.frames(path, num_frames=3, size=64, threads=1).numpy()
    from ove_codec import _core, _pixels, tokenizer

    pixels = _pixels.PixelSource(path, 1, None)
    numbers = np.unique(np.linspace(0, len(pixels.packets) - 1, 3, dtype=np.int64))
    return _core.gather_frames(**pixels.request(numbers), resize="crop", size=64, mean=tokenizer.CLIP_MEAN,
                               std=tokenizer.CLIP_STD)  # fmt: skip


def facts(path: Path) -> dict[str, Any]:
    """What is read of one clip."""
    import ove_codec
    from ove_codec import _core
    from ove_codec.cli import main

    info = _core.stream_info(path)
    found = {name: info[name] for name in ("codec", "width", "height", "pixel_format", "bit_depth")}
    if info["codec"] in NATIVE:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            status = main(["info", str(path), "--json"])
        described = json.loads(printed.getvalue())
        found |= {"status": status, **{name: described[name] for name in ("pictures", "types", "gop")}}
        found["framecrc"] = list(ove_codec.framecrc(path))
        selection = ove_codec.select(path, "ove", num_frames=12, size=112, budget=200)
        found["selection"] = checksum(selection.frame_ids, selection.positions, selection.scores)
        if has_torch():
            found["tokens"] = checksum(ove_codec.tokenize(path, selection).patches.numpy())
    elif info["codec"] in VECTORS:
        selection = ove_codec.select(path, residual_weight=0, num_frames=12, size=112, budget=200)
        found["selection"] = checksum(selection.frame_ids, selection.positions, selection.scores)
    pixels = frames(path)
    found["frames"] = checksum(pixels) if info["codec"] in EXACT else list(pixels.shape)
    return found


def encoder(model: str) -> str:
    import torch

    from ove_codec.models import OVEncoder, OVEncoderConfig

    torch.manual_seed(0)
    named = OVEncoderConfig.named(model)  # reads the configuration in the package
    small = OVEncoderConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=2,
                            patch_size=named.patch_size)  # fmt: skip
    rows = torch.randn(5, 3 * small.patch_size**2)
    positions = torch.arange(15, dtype=torch.int32).reshape(5, 3)
    out = OVEncoder(small)(rows, positions, torch.tensor([0, 5], dtype=torch.int32)).last_hidden_state
    return str(tuple(out.shape))


def clips(folder: Path) -> dict[str, Any]:
    return {path.name: facts(path) for path in sorted(folder.iterdir())}


def whole(folder: Path, hidden: list[str]) -> dict[str, Any]:
    """Everything that is asked of one installation."""
    import ove_codec

    found_anyway = []
    for library in hidden:
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)
            found_anyway.append(library)
    package = Path(ove_codec.__file__).parent
    read = clips(folder)
    try:
        ove_codec.transcode(next(path for path in sorted(folder.iterdir()) if path.suffix == ".avi"))
        transcoding = ""
    except ove_codec.UnsupportedStreamError as error:
        transcoding = str(error)
    libraries = sorted(mapped())
    licences = set()
    for library in libraries:
        name = Path(library).name.partition("-")[0].partition(".")[0]
        if name in ("libavcodec", "libavformat", "libavutil", "libswscale"):
            ask = getattr(ctypes.CDLL(library), name.removeprefix("lib") + "_license")
            ask.restype = ctypes.c_char_p
            licences.add(ask().decode())
    described = metadata("ove_codec")
    return {
        "clips": read,
        "found_anyway": found_anyway,
        "transcoding": transcoding,
        "package": str(package),
        "files": sorted(str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()),
        "libraries": libraries,
        "licences": sorted(licences),
        "expression": described["License-Expression"],
        "licence_files": described.get_all("License-File"),
        "cuda": ove_codec.cuda.unavailable_reason(),
        "encoder": encoder("ov-encoder-base") if has_torch() else None,
    }


def mapped() -> set[str]:
    """Files of FFmpeg and of what it uses in this process."""
    names = ("libavcodec", "libavformat", "libavutil", "libswscale", "libswresample", "libdav1d")
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return {path for path in paths if Path(path).name.startswith(names)}


def beside(clip: Path, modules: list[str]) -> dict[str, str]:
    """Checksums of what libraries, imported in this order, make of a clip while all are loaded."""
    for module in modules:
        importlib.import_module(module)
    found: dict[str, str] = {}
    for module in [*modules, *reversed(modules)]:
        if module == "av":
            import av

            with av.open(str(clip)) as container:
                result = checksum(*(frame.to_ndarray() for frame in container.decode(video=0)))
        elif module == "torchcodec":
            VideoDecoder = importlib.import_module("torchcodec.decoders").VideoDecoder

            result = checksum(*(frame.numpy() for frame in VideoDecoder(str(clip))))
        else:
            result = checksum(frames(clip)) + json.dumps(facts(clip), sort_keys=True)
        if found.setdefault(module, result) != result:
            raise RuntimeError(f"{module} gives another result the second time, imported in the order {modules}")
    return found


if __name__ == "__main__":
    if sys.argv[1] == "all":
        print(json.dumps(whole(Path(sys.argv[2]), sys.argv[3:])))
    elif sys.argv[1] == "clips":
        print(json.dumps(clips(Path(sys.argv[2]))))
    else:
        print(json.dumps(beside(Path(sys.argv[2]), sys.argv[3:])))
