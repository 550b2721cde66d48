"""An extension of griffe: what `ove_codec._core` says of itself, under the types of its stub.

The stub has the types, the built module the texts; so neither is written twice.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import griffe


class NativeDocs(griffe.Extension):  # type: ignore[misc]
    """Gives every object of the stub without a text the one of the built module."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        module, _, name = obj.path.partition("._core.")
        if not name or obj.docstring:
            return
        native: Any = import_module(f"{module}._core")
        for part in name.split("."):
            native = inspect.getattr_static(native, part, None)
        native = getattr(native, "__func__", native)
        text = inspect.cleandoc(getattr(native, "__doc__", None) or "")
        if callable(native) and text.startswith(f"{obj.name}("):  # pybind11 puts a signature in front
            text = text.partition("\n")[2].strip()
        if text:
            obj.docstring = griffe.Docstring(text, parent=obj)
