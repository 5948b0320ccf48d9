"""Agreement against slow twins, a published example, and orders that were made to agree or to disagree."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr

from vidence.evaluate.agreement import (
    Level,
    between_clips,
    between_maps,
    between_measures,
    krippendorff,
    reversal,
    reversals,
)
from vidence.evaluate.leaderboard import Panel
from vidence.evaluate.measure import Measure

N = float("nan")
# four observers of twelve units: Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), section C
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
)


def slow_alpha(ratings: np.ndarray, level: Level) -> float:
    """By the matrix of coincidences, value by value, as the paper computes it."""
    values = np.unique(ratings[~np.isnan(ratings)])
    coincidences = np.zeros((len(values), len(values)))
    for unit in ratings.T:
        held = unit[~np.isnan(unit)]
        for i, j in product(range(len(held)), repeat=2):
            if i != j:
                at = np.searchsorted(values, held[i]), np.searchsorted(values, held[j])
                coincidences[at] += 1 / (len(held) - 1)
    count, total = coincidences.sum(axis=1), coincidences.sum()
    observed = expected = 0.0
    for c, k in product(range(len(values)), repeat=2):
        first, last = min(c, k), max(c, k)
        places = count[first : last + 1].sum() - (count[c] + count[k]) / 2
        distance = (values[c] - values[k]) if level == "interval" else (places if c != k else 0.0)
        observed += coincidences[c, k] * distance**2 / total
        expected += count[c] * count[k] * distance**2 / (total * (total - 1))
    return 1 - observed / expected


@pytest.mark.parametrize(("level", "alpha"), [("interval", 0.849), ("ordinal", 0.815)])
def test_alpha_is_the_published_one(level: Level, alpha: float) -> None:
    assert krippendorff(PUBLISHED, level) == pytest.approx(alpha, abs=5e-4)
    assert krippendorff(PUBLISHED, level) == pytest.approx(slow_alpha(PUBLISHED, level))


@pytest.mark.parametrize("level", ["interval", "ordinal"])
def test_alpha_is_its_slow_twin(level: Level) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        ratings = rng.integers(0, 5, (4, 6)) + rng.normal(0, 0.5, (4, 6)).round(1)
        ratings[rng.random((4, 6)) < 0.2] = N
        assert krippendorff(ratings, level) == pytest.approx(slow_alpha(ratings, level), abs=1e-10)


def test_alpha_has_its_ends() -> None:
    same = np.tile([1.0, 5.0, 2.0], (4, 1))
    assert krippendorff(same, "interval") == pytest.approx(1)
    drawn = np.random.default_rng(1).normal(size=(30, 200))
    assert krippendorff(drawn, "ordinal") == pytest.approx(0, abs=0.02)
    assert np.isnan(krippendorff(np.ones((3, 3)), "interval"))
    assert np.isnan(krippendorff(np.array([[1.0, N], [N, 2.0]]), "interval"))


def test_copies_of_a_rater_agree_with_nobody() -> None:
    drawn = np.random.default_rng(2).normal(size=(20, 30))
    whole = krippendorff(drawn, "interval")
    weights = [np.bincount(each, minlength=20) for each in np.random.default_rng(3).integers(0, 20, (100, 20))]
    kept = [krippendorff(drawn, "interval", weights=each) for each in weights]
    copied = [krippendorff(np.repeat(drawn, each, axis=0), "interval") for each in weights]
    assert np.mean(kept) == pytest.approx(whole, abs=0.01)
    assert np.mean(copied) > whole + 0.03


def panel(measure: str, values: np.ndarray, sign: int = 1) -> Panel:
    clips = tuple((f"c{i}", 0) for i in range(len(values)))
    return Panel(measure, sign, clips, ("a", "b", "c", "random-map"), values)


EXPLAINERS = ("a", "b", "c")


def test_a_reversal_is_minus_one_and_is_sure() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (12, 4))
    up, down = np.array([1.0, 2, 3, 9]) + noise, np.array([3.0, 2, 1, 9]) + noise[::-1]
    found = reversal(panel("insertion", up), panel("mass-ratio", down), EXPLAINERS)
    assert found is not None
    assert (found.mean, found.low, found.high, found.n) == (-1, -1, -1, 12)
    lower = reversal(panel("deletion", up, -1), panel("mass-ratio", down), EXPLAINERS)
    assert lower is not None
    assert lower.mean == 1  # both call the same explainer good
    assert reversal(panel("insertion", up), panel("mass-ratio", down), EXPLAINERS[:2]) is None
    up[0] *= 1000  # one clip outweighs nothing
    again = reversal(panel("insertion", up), panel("mass-ratio", down), EXPLAINERS)
    assert again == found
    unsure = reversal(panel("one", noise), panel("other", noise[::-1]), EXPLAINERS)
    assert unsure is not None
    assert unsure.low < unsure.high


def test_only_faithfulness_beside_localisation_is_looked_at(toys: dict[str, Measure]) -> None:
    faithful = toys["peak(scale=2.0)"]
    object.__setattr__(faithful, "aspect", "faithfulness")
    held = {line: panel(line, np.random.default_rng(0).random((5, 4))) for line in toys}
    assert [(each.first, each.second) for each in reversals(held, toys, EXPLAINERS)] == [("peak(scale=2.0)", "inside")]


def test_measures_are_compared_within_each_clip() -> None:
    rng = np.random.default_rng(4)
    one, other = rng.random((6, 4)), rng.random((6, 4))
    one[2, 0] = N
    (found,) = between_measures([panel("one", one), panel("other", other, -1)], EXPLAINERS)
    expected = [spearmanr(a[:3], -b[:3]).statistic for i, (a, b) in enumerate(zip(one, other, strict=True)) if i != 2]
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.n == 5
    assert found.low <= found.mean <= found.high


def test_clips_as_raters() -> None:
    ordered = np.array([1.0, 2, 3, 0]) * np.arange(1, 9)[:, None]  # the order agrees, the heights do not
    found = {each.statistic: each for each in between_clips(panel("one", ordered), EXPLAINERS)}
    assert found["alpha-ordinal"].mean == pytest.approx(1)
    assert found["alpha-interval"].mean < 0.7
    assert found["alpha-interval"].low <= found["alpha-interval"].mean <= found["alpha-interval"].high
    assert between_clips(panel("one", ordered[:1]), EXPLAINERS) == []


def test_maps_are_compared_place_by_place() -> None:
    rng = np.random.default_rng(5)
    clips = [{"a": rng.random((2, 3, 4)), "b": rng.random((2, 3, 4)), "flat": np.zeros((2, 3, 4))} for _ in range(4)]
    clips.append({"a": rng.random((2, 3, 4))})
    (found,) = between_maps(clips, range(len(clips)))
    expected = [spearmanr(maps["a"].ravel(), maps["b"].ravel()).statistic for maps in clips[:4]]
    assert (found.first, found.second, found.n) == ("a", "b", 4)
    assert found.mean == pytest.approx(np.mean(expected))
