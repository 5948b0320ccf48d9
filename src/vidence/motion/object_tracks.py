"""Objects through time: each region of a frame belongs to a track that was predicted there, or begins one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int
from scipy.optimize import linear_sum_assignment

from vidence.motion.moving_regions import Regions

OF_OBJECT = ("width", "height", "area", "aspect", "pace", "dwell")
PATIENCE_S = 2.0  # a track that nothing is seen of ends
SMOOTH_S = 0.5  # over which velocity is averaged
NEAR = 0.5  # an object stays where it is while its centre moves by less than this share of its longer side
FAR = 1e6  # the cost of a pair that cannot be


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """`boxes` (k, 4): top, left, height, width in pixels, of the tracks `ids`, with their `values` in the order of
    OF_OBJECT: pixels, square pixels, height by width, pixels a second, seconds near one place.
    """

    ids: Int[np.ndarray, " k"]
    boxes: Float32[np.ndarray, "k 4"]
    values: Float32[np.ndarray, "k v"]

    def cover(self, size: tuple[int, int], shape: tuple[int, int]) -> Float32[np.ndarray, "i j v"]:
        """Of each of (i, j) blocks of a picture (h, w) the values of the smallest object that touches it, else 0."""
        found = np.zeros((*shape, len(OF_OBJECT)), np.float32)
        ends = np.stack([self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]])  # (2, k, 2)
        blocks = ends * np.array(shape) / np.array(size)
        first, last = np.floor(blocks[0]).astype(int).clip(0), np.ceil(blocks[1]).astype(int).clip(0)
        for k in np.argsort(-self.values[:, OF_OBJECT.index("area")], kind="stable"):
            found[first[k, 0] : last[k, 0], first[k, 1] : last[k, 1]] = self.values[k]
        return found


@dataclass(slots=True, eq=False)
class _Track:
    number: int
    name: str | None
    centre: np.ndarray  # (y, x)
    sides: np.ndarray  # height, width
    area: float
    seen: float  # when a region was last its own
    anchor: np.ndarray  # where the stay began
    since: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    sights: int = 1

    def follow(self, region: Box, seconds: float, time: float) -> None:
        """Be where a region is, `seconds` after the frame before."""
        step = (region.centre - self.centre) / max(seconds, 1e-6)
        share = 1.0 if self.sights == 1 else 1 - float(np.exp(-seconds / SMOOTH_S))
        self.velocity = self.velocity + share * (step - self.velocity)
        self.centre, self.sides, self.area = region.centre, region.sides, region.area
        self.seen, self.sights = time, self.sights + 1

    def told(self, time: float) -> tuple[float, ...]:
        """Its values; a new stay begins where the centre has left the old one."""
        if np.abs(self.centre - self.anchor).max() > NEAR * self.sides.max():
            self.anchor, self.since = self.centre, time
        height, width = self.sides
        return width, height, self.area, height / width, float(np.hypot(*self.velocity)), time - self.since


class Box(NamedTuple):
    """A region: `centre` (y, x), `sides` (height, width), `area`, and the user's name of its track, if any."""

    centre: np.ndarray
    sides: np.ndarray
    area: float
    name: str | None

    def holds(self, place: np.ndarray) -> bool:
        """Whether a place (y, x) is inside."""
        return bool((2 * np.abs(place - self.centre) <= self.sides).all())


class ObjectTracker:
    """Causal and bounded: tracks end `PATIENCE_S` after they were last seen.

    Regions and tracks are paired by overlap and distance at least cost (Hungarian method: Kuhn, Naval Research
    Logistics, 1955). Where one region hides several tracks, each goes on as it was going until they part.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._numbers = count()
        self._time = 0.0

    def __len__(self) -> int:
        return len(self._tracks)

    def step(self, regions: Regions, time: float) -> Objects:
        """The objects of the next frame, but for those that are seen for the first time."""
        seconds, self._time = time - self._time, time
        found = [
            Box(box[:2] + box[2:] / 2, box[2:], float(area), name)
            for box, area, name in zip(regions.boxes.astype(float), regions.areas, regions.names, strict=True)
        ]
        for track in self._tracks:
            track.centre = track.centre + track.velocity * seconds
        owned = _paired(self._tracks, found)
        hidden = {
            number: region
            for number, track in enumerate(self._tracks)
            if number not in owned
            for region, each in enumerate(found)
            if each.name is None and each.holds(track.centre)
        }
        for number, region in owned.items():
            track = self._tracks[number]
            if region not in hidden.values() or time - track.seen > PATIENCE_S:
                track.centre = track.centre - track.velocity * seconds
                track.follow(found[region], seconds, time)
        shown = [self._tracks[number] for number in sorted(owned.keys() | hidden.keys())]
        new = [each for region, each in enumerate(found) if region not in owned.values()]
        self._tracks += [
            _Track(next(self._numbers), each.name, each.centre, each.sides, each.area, time, each.centre, time)
            for each in new
        ]
        self._tracks = [each for each in self._tracks if time - each.seen <= PATIENCE_S]
        return _objects([each for each in shown if each.sights > 1 and time - each.seen <= PATIENCE_S], time)


def _objects(tracks: Sequence[_Track], time: float) -> Objects:
    boxes = [(*(each.centre - each.sides / 2), *each.sides) for each in tracks]
    values = [each.told(time) for each in tracks]
    return Objects(
        np.array([each.number for each in tracks], dtype=np.int64),
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(values, dtype=np.float32).reshape(-1, len(OF_OBJECT)),
    )


def _paired(tracks: Sequence[_Track], regions: Sequence[Box]) -> dict[int, int]:
    """Which track (its place) has which region (its place)."""
    if not tracks or not regions:
        return {}
    cost = np.array([[_cost(track, region) for region in regions] for track in tracks])
    rows, columns = linear_sum_assignment(cost)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if cost[row, column] < FAR}


def _cost(track: _Track, region: Box) -> float:
    """1 - the overlap (IoU) of the boxes + the distance of their centres in diagonals; what has a name goes by it."""
    if track.name is not None or region.name is not None:
        return -1.0 if track.name == region.name else FAR
    apart = np.abs(track.centre - region.centre)
    sides = np.minimum((track.sides + region.sides) / 2 - apart, np.minimum(track.sides, region.sides))
    shared = float(np.prod(np.maximum(sides, 0)))  # of boxes, by their centres and sides
    union = float(np.prod(track.sides) + np.prod(region.sides)) - shared
    distance = float(np.hypot(*apart)) / (float(np.hypot(*track.sides) + np.hypot(*region.sides)) / 2)
    return 1 - shared / union + distance if shared > 0 or distance < NEAR else FAR
