"""Packages that only some uses of the probes need."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def need(module: str, purpose: str, extra: str = "probe") -> Any:
    """Imports a module of a package that the extra brings; where it is missing, the error says how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ModuleNotFoundError(f"{purpose} needs {package}: pip install 'ove_codec[{extra}]' ({error})") from error
