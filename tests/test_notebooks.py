"""The notebooks of `examples/` run from the first cell to the last, and show what they print."""

from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from support import ffmpeg
from support.documentation import ROOT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
# With nbclient and a kernel they run as in Jupyter, else cell by cell in this process.
JUPYTER = all(find_spec(name) for name in ("nbclient", "nbformat", "ipykernel"))


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in listed
        assert cells(path, "markdown")[0]["source"][0].startswith("# ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept(path: Path) -> None:
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert len(outputs) > 3
    assert not any(output.get("name") == "stderr" or output["output_type"] == "error" for output in outputs)
    assert not re.search(r"/(tmp|home|root|Users)/", path.read_text(encoding="utf-8"))


@pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run(path: Path, beside_a_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.stem == "look":
        pytest.importorskip("matplotlib")
    if path.stem == "data_set":
        pytest.importorskip("pyarrow")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    if JUPYTER:
        import nbclient
        import nbformat

        notebook = nbformat.read(path, 4)
        resources = {"metadata": {"path": str(beside_a_clip)}}
        environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute(env=environment)
        return
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells(path, "code"):
        exec(compile("".join(cell["source"]), f"{path.name}, {cell['id']}", "exec"), names)
