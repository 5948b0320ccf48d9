"""What is recorded of a judgement: each alarm; a source that raised none; and windows explained outside every alarm."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from jaxtyping import Bool, Float

from vidence.record.facts import Event
from vidence.scoring.run import Judgement, ScoredWindow


@dataclass(frozen=True, slots=True)
class Case:
    """What one record is about: an `event`, or none; and the `windows` that scored a frame of it. `others` are the
    events of other records, `name` is for files.
    """

    windows: tuple[ScoredWindow, ...]
    event: Event | None = None
    others: tuple[Event, ...] = ()
    name: str = "source"

    def scores(self, window: ScoredWindow) -> dict[float, float]:
        """A window's scores by second, as far as they belong here: those outside the event are another record's."""
        return window.within(self.event.first_s, self.event.last_s) if self.event else window.within(-inf, inf)

    def highest(self, window: ScoredWindow) -> float:
        """A window's highest score in this case."""
        return max(self.scores(window).values())

    @property
    def peak(self) -> ScoredWindow:
        """The window that decided."""
        return max(self.windows, key=self.highest)

    @property
    def value(self) -> float:
        """The score that decided: the event's own peak, where there is an event."""
        return self.highest(self.peak)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the detector holds against the footage of any of its windows, each once."""
        return tuple(dict.fromkeys(doubt for window in self.windows for doubt in window.doubts))

    def holds(self, times: Float[np.ndarray, " t"]) -> Bool[np.ndarray, " t"]:
        """Which frames it tells of: the event's; without one those around it."""
        return self.around(times) if self.event is None else _during(times, self.event)

    def around(self, times: Float[np.ndarray, " t"]) -> Bool[np.ndarray, " t"]:
        """Which frames are of its windows, and of no other record's event."""
        seen = np.isin(times, [time for window in self.windows for time in (*window.ref.times, *window.scored_s)])
        return seen & ~np.any([_during(times, other) for other in self.others], axis=0)

    def among(self, firsts: Container[int]) -> Case:
        """The case as far as the windows that begin at `firsts` tell it; without a window where none does."""
        return replace(self, windows=tuple(window for window in self.windows if window.ref.first in firsts))


def cases(judged: Judgement, explained: Container[int] = ()) -> list[Case]:
    """What is recorded of a judgement. `explained` are the first samples of the windows that were explained."""
    if not judged.events:
        return [Case(judged.windows)]
    found = [
        Case(judged.scoring(event), event, tuple(each for each in judged.events if each != event), f"event-{number}")
        for number, event in enumerate(judged.events, 1)
    ]
    alarmed = {window.ref.first for case in found for window in case.windows}
    quiet = tuple(window for window in judged.windows if window.ref.first not in alarmed)
    besides = Case(quiet, None, judged.events, "besides").among(explained)
    return [*found, besides] if besides.windows else found


def deciding(judged: Judgement, chosen: Iterable[ScoredWindow]) -> set[int]:
    """The first samples of those `chosen` windows whose certificates the records will hold: each case's highest."""
    wanted = {window.ref.first for window in chosen}
    shown = [case.among(wanted) for case in cases(judged, wanted)]
    return {case.peak.ref.first for case in shown if case.windows}


def _during(times: Float[np.ndarray, " t"], event: Event) -> Bool[np.ndarray, " t"]:
    return (times >= event.first_s) & (times <= event.last_s)
