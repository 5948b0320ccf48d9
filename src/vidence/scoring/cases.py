"""What is recorded of a judgement: each alarm; a source that raised none; and windows explained outside every alarm."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from vidence.record.facts import Event
from vidence.scoring.run import Judgement, ScoredWindow


@dataclass(frozen=True, slots=True)
class Case:
    """What one record is about: an `event`, or none; and the `windows` that scored a frame of it."""

    windows: tuple[ScoredWindow, ...]
    event: Event | None = None

    def highest(self, window: ScoredWindow) -> float:
        """A window's highest score in this case: what it scored outside the event is another record's."""
        first, last = (self.event.first_s, self.event.last_s) if self.event else (-math.inf, math.inf)
        return window.highest(first, last)

    @property
    def peak(self) -> ScoredWindow:
        """The window that decided."""
        return max(self.windows, key=self.highest)

    @property
    def value(self) -> float:
        """The score that decided: the event's own peak, where there is an event."""
        return self.highest(self.peak)

    def among(self, firsts: Container[int]) -> Case:
        """The case as far as the windows that begin at `firsts` tell it; without a window where none does."""
        return replace(self, windows=tuple(window for window in self.windows if window.ref.first in firsts))


def cases(judged: Judgement, explained: Container[int] = ()) -> list[Case]:
    """What is recorded of a judgement. `explained` are the first samples of the windows that were explained."""
    found = [Case(judged.scoring(event), event) for event in judged.events]
    if not found:
        return [Case(judged.windows)]
    alarmed = {window.ref.first for case in found for window in case.windows}
    besides = Case(tuple(each for each in judged.windows if each.ref.first not in alarmed)).among(explained)
    return [*found, besides] if besides.windows else found


def deciding(judged: Judgement, chosen: Iterable[ScoredWindow]) -> set[int]:
    """The first samples of those `chosen` windows whose certificates the records will hold: each case's highest."""
    wanted = {window.ref.first for window in chosen}
    shown = [case.among(wanted) for case in cases(judged, wanted)]
    return {case.peak.ref.first for case in shown if case.windows}
