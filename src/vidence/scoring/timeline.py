"""Overlapping windows -> one curve over time -> events with start and end in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
from jaxtyping import Float

from vidence.errors import ShapeError
from vidence.record.facts import Event

MERGE_S = 1.0  # seconds between two stretches that are still one alarm, where a rule says nothing else


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A score per frame of one source: `times` in seconds, rising; `values` as many."""

    times: Float[np.ndarray, " t"]
    values: Float[np.ndarray, " t"]

    def __post_init__(self) -> None:
        if self.times.shape != self.values.shape or self.times.ndim != 1:
            raise ShapeError(f"a curve needs as many values as times; got {self.values.shape} and {self.times.shape}.")
        if np.any(np.diff(self.times) < 0):
            raise ShapeError("a curve's times must never decrease; sort the frames by time.")

    @property
    def step_s(self) -> float:
        """Seconds a frame stands for: the median distance between frames (0 for a single frame)."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    @property
    def seconds(self) -> float:
        """The time covered, the last frame included."""
        return float(self.times[-1] - self.times[0]) + self.step_s if len(self.times) else 0.0


def curve(
    windows: Iterable[tuple[Sequence[float], Sequence[float] | float]], *, overlap: Literal["max", "mean"] = "max"
) -> Curve:
    """One score per frame from windows (times, one value or one per frame).

    `overlap` says what becomes of a frame that several windows hold. With "max" a frame lies above a threshold
    exactly if one of its windows does, so that events and the windows' own verdicts agree; "mean" is smoother.
    A frame is known by its time; a padded window repeats its last frame, which then counts once.
    """
    held: dict[float, list[float]] = {}
    for times, values in windows:
        each = np.broadcast_to(np.asarray(values, dtype=np.float64), (len(times),))
        for time, value in dict(zip(times, each, strict=True)).items():
            held.setdefault(float(time), []).append(float(value))
    ordered = sorted(held)
    join = np.max if overlap == "max" else fmean  # a value that is none stays seen, wherever it stands
    joined = [join(held[time]) for time in ordered]
    return Curve(np.array(ordered, dtype=np.float64), np.array(joined, dtype=np.float64))


def events(scored: Curve, threshold: float, *, merge_s: float = MERGE_S) -> list[Event]:
    """Stretches above the threshold; stretches at most `merge_s` seconds apart are one event."""
    above = np.flatnonzero(scored.values > threshold)
    if not len(above):
        return []
    times, values = scored.times[above], scored.values[above]
    breaks = np.flatnonzero(np.diff(times) > merge_s + scored.step_s + 1e-9) + 1
    return [
        Event(float(span[0]), float(span[-1]), float(peaks.max()))
        for span, peaks in zip(np.split(times, breaks), np.split(values, breaks), strict=True)
    ]
