"""The benchmark runs, and puts its table where the README wants it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import ffmpeg, scenes

pytest.importorskip("av")
BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
def test_small_run(tmp_path: Path) -> None:
    clip = ffmpeg.encode(scenes.moving_scene((96, 64), 8), (96, 64), "yuv420p", "", tmp_path / "small.mp4")
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(BENCH)!r}); import run\n"
         "from pathlib import Path; import json\n"
         f"print(json.dumps(run.measure('small', Path({str(clip)!r}), 1)))"],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    report = json.loads(result.stdout)
    assert report["pictures"] == 8
    assert report["read_vs_decode"] > 0
    assert set(report["wall_seconds"]) == {"decode1", "read1", "read2", "select1", "tokens1", "decode2", "tokens2"}


def test_readme_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import run

    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    run.fill_readme("new", readme)
    assert readme.read_text() == "before\n<!-- bench -->\nnew\n<!-- /bench -->\nafter\n"
