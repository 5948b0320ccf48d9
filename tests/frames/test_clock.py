"""Time stamps: every rule with its closed form."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from vidence.frames.clock import Clock
from vidence.frames.notes import Notes


def read(stamps: list[float | None], *, period: float = 0.1) -> tuple[list[float], Notes]:
    notes = Notes()
    clock = Clock(period=period, notes=notes)
    exact = [None if stamp is None else Fraction(stamp).limit_denominator(1000) for stamp in stamps]
    return [clock.read(stamp) for stamp in exact], notes


def test_stamps_are_kept_as_they_are() -> None:
    times, notes = read([1.4, 1.5, 1.7, 5.0])
    assert times == [1.4, 1.5, 1.7, 5.0]
    assert notes == []


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([-0.2, -0.1, 0.0], [0.0, 0.1, 0.2]),  # a negative start is shifted to zero
        ([0.0, 0.1, None, None, 0.4], [0.0, 0.1, 0.2, 0.3, 0.4]),  # no stamp: one period later
        ([None, None, None], [0.0, 0.1, 0.2]),
        ([0.0] * 4, [0.0, 0.1, 0.2, 0.3]),  # a clock that stands still
        ([0.0, 0.3, 0.2, 0.4], [0.0, 0.3, 0.3, 0.4]),  # a little back: held
        ([8.0, 8.1, 0.0, 0.5], [8.0, 8.1, 8.2, 8.7]),  # set anew: continued
        ([0.0, None, 0.2, None, None], [0.0, 0.1, 0.2, 0.3, 0.4]),  # counted from the last stamp
    ],
)
def test_each_fault_has_its_rule(stamps: list[float | None], expected: list[float]) -> None:
    times, _ = read(stamps)
    np.testing.assert_allclose(times, expected, atol=1e-12)


def test_counted_times_do_not_drift() -> None:
    times, _ = read([None] * 100_001, period=1 / 30)
    assert times[-1] == pytest.approx(100_000 / 30, abs=1e-9)


def test_invented_times_are_said_to_be_invented_and_once() -> None:
    _, notes = read([0.0] * 5)
    assert len(notes) == 1
    assert "stands still at 0.00 s" in notes[0]
    assert "10 a second" in notes[0]
    assert "no time" in read([0.0, None])[1][0]


def test_any_stamps_give_times_that_never_decrease() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        stamps = [None if rng.random() < 0.2 else float(rng.integers(-30, 30)) / 10 for _ in range(12)]
        times, _ = read(stamps)
        assert all(later >= earlier >= 0 for earlier, later in pairwise(times)), stamps


def finished(stamps: list[float], announced: float | None, *, damage: float | None = None) -> Notes:
    notes = Notes()
    clock = Clock(period=0.1, notes=notes)
    for stamp in stamps:
        clock.read(Fraction(stamp).limit_denominator(1000))
    if damage is not None:
        clock.damaged(Fraction(damage).limit_denominator(1000))
    clock.finish(None if announced is None else Fraction(announced).limit_denominator(1000))
    return notes


def test_a_complete_stream_is_not_called_broken() -> None:
    assert finished([0.0, 0.1, 0.2], 0.3) == []
    assert finished([0.0, 0.1, 0.2], None) == []
    assert finished([0.0, 0.1, 0.9], 1.7) == []  # a variable rate: the last frame may be shown as long as the longest


def test_the_second_where_it_breaks_is_named() -> None:
    assert "breaks off at 0.30 s of 0.40 s announced" in finished([0.0, 0.1, 0.2], 0.4)[0]
    assert "breaks off at 0.30 s;" in finished([0.0, 0.1, 0.2], None, damage=0.3)[0]


def test_damage_with_frames_behind_it_is_no_break() -> None:
    notes = Notes()
    clock = Clock(period=0.1, notes=notes)
    clock.read(Fraction(0))
    clock.damaged(Fraction(1, 10))
    clock.read(Fraction(2, 10))
    clock.finish(Fraction(3, 10))
    assert notes == ["the video is damaged at 0.10 s; what does not decode was left out."]
