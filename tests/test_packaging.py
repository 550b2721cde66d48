"""What is in the package, and the tools that build wheels: `make wheel` itself tries out what comes of them."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType

import pytest

import ove_codec

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(ove_codec.__file__).parent

METADATA = """\
Metadata-Version: 2.4
Name: ove_codec
License-Expression: Apache-2.0
License-File: LICENSE
Classifier: Typing :: Typed

# ove_codec
License-Expression: of the text
"""


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import wheel_notices

    return wheel_notices


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repaired wheel, unpacked, and the texts that FFmpeg's build left in tmp_path/texts."""
    for name in ("libavcodec-0123abcd.so.61.19.101", "libavutil-4567cdef.so.59", "libdav1d-89abcdef.so.6.6.0"):
        path = tmp_path / "tree" / "ove_codec.libs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "tree" / "ove_codec").mkdir()
    for component in ("ffmpeg", "dav1d", "nv-codec-headers"):
        (tmp_path / "texts" / component).mkdir(parents=True)
    return tmp_path / "tree"


@pytest.mark.skipif(PACKAGE == ROOT / "python" / "ove_codec", reason="the package is not installed")
def test_the_package_is_whole() -> None:
    source = ROOT / "python" / "ove_codec"
    wanted = {
        path.relative_to(source) for path in source.rglob("*") if path.suffix in (".py", ".pyi", ".typed", ".json")
    }
    wanted |= {Path("models/configs") / path.relative_to(ROOT / "models") for path in ROOT.glob("models/*/config.json")}
    there = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*")}
    assert len(wanted) > 100
    assert wanted - there == set()
    assert metadata("ove_codec")["License-Expression"].startswith("Apache-2.0")


def test_components_of_a_wheel(notices: ModuleType, tree: Path) -> None:
    texts = tree.parent / "texts"
    assert notices.components(tree, texts) == ["ffmpeg", "dav1d", "nv-codec-headers"]
    (texts / "nv-codec-headers").rmdir()
    (tree / "ove_codec" / "_cuda.cpython-312-x86_64-linux-gnu.so").touch()
    assert notices.components(tree, texts) == ["ffmpeg", "dav1d", "cuda"]
    (texts / "dav1d").rmdir()
    with pytest.raises(SystemExit, match=r"dav1d is bundled.*no licence"):
        notices.components(tree, texts)


def test_unknown_libraries_are_refused(notices: ModuleType, tree: Path) -> None:
    (tree / "ove_codec.libs" / "libx265-01234567.so.199").touch()
    with pytest.raises(SystemExit, match=r"libx265.*licence is not known"):
        notices.components(tree, tree.parent / "texts")


def test_metadata_names_the_licences(notices: ModuleType) -> None:
    amended = notices.amended(METADATA, ["ffmpeg", "dav1d"], ["ffmpeg/SOURCE", "dav1d/COPYING"])
    head, _, body = amended.partition("\n\n")
    lines = head.splitlines()
    assert "License-Expression: Apache-2.0 AND LGPL-2.1-or-later AND BSD-2-Clause" in lines
    assert {"License-File: LICENSE", "License-File: ffmpeg/SOURCE", "License-File: dav1d/COPYING"} <= set(lines)
    assert len(lines) == len(METADATA.partition("\n\n")[0].splitlines()) + 2
    assert body == METADATA.partition("\n\n")[2]
    with pytest.raises(SystemExit, match="METADATA has no"):
        notices.amended(METADATA.replace("License-File", "License-Text"), ["ffmpeg"], [])


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("3.9", r"3\.9: wheels are built for CPython 3\.10"),
        ("/nowhere/python3.12", r"/nowhere/python3\.12 does not run\n.*pyenv install"),
    ],
)
def test_interpreters_that_cannot_be_had(python: str, message: str, tmp_path: Path) -> None:
    script = str(ROOT / "tools" / "build_wheels.py")
    command = [sys.executable, script, "--python", python, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert re.search(message, done.stderr)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("source", "message"), [("gone.tar.xz", "no such file"), (".", "not FFmpeg's source")])
def test_sources_that_are_none(source: str, message: str, tmp_path: Path) -> None:
    command = [ROOT / "tools" / "build-ffmpeg", tmp_path / "prefix", tmp_path / source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: " in done.stderr and message in done.stderr
    assert not (tmp_path / "prefix").exists()
