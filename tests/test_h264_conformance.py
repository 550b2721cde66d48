"""H.264 streams with golden checksums of two independent decoders, where they lie beside the repository."""

import json
from pathlib import Path
from typing import Any

import pytest

import ove_codec

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "h264"
GOLDEN: dict[str, Any] = json.loads((FOLDER / "golden.json").read_text()) if FOLDER.is_dir() else {}
KEYS = ("poc", "structure", "width", "height", "motion_crc32", "residual_crc32", "qp_crc32")

pytestmark = pytest.mark.skipif(not GOLDEN, reason="../shared/h264 is not there")


def pictures(path: Path, threads: int) -> tuple[list[dict[str, Any]], ove_codec.Error | None]:
    found: list[dict[str, Any]] = []
    try:
        found.extend(ove_codec.framecrc(path, threads=threads))
    except ove_codec.Error as error:
        return found, error
    return found, None


@pytest.mark.parametrize("name", sorted(GOLDEN) or ["none"])
def test_golden_stream(name: str) -> None:
    golden = GOLDEN[name]
    found, error = pictures(FOLDER / name, threads=1 + len(name) % 2)
    wanted = [{key: picture[key] for key in KEYS if key in picture} for picture in golden["pictures"]]
    if golden["expect"] == "unsupported" or (golden.get("may_refuse") and error):
        assert isinstance(error, ove_codec.UnsupportedStreamError)
        return
    given = [{key: picture[key] for key in want} for picture, want in zip(found, wanted, strict=False)]
    assert given == wanted
    if golden["expect"] == "exact":
        assert error is None
        assert len(found) == len(wanted)
