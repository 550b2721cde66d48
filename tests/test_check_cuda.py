"""tools/check_cuda.py: what it says of checks that pass, fail and take too long. Nothing is built here."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def check_cuda(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location("check_cuda", ROOT / "tools" / "check_cuda.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "check_cuda", module)
    spec.loader.exec_module(module)
    return module


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def run(
    module: ModuleType,
    checks: list[tuple[str, list[str], float]],
    seconds: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[int, list[dict[str, object]]]:
    made = [module.Check(name, [command], limit) for name, command, limit in checks]
    monkeypatch.setattr(module, "checks", lambda arguments: made)
    arguments = argparse.Namespace(
        dry_run=True, results=tmp_path, build=tmp_path, ffmpeg=Path("/prefix"), streams=tmp_path, only=None,
        seconds=seconds,
    )  # fmt: skip
    code = module.report(arguments)
    return code, json.loads((tmp_path / "check-cuda.json").read_text())["checks"]


def test_each_check_is_told(
    check_cuda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show = "import os; print(os.environ['PKG_CONFIG_PATH'].split(os.pathsep)[0], os.environ['OVE_TEST_STREAMS'])"
    checks = [
        ("fine", python(show), 60.0),
        ("wrong", python("raise SystemExit(3)"), 60.0),
        ("slow", python("import time; time.sleep(60)"), 1.0),
        ("missing", [str(tmp_path / "no program")], 60.0),
        ("late", python(""), 60.0),
    ]
    code, results = run(check_cuda, checks, check_cuda.SECONDS, tmp_path, monkeypatch)
    assert code == 1
    lines = capsys.readouterr().out.split("\n")[1:-1]
    assert [line.split(" (")[0] for line in lines] == [
        "PASS fine",
        "FAIL wrong",
        "FAIL slow",
        "FAIL missing",
        "PASS late",
    ]
    assert [result["passed"] for result in results] == [True, False, False, False, True]
    assert "exit code 3; see wrong.log" in lines[1] and "more than 1 s" in lines[2] and "No such file" in lines[3]
    assert (tmp_path / "fine.log").read_text() == f"/prefix/lib/pkgconfig {tmp_path}\n"


def test_nothing_is_checked_that_is_not_built_or_has_no_time(
    check_cuda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [("build", python("raise SystemExit(1)"), 60.0), ("other", python(""), 60.0)]
    code, results = run(check_cuda, checks, check_cuda.SECONDS, tmp_path, monkeypatch)
    assert code == 1 and [result["check"] for result in results] == ["build"]
    code, results = run(check_cuda, [("other", python(""), 60.0)], 0, tmp_path, monkeypatch)
    assert code == 1 and results[0]["reason"] == "no time is left"
    code, results = run(check_cuda, [("other", python(""), 60.0)], check_cuda.SECONDS, tmp_path, monkeypatch)
    assert code == 0


def test_all_checks_fit_nine_minutes(check_cuda: ModuleType) -> None:
    assert check_cuda.SECONDS <= 9 * 60
