import numpy as np
import pytest

from vidence.record.facts import Event
from vidence.render.lettering import ALARM, CURVE, INK
from vidence.render.strip import Strip, _envelope

TIMES = np.array([0.0, 1, 2, 5, 6, 10])
VALUES = np.array([0.1, 0.2, 0.8, 0.9, 0.3, 0.2])


def columns_of(picture, ink):
    return np.flatnonzero((np.abs(picture.astype(int) - ink).max(axis=-1) < 12).sum(axis=0) > 8)


def cursor(strip, now):
    (column,) = columns_of(strip.at(now), INK)
    return column


@pytest.fixture
def strip():
    return Strip(500, 80, TIMES, VALUES, threshold=0.5, events=[Event(2, 5, 0.9)])


def test_the_cursor_moves_in_proportion_to_time_not_frames(strip):
    start, middle, end = (cursor(strip, now) for now in (0, 5, 10))
    assert start < 60
    assert end > 480
    assert middle == pytest.approx((start + end) / 2, abs=1)
    assert cursor(strip, -3) == start
    assert cursor(strip, 99) == end


def test_the_value_is_that_of_the_frame_being_shown(strip):
    for now, value in ((0, 0.1), (1.99, 0.2), (2, 0.8), (4.9, 0.8), (5, 0.9), (50, 0.2), (-1, 0.1)):
        assert strip.value(now) == value
        assert strip.above(now) == (value > 0.5)


def test_exactly_at_the_threshold_is_not_above():
    assert not Strip(300, 60, [0, 1], [0.5, 0.5], threshold=0.5).above(0)
    assert not Strip(300, 60, [0, 1], [0.5, 0.5]).above(0)


def test_the_dot_tells_the_alarm(strip):
    def has(picture, ink):
        return (np.abs(picture.astype(int) - ink).max(axis=-1) < 6).any()

    assert has(strip.at(5), ALARM)
    assert not has(strip.at(0), ALARM)
    assert has(strip.at(0), CURVE)


def test_what_has_been_played_is_brighter(strip):
    early, late = strip.at(1), strip.at(9)
    here = np.s_[:50, 200:300]
    assert late[here].max() > early[here].max()


@pytest.mark.parametrize(("times", "values"), [([3.0], [0.7]), ([3.0, 3.0], [0.7, 0.7]), ([0, 1], [-5, 20])])
def test_degenerate_curves_are_drawn(times, values):
    picture = Strip(300, 60, times, values, threshold=0.5, events=[Event(3, 3, 0.7)]).at(3)
    assert picture.shape == (60, 300, 3)


def test_hours_keep_their_shortest_peak():
    points = np.stack([np.linspace(0, 400, 90_000), np.full(90_000, 50.0)], axis=1)
    points[33_333, 1] = 3
    points[70_000, 1] = 60
    kept = _envelope(points)
    assert len(kept) < 2000
    assert kept[:, 1].min() == 3
    assert kept[:, 1].max() == 60
    assert (np.diff(kept[:, 0]) >= 0).all()
