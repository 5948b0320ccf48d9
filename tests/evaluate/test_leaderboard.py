"""Means, places and gains of a comparison, on numbers that were written down by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.evaluate.bootstrap import bounds, interval
from vidence.evaluate.leaderboard import FEWEST, Gain, leaderboard, mean_places, panels, placed_by, ranked
from vidence.evaluate.measure import Measure
from vidence.evaluate.measured_rows import Measured
from vidence.evaluate.sanity import CascadingRandomisation

NAN = float("nan")


def row(clip: int, explainer: str, measure: str, value: float, **more: object) -> Measured:
    given: dict[str, object] = {
        "clip": f"c{clip}",
        "first": 0,
        "source": "s.mp4",
        "label": "cart",
        "event": True,
        "known": "pixels",
        "explainer": explainer,
        "control": explainer == "random-map",
        "measure": measure,
        "settings": "{}",
        "score": "logit",
        "seed": clip,
        "weights": "w",
        "value": None if np.isnan(value) else value,
        "seconds": float(clip),
        "forwards": 2,
        "gradients": 1,
    }
    return Measured(**(given | more))  # type: ignore[arg-type]


def table(measure: str, values: dict[str, list[float]]) -> list[Measured]:
    return [row(clip, name, measure, value) for name, held in values.items() for clip, value in enumerate(held)]


def test_places_gains_and_refusals(toys: dict[str, Measure]) -> None:
    inside = {"good": [3.0, 4.0, 5.0, 6.0], "poor": [1.0, 0.5, NAN, 0.5], "random-map": [1.0, 1.0, 1.0, 1.0]}
    peak = {"good": [3.0, 1.0, 1.0, 1.0], "poor": [2.0, 2.0, 2.0, 2.0], "random-map": [3.0, 3.0, 3.0, 3.0]}
    rows = table("inside", inside) + table("peak(scale=2.0)", peak)
    rows += [row(clip, "none", name, NAN, refused="it cannot") for clip in range(4) for name in toys]
    found = {(each.measure, each.explainer): each for each in leaderboard(rows, toys)}
    assert [each.explainer for each in leaderboard(rows, toys) if each.measure == "inside"] == [
        "good", "random-map", "poor", "none",
    ]  # fmt: skip
    good = found["inside", "good"]
    assert (good.n, good.mean, good.rank, good.seconds, good.forwards) == (4, 4.5, 1.0, 1.5, 2)
    assert good.gains is not None
    assert (good.gains["random-map"].mean, good.gains["random-map"].n) == (3.5, 4)
    poor = found["inside", "poor"]
    assert (poor.n, poor.rank) == (3, pytest.approx((2.5 + 3 + 3) / 3))  # of three clips: ties share, NaN is left out
    lower = found["peak(scale=2.0)", "good"]
    assert lower.rank == pytest.approx((2.5 + 1 + 1 + 1) / 4)
    assert lower.gains is not None
    assert lower.gains["random-map"].mean == 1.5  # lower is better, so less is a gain
    none = found["inside", "none"]
    assert (none.n, none.mean, none.rank, none.refused) == (0, None, None, "it cannot")


def test_a_difference_by_rounding_is_none() -> None:
    values = np.array([[0.1 + 0.2, 0.3, 0.25, -1e-17, 0.0], [3.0, 2.0, 1.0, 2.0, 5e-7]])
    assert ranked(values).tolist() == [[4.5, 4.5, 3.0, 1.5, 1.5], [5.0, 3.5, 2.0, 3.5, 1.0]]
    assert ranked(values[:0]).shape == (0, 5)


def test_the_mean_place_is_over_what_a_map_of_nothing_is_not_the_best_by(toys: dict[str, Measure]) -> None:
    rows = table("inside", {"good": [3.0] * 3, "random-map": [1.0] * 3})
    rows += table("peak(scale=2.0)", {"good": [9.0] * 3, "random-map": [1.0] * 3})  # lower is better
    assert placed_by(toys) == ["inside"]
    assert list(mean_places(leaderboard(rows, toys), toys).items()) == [("good", 1.0), ("random-map", 2.0)]
    none = {line: each for line, each in toys.items() if line != "inside"}
    assert mean_places(leaderboard(rows, none), none) == {}


def test_a_gain_is_called_only_where_its_interval_says_so() -> None:
    assert [Gain(0.5, *ends, 9).beats for ends in ((0.1, 1.0), (-0.1, 1.0), (-2.0, -0.1))] == ["yes", "unclear", "no"]


def test_few_clips_tell_nothing_apart_although_all_agree(toys: dict[str, Measure]) -> None:
    for n, verdict in ((1, "unclear"), (FEWEST - 1, "unclear"), (FEWEST, "yes")):
        rows = table("inside", {"good": [2.0] * n, "random-map": [1.0] * n})
        gains = {each.explainer: each.gains for each in leaderboard(rows, {"inside": toys["inside"]})}["good"]
        assert gains is not None
        assert gains["random-map"].low == 1
        assert gains["random-map"].beats == verdict


def test_a_map_that_mostly_fails_takes_no_clips_from_the_others(toys: dict[str, Measure]) -> None:
    values = {"good": [2.0] * 8, "random-map": [1.0] * 8}
    flaky = [3.0, 3.0, 3.0, *[NAN] * 5]
    rows = table("inside", values) + [row(i, "flaky", "inside", each) for i, each in enumerate(flaky[:3])]
    rows += [row(i, "flaky", "inside", NAN, refused="no memory") for i in range(3, 8)]
    found = {each.explainer: each for each in leaderboard(rows, {"inside": toys["inside"]})}
    assert (found["good"].rank, found["random-map"].rank) == (1, 2)
    assert (found["flaky"].n, found["flaky"].rank) == (3, None)
    assert found["flaky"].refused == "5 of 8 clips: no memory"
    rows += [row(3, "flaky", "inside", 3.0)]  # of half of them: all are ranked by these
    panel = panels(rows, {"inside": toys["inside"]})["inside"]
    assert len(panel.measured) == 3
    assert len(panel.complete(panel.measured)) == 4


def test_a_measure_without_a_better_side_ranks_nothing(toys: dict[str, Measure]) -> None:
    measure = toys["inside"]
    object.__setattr__(measure, "better", None)
    rows = table("inside", {"good": [1.0, 2.0], "random-map": [0.0, 0.0]})
    assert panels(rows, {"inside": measure})["inside"].sign == 0
    for each in leaderboard(rows, {"inside": measure}):
        assert each.rank is None
        assert not each.gains
        assert each.mean is not None


def test_each_class_counts_as_much_as_any_other(toys: dict[str, Measure]) -> None:
    rows = [row(i, "good", "inside", value) for i, value in enumerate([1.0, 1.0, 1.0])]
    rows += [row(3, "good", "inside", 0.0, label="cyclist"), row(4, "good", "inside", NAN, label="skater")]
    (found,) = leaderboard(rows, {"inside": toys["inside"]})
    assert (found.mean, found.over_classes) == (0.75, 0.5)


def test_likeness_is_ranked_by_its_size() -> None:
    measures: dict[str, Measure] = {"cascading-randomisation": CascadingRandomisation()}
    values = {"flipped": [-0.95, -0.9], "free": [0.1, -0.1], "random-map": [1.0, 1.0]}
    found = leaderboard(table("cascading-randomisation", values), measures)
    assert [(each.explainer, each.mean) for each in found] == [
        ("free", pytest.approx(0.1)), ("flipped", pytest.approx(0.925)), ("random-map", 1.0),
    ]  # fmt: skip


def test_a_measure_that_says_nothing_ranks_nothing(toys: dict[str, Measure]) -> None:
    found = leaderboard(table("inside", {"good": [NAN, NAN], "random-map": [NAN, NAN]}), toys)
    assert {(each.n, each.mean, each.rank) for each in found} == {(0, None, None)}


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = [interval(rng.normal(1.0, 1.0, 40), seed=i)[1:] for i in range(200)]
    assert np.mean([low <= 1.0 <= high for low, high in held]) == pytest.approx(0.95, abs=0.05)
    assert interval([2.0]) == (2.0, 2.0, 2.0)
    assert np.isnan(bounds(np.array([NAN]))).all()
