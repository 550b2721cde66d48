"""An extension of griffe: the texts of the extension module, and names that share a description.

The stub of `ove_codec._core` has the types, the built module the texts; so neither is written twice.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

import griffe

_SEVERAL = re.compile(r"^ +[*\w]+(, [*\w]+)+: ", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Gives objects of the stub the texts of the built module; reads "a, b: text" as one entry for both."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        module, _core, name = obj.path.partition("._core.")
        if not name or obj.docstring or obj.name.startswith("__"):
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

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        native = [member for member in pkg["_core"].members.values() if not member.is_alias and member.is_class]
        for kind in native:
            made = kind.members.get("__init__")
            if made and any(str(parameter.annotation) == "Never" for parameter in made.parameters):
                kind.del_member("__init__")  # nobody is to call it
        join_names(pkg)


def join_names(obj: griffe.Object) -> None:
    """Mends entries of several names, in the docstrings of an object and of all its members.

    For griffe the names of attributes are a name and its type, and those of arguments have no type.
    """
    # Others are read where they are shown, and complained of then.
    for section in obj.docstring.parsed if obj.docstring and _SEVERAL.search(obj.docstring.value) else ():
        if section.kind is griffe.DocstringSectionKind.attributes:
            for entry in section.value:
                if entry.name.endswith(","):
                    entry.name = f"{entry.name} {entry.annotation}"
                    entry.annotation = _common(obj.members, entry.name, "annotation")
        elif section.kind is griffe.DocstringSectionKind.parameters and isinstance(obj, griffe.Class | griffe.Function):
            for entry in section.value:
                if ", " in entry.name:
                    entry.annotation = _common(obj.parameters, entry.name, "annotation")
                    entry.value = _common(obj.parameters, entry.name, "default")
    for member in obj.members.values():
        if not member.is_alias:
            join_names(member)


def _common(known: Any, names: str, what: str) -> Any:
    """What all of these names have, None where they differ."""
    values = [getattr(known[name], what, None) if name in known else None for name in names.split(", ")]
    return values[0] if all(str(value) == str(values[0]) for value in values) else None
