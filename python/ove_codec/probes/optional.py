"""Packages that only some uses of the probes need."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def need(module: str, purpose: str) -> Any:
    """Imports a module of an optional package; the ModuleNotFoundError where it is missing says how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ModuleNotFoundError(f"{purpose} needs {package}: pip install 'ove_codec[probe]' ({error})") from error
