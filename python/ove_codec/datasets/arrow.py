"""pyarrow, imported when it is first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def arrow() -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet; ImportError, with the remedy, where they are missing."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError("data sets need pyarrow: pip install 'ove_codec[dataset]'") from error
