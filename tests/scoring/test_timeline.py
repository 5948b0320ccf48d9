"""Overlapping windows to a curve, a curve to events."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from vidence.errors import ShapeError
from vidence.record.facts import Event
from vidence.scoring.timeline import Curve, curve, events


def test_overlapping_windows_average_per_frame() -> None:
    made = curve([((0.0, 0.1, 0.2), 1.0), ((0.1, 0.2, 0.3), [3.0, 5.0, 7.0])])
    assert made.times.tolist() == [0.0, 0.1, 0.2, 0.3]
    assert made.values.tolist() == [1.0, 3.0, 5.0, 7.0]


def test_a_frame_is_above_exactly_if_one_of_its_windows_is() -> None:
    windows = [((0.0, 0.1), 0.9), ((0.1, 0.2), 0.2), ((0.2, 0.3), 0.3)]
    assert (curve(windows).values > 0.5).tolist() == [True, True, False, False]


def test_a_padded_frame_counts_once() -> None:
    made = curve([((0.0, 0.1), 0.0), ((0.1, 0.1), 1.0)])
    assert made.values.tolist() == [0.0, 1.0]
    assert curve([((0.0, 0.1), 0.0), ((0.1, 0.1), 1.0)], overlap="mean").values.tolist() == [0.0, 0.5]


@pytest.mark.parametrize("values", [(1.0, np.nan), (np.nan, 1.0)])
@pytest.mark.parametrize("overlap", ["max", "mean"])
def test_a_value_that_is_none_is_seen_in_any_order(
    values: tuple[float, float], overlap: Literal["max", "mean"]
) -> None:
    assert np.isnan(curve([((0.0,), each) for each in values], overlap=overlap).values).all()


def test_events_by_hand() -> None:
    scored = Curve(np.arange(8) / 2, np.array([0, 0.9, 0.8, 0, 0, 0, 0.7, 0]))
    assert events(scored, 0.5, merge_s=1.0) == [Event(0.5, 1.0, 0.9), Event(3.0, 3.0, 0.7)]
    assert events(scored, 0.5, merge_s=1.5) == [Event(0.5, 3.0, 0.9)]
    assert events(scored, 0.9) == []


def test_seconds_counts_the_last_frame() -> None:
    assert Curve(np.arange(4) / 2, np.zeros(4)).seconds == pytest.approx(2.0)
    assert Curve(np.zeros(1), np.zeros(1)).seconds == 0


@pytest.mark.parametrize("times", [[0.0, 1.0, 0.5], [0.0, 1.0]])
def test_bad_curves_are_refused(times: list[float]) -> None:
    with pytest.raises(ShapeError):
        Curve(np.array(times), np.zeros(3))
