"""Old spellings of public names, which still work and warn."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any


def renamed(module: str, others: Callable[[str], Any] | None = None, /, **names: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module whose names have changed: old name=new name, both in that module.

    `others` finds further names of the module, or raises AttributeError.
    """

    def __getattr__(name: str) -> Any:
        if name in names:
            warnings.warn(f"{module}.{name} is now called {names[name]}", DeprecationWarning, stacklevel=2)
            return getattr(sys.modules[module], names[name])
        if others is not None:
            return others(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__
