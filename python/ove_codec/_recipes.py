"""Recipes: YAML or JSON files whose keys and values one pydantic model describes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from ove_codec._suggest import hint

try:
    import yaml
    from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
    from pydantic_core import ErrorDetails, PydanticCustomError
except ImportError as error:
    raise ModuleNotFoundError(
        "recipes are read with PyYAML and pydantic: pip install 'ove_codec[train]' or 'ove_codec[lmm]'"
    ) from error

Model = TypeVar("Model", bound="RecipePart")

_TYPES = {"int": "int", "float": "float", "string": "str", "bool": "bool", "list": "list"}
_MAPPINGS = ("dict_type", "model_type", "dataclass_type", "dataclass_exact_type")


def check_keys(values: Any, known: Iterable[str]) -> Any:
    """`values`, if all their keys are `known`; else a validation error that suggests a key."""
    names = list(known)
    for key in values if isinstance(values, dict) else ():
        if key not in names:
            context = {"key": str(key), "hint": hint(str(key), names)}
            raise PydanticCustomError("unknown_key", "unknown key {key}; {hint}", context)
    return values


class RecipePart(BaseModel):
    """A mapping in a recipe. Values are of the type that is said, without conversion; other keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        return check_keys(values, cls.model_fields)


def between(low: float, high: float) -> AfterValidator:
    """Numbers from `low` to `high`, for an annotation."""

    def check(value: float | None) -> float | None:
        if value is not None and not low <= value <= high:
            raise PydanticCustomError("range", "must be {low} to {high}", {"low": f"{low:g}", "high": f"{high:g}"})
        return value

    return AfterValidator(check)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Whole = Annotated[int, BeforeValidator(_whole), BeforeValidator(_number)]  # 1e4 is a number of steps
Number = Annotated[float, BeforeValidator(_number)]


def read_values(file: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML or JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else.
    """
    path = Path(file)
    text = path.read_text(encoding="utf-8")
    try:
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not valid YAML or JSON: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a mapping of keys to values")
    return values


def override(values: dict[str, Any], changes: Iterable[str]) -> None:
    """Puts "path.to.key=value", the value in YAML, into `values`; ValueError for what is not of that form."""
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ValueError(f"{change!r} must be KEY=VALUE, such as run.steps=100")
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ValueError(f"{change!r}: {parent} has no keys")
        try:
            place[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{change!r} is not valid YAML: {' '.join(str(error).split())}") from None


def validated(kind: type[Model], values: Mapping[str, Any], file: str | os.PathLike[str] | None = None) -> Model:
    """The recipe that `values` of `file` describe.

    Raises:
        ValueError: keys are unknown or missing, or values not allowed; the message names the file and every such key,
            and what is allowed there.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        where = "" if file is None else f"{os.fspath(file)}: "
        raise ValueError(where + "; ".join(map(_text, error.errors(include_url=False)))) from None


def _text(error: ErrorDetails) -> str:
    place = ""
    for part in error["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "unknown_key":
        return f"unknown key {place}{'.' if place else ''}{context['key']}; {context['hint']}"
    if kind == "missing":
        return f"{place} is missing"
    if kind in _MAPPINGS:
        return f"{place or 'the recipe'} must hold keys and values, not {given!r}"
    if kind.removesuffix("_type") in _TYPES:
        return f"{place} must be of type {_TYPES[kind.removesuffix('_type')]}, not {given!r}"
    if kind == "literal_error":
        return f"{place} must be one of {context['expected']}, not {given!r}"
    if kind == "finite_number":
        return f"{place} must be a finite number, not {given!r}"
    if kind == "value_error":
        return f"{place}: {context['error']}" if place else str(context["error"])
    return f"{place} {error['msg']}, not {given!r}"
