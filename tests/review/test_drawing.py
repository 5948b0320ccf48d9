"""Charts: where points lie, and that a peak survives thinning out."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from vidence.record.decision import DecisionRecord
from vidence.record.facts import Event
from vidence.review.drawing import bars, curve, profile, scale

Make = Callable[..., DecisionRecord]


def points_of(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


def test_a_bar_is_the_score_on_its_scale(make_alarm: Make) -> None:
    record = make_alarm()
    (bar,) = bars(record)
    assert (bar.length, bar.threshold, bar.alarm, bar.text) == (93.0, 50.0, True, "0.93")
    three = bars(record, record.evidence[0])
    assert [each.length for each in three] == [93.0, 21.0, 90.0]
    assert [each.alarm for each in three] == [True, False, True]


def test_a_score_without_bounds_gets_an_axis_that_holds_everything(make_alarm: Make) -> None:
    record = make_alarm()
    free = replace(
        record, outcome=replace(record.outcome, bounds=None, values=tuple(v * 40 for v in record.outcome.values))
    )
    low, high = scale(free)
    assert low == 0
    assert high > max(free.outcome.values)
    assert all(0 <= each.length <= 100 for each in bars(free, free.evidence[0]))


def test_a_curve_lies_where_it_should(make_alarm: Make) -> None:
    record = make_alarm()
    simple = replace(
        record,
        outcome=replace(record.outcome, times=(0.0, 1.0, 2.0), values=(0.0, 1.0, 0.25)),
        events=(Event(1.0, 1.0, 1.0),),
    )
    chart = curve(simple)
    assert chart is not None
    assert points_of(chart.points) == [(0, 100), (500, 0), (1000, 75)]
    assert chart.threshold == 50
    assert chart.events == ((250.0, 500.0),)  # a single moment is as wide as the sampling
    assert (chart.first, chart.last, chart.top, chart.bottom) == ("00:00.0", "00:02.0", "1", "0")


def test_a_long_curve_keeps_its_peak(make_alarm: Make) -> None:
    record = make_alarm()
    values = [0.1] * 100_000
    values[54_321] = 0.99
    long = replace(record, outcome=replace(record.outcome, times=tuple(range(100_000)), values=tuple(values)))
    chart = curve(long)
    assert chart is not None
    points = points_of(chart.points)
    assert len(points) < 700
    assert min(y for _, y in points) == pytest.approx(1, abs=0.1)
    assert [x for x, _ in points] == sorted(x for x, _ in points)


@pytest.mark.parametrize("times", [(), (1.0,), (1.0, 1.0)])
def test_a_moment_has_no_curve(make_alarm: Make, times: tuple[float, ...]) -> None:
    record = make_alarm()
    still = replace(record, outcome=replace(record.outcome, times=times, values=(0.5,) * len(times)))
    assert curve(still) is None
    assert profile(replace(record.evidence[0], profile_times=times, profile=(0.5,) * len(times))) is None


def test_a_map_without_evidence_has_no_profile(make_alarm: Make) -> None:
    evidence = make_alarm().evidence[0]
    assert profile(evidence) is not None
    assert profile(replace(evidence, profile=(0.0,) * len(evidence.profile))) is None
