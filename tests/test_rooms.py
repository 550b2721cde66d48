"""The C++ rooms: what they may include, and a program that uses them without Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ove_codec
from support import clips

ROOT = Path(__file__).resolve().parents[1]


def check_includes(csrc: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "check_includes.py"), str(csrc)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_rooms_include_what_they_list() -> None:
    assert check_includes(ROOT / "csrc").returncode == 0


@pytest.mark.parametrize(
    ("room", "header"),
    [
        ("saliency/formulas.h", "codec/picture.h"),
        ("reader/video_index.h", "saliency/params.h"),
        ("hevc/dpb.cpp", "media/muxer.h"),
    ],
)
def test_a_planted_include_is_found(room: str, header: str, tmp_path: Path) -> None:
    csrc = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc", csrc)
    planted = csrc / room
    planted.write_text(f'#include "{header}"\n' + planted.read_text())
    result = check_includes(csrc)
    assert result.returncode == 1
    assert f"{planted}:1: {planted.parent.name} includes {header.split('/')[0]}" in result.stdout


@pytest.mark.skipif("OVE_EXAMPLES" not in os.environ, reason="no built examples; `make test` builds them")
def test_the_cpp_example_selects_as_python_does(stream_folder: Path) -> None:
    clip = clips.moving_clip(stream_folder, frames=60, name="example.mp4")
    program = Path(os.environ["OVE_EXAMPLES"]) / "select_patches"
    lines = subprocess.run([program, clip, "200", "12"], capture_output=True, text=True, check=True, timeout=60).stdout
    printed = np.array([line.split() for line in lines.splitlines()], int)
    frame_ids = [(2 * i + 1) * 60 // 24 for i in range(12)]
    selection = ove_codec.select(clip, frame_ids=frame_ids, budget=200, keep_first_frame=False)
    expected = [(frame_ids[t], h, w) for t, h, w in selection.positions.tolist()]
    assert [*map(tuple, printed.tolist())] == sorted(expected)

    missing = subprocess.run([program, stream_folder / "nothing.mp4"], capture_output=True, text=True, timeout=60)
    assert missing.returncode == 1
    assert "no such file" in missing.stderr
