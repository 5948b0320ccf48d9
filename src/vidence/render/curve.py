"""The score over time: what a drawing of it needs to know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vidence.errors import ShapeError
from vidence.record.facts import Event


def require_curve(
    times: Sequence[float], values: Sequence[float]
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """Both as float64 arrays; raise `ShapeError` unless they fit, are finite, and the times never decrease."""
    seconds, scores = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if seconds.ndim != 1 or seconds.shape != scores.shape or not len(seconds):
        raise ShapeError(
            f"a curve needs as many values as times, at least one; got {scores.shape} and {seconds.shape}."
        )
    if not (np.isfinite(seconds).all() and np.isfinite(scores).all()) or np.any(np.diff(seconds) < 0):
        raise ShapeError("a curve's times and values must be finite and its times never decrease. Sort by time.")
    return seconds, scores


def score_range(scores: Float[np.ndarray, " t"], threshold: float | None) -> tuple[float, float]:
    """The ends of the score's axis: 0 to 1 where all lies inside, else what the values need, with a margin."""
    held = scores if threshold is None or not np.isfinite(threshold) else np.append(scores, threshold)
    low, high = float(held.min()), float(held.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    margin = 0.08 * (high - low) or 0.5
    return low - margin, high + margin


def event_span(event: Event, seconds: Float[np.ndarray, " t"]) -> tuple[float, float]:
    """Where to shade an event: half a frame beyond its first and last frame, so that a single one is seen."""
    half = float(np.median(np.diff(seconds))) / 2 if len(seconds) > 1 else 0.5
    return event.first_s - half, event.last_s + half
