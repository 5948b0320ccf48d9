"""The demo's scenes beside their truth: which alarms are right, which are false, which events were missed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Case:
    """A stretch of a scene, in seconds, and what is true of it: `right`, `missed` or `false`."""

    source: str
    first_s: float
    last_s: float
    kind: str


@dataclass(frozen=True, slots=True)
class Cases:
    """All cases of a set of scenes."""

    cases: Sequence[Case]

    @property
    def shown(self) -> list[Case]:
        """The first of each kind that there is."""
        found = (
            next((case for case in self.cases if case.kind == kind), None) for kind in ("right", "missed", "false")
        )
        return [case for case in found if case is not None]

    def __str__(self) -> str:
        counts = {kind: sum(case.kind == kind for case in self.cases) for kind in ("right", "missed", "false")}
        return (
            f"Of {counts['right'] + counts['missed']} events in unseen scenes {counts['right']} raised an alarm, "
            f"{counts['missed']} did not; {counts['false']} alarms had no event."
        )


def compared(scores: Path, scenes: Path) -> Cases:
    """Compare `scores.csv` with the scenes' `events.csv`. An alarm is right if it shares a moment with an event."""
    alarms = _alarms(scores)
    with (scenes / "events.csv").open(newline="", encoding="utf-8") as file:
        events = [
            (str(scenes / row["file"]), float(row["first_s"]), float(row["last_s"])) for row in csv.DictReader(file)
        ]
    cases = [
        Case(source, first, last, "right" if any(_meet(event, alarm) for alarm in alarms) else "missed")
        for event in events
        for source, first, last in (event,)
    ]
    false = [Case(*alarm, "false") for alarm in alarms if not any(_meet(event, alarm) for event in events)]
    return Cases(cases + false)


def _alarms(scores: Path) -> list[tuple[str, float, float]]:
    """Anomalous windows that touch or overlap, joined."""
    joined: list[tuple[str, float, float]] = []
    with scores.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["anomalous"] != "1":
                continue
            source, first, last = row["source"], float(row["first_s"]), float(row["last_s"])
            if joined and joined[-1][0] == source and first <= joined[-1][2] + 1:
                joined[-1] = (source, joined[-1][1], max(last, joined[-1][2]))
            else:
                joined.append((source, first, last))
    return joined


def _meet(one: tuple[str, float, float], other: tuple[str, float, float]) -> bool:
    return one[0] == other[0] and one[1] <= other[2] and other[1] <= one[2]
