"""Where to draw: the geometry of the report's small charts, in numbers that the template writes into SVG.

Positions across are percentages, so that lettering keeps its size on a narrow screen; curves lie in a box of
1000 x 100 that is stretched, with line widths that are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vidence.record.decision import DecisionRecord
from vidence.record.evidence import Evidence
from vidence.record.timecode import timecode
from vidence.review.wording import number

WIDE, HIGH = 1000.0, 100.0
MOST_POINTS = 600


@dataclass(frozen=True, slots=True)
class Bar:
    """A value on a scale: `length` and `threshold` in percent of the width, `text` the value; `alarm`: above it."""

    label: str
    text: str
    length: float
    threshold: float
    alarm: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """A curve over time: `points` for a polyline, `threshold` from the top, `events` as (x, width), all in the
    1000 x 100 box; `top`, `bottom`, `first`, `last` are the axes' ends in words.
    """

    points: str
    threshold: float | None
    events: tuple[tuple[float, float], ...]
    top: str
    bottom: str
    first: str
    last: str


def scale(record: DecisionRecord) -> tuple[float, float]:
    """The ends of the score's axis: its bounds, or what the values need."""
    if record.outcome.bounds is not None and record.outcome.bounds[0] < record.outcome.bounds[1]:
        return record.outcome.bounds
    hidden = [each.hidden_score for each in record.evidence if each.hidden_score is not None]
    measured = [value for each in hidden for value in (each.value, each.control) if value is not None]
    held = [record.detection.value, record.detection.threshold, *record.outcome.values, *measured]
    low, high = min(0.0, *held), max(held)
    return low, high + 0.05 * (high - low) if high > low else low + 1.0


def bars(record: DecisionRecord, evidence: Evidence | None = None) -> list[Bar]:
    """The score alone, or beside what it is with the marked region, and another one, hidden."""
    rows = [("as filmed", record.detection.value)]
    if evidence is not None and evidence.hidden_score is not None:
        rows.append(("marked region hidden", evidence.hidden_score.value))
        if evidence.hidden_score.control is not None:
            rows.append(("as much hidden elsewhere", evidence.hidden_score.control))
    low, high = scale(record)
    threshold = record.detection.threshold
    return [
        Bar(label, number(value), _share(value, low, high), _share(threshold, low, high), value > threshold)
        for label, value in rows
    ]


def curve(record: DecisionRecord) -> Chart | None:
    """The score over time with threshold and events; None where a single moment was scored."""
    times, values = record.outcome.times, record.outcome.values
    if len(times) < 2 or times[0] == times[-1]:
        return None
    low, high = scale(record)
    reach = 0.5 * (times[-1] - times[0]) / (len(times) - 1)
    events = [_interval(event.first_s - reach, event.last_s + reach, times[0], times[-1]) for event in record.events]
    return Chart(
        points=_points(times, values, low, high),
        threshold=HIGH - _share(record.detection.threshold, low, high) * HIGH / 100,
        events=tuple(events),
        top=number(high),
        bottom=number(low),
        first=timecode(times[0]),
        last=timecode(times[-1]),
    )


def profile(evidence: Evidence) -> Chart | None:
    """How the evidence is spread over time; None for a picture, or a map without any."""
    times, values = evidence.profile_times, evidence.profile
    peak = max((abs(value) for value in values), default=0.0)
    if len(times) < 2 or times[0] == times[-1] or not peak:
        return None
    low = min(0.0, *values)
    return Chart(
        points=_points(times, values, low, peak),
        threshold=None,
        events=(),
        top="most",
        bottom="none",
        first=timecode(times[0]),
        last=timecode(times[-1]),
    )


def _share(value: float, low: float, high: float) -> float:
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 2)


def _interval(first: float, last: float, start: float, end: float) -> tuple[float, float]:
    left, right = (min(max((at - start) / (end - start), 0.0), 1.0) * WIDE for at in (first, last))
    return round(left, 1), round(max(right - left, 2.0), 1)


def _points(times: Sequence[float], values: Sequence[float], low: float, high: float) -> str:
    """`x,y` pairs; a long series keeps the least and the greatest value of each stretch, so that no peak is lost."""
    kept = list(range(len(values)))
    step = len(values) / (MOST_POINTS / 2)
    if step > 2:
        stretches = [range(int(i * step), int((i + 1) * step)) for i in range(MOST_POINTS // 2)]
        ends = [{min(each, key=values.__getitem__), max(each, key=values.__getitem__)} for each in stretches]
        kept = sorted({0, len(values) - 1}.union(*ends))
    start, length = times[0], times[-1] - times[0]
    return " ".join(
        f"{(times[i] - start) / length * WIDE:.1f},{HIGH - _share(values[i], low, high) * HIGH / 100:.1f}" for i in kept
    )
