"""Motion at an even pace, from clocks that jitter and pictures that are shown more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from vidence.errors import DataError
from vidence.motion.moving_cells import PER_SECOND

GAP_S = 1.0  # frames as far apart as this, or further, have no motion between them
SAME = 3  # gray levels, a block's mean, that a picture differs by at most when it is only encoded again


class Motion(NamedTuple):
    """The `channels` of a picture's cells, and the `seconds` in which what moves got there."""

    channels: Float32[np.ndarray, "i j c"]
    seconds: float


def steadied(around: Sequence[Motion]) -> Float32[np.ndarray, "i j c"]:
    """The mean channels of neighbouring pictures; velocities are all displacements by all seconds, so that a picture
    which arrives late, and the next one after less time, move no faster than they do. What is there more than once, as
    at a source's start, has its seconds counted once.
    """
    usual = np.mean(list({id(each): each.seconds for each in around}.values()))
    shares = np.array([each.seconds / usual for each in around], np.float32)  # 1 of an even clock, but for rounding
    powers = shares[:, None] ** np.array(PER_SECOND, np.float32)
    steady: Float32[np.ndarray, "i j c"] = np.mean(
        [each.channels * power for each, power in zip(around, powers, strict=True)], axis=0
    )
    return steady


def repeats(now: UInt8[np.ndarray, "h w"], before: UInt8[np.ndarray, "h w"], shape: tuple[int, int]) -> bool:
    """Whether a picture is the one `before` once more: no block of (i, j) differs but for how it was encoded."""
    differs = cv2.resize(cv2.absdiff(now, before), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return bool(differs.max() <= SAME)


def refuse_stills(times: Sequence[float], source: str) -> None:
    """Raise `DataError` where a source's first frames, by their times in seconds, have no motion between them."""
    if len(times) < 2:
        raise DataError(
            f"motion-attributes needs at least two frames; {source} has one. Give a video or a folder of frames, or "
            "take a detector of single pictures."
        )
    gaps = np.diff(np.unique(times))
    if len(gaps) and gaps.min() >= GAP_S:
        raise DataError(
            f"motion-attributes needs frames less than {GAP_S:g} s apart, or there is no motion between them; those "
            f"of {source} are at least {gaps.min():.2g} s apart. Give the rate of a folder of frames (--fps), which "
            "counts one second each without; else take footage of a higher rate, or a detector of single pictures."
        )
