"""The paper's arithmetic, step by step, and what it does that live scores do not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vidence.errors import SpecError
from vidence.evaluate.protocols import mean_auc, other, overall_scores, paper_scores, scaled, smoothed


def straight(values: np.ndarray) -> np.ndarray:
    """Slow twin: the line fitted to the 15 nearest frames, read at the frame; at the ends to the first or last 15."""
    window = min(15, len(values)) // 2 * 2 + 1
    window -= 2 if window > len(values) else 0
    found = []
    for t in range(len(values)):
        first = min(max(t - window // 2, 0), len(values) - window)
        places = np.arange(first, first + window)
        found.append(np.polyval(np.polyfit(places, values[places], 1), t))
    return np.array(found)


@pytest.mark.parametrize("length", [3, 4, 14, 15, 16, 60])
def test_smoothing_fits_lines_to_fifteen_frames(length: int) -> None:
    values = np.random.default_rng(length).random(length)
    np.testing.assert_allclose(smoothed(values), straight(values), atol=1e-10)


def test_inside_it_is_a_moving_average_and_may_leave_the_unit_interval() -> None:
    values = np.zeros(60)
    values[30] = 15.0
    np.testing.assert_allclose(smoothed(values)[23:38], 1.0)
    ramp = np.repeat([0.0, 1.0], [20, 8])
    assert smoothed(ramp).max() > 1  # not clipped again


@pytest.mark.parametrize("length", [0, 1, 2])
def test_what_is_too_short_stays(length: int) -> None:
    values = np.arange(length, dtype=float)
    assert smoothed(values).tolist() == values.tolist()


def test_the_score_is_one_minus_the_regularity() -> None:
    errors = np.random.default_rng(0).random(40) * 7 + 3
    regularity = 1 - (errors - errors.min()) / (errors.max() - errors.min())
    (found,) = paper_scores([errors])
    np.testing.assert_allclose(found, 1 - straight(regularity), atol=1e-10)


def test_every_video_is_normalised_by_itself() -> None:
    calm, wild = np.linspace(1, 2, 30), np.linspace(100, 900, 30)
    first, second = paper_scores([calm, wild])
    np.testing.assert_allclose(first, second, atol=1e-12)
    overall = overall_scores([calm, wild])
    assert overall[0].max() < 0.01 < overall[1].min()


def test_a_video_without_a_range_says_nothing() -> None:
    assert scaled(np.full(4, 3.0), 3.0, 3.0).tolist() == [0.0] * 4
    flat, _ = paper_scores([np.full(20, 5.0), np.arange(20.0)])
    assert not flat.any()


def test_pictures_keep_their_errors() -> None:
    pictures = [np.array([3.0]), np.array([9.0]), np.empty(0)]
    assert paper_scores(pictures) is not pictures
    assert [each.tolist() for each in paper_scores(pictures)] == [[3.0], [9.0], []]
    assert [each.tolist() for each in overall_scores(pictures)] == [[3.0], [9.0], []]


def test_the_mean_of_the_videos_leaves_out_those_of_one_kind() -> None:
    rng = np.random.default_rng(1)
    videos = [rng.random(40) for _ in range(3)]
    truths = [rng.random(40) > 0.5, np.ones(40, dtype=bool), rng.random(40) > 0.5]
    scores = paper_scores(videos)
    expected = np.mean([roc_auc_score(truths[i], scores[i]) for i in (0, 2)])
    assert mean_auc(truths, videos) == pytest.approx(expected)
    assert mean_auc(truths[1:2], videos[1:2]) is None


def test_there_are_two() -> None:
    assert (other("live"), other("paper")) == ("paper", "live")
    with pytest.raises(SpecError, match="live, paper; got 'best'"):
        other("best")  # type: ignore[arg-type]
