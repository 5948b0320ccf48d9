"""Boxes that a user's own object detector found in the frames of a source, in a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from vidence.errors import SpecError
from vidence.record.provenance import file_digest

FORM = 'a list of {"frame": 0, "x": 10, "y": 20, "w": 30, "h": 40}, "track" optional'


@dataclass(frozen=True, slots=True)
class Box:
    """`x`, `y` (left, top), `w`, `h` in pixels of the pictures it was found in; `where` names it in messages."""

    frame: int
    x: float
    y: float
    w: float
    h: float
    track: str | None
    where: str


@dataclass(frozen=True, slots=True)
class BoxFile:
    """All `boxes` of a file, with its SHA-256; `size` (height, width) of the pictures where the file says it."""

    boxes: tuple[Box, ...]
    size: tuple[float, float] | None
    digest: str

    def scales(self, size: tuple[float, float]) -> tuple[float, float]:
        """What y and x are multiplied by for pictures of a size (h, w)."""
        return (1.0, 1.0) if self.size is None else (size[0] / self.size[0], size[1] / self.size[1])


def read_boxes(path: str | Path, *, empty: bool = False) -> BoxFile:
    """Read a list of boxes with `frame` (its place, from 0), `x`, `y`, `w`, `h`; or, where they were found in pictures
    of another size, an object with `width`, `height` and `boxes`. Raises `SpecError` that names the entry, and for a
    list without any unless it may be `empty`.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"boxes must name a file that can be read; {path}: {error.strerror}.") from error
    except ValueError as error:
        raise SpecError(f"{path} must be JSON, {FORM}; {error}.") from error
    size = None
    if isinstance(found, Mapping):
        height, width = (_number(found, key, str(path)) for key in ("height", "width"))
        if min(height, width) <= 0:
            raise SpecError(f"{path}: width and height must be those of the pictures; got {width:g} x {height:g}.")
        size, found = (height, width), found.get("boxes")
    if not isinstance(found, list) or not (found or empty):
        raise SpecError(f"{path} must hold at least one box, {FORM}; got {type(found).__name__}.")
    boxes = tuple(_box(entry, f"{path}: box {i}") for i, entry in enumerate(found))
    return BoxFile(boxes, size, file_digest(path))


def _box(entry: Any, where: str) -> Box:
    if not isinstance(entry, Mapping):
        raise SpecError(f"{where} must be an object, as in {FORM}; got {entry!r}.")
    frame, x, y, w, h = (_number(entry, key, where) for key in ("frame", "x", "y", "w", "h"))
    if frame != int(frame) or frame < 0:
        raise SpecError(f"{where}: frame must be a place in the clip, from 0 on; got {frame:g}.")
    if min(w, h) <= 0:
        raise SpecError(f"{where}: w and h must be above 0; got {w:g} x {h:g}.")
    track = entry.get("track")
    return Box(int(frame), x, y, w, h, None if track is None else str(track), where)


def _number(entry: Mapping[str, Any], key: str, where: str) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise SpecError(f"{where} must have a number {key!r}; got {value!r}.")
    return float(value)
