"""Segments that a user's own object detector supplies, as boxes in a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, isfinite
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from vidence.errors import SpecError
from vidence.record.provenance import file_digest

FORM = 'a list of {"frame": 0, "x": 10, "y": 20, "w": 30, "h": 40}, "track" optional'


@dataclass(frozen=True, slots=True, eq=False)
class DetectedBoxes:
    """`labels` (t, h, w): 0 is the background, the others boxes or tracks by their `names`; SHA-256 of the file."""

    labels: Int[Tensor, "t h w"]
    names: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class _Box:
    frame: int
    rows: slice
    columns: slice
    name: str


def detected_boxes(path: str | Path, sizes: tuple[int, int, int]) -> DetectedBoxes:
    """Boxes as segments of a clip of `sizes` (t, h, w): those of one `track` are one, a box without is one alone.

    The file is a list of boxes with `frame` (its place in the clip, from 0), `x`, `y` (left, top), `w`, `h` in pixels
    of the network's input; or, where they were found in pictures of another size, an object with `width`, `height` and
    `boxes`. Where boxes overlap, the smaller is on top. Raises `SpecError` that names the entry.
    """
    entries, scales = _entries(Path(path), sizes)
    boxes = [_box(entry, f"{path}: box {i}", sizes, scales) for i, entry in enumerate(entries)]
    names = ["background", *dict.fromkeys(box.name for box in boxes)]
    labels = torch.zeros(sizes, dtype=torch.int64)
    for box in sorted(boxes, key=lambda box: -_area(box)):
        labels[box.frame, box.rows, box.columns] = names.index(box.name)
    seen, labels = torch.unique(labels, return_inverse=True)
    return DetectedBoxes(labels, tuple(names[i] for i in seen.tolist()), file_digest(path))


def _entries(path: Path, sizes: tuple[int, int, int]) -> tuple[list[Any], tuple[float, float]]:
    """The list of boxes, and what their y and x are multiplied by."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"boxes must name a file that can be read; {path}: {error.strerror}.") from error
    except ValueError as error:
        raise SpecError(f"{path} must be JSON, {FORM}; {error}.") from error
    scales = (1.0, 1.0)
    if isinstance(found, Mapping):
        height, width = (_number(found, key, str(path)) for key in ("height", "width"))
        if min(height, width) <= 0:
            raise SpecError(f"{path}: width and height must be those of the pictures; got {width:g} x {height:g}.")
        scales, found = (sizes[1] / height, sizes[2] / width), found.get("boxes")
    if not isinstance(found, list) or not found:
        raise SpecError(f"{path} must hold at least one box, {FORM}; got {type(found).__name__}.")
    return found, scales


def _box(entry: Any, where: str, sizes: tuple[int, int, int], scales: tuple[float, float]) -> _Box:
    if not isinstance(entry, Mapping):
        raise SpecError(f"{where} must be an object, as in {FORM}; got {entry!r}.")
    frame, x, y, w, h = (_number(entry, key, where) for key in ("frame", "x", "y", "w", "h"))
    if frame != int(frame) or not 0 <= frame < sizes[0]:
        raise SpecError(f"{where}: frame must be a place in the clip, 0 to {sizes[0] - 1}; got {frame:g}.")
    if min(w, h) <= 0:
        raise SpecError(f"{where}: w and h must be above 0; got {w:g} x {h:g}.")
    rows, columns = (
        slice(max(0, floor(first * scale)), min(size, ceil((first + length) * scale)))
        for first, length, scale, size in ((y, h, scales[0], sizes[1]), (x, w, scales[1], sizes[2]))
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise SpecError(
            f"{where} lies outside the picture of {sizes[2]} x {sizes[1]} pixels. Of pictures of another size, say "
            '{"width": ..., "height": ..., "boxes": [...]}.'
        )
    track = entry.get("track")
    return _Box(int(frame), rows, columns, where.rpartition(": ")[2] if track is None else f"track {track}")


def _number(entry: Mapping[str, Any], key: str, where: str) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise SpecError(f"{where} must have a number {key!r}; got {value!r}.")
    return float(value)


def _area(box: _Box) -> int:
    return (box.rows.stop - box.rows.start) * (box.columns.stop - box.columns.start)
