"""Stretches of frames in which something is wrong, as truth files list them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from vidence.errors import DataError

Interval = tuple[int, int]


def covered(intervals: Sequence[Interval], frames: int, *, where: str) -> Bool[np.ndarray, " t"]:
    """Which of `frames` frames lie in one of the intervals; frames count from 1, both ends belong to it.

    Raises `DataError` that names `where` for an interval that is turned round or leaves the frames.
    """
    anomalous = np.zeros(frames, dtype=bool)
    for first, last in intervals:
        if not 1 <= first <= last <= frames:
            raise DataError(
                f"an interval of frames must lie in 1 to {frames}; {where} has {first} to {last}. "
                "The truth belongs to another version of the clip, or frames are missing: get both anew."
            )
        anomalous[first - 1 : last] = True
    return anomalous


def same_length(found: int, frames: int, *, where: str) -> None:
    """Raise `DataError` unless the truth has one entry per frame."""
    if found != frames:
        raise DataError(
            f"the truth must have one entry per frame; {where} has {found} for {frames} frames. "
            "The truth belongs to another version of the clip, or frames are missing: get both anew."
        )
