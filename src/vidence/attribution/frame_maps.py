"""Maps of overlapping windows -> one map per frame of the source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from vidence.errors import ShapeError


class FrameMaps:
    """Averages the windows that hold a frame. A padded window repeats its last frame, whose maps then add up:
    the evidence of a repeated picture belongs to the one picture that was seen.
    """

    def __init__(self) -> None:
        self._sums: dict[float, np.ndarray] = {}
        self._windows: dict[float, int] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, times: Sequence[float], values: Float32[np.ndarray, "t h w"]) -> None:
        """Add one window's map."""
        if len(times) != len(values):
            raise ShapeError(f"a map needs one time per frame; got {len(times)} times and a map {values.shape}.")
        for time in dict.fromkeys(times):
            at = [i for i, other in enumerate(times) if other == time]
            summed = values[at].sum(axis=0, dtype=np.float32)
            self._sums[time] = self._sums[time] + summed if time in self._sums else summed
            self._windows[time] = self._windows.get(time, 0) + 1

    @property
    def times(self) -> Float64[np.ndarray, " t"]:
        """Seconds of the frames that have a map, rising."""
        return np.array(sorted(self._sums), dtype=np.float64)

    @property
    def values(self) -> Float32[np.ndarray, "t h w"]:
        """The averaged maps on their own grid."""
        return np.stack([self._sums[time] / self._windows[time] for time in sorted(self._sums)]).astype(np.float32)
