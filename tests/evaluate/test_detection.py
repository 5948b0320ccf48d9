"""Measures of frames against closed forms and counting."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vidence.evaluate.detection import (
    at_threshold,
    auc_interval,
    average_precision,
    class_auc,
    equal_error_rate,
    frame_auc,
    oracle,
)


def drawn(seed: int, n: int = 200, *, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) > 0.6
    scores = rng.normal(truth * 0.8, 1.0)
    return truth, scores.round(1) if ties else scores


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    truth, scores = drawn(0)
    pairs = np.sign(scores[truth][:, None] - scores[~truth])
    assert frame_auc(truth, scores) == pytest.approx((pairs + 1).mean() / 2)


def test_average_precision_takes_the_anomaly_as_positive() -> None:
    truth, scores = np.array([True, False, False, False]), np.array([4.0, 3.0, 2.0, 1.0])
    assert average_precision(truth, scores) == 1.0
    assert average_precision(truth, -scores) == 0.25  # found last, among four


def test_equal_error_rate_of_gaussians() -> None:
    from scipy.stats import norm

    places = (np.arange(4000) + 0.5) / 4000
    scores = np.concatenate([norm.ppf(places), norm.ppf(places) + 2])
    truth = np.repeat([False, True], 4000)
    assert equal_error_rate(truth, scores) == pytest.approx(norm.cdf(-1), abs=1e-3)


def test_equal_error_rate_is_interpolated() -> None:
    # ties at 2 make the curve run straight from (0, 1/2) to (1/2, 1); it has FNR = FPR = x where 1/2 - x = x
    truth, scores = np.array([True, True, False, False]), np.array([3.0, 2.0, 2.0, 1.0])
    assert equal_error_rate(truth, scores) == pytest.approx(0.25)
    assert equal_error_rate(~truth, scores) == pytest.approx(0.75)
    assert equal_error_rate(truth, np.array([3.0, 2.0, 1.0, 0.0])) == 0.0


def test_one_kind_of_frame_has_no_measure() -> None:
    for truth in (np.ones(5, dtype=bool), np.zeros(5, dtype=bool)):
        scores = np.arange(5.0)
        for measure in (frame_auc, average_precision, equal_error_rate, oracle):
            assert measure(truth, scores) is None
        assert at_threshold(truth, scores, 2.0)["balanced_accuracy"] is None


def test_a_class_is_compared_with_all_normal_frames() -> None:
    labels = ["cart", "cart", "bike", "bike", "calm"]
    truth = np.array([True, False, True, True, False])
    scores = np.array([0.5, 0.4, 0.3, 0.9, 0.6])
    found = class_auc(labels, truth, scores)
    assert found == {"bike": pytest.approx(0.5), "cart": pytest.approx(0.5)}
    higher = class_auc(labels, truth, np.array([0.5, 0.4, 0.7, 0.9, 0.6]))
    assert higher == {"bike": 1.0, "cart": 0.5}


def test_what_an_alarm_means_is_counted() -> None:
    truth, scores = drawn(3)
    found, threshold = at_threshold(truth, scores, 0.5), 0.5
    alarm = scores > threshold
    tp, fp = (alarm & truth).sum(), (alarm & ~truth).sum()
    fn, tn = (~alarm & truth).sum(), (~alarm & ~truth).sum()
    assert found["precision"]["anomalous"] == pytest.approx(tp / (tp + fp))
    assert found["recall"]["anomalous"] == pytest.approx(tp / (tp + fn))
    assert found["f1"]["anomalous"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert found["precision"]["normal"] == pytest.approx(tn / (tn + fn))
    share = truth.mean()
    each = found["precision"]
    assert each["weighted"] == pytest.approx(share * each["anomalous"] + (1 - share) * each["normal"])
    assert found["recall"]["weighted"] == pytest.approx(found["accuracy"])
    assert found["accuracy"] == pytest.approx((tp + tn) / len(truth))
    assert found["balanced_accuracy"] == pytest.approx((tp / (tp + fn) + tn / (tn + fp)) / 2)


def test_a_score_at_the_threshold_is_no_alarm() -> None:
    found = at_threshold(np.array([True, False]), np.array([1.0, 1.0]), 1.0)
    assert found["recall"] == {"normal": 1.0, "anomalous": 0.0, "weighted": 0.5}
    assert found["precision"]["anomalous"] == 0.0


def test_no_threshold_is_better_than_the_oracle() -> None:
    truth, scores = drawn(4)
    found = oracle(truth, scores)
    assert found is not None
    assert "test data" in found["origin"]
    means = []
    for value in np.append(scores, scores.min() - 1):
        alarm = scores > value
        means.append(np.sqrt(alarm[truth].mean() * (~alarm)[~truth].mean()))
    assert found["g_mean"] == pytest.approx(max(means))
    assert found["f1"] == at_threshold(truth, scores, found["value"])["f1"]


def test_the_interval_is_that_of_redrawn_videos() -> None:
    """Slow twin: the drawn videos are put together, and sklearn measures each draw."""
    rng = np.random.default_rng(5)
    truths, scores = zip(*(drawn(seed, int(rng.integers(5, 30))) for seed in range(6)), strict=True)
    drawn_videos = np.random.default_rng(7).multinomial(6, np.full(6, 1 / 6), 80)
    aucs = []
    for counts in drawn_videos:
        chosen = np.repeat(np.arange(6), counts)
        truth = np.concatenate([truths[i] for i in chosen])
        aucs.append(roc_auc_score(truth, np.concatenate([scores[i] for i in chosen])))
    expected = np.quantile(aucs, [0.025, 0.975])
    assert auc_interval(truths, scores, seed=7, resamples=80) == pytest.approx(tuple(expected))


def test_draws_without_both_kinds_are_left_out() -> None:
    truths = [np.array([True]), np.array([False]), np.array([False])]
    scores = [np.array([2.0]), np.array([1.0]), np.array([3.0])]
    low, high = auc_interval(truths, scores, resamples=300) or (None, None)
    assert (low, high) == (0.0, 1.0)
    assert auc_interval(truths[:1], scores[:1]) is None
    assert auc_interval(truths[1:], scores[1:]) is None
