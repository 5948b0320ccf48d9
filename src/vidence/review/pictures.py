"""Pictures beside a store, embedded in a page; each is checked against the digest that its record holds."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

_KINDS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture as a data address, or the `fault` for which it is not shown."""

    address: str | None = None
    fault: str | None = None


def embedded(folder: Path, name: str, digest: str) -> Embedded:
    """Read `folder`/`name`. Never raises: what is missing or altered is said in the picture's place."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return Embedded(fault="The picture lies outside the record's folder and is not shown.")
    try:
        content = path.read_bytes()
    except OSError:
        return Embedded(fault="The picture is missing: it was moved, deleted or erased.")
    if hashlib.sha256(content).hexdigest() != digest:
        return Embedded(fault="The picture was altered after the decision was recorded. It is not shown.")
    kind = next((kind for start, kind in _KINDS.items() if content.startswith(start)), None)
    if kind is None:
        return Embedded(fault="The file is not a PNG or JPEG picture and is not shown.")
    return Embedded(address=f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}")
