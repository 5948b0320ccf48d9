"""Segments that a user's own object detector supplies, as boxes in a JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from vidence.errors import SpecError
from vidence.frames.box_file import Box, read_boxes


@dataclass(frozen=True, slots=True, eq=False)
class DetectedBoxes:
    """`labels` (t, h, w): 0 is the background, the others boxes or tracks by their `names`; SHA-256 of the file."""

    labels: Int[Tensor, "t h w"]
    names: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class _Place:
    frame: int
    rows: slice
    columns: slice
    name: str


def detected_boxes(path: str | Path, sizes: tuple[int, int, int]) -> DetectedBoxes:
    """Boxes as segments of a clip of `sizes` (t, h, w): those of one `track` are one, a box without is one alone.

    The file is as `read_boxes` takes it: `frame` is the place in the clip, from 0; without a size of their own, boxes
    are in pixels of the network's input. Where boxes overlap, the smaller is on top. Raises `SpecError` that names the
    entry.
    """
    found = read_boxes(path)
    places = [_place(box, sizes, found.scales(sizes[1:])) for box in found.boxes]
    names = ["background", *dict.fromkeys(place.name for place in places)]
    labels = torch.zeros(sizes, dtype=torch.int64)
    for place in sorted(places, key=lambda place: -_area(place)):
        labels[place.frame, place.rows, place.columns] = names.index(place.name)
    seen, labels = torch.unique(labels, return_inverse=True)
    return DetectedBoxes(labels, tuple(names[i] for i in seen.tolist()), found.digest)


def _place(box: Box, sizes: tuple[int, int, int], scales: tuple[float, float]) -> _Place:
    if box.frame >= sizes[0]:
        raise SpecError(f"{box.where}: frame must be a place in the clip, 0 to {sizes[0] - 1}; got {box.frame}.")
    rows, columns = (
        slice(max(0, floor(first * scale)), min(size, ceil((first + length) * scale)))
        for first, length, scale, size in ((box.y, box.h, scales[0], sizes[1]), (box.x, box.w, scales[1], sizes[2]))
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise SpecError(
            f"{box.where} lies outside the picture of {sizes[2]} x {sizes[1]} pixels. Of pictures of another size, say "
            '{"width": ..., "height": ..., "boxes": [...]}.'
        )
    name = box.where.rpartition(": ")[2] if box.track is None else f"track {box.track}"
    return _Place(box.frame, rows, columns, name)


def _area(place: _Place) -> int:
    return (place.rows.stop - place.rows.start) * (place.columns.stop - place.columns.start)
