"""The contract of imports: kept by the package, and broken by what it forbids."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ove_codec

pytest.importorskip("importlinter", reason="the contract is checked with import-linter")
PACKAGE = Path(ove_codec.__file__).parent
CONTRACT = Path(__file__).parents[1] / "pyproject.toml"
ABOVE_THE_ROOT = ("cli", "data", "datasets", "probes", "training")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    command += ["--config", str(CONTRACT)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("module", "planted", "message"),
    [
        ("presets.py", "", ""),
        ("presets.py", "def late():\n    from ove_codec import selection\n", "layers BROKEN"),
        ("presets.py", "TYPE_CHECKING = 0\nif TYPE_CHECKING:\n    import ove_codec.models.encoder\n", "layers BROKEN"),
        ("datasets/run.py", "def late():\n    import ove_codec.training\n", "layers BROKEN"),
        ("models/config.py", "def late():\n    import ove_codec.models.encoder\n", "circle in any package BROKEN"),
        ("new.py", "", "new"),
    ],
)
def test_the_contract(module: str, planted: str, message: str, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "ove_codec", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    with open(tmp_path / "ove_codec" / module, "a") as file:
        file.write(f"\n\n{planted}")
    done = lint(tmp_path)
    assert (done.returncode != 0) == bool(message), done.stdout + done.stderr
    assert message in done.stdout


def test_layers_below_the_public_names_do_not_import_them() -> None:
    modules = {path.stem for path in PACKAGE.iterdir()} | {"_core", "_cuda"}
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE)
        if place.parts[0] in (*ABOVE_THE_ROOT, "__init__.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert "ove_codec" not in [alias.name for alias in node.names], f"{place}, line {node.lineno}"
            elif isinstance(node, ast.ImportFrom) and node.module == "ove_codec":
                names = {alias.name.partition(".")[0] for alias in node.names}
                assert names <= {name.partition(".")[0] for name in modules}, f"{place}, line {node.lineno}"
