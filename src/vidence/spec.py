"""One line of text <-> one object: ``smooth(grad-cam(layer='block5'), n=8)``.

A line is a key, optionally with arguments; an argument is a Python literal or another spec. It is read by
the small recursive parser below: nothing is evaluated, and nesting stops at depth 4. Settings are frozen
dataclasses; ``line`` writes back only what differs from the defaults, so that a record stays readable.
"""

from __future__ import annotations

import ast
import dataclasses
import keyword
import re
import typing
from abc import ABCMeta
from collections.abc import Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Any, ClassVar, Self

from vidence.errors import SpecError

MAX_DEPTH = 4
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
  | (?P<number>[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?(?![a-z0-9]))
  | (?P<word>[A-Za-z0-9_][A-Za-z0-9_+-]*)
  | (?P<mark>[()\[\],=])
)""",
    re.VERBOSE,
)
_KEY = re.compile(r"[a-z0-9+-]+")
_LITERALS = {"True": True, "False": False, "None": None}
_NUMBERS: dict[Any, type] = {int: Integral, float: Real}
_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    type(None): "None",
    Any: "anything",
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """A parsed line: key, positional and named arguments, not yet looked up in a registry."""

    key: str
    args: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()


class _Reader:
    """Tokens of one line, consumed from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.error(f"cannot read {text[position:].strip()!r}")
            self.tokens.append((str(match.lastgroup), match.group(str(match.lastgroup))))
            position = match.end()

    def error(self, what: str) -> SpecError:
        return SpecError(f"a spec line reads key(name=value, ...); in {self.text!r}: {what}.")

    def peek(self) -> str | None:
        return self.tokens[0][1] if self.tokens and self.tokens[0][0] == "mark" else None

    def take(self) -> tuple[str, str]:
        if not self.tokens:
            raise self.error("the line ends too early")
        return self.tokens.pop(0)

    def expect(self, mark: str) -> None:
        kind, text = self.take()
        if (kind, text) != ("mark", mark):
            raise self.error(f"expected {mark!r}, got {text!r}")


def parse(text: str) -> Spec:
    """Read one line into a `Spec`. Raises `SpecError` that names the offending part."""
    reader = _Reader(text)
    spec = _spec(reader, depth=1)
    if reader.tokens:
        raise reader.error(f"unexpected {reader.tokens[0][1]!r} after the end")
    return spec


def _spec(reader: _Reader, *, depth: int) -> Spec:
    if depth > MAX_DEPTH:
        raise reader.error(f"nested deeper than {MAX_DEPTH}")
    kind, key = reader.take()
    if kind not in ("word", "number") or not _KEY.fullmatch(key):
        raise reader.error(f"{key!r} is not a key (lower-case letters, digits, + and -)")
    return _arguments(reader, key, depth=depth)


def _arguments(reader: _Reader, key: str, *, depth: int) -> Spec:
    args: list[Any] = []
    named: dict[str, Any] = {}
    if reader.peek() != "(":
        return Spec(key)
    reader.expect("(")
    while reader.peek() != ")":
        if len(reader.tokens) > 1 and reader.tokens[1] == ("mark", "="):
            name = reader.take()[1]
            reader.expect("=")
            if name in named:
                raise reader.error(f"{name!r} is given twice")
            named[name] = _value(reader, depth=depth)
        elif named:
            raise reader.error("a value without a name follows a named one")
        else:
            args.append(_value(reader, depth=depth))
        if reader.peek() != ")":
            reader.expect(",")
    reader.expect(")")
    return Spec(key, tuple(args), tuple(named.items()))


def _value(reader: _Reader, *, depth: int) -> Any:
    if reader.peek() in ("(", "["):
        return _sequence(reader, depth=depth)
    kind, text = reader.take()
    if kind in ("string", "number"):
        return ast.literal_eval(text)
    if text in _LITERALS:
        return _LITERALS[text]
    if kind != "word" or not _KEY.fullmatch(text):
        raise reader.error(f"{text!r} is neither a literal nor a key (put text in quotes)")
    if depth + 1 > MAX_DEPTH:
        raise reader.error(f"nested deeper than {MAX_DEPTH}")
    return _arguments(reader, text, depth=depth + 1)


def _sequence(reader: _Reader, *, depth: int) -> tuple[Any, ...]:
    close = ")" if reader.take()[1] == "(" else "]"
    values: list[Any] = []
    while reader.peek() != close:
        values.append(_value(reader, depth=depth))
        if reader.peek() != close:
            reader.expect(",")
    reader.expect(close)
    return tuple(values)


