"""Figures become the words that the rules in the docstrings promise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vidence.record.decision import DecisionRecord
from vidence.record.evidence import HiddenScore
from vidence.record.facts import Certificate
from vidence.review import wording

Make = Callable[..., DecisionRecord]


def test_span() -> None:
    assert wording.span(4.2, 7.8) == "00:04.2 to 00:07.8 (3.6 s)"
    assert wording.span(4.2, 4.2) == "at 00:04.2"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (0.93331, "0.9333"), (0.99996, "1"), (0.00012, "0.00012"), (12.345, "12.3"), (12345.6, "12346")],
)
def test_number(value: float, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.004, "less than 1 %"), (0.5, "50 %"), (0.999, "over 99 %"), (1, "100 %")]
)
def test_percent_never_claims_certainty(share: float, text: str) -> None:
    assert wording.percent(share) == text


def test_count() -> None:
    assert [wording.count(n, "alarm") for n in (0, 1, 2)] == ["0 alarms", "1 alarm", "2 alarms"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.52, "only just above"), (0.574, "only just above"), (0.6, "clearly above"), (0.74, "clearly above"),
        (0.76, "far above"), (0.5, "only just below"), (0.45, "only just below"), (0.3, "clearly below"),
        (0.1, "far below"),
    ],
)  # fmt: skip
def test_certainty_follows_the_distance_to_the_threshold(make_alarm: Make, value: float, said: str) -> None:
    assert wording.certainty(make_alarm(peak=value)).startswith(said)


def test_a_score_near_the_threshold_is_called_a_maybe(make_alarm: Make) -> None:
    assert "maybe" in wording.caution(make_alarm(peak=0.52))
    assert "not the chance" in wording.caution(make_alarm(peak=0.93))


def test_a_score_without_bounds_gets_no_degree(make_alarm: Make) -> None:
    record = make_alarm()
    free = replace(record, outcome=replace(record.outcome, bounds=None))
    assert wording.certainty(free) == "above the alarm threshold"


def test_the_title_is_a_likeness(make_alarm: Make, make_quiet: Make) -> None:
    assert wording.title(make_alarm()) == "Looks like “fall”"
    assert wording.title(make_quiet()) == "No alarm"
    record = make_alarm()
    bare = replace(record, outcome=replace(record.outcome, probabilities={}))
    assert wording.title(bare) == "Something unusual"
    ahead = replace(record, outcome=replace(record.outcome, probabilities={"fall": 0.26, "run": 0.25, "walk": 0.49}))
    assert wording.title(ahead) == "Looks like “fall”"
    even = replace(record, outcome=replace(record.outcome, probabilities={"fall": 0.26, "run": 0.26, "hit": 0.24}))
    assert wording.title(even) == "Something unusual"
    # the normal class may have the greatest share of all, yet an alarm is not about it
    split = replace(record, outcome=replace(record.outcome, probabilities={"fall": 0.3, "run": 0.3, "walk": 0.4}))
    assert "walk" not in wording.title(split)


def told(record: DecisionRecord, **changes: Any) -> list[wording.Check]:
    return wording.checks(record, replace(record.evidence[0], **changes))


@pytest.mark.parametrize(
    ("hidden", "state", "said"),
    [
        (None, "open", "not measured"),
        (HiddenScore(value=0.2, share=0.1, fill="grey"), "open", "nothing else was hidden"),
        (HiddenScore(value=0.2, share=0.1, fill="grey", control=0.9), "good", "more than hiding"),
        (HiddenScore(value=0.2, share=0.1, fill="grey", control=0.1), "warn", "may not matter"),
        (HiddenScore(value=0.92, share=0.1, fill="grey", control=0.93), "warn", "hardly changes"),
        (HiddenScore(value=0.95, share=0.1, fill="grey", control=0.9), "warn", "did not lower"),
    ],
)
def test_hiding_is_judged_against_hiding_elsewhere(
    make_alarm: Make, hidden: HiddenScore | None, state: str, said: str
) -> None:
    (check,) = told(make_alarm(), certificate=Certificate(), hidden_score=hidden)
    assert (check.state, said in check.text) == (state, True)


@pytest.mark.parametrize(
    ("certificate", "state", "said"),
    [
        (Certificate(deletion_rank=0.7), "good", "0.70"),
        (Certificate(deletion_rank=0.5), "warn", "only partly"),
        (Certificate(deletion_rank=-0.2), "warn", "hardly"),
        (Certificate(same_top_frame=True), "good", "also the one"),
        (Certificate(same_top_frame=False), "warn", "another frame"),
        (Certificate(gap=0.01), "good", "99 %"),
        (Certificate(gap=0.2), "warn", "80 % of the score only"),
        (Certificate(gap=-0.2), "warn", "120 % of the score: to more than there is"),
        (Certificate(flags=("the map is class-agnostic",)), "warn", "The map is class-agnostic."),
    ],
)
def test_a_certificate_in_words(make_alarm: Make, certificate: Certificate, state: str, said: str) -> None:
    texts = [each for each in told(make_alarm(), certificate=certificate) if said in each.text]
    assert [each.state for each in texts] == [state]


def test_warnings_come_first(make_alarm: Make) -> None:
    states = [each.state for each in told(make_alarm())]
    assert states == sorted(states, key=["warn", "good", "open"].index)
    assert "warn" in states


@pytest.mark.parametrize(
    ("hidden", "said"), [(0.2, "no alarm would have been raised"), (0.6, "there would still be an alarm")]
)
def test_what_hiding_changes(make_alarm: Make, hidden: float, said: str) -> None:
    record = make_alarm()
    evidence = replace(record.evidence[0], hidden_score=HiddenScore(value=hidden, share=0.1, fill="grey"))
    assert said in wording.hidden_change(record, evidence)
    assert "from 0.93 to" in wording.hidden_change(record, evidence)
    same = replace(evidence, hidden_score=HiddenScore(value=0.93, share=0.1, fill="grey"))
    assert "stays at 0.93: there would still be an alarm" in wording.hidden_change(record, same)
    assert "not measured" in wording.hidden_change(record, replace(evidence, hidden_score=None))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test auc", "guessing"),
        ("test_macro_f1", "averaged"),
        ("F1", "1 is perfect"),
        ("balanced accuracy", "alike"),
        ("loss", ""),
    ],
)
def test_test_figures_are_explained(name: str, said: str) -> None:
    assert said in wording.metric(name)
    assert bool(said) == bool(wording.metric(name))
