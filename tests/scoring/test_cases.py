"""What is recorded of a judgement: each alarm by its own frames, and what was explained outside every alarm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vidence.record.facts import ClipRef
from vidence.scoring.cases import Case, cases, deciding
from vidence.scoring.run import Judgement, ScoredWindow, curve_of
from vidence.scoring.timeline import events


def judgements(*, threshold: float = 0.9) -> Iterator[Judgement]:
    """Random windows of a source of a hundred frames, one a second; some score only their last frames."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        length, stride = (int(each) for each in rng.integers(2, 16, 2))
        first_scored = int(rng.integers(0, length))
        windows = []
        for first in range(0, 100, stride):
            times = tuple(float(t) for t in range(first, first + length))
            values = tuple(rng.random(length - first_scored).tolist())
            windows.append(ScoredWindow(ClipRef("a", "0" * 64, first, times), values, times=times[first_scored:]))
        whole = curve_of(windows)
        yield Judgement(tuple(windows), threshold, whole, tuple(events(whole, threshold, merge_s=float(seed % 3))))


def test_the_value_of_an_alarm_is_its_own_peak() -> None:
    counted = 0
    for judged in judgements():
        alarms = [case for case in cases(judged) if case.event]
        assert [case.event for case in alarms] == list(judged.events)
        for case, event in zip(alarms, judged.events, strict=True):
            assert case.value == event.peak
            assert any(
                value == event.peak and event.first_s <= time <= event.last_s
                for time, value in zip(case.peak.scored_s, case.peak.values, strict=True)
            )
            counted += 1
    assert counted > 100


def test_two_alarms_in_one_window_have_two_values() -> None:
    window = ScoredWindow(ClipRef("a", "0" * 64, 0, (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)), (0.1, 0.6, 0.1, 0.1, 0.1, 0.9))
    whole = curve_of([window])
    judged = Judgement((window,), 0.5, whole, tuple(events(whole, 0.5)))
    assert [case.value for case in cases(judged)] == [0.6, 0.9]
    assert Case((window,)).value == 0.9


def test_a_source_without_an_alarm_is_one_case() -> None:
    for judged in judgements(threshold=2.0):
        (case,) = cases(judged, {0})
        assert (case.event, case.windows) == (None, judged.windows)
        assert case.value == judged.curve.values.max() == judged.peak.value


def test_what_was_explained_outside_every_alarm_is_a_case_of_its_own() -> None:
    counted = 0
    for judged in judgements():
        explained = {window.ref.first for window in judged.windows[::2]}
        if not judged.events:
            continue
        *alarms, last = cases(judged, explained)
        quiet = {
            window
            for window in judged.windows
            if all(not event.first_s <= time <= event.last_s for event in judged.events for time in window.scored_s)
        }
        wanted = tuple(window for window in judged.windows if window in quiet and window.ref.first in explained)
        assert last.windows == wanted if wanted else last.event is not None
        assert {window for case in alarms for window in case.windows}.isdisjoint(quiet)
        counted += bool(wanted)
    assert counted > 3


def test_no_case_tells_of_another_records_alarm() -> None:
    for judged in judgements():
        times = judged.curve.times
        for case in cases(judged, {window.ref.first for window in judged.windows[::2]}):
            of_it = {time for window in case.windows for time in window.ref.times}
            others = [event for event in judged.events if event != case.event]
            free = [all(not event.first_s <= time <= event.last_s for event in others) for time in times]
            around = np.array([time in of_it for time in times]) & free
            np.testing.assert_array_equal(case.around(times), around)
            if case.event is None:
                np.testing.assert_array_equal(case.holds(times), around)
            else:
                assert judged.curve.values[case.around(times)].max() == case.value
                held = times[case.holds(times)]
                assert (held[0], held[-1]) == (case.event.first_s, case.event.last_s)


def test_the_windows_that_decide_are_the_highest_chosen_of_each_case() -> None:
    for judged in judgements():
        chosen = judged.windows[1::2]
        firsts = {window.ref.first for window in chosen}
        expected = set()
        for case in cases(judged, firsts):
            of_it = [window for window in chosen if window in case.windows]
            expected |= {max(of_it, key=case.highest).ref.first} if of_it else set()
        assert deciding(judged, chosen) == expected
        assert deciding(judged, ()) == set()
        assert deciding(judged, judged.windows) >= {case.peak.ref.first for case in cases(judged)}
