"""Fixtures for all tests: folders of made streams, and the material beside the repository where it is there."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


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
