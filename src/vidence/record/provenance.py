"""Canonical JSON and digests: the same facts give the same bytes, hence the same id, on any machine.

Canonical JSON is RFC 8785: keys sorted by UTF-16 code units, no white space, numbers as ECMAScript writes them
(1.0 is ``1``), text as UTF-8. NaN, infinities and integers beyond 2**53 have no canonical form and are refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from vidence.errors import StoreError

DIGEST = re.compile(r"[0-9a-f]{64}")
_LARGEST = 2**53 - 1


def canonical(payload: Any) -> bytes:
    """The canonical JSON of plain values: None, bool, int, float, str, lists, tuples, mappings with text keys.

    Raises `StoreError` for anything else, and says where in the payload it lies.
    """
    return _text(payload, "payload").encode()


def digest(payload: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(payload)).hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_name(given: str) -> str:
    """A source's name for the record: the last part of a path or address.

    Folders, hosts, passwords in addresses and query strings differ between machines or are secrets: they stay out.
    """
    if "://" in given:
        given = re.split(r"[?#]", given.split("://", 1)[1].rstrip("/"))[0].rpartition("@")[2]
    last = re.split(r"[/\\]", given.rstrip("/\\"))[-1]
    return last.encode("utf-8", "backslashreplace").decode() or "unnamed"


def _text(value: Any, where: str) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise StoreError(f"{where} must lie within +-2**53 to have one JSON form; got {value}. Pass it as text.")
        return str(int(value))
    if isinstance(value, float):
        return _number(float(value), where)
    if isinstance(value, str):
        return _quoted(value, where)
    if isinstance(value, Mapping):
        return _members(value, where)
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(item, f"{where}[{i}]") for i, item in enumerate(value)) + "]"
    raise StoreError(
        f"{where} must be plain (None, bool, int, float, text, list, mapping); got {type(value).__name__}. "
        "Convert arrays with .tolist() and scalars with float()."
    )


def _members(value: Mapping[Any, Any], where: str) -> str:
    for key in value:
        if not isinstance(key, str):
            raise StoreError(f"{where} must have text keys; got {key!r}.")
    keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(f"{_quoted(key, where)}:{_text(value[key], f'{where}.{key}')}" for key in keys) + "}"


def _quoted(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"{where} must be text that UTF-8 can write; got {value!r}.") from error
    return json.dumps(value, ensure_ascii=False)


def _number(value: float, where: str) -> str:
    """A float as ECMAScript's Number.toString writes it: the shortest digits that read back as the same float."""
    if not math.isfinite(value):
        raise StoreError(f"{where} must be a finite number; got {value}. Record None and say why it is missing.")
    if value == 0:
        return "0"
    sign, parts, exponent = Decimal(repr(value)).normalize().as_tuple()
    digits, point = "".join(map(str, parts)), len(parts) + int(exponent)
    if 0 < point <= 21:
        whole = digits[:point].ljust(point, "0")
        body = f"{whole}.{digits[point:]}" if len(digits) > point else whole
    elif -6 < point <= 0:
        body = "0." + "0" * -point + digits
    else:
        mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
        body = f"{mantissa}e{point - 1:+d}"
    return f"-{body}" if sign else body
