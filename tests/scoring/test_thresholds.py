"""Threshold rules: by hand, by slow twin, and on simulated footage of known alarm rate."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.errors import DataError, SpecError
from vidence.scoring.thresholds import THRESHOLDS, BestF1, FalseAlarmBudget, Fixed, GMean, Quantile, ThresholdRule
from vidence.scoring.timeline import Curve, events

SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.7, 0.2])
LABELS = np.array([0, 0, 1, 1, 1, 0], dtype=bool)


def best_by_trying(measure: object) -> float:
    """The slow twin: try a threshold below, between and above all scores."""
    ordered = np.sort(SCORES)
    tried = np.concatenate([[ordered[0] - 1], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1]])
    return max(measure(value < SCORES) for value in tried)  # type: ignore[operator]


def f1(alarms: np.ndarray) -> float:
    hits = (alarms & LABELS).sum()
    return float(2 * hits / (alarms.sum() + LABELS.sum()))


def gmean(alarms: np.ndarray) -> float:
    return float(np.sqrt((alarms & LABELS).sum() / LABELS.sum() * (~alarms & ~LABELS).sum() / (~LABELS).sum()))


@pytest.mark.parametrize(("rule", "measure"), [(BestF1(), f1), (GMean(), gmean)])
def test_labelled_rules_reach_the_best_of_all_thresholds(rule: BestF1 | GMean, measure: object) -> None:
    value = rule(SCORES, LABELS)
    assert measure(value < SCORES) == pytest.approx(best_by_trying(measure))  # type: ignore[operator]


@pytest.mark.parametrize("key", sorted(THRESHOLDS))
def test_rules_do_not_depend_on_order_and_stay_in_range(key: str) -> None:
    rule, rng = THRESHOLDS[key](), np.random.default_rng(0)
    scores, order = rng.random(50), rng.permutation(50)
    labels = scores + rng.normal(0, 0.2, 50) > 0.5 if rule.needs_labels else None
    value = rule(scores, labels)
    assert 0 <= value <= 1
    if key != "false-alarm-budget":  # which counts stretches of time, so order is its subject
        assert rule(scores[order], None if labels is None else labels[order]) == value


def test_quantile_uses_normal_frames_only_and_says_so_when_too_few() -> None:
    curves = [Curve(np.arange(6.0), SCORES)]
    fitted = Quantile(0.5).fit(curves, [LABELS])
    assert fitted.value == pytest.approx(0.2)
    assert not fitted.warnings
    assert "too few" in Quantile(0.99).fit(curves, [LABELS]).warnings[0]


def footage(hours: float, seed: int, *, per_hour: float = 6.0) -> list[Curve]:
    """Normal footage in ten-minute pieces: correlated noise, and bursts of 1 to 5 s with an exponential height."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(round(hours * 6)):
        values = rng.random(3000) * 0.1  # 5 frames a second
        for start in rng.integers(0, 2970, rng.poisson(per_hour / 6)):
            values[start : start + rng.integers(5, 25)] += rng.exponential(1.0)
        pieces.append(Curve(np.arange(3000) / 5, values))
    return pieces


def test_a_budget_holds_on_unseen_footage_within_its_interval() -> None:
    inside = 0
    for seed in range(20):
        fitted = FalseAlarmBudget(per_hour=1.0).fit(footage(10, seed), line="false-alarm-budget")
        unseen = footage(40, 1000 + seed)
        rate = sum(len(events(curve, fitted.value)) for curve in unseen) / 40
        assert fitted.low is not None
        assert fitted.high is not None
        inside += fitted.low <= rate <= fitted.high
    assert inside >= 17  # 95 % intervals of 20 trials; fewer than 17 has probability .016


def test_the_budget_is_used_up_but_not_exceeded() -> None:
    curves = footage(10, 3)
    fitted = FalseAlarmBudget(per_hour=1.0).fit(curves)
    assert sum(len(events(curve, fitted.value)) for curve in curves) == 10
    lower = fitted.value - 1e-3 * fitted.value - 0.05
    assert sum(len(events(curve, lower)) for curve in curves) >= 10


