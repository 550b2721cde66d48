"""A short run of the fuzz targets from fixed seeds, built with sanitizers; `make fuzz` is the long one."""

import os
import subprocess
from pathlib import Path

import pytest

from fuzz.make_corpus import make_corpus

ROOT = Path(__file__).resolve().parents[1]
# Where the drivers of tests/fuzz lie; `make test` builds them with AddressSanitizer and UndefinedBehaviorSanitizer.
DRIVERS = Path(os.environ.get("OVE_FUZZ_DRIVERS", ROOT / "build" / "asan" / "tests" / "fuzz"))

pytestmark = pytest.mark.skipif(
    "OVE_FUZZ_DRIVERS" not in os.environ and not DRIVERS.is_dir(), reason="no fuzz drivers; `make test` builds them"
)


@pytest.fixture(scope="module")
def corpus(stream_folder: Path) -> Path:
    folder = stream_folder / "fuzz"
    make_corpus(folder, all_tools=False)
    return folder


@pytest.mark.parametrize(("target", "runs"), [("nal", 600), ("h264_nal", 600), ("file", 150), ("push", 400)])
def test_mutations_of_the_corpus(target: str, runs: int, corpus: Path, tmp_path: Path) -> None:
    inputs = [corpus / target, ROOT / "tests" / "fuzz" / "regressions" / target]
    artifact = tmp_path / "finding"
    command = [str(DRIVERS / f"fuzz_{target}"), f"-runs={runs}", "-seed=1", "-max_len=40000"]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        [*command, f"-exact_artifact_path={artifact}", *map(str, inputs)],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, f"{artifact}\n{done.stderr}"
    assert f"{runs} mutations" in done.stdout
