"""Delays and false alarms on videos whose numbers can be read off."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.evaluate.alarms import Watched, alarms, stretches
from vidence.scoring.timeline import Curve


def video(truth: str, scores: str, *, rate: float = 10.0, first: int = 0) -> Watched:
    """Both in digits, a frame each; `first`: as many frames have no score."""
    times = np.arange(len(truth)) / rate
    values = np.array([float(each) for each in scores])
    return Watched(times, np.array([each == "1" for each in truth]), Curve(times[first:], values[first:]))


def test_runs_of_frames_are_events() -> None:
    held = video("110011100100", "000000000000")
    assert stretches(held.times, held.anomalous) == [(0.0, 0.1), (0.4, pytest.approx(0.6)), (0.9, 0.9)]
    assert stretches(held.times, np.zeros(12, dtype=bool)) == []


def test_delays_are_from_the_first_frame_of_the_event() -> None:
    #                    event 1       event 2 (missed)         event 3 (at once)
    held = video("00111111" + "0" * 20 + "1111" + "0" * 20 + "11", "00000990" + "0" * 44 + "99")
    found = alarms([held], 5.0)
    assert (found.events, len(found.delays_s), found.false_alarms) == (3, 2, 0)
    assert found.delays_s == pytest.approx((0.3, 0.0))
    assert found.delay_s == pytest.approx(0.15)


def test_alarms_without_an_event_are_false() -> None:
    # one long alarm with a gap under a second, one far from it, one that reaches into the event
    held = video("0" * 40 + "11" + "0" * 18, "99000099" + "0" * 16 + "9" + "0" * 14 + "999" + "0" * 18)
    found = alarms([held], 5.0)
    assert found.false_alarms == 2
    assert found.normal_s == pytest.approx(5.8)
    assert found.false_alarms_per_hour == pytest.approx(2 / 5.8 * 3600)


def test_alarms_are_joined_over_as_many_seconds_as_asked_for() -> None:
    held = video("0" * 60, "9" + "0" * 30 + "9" + "0" * 28)
    assert [alarms([held], 5.0, merge_s=each).false_alarms for each in (1.0, 5.0)] == [2, 1]


def test_an_event_before_the_first_score_is_missed() -> None:
    found = alarms([video("1100000", "9900000", first=2)], 5.0)
    assert (found.events, found.delay_s) == (1, None)


def test_videos_are_added_up() -> None:
    found = alarms([video("0000", "9000"), video("0011", "0009", rate=2.0)], 5.0)
    assert (found.events, found.false_alarms, found.delays_s) == (1, 1, (0.5,))
    assert found.normal_s == pytest.approx(0.4 + 1.0)


def test_without_normal_footage_there_is_no_rate() -> None:
    assert alarms([video("111", "999")], 5.0).false_alarms_per_hour is None