def build(line: str | Spec, table: Mapping[str, type]) -> Any:
    """Construct the object a line describes from a registry, which serves nested specs, too.

    Raises `SpecError` for an unknown key, an unknown setting, or a value of a wrong kind or that the dataclass refuses.
    """
    spec = parse(line) if isinstance(line, str) else line
    if spec.key not in table:
        advice = f" If it is meant as text, it goes in quotes: {spec.key!r}." if isinstance(line, Spec) else ""
        raise SpecError(f"unknown key {spec.key!r}; known are: {', '.join(sorted(table))}.{advice}")
    made = table[spec.key]
    args = [_resolve(value, table) for value in spec.args]
    named = {_field(name): _resolve(value, table) for name, value in spec.named}
    known = _names(made)
    for name in named:
        if name not in known:
            offered = ", ".join(name.rstrip("_") for name in known) or "none"
            raise SpecError(f"{spec.key!r} has no setting {name.rstrip('_')!r}; it has: {offered}.")
    check_kinds(made, _given(made, args, named))
    try:
        return made(*args, **named)
    except TypeError as error:
        raise SpecError(f"{spec.key!r} cannot be built from {line!r}: {error}.") from error


def check_kinds(made: type, given: Mapping[str, Any]) -> None:
    """Raise `SpecError` where a setting, by name, of a dataclass to be made is not of the kind annotated.

    Which texts or numbers it takes is its own to say; a list will do for a tuple, and a whole number for a float.
    """
    kinds = _annotated(made)
    for name, value in given.items():
        if not _fits(value, kinds.get(name, Any)):
            plain = value is None or isinstance(value, bool | int | float | str | tuple | list)
            shown = repr(value) if plain else type(value).__name__
            words = _words(kinds[name])
            raise SpecError(f"{name.rstrip('_')} must be {words}; got {shown}.")


class Settings:
    """The base of a frozen dataclass of settings: kinds are checked before the class itself looks at values."""

    called: ClassVar[str | None] = None  # what a setting is to be that must be an object of this class, in words

    def __new__(cls, *args: Any, **named: Any) -> Self:
        """Raise `SpecError` for settings of a wrong kind, from a line and in Python."""
        takes_others = "__init__" in vars(cls) and "__dataclass_fields__" not in vars(cls)  # a subclass written by hand
        if dataclasses.is_dataclass(cls) and not takes_others:
            cls.admit(_given(cls, args, named))
        return super().__new__(cls)

    @classmethod
    def admit(cls, given: Mapping[str, Any]) -> None:
        """Raise `SpecError` for settings, by name, that no object of this class can have."""
        check_kinds(cls, given)


def _names(made: type) -> list[str]:
    """The names of a dataclass's settings, in order."""
    return [field.name for field in dataclasses.fields(made) if field.init]


def _given(made: type, args: Sequence[Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a dataclass is to be made of, by name."""
    return {**dict(zip(_names(made), args, strict=False)), **named}


@cache
def _annotated(made: type) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(made)
    except NameError:  # of a name that only a type checker sees
        return {}


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated kind; True where that cannot be told."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is typing.Literal:
        return any(_fits(value, type(part)) for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        each = parts[:1] * len(value) if parts[-1] is ... else parts
        return len(each) == len(value) and all(map(_fits, value, each))
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    return not isinstance(kind, type) or type(kind) not in (type, ABCMeta) or isinstance(value, kind)


def _words(kind: Any) -> str:
    """An annotated kind in words."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, UnionType):
        return " or ".join(dict.fromkeys(map(_words, parts)))
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        inner = [_words(part) for part in parts if part is not ...]
        return f"a sequence, each {inner[0]}" if ... in parts else f"a sequence ({', '.join(inner)})"
    return getattr(kind, "called", None) or _NAMES.get(kind, getattr(kind, "__name__", str(kind)))


def _resolve(value: Any, table: Mapping[str, type]) -> Any:
    if isinstance(value, Spec):
        return build(value, table)
    return tuple(_resolve(item, table) for item in value) if isinstance(value, tuple) else value


def _field(name: str) -> str:
    """A setting called ``class`` is the field ``class_``: Python reserves the word."""
    return f"{name}_" if keyword.iskeyword(name) else name


def line(value: Any, table: Mapping[str, type]) -> str:
    """Write an object as its line; settings equal to their defaults are left out."""
    key = next((key for key, made in table.items() if type(value) is made), None)
    if key is None:
        raise SpecError(f"{type(value).__name__} is not listed; listed are: {', '.join(sorted(table))}.")
    parts = []
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if field.init and held != default:
            parts.append(f"{field.name.rstrip('_')}={_text(held, table)}")
    return f"{key}({', '.join(parts)})" if parts else key


def _text(value: Any, table: Mapping[str, type]) -> str:
    if dataclasses.is_dataclass(value):
        return line(value, table)
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(item, table) for item in value) + "]"
    if value is None or isinstance(value, bool | str):
        return repr(value)
    for plain, kind in _NUMBERS.items():  # NumPy's numbers too, which would write their own names
        if isinstance(value, kind):
            return repr(plain(value))
    raise SpecError(f"a setting must be a number, text, None, a tuple or another spec; got {type(value).__name__}.")
