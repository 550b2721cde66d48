"""Fixtures for all tests: folders of made streams, and the material beside the repository where it is there."""

from pathlib import Path

import pytest

from ove_codec import cuda

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and (reason := _no_gpu()):
        pytest.skip(reason)


def _no_gpu() -> str | None:
    import torch

    if (reason := cuda.unavailable_reason()) is None and not torch.cuda.is_available():
        reason = "this PyTorch has no CUDA"
    return reason


@pytest.fixture(scope="session")
def stream_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the streams that the tests make stay for the session."""
    return tmp_path_factory.mktemp("streams")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of conformance streams and goldens; a test that wants it is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not there")
    return SHARED
