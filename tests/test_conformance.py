"""Golden checksums of the streams beside the repository: motion and residual of every picture in decoding order."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from conftest import SHARED


def golden() -> list[Any]:
    """(folder, stream, what is expected of it) of all golden files; one skipped entry where they are absent."""
    entries = []
    for folder in ("conformance", "clips"):
        file = SHARED / folder / "golden.json"
        if file.is_file():
            entries += [
                pytest.param(SHARED / folder / name, entry, id=f"{folder}/{name}")
                for name, entry in json.loads(file.read_text()).items()
            ]
    return entries or [pytest.param(Path(), {}, marks=pytest.mark.skip(reason="../shared is not there"))]


# Prints one JSON line per picture and, at the end, the class of the error that ended the stream.
READER = """
import json, sys, ove_codec
try:
    for picture in ove_codec.framecrc(sys.argv[1]):
        print(json.dumps(picture), flush=True)
except ove_codec.Error as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


@pytest.mark.parametrize(("path", "entry"), golden())
def test_stream(path: Path, entry: dict[str, Any]) -> None:
    if entry["expect"] == "exact":
        pictures = list(ove_codec.framecrc(path))
        for n, (got, wanted) in enumerate(zip(pictures, entry["pictures"], strict=False)):
            assert {key: got[key] for key in wanted} == wanted, f"picture {n} in decoding order"
        assert len(pictures) == len(entry["pictures"])
        return
    if entry["expect"] == "unsupported":
        with pytest.raises(ove_codec.UnsupportedStreamError):
            list(ove_codec.framecrc(path))
        return
    # Invalid or damaged: in a process of its own, so that a crash or a hang is a failure of this test alone.
    done = subprocess.run([sys.executable, "-c", READER, path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("error" in line or line.get("damaged") for line in lines), "no error and no flagged picture"
    for line in lines:
        assert line.get("message", "-"), "an error without a message"


def reference_arrays() -> list[Any]:
    """(stream, file) of the reference decoder's arrays; one skipped entry where they are absent."""
    root = SHARED / "conformance"
    streams = {path.relative_to(root).as_posix().replace("/", "__"): path for path in root.glob("*/*")}
    files = sorted((root / "hm").glob("*.npz"))
    entries = [pytest.param(streams[file.stem], file, id=file.stem) for file in files]
    return entries or [pytest.param(Path(), Path(), marks=pytest.mark.skip(reason="../shared is not there"))]


@pytest.mark.parametrize(("path", "file"), reference_arrays())
def test_coding_units_equal_the_reference_decoder(path: Path, file: Path) -> None:
    """QP, coding block sizes, skipped and intra blocks, which no checksum covers (first pictures of each stream)."""
    arrays = np.load(file)
    count = sum(name.endswith("_hdr") for name in arrays.files)
    pictures = sorted(ove_codec.open(path), key=lambda picture: picture.packet)
    compared = 0
    for n in range(count):
        picture = pictures[compared]
        if picture.poc != arrays[f"{n:03}_hdr"][0]:  # decoded, but dropped before output at the end of a sequence
            continue
        compared += 1
        mode = arrays[f"{n:03}_mode"]
        np.testing.assert_array_equal(picture.skip, mode == 2)
        np.testing.assert_array_equal(picture.pred == 0, mode == 0)
        np.testing.assert_array_equal(picture.qp, arrays[f"{n:03}_qp"])
        np.testing.assert_array_equal(picture.cu_size, 1 << arrays[f"{n:03}_log2cu"])
    assert compared >= count - 4
