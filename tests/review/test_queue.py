"""What waits for a person: every alarm until somebody confirms or overrides it, the strongest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from vidence.record.decision import DecisionRecord, Review, Verdict
from vidence.record.store import Store
from vidence.review.queue import current, waiting

Make = Callable[..., DecisionRecord]


def ids(store: Store) -> list[str]:
    return [entry.id for entry in waiting(current(list(store.records())))]


def test_the_strongest_alarm_is_first_and_calm_sources_do_not_wait(store: Store, make_alarm: Make) -> None:
    strong, weak, _ = store.records()
    strongest = store.append(make_alarm("yard.mp4", seed=2, peak=0.99))
    assert ids(store) == [strongest, strong.id, weak.id]


@pytest.mark.parametrize(("verdict", "waits"), [("confirm", False), ("override", False), ("unclear", True)])
def test_a_judged_alarm_does_not_wait_unless_it_was_left_open(store: Store, verdict: Verdict, waits: bool) -> None:
    strong, weak, _ = store.records()
    store.review(Review(record=strong.id, reviewer="r7", verdict=verdict, reason="seen"))
    assert (strong.id in ids(store)) == waits
    assert weak.id in ids(store)


def test_an_alarm_whose_judgement_was_erased_waits_again(store: Store) -> None:
    strong, *_ = store.records()
    said = store.review(Review(record=strong.id, reviewer="r7", verdict="confirm", reason="my neighbour"))
    store.erase(said, "names a person")
    assert strong.id in ids(store)


def test_corrected_and_erased_alarms_do_not_wait(store: Store, make_alarm: Make) -> None:
    strong, weak, _ = store.records()
    store.review(Review(record=strong.id, reviewer="r7", verdict="unclear", reason="seen"))
    corrected = store.append(replace(make_alarm(), corrects=strong.id))
    store.erase(weak.id, "asked")
    assert ids(store) == [corrected]
    assert strong.id in [entry.id for entry in current(list(store.records()))]  # it was judged, and stays in the report
