"""The files of one explanation: maps.npz, contours.json, overlay.mp4, sheet.png, and a sheet per alarm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vidence.aside import written_aside
from vidence.attribution.frame_maps import FrameMaps
from vidence.frames.clip import Frame
from vidence.frames.source import Source
from vidence.frames.transforms import resize_map
from vidence.record.facts import Event
from vidence.render.annotate import Explained, Page, annotated
from vidence.render.contours import contours, to_json
from vidence.render.movie import write_movie

AROUND_S = 2.0  # the movie shows this much before and after what was explained


@dataclass(frozen=True, slots=True, eq=False)
class PlacedMaps:
    """Maps on their own grid with their times, and where the grid lies in the source's pixels (h, w)."""

    times: Float[np.ndarray, " t"]
    values: Float[np.ndarray, "t h w"]
    affine: Float[np.ndarray, "2 3"]
    size: tuple[int, int]

    @property
    def peak(self) -> float:
        """The greatest absolute value: drawn at full intensity in every picture of this source."""
        return float(np.abs(self.values).max(initial=0.0))

    def nearest(self, time: float, *, within: float) -> Float[np.ndarray, "h w"] | None:
        """The map of the frame nearest in time, at source pixels; None where that is farther than `within` seconds."""
        at = int(np.abs(self.times - time).argmin())
        if abs(self.times[at] - time) > within:
            return None
        return resize_map(self.values[at : at + 1], self.affine, self.size)[0]


def save_maps(path: Path, placed: PlacedMaps) -> None:
    """Write `values` float32 (t, h, w), `times` in seconds, `affine` (2, 3) from grid (x, y) to source pixels, `size`."""
    with written_aside(path) as aside:
        np.savez_compressed(
            aside, values=placed.values, times=placed.times, affine=placed.affine, size=np.array(placed.size)
        )


def save_contours(path: Path, placed: PlacedMaps) -> None:
    """Write the polygons of every explained frame, frame by frame, so that memory does not grow."""
    found = []
    for t in range(len(placed.times)):
        pixels = resize_map(placed.values[t : t + 1], placed.affine, placed.size)
        found += [_at(contour, t) for contour in contours(pixels, peak=placed.peak or None)]
    with written_aside(path) as aside:
        aside.write_text(json.dumps(to_json(found, placed.times.tolist(), placed.size), allow_nan=False))
