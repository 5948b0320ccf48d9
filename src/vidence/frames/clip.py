"""A frame and a clip: pixels as decoded, with their times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidence.errors import ShapeError
from vidence.record.facts import ClipRef


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture: `pixels` uint8 RGB (h, w, 3), `time` in seconds of the container's clock."""

    pixels: np.ndarray
    time: float


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Consecutive frames of one source: `pixels` uint8 RGB (t, h, w, 3). An image is a clip of length one."""

    ref: ClipRef
    pixels: np.ndarray

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise ShapeError(
                f"a clip's pixels must be uint8 RGB (t, h, w, 3), not empty; got {dtype} {shape}. "
                "Pass the frames as decoded."
            )
        if len(self.ref.times) != shape[0]:
            raise ShapeError(f"a clip of {shape[0]} frames must have as many times; got {len(self.ref.times)}.")

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds, one per frame."""
        return self.ref.times