def test_a_strict_budget_is_higher_and_too_little_footage_is_said() -> None:
    curves = footage(10, 5)
    assert FalseAlarmBudget(strict=True).fit(curves).value > FalseAlarmBudget().fit(curves).value
    short = FalseAlarmBudget().fit(curves[:1])
    assert "too little" in short.warnings[0]
    assert short.value == curves[0].values.max()


def test_a_burst_is_one_alarm_however_many_frames_it_has() -> None:
    values = np.zeros(36000)
    values[100:400] = 1.0
    assert FalseAlarmBudget(per_hour=1.0).fit([Curve(np.arange(36000) / 5, values)]).value == 0.0


def test_a_budget_holds_from_the_maximum_down_to_its_threshold_and_no_further() -> None:
    """Four peaks merge at their foot, where the count falls again: that is no reason to go so low."""
    values = np.zeros(3600)
    values[100:107] = 5, 1, 4, 1, 3, 1, 2
    curve = Curve(np.arange(3600.0), values)
    counts = [len(events(curve, score, merge_s=0.0)) for score in (5, 4, 3, 2, 1, 0)]
    assert counts == [0, 1, 2, 3, 4, 1]
    assert FalseAlarmBudget(per_hour=2.0, merge_s=0.0).fit([curve]).value == 3
    assert FalseAlarmBudget(per_hour=4.0, merge_s=0.0).fit([curve]).value == 0, "never below the median"


@pytest.mark.parametrize("rule", [Quantile(), FalseAlarmBudget(per_hour=600.0), BestF1(), GMean()])
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_no_threshold_comes_of_scores_that_are_not_finite(rule: ThresholdRule, odd: float) -> None:
    values = np.arange(100.0)
    values[7] = odd
    labels = [np.arange(100) > 50] if rule.needs_labels else None
    with pytest.raises(DataError, match="1 of 100 are not"):
        rule.fit([Curve(np.arange(100.0), values)], labels)


def test_the_best_g_mean_is_found_on_a_straight_stretch_of_the_roc() -> None:
    """Both kinds lie alike at every score, so the whole ROC is one line."""
    scores, truth = np.repeat(np.arange(9.0), 20), np.tile(np.arange(20) > 9, 9)
    rates = [((scores > each)[truth].mean(), (scores > each)[~truth].mean()) for each in np.unique(scores)]
    best = max(np.sqrt(tpr * (1 - fpr)) for tpr, fpr in rates)
    value = GMean()(scores, truth)
    found = np.sqrt((scores > value)[truth].mean() * (1 - (scores > value)[~truth].mean()))
    assert found == pytest.approx(best)


def test_a_budget_says_what_it_counted_as_one_alarm() -> None:
    values = np.zeros(3600)
    values[100:400:5] = 1.0
    curve = Curve(np.arange(3600.0), values)
    facts = FalseAlarmBudget(per_hour=1.0, merge_s=10.0).fit([curve]).facts("", [curve])
    assert len(events(curve, facts["value"], merge_s=facts["merge_s"])) == 1
    assert Quantile(0.5).fit([curve]).merge_s == 1.0


def test_a_threshold_says_what_it_raises_on_the_normal_footage() -> None:
    values = np.zeros(200)
    values[[20, 21, 120, 180]] = 1.0
    curves = [Curve(np.arange(200.0) / 10, values), Curve(np.arange(50.0) / 10, np.zeros(50))]
    facts = Fixed(0.5).fit(curves).facts("", curves)
    assert (facts["alarms"], facts["normal_s"]) == (3, pytest.approx(25.0))


@pytest.mark.parametrize(
    ("rule", "labels"),
    [(BestF1(), None), (GMean(), np.ones(6, bool)), (FalseAlarmBudget(), LABELS), (Quantile(), np.ones(6, bool))],
)
def test_rules_say_what_they_lack(rule: BestF1, labels: np.ndarray | None) -> None:
    with pytest.raises(DataError):
        rule(SCORES, labels)


@pytest.mark.parametrize("made", [lambda: Quantile(1.0), lambda: FalseAlarmBudget(0.0), lambda: FalseAlarmBudget(1, 2)])
def test_settings_out_of_range_are_refused(made: object) -> None:
    with pytest.raises(SpecError):
        made()  # type: ignore[operator]


def test_a_fixed_threshold_is_the_users() -> None:
    assert Fixed(0.7).fit([]).origin == "set by the user"
