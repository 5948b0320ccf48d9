"""The objects of a source for `motion-attributes`: connected moving regions, or boxes that the user supplies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, UInt8

from vidence.errors import DataError
from vidence.frames.box_file import Box, read_boxes
from vidence.motion.moving_regions import MovingRegions, Regions
from vidence.motion.object_tracks import Objects, ObjectTracker
from vidence.record.facts import ClipRef

KEPT = 100_000  # frames whose objects are kept for evidence: an hour at 25 a second, some 30 MB
BEGIN_S = 1.0  # a whole video begins before this


class ObjectFinder(Protocol):
    """Finds the objects of one source, frame after frame; `origin` says in words where others than its own are from."""

    origin: tuple[str, ...]

    def find(
        self, place: int, time: float, gray: UInt8[np.ndarray, "h w"], moving: Bool[np.ndarray, "h w"] | None
    ) -> Objects:
        """The objects of the frame at a place in the source; `moving` are its pixels that move."""
        ...


class RegionObjects:
    """Connected moving regions, and what has come and stands."""

    origin: tuple[str, ...] = ()

    def __init__(self, *, absorb: float, smallest: int) -> None:
        self._regions, self._tracker = MovingRegions(absorb=absorb, smallest=smallest), ObjectTracker()

    def find(
        self, place: int, time: float, gray: UInt8[np.ndarray, "h w"], moving: Bool[np.ndarray, "h w"] | None
    ) -> Objects:
        """Track the regions."""
        return self._tracker.step(self._regions.push(gray, moving, time), time)


class BoxObjects:
    """Boxes of a source, by frame, in the file `FOLDER/NAME.json` of its NAME; `size` (h, w) is that of the source's
    pictures. Raises `DataError` where there is no file, and for a stretch of a video, whose frames have other numbers.
    """

    def __init__(self, folder: str, ref: ClipRef, size: tuple[int, int]) -> None:
        self.path = box_path(folder, ref.source)
        if not self.path.is_file():
            raise DataError(
                f"boxes={folder!r} must hold a file of each source; {self.path.name}, of {ref.source}, is not there. "
                "Write one with your object detector, [] where it found nothing."
            )
        if ref.first == 0 and ref.times[0] > BEGIN_S:
            raise DataError(
                f"boxes are counted by the frames of whole videos; {ref.source} begins at {ref.times[0]:.1f} s. "
                "Cut the video into files, or leave boxes out."
            )
        found = read_boxes(self.path, empty=True)
        self.origin: tuple[str, ...] = (f"its objects are the boxes of {self.path.name}, SHA-256 {found.digest}",)
        self._size, self._scales = size, found.scales(size)
        self._boxes: defaultdict[int, list[Box]] = defaultdict(list)
        for box in found.boxes:
            self._boxes[box.frame].append(box)
        self._tracker = ObjectTracker()

    def find(
        self, place: int, time: float, gray: UInt8[np.ndarray, "h w"], moving: Bool[np.ndarray, "h w"] | None
    ) -> Objects:
        """Track the boxes; those of one `track` are one object."""
        boxes = self._boxes.get(place, [])
        y, x = (scale * now / size for scale, now, size in zip(self._scales, gray.shape, self._size, strict=True))
        found = np.array([(each.y * y, each.x * x, each.h * y, each.w * x) for each in boxes], np.float32)
        found = found.reshape(-1, 4)
        return self._tracker.step(Regions(found, found[:, 2] * found[:, 3], _named(boxes)), time)


def box_path(folder: str, source: str) -> Path:
    """Where the boxes of a source are."""
    return Path(folder) / f"{Path(source).stem}.json"


def _named(boxes: Sequence[Box]) -> tuple[str | None, ...]:
    return tuple(box.track for box in boxes)


class Trails:
    """The objects of frames that were scored, so that a window can be explained with what was before it; bounded."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, float], Objects] = {}

    def keep(self, ref: ClipRef, time: float, objects: Objects) -> None:
        """Keep a frame's objects; the oldest ones go."""
        key = (ref.source, ref.digest, time)
        self._held.pop(key, None)
        self._held[key] = objects
        if len(self._held) > KEPT:
            del self._held[next(iter(self._held))]

    def of(self, ref: ClipRef) -> Mapping[float, Objects]:
        """What is kept of a window's frames, by time."""
        keys = [(ref.source, ref.digest, time) for time in ref.times]
        return {key[2]: self._held[key] for key in keys if key in self._held}
