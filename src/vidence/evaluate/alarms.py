"""Alarms as an operator meets them: how long after an event began the first one came, how many had no event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vidence.scoring.timeline import MERGE_S, Curve, events


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One video: its `times` with the truth of each frame, and the `scored` curve, over fewer frames perhaps."""

    times: Float[np.ndarray, " t"]
    anomalous: Bool[np.ndarray, " t"]
    scored: Curve


@dataclass(frozen=True, slots=True)
class Alarms:
    """`delays_s` of the events found, in seconds from their first frame; false alarms in `normal_s` of footage."""

    events: int
    delays_s: tuple[float, ...]
    false_alarms: int
    normal_s: float

    @property
    def delay_s(self) -> float | None:
        """The mean delay of the events found."""
        return float(np.mean(self.delays_s)) if self.delays_s else None

    @property
    def false_alarms_per_hour(self) -> float | None:
        """False alarms in an hour of normal footage; None where there is no such footage."""
        return self.false_alarms / self.normal_s * 3600 if self.normal_s > 0 else None


def stretches(times: Float[np.ndarray, " t"], anomalous: Bool[np.ndarray, " t"]) -> list[tuple[float, float]]:
    """The events: first and last time of each run of anomalous frames."""
    edges = np.diff(np.concatenate([[False], anomalous, [False]]).astype(np.int8))
    firsts, lasts = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return [(float(times[first]), float(times[last])) for first, last in zip(firsts, lasts, strict=True)]


def alarms(videos: Sequence[Watched], threshold: float, *, merge_s: float = MERGE_S) -> Alarms:
    """Compare the alarms above `threshold` with the events; stretches at most `merge_s` seconds apart are one alarm.

    An event is found if one of its frames lies above the threshold; a false alarm is an alarm (`scoring.timeline`) that
    shares no moment with an event. So an alarm that is never silent is no false one: recall it when reading.
    """
    total, delays, false, normal = 0, [], 0, 0.0
    for video in videos:
        true = stretches(video.times, video.anomalous)
        above = video.scored.times[video.scored.values > threshold]
        for first, last in true:
            inside = above[(above >= first) & (above <= last)]
            if len(inside):
                delays.append(float(inside[0]) - first)
        total += len(true)
        raised = events(video.scored, threshold, merge_s=merge_s)
        false += sum(not any(each.first_s <= b and each.last_s >= a for a, b in true) for each in raised)
        step = float(np.median(np.diff(video.times))) if len(video.times) > 1 else 0.0
        normal += step * int((~video.anomalous).sum())
    return Alarms(total, tuple(delays), false, normal)
