"""Perspective from motion: what is further from the camera stands higher in the picture and is slower in it.

[own method: docs/motion-attributes.md]
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

BANDS = 12  # of rows with equally many cells
FASTEST = 0.9  # the quantile of a band that stands for its pace: walkers' own speeds differ less than who walks there
LEAST = 0.3  # of the average pace: a line that falls to 0 says nothing of what is there
NONE = (1.0, 0.0)


def fitted(rows: Float[np.ndarray, " m"], speeds: Float[np.ndarray, " m"]) -> Float[np.ndarray, " 2"]:
    """The line, level and slope, of how fast things are in each row (a share of the picture's height), 1 on average;
    no slope where all rows are alike, or nothing moves.
    """
    order = np.argsort(rows, kind="stable")
    bands = [band for band in np.array_split(order, BANDS) if len(band)]
    at = np.array([rows[band].mean() for band in bands])
    if not len(rows) or np.ptp(at) < 1e-3 or not speeds.any():
        return np.array(NONE)
    slope, level = np.polyfit(at, [np.quantile(speeds[band], FASTEST) for band in bands], 1)
    average = level + slope * rows.mean()
    return np.array([level, slope]) / average if average > 0 else np.array(NONE)


def pace(line: Float[np.ndarray, " 2"], rows: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """How many times the average things are as fast in a row."""
    return np.maximum(line[0] + line[1] * rows, LEAST)
