"""Frozen dataclasses <-> plain values, by the types that the dataclass declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vidence.errors import StoreError

Made = TypeVar("Made")
# metadata of a field that came with a later schema: None where it says nothing, and then not written at all, so that
# what needs no more than an earlier schema keeps its bytes and its id
LATER = {"later": True}


def plain(value: Any) -> Any:
    """A dataclass as nested dicts and lists, ready for canonical JSON; other values as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        held = {field: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {field.name: plain(item) for field, item in held.items() if item is not None or not _later(field)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def revive(made: type[Made], held: Any, where: str = "record") -> Made:
    """Build the dataclass `made` from plain values. Raises `StoreError` that names what does not fit."""
    if not isinstance(held, Mapping):
        raise StoreError(f"{where} must be an object; got {type(held).__name__}.")
    hints = get_type_hints(made)
    declared = dataclasses.fields(made)  # type: ignore[arg-type]
    known = {field.name for field in declared if field.name in held or not _later(field)}
    if known != set(held):
        odd = ", ".join(sorted(known ^ set(held)))
        raise StoreError(f"{where} must have exactly the fields of {made.__name__}; missing or unknown: {odd}.")
    return made(**{name: _value(hints[name], held[name], f"{where}.{name}") for name in known})


def _later(field: dataclasses.Field[Any]) -> bool:
    return "later" in field.metadata


def _value(hint: Any, held: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if held is None else _value(next(each for each in inner if each is not type(None)), held, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return revive(hint, held, where)
    if origin is tuple and isinstance(held, list):
        hints = [inner[0]] * len(held) if inner[-1] is Ellipsis else list(inner)
        if len(hints) == len(held):
            return tuple(
                _value(each, item, f"{where}[{i}]") for i, (each, item) in enumerate(zip(hints, held, strict=True))
            )
    elif origin is Literal and held in inner:
        return held
    elif origin not in (None, tuple, Literal) and isinstance(held, Mapping):
        return {key: _value(inner[1], item, f"{where}.{key}") for key, item in held.items()}
    elif hint is float and isinstance(held, int | float) and not isinstance(held, bool):
        return float(held)
    elif isinstance(hint, type) and type(held) is hint:
        return held
    raise StoreError(f"{where} must be {hint}; got {held!r}.")
