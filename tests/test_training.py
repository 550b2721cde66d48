"""The training loop on one and several ranks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import trainer_checks
from support.workers import Workers


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    group = Workers("support.trainer_checks", 4, tmp_path_factory.mktemp("trainer"))
    yield group
    group.close()


@pytest.mark.parametrize("check", trainer_checks.CHECKS)
def test_ranks(workers: Workers, check: str) -> None:
    assert workers.report(check, 400) == ""  # one of them compiles
