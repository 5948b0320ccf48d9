"""The passer-by: what is wrong with his way, and what is as on any walk."""

from dataclasses import replace

import numpy as np
import pytest

from vidence.datasets.cast import BEDS, RUN, WALKS, Happening, crossing_s, draw_cast, placed
from vidence.datasets.walkway import BOTTOM, TOP, person_height

TIMES = np.arange(0, 1.0, 0.125)


def cast_of(seed, *, one_way=True):
    return draw_cast(np.random.default_rng(seed), 4 / 3, one_way=one_way)


def passer(cast, label, time, last_s=0.875):
    """The one figure that is not there without the happening."""
    there = placed(cast, time, [Happening(label, 0.0, last_s)])
    without = [figure.at for figure in placed(cast, time, [])]
    (one,) = [figure for figure in there if figure.at not in without]
    return one


def way(cast, label, times=TIMES):
    return np.array([passer(cast, label, time).at for time in times])


def test_one_way_sends_the_same_people_to_the_right():
    for seed in range(6):
        both, right = cast_of(seed, one_way=False), cast_of(seed)
        for one, other in zip(
            (*both.walkers, both.visitor, both.passer), (*right.walkers, right.visitor, right.passer), strict=True
        ):
            assert other == replace(one, speed=abs(one.speed))
        assert right.heading == 1
        assert (right.pair, right.rider, right.bed) == (both.pair, both.rider, both.bed)


@pytest.mark.parametrize("seed", range(4))
def test_every_frame_of_jitter_is_one_of_the_walk(seed):
    cast = cast_of(seed)
    walk, jerked = way(cast, "passer-by"), way(cast, "jitter")
    pace = (walk[1, 0] - walk[0, 0]) / 0.125
    steps = np.diff(jerked[:, 0])
    assert steps.max() > 0 > steps.min(), "to and fro"
    assert np.abs(steps).mean() > 1.5 * pace * 0.125
    for time in TIMES:
        figure = passer(cast, "jitter", time)
        same = passer(cast, "passer-by", (figure.at[0] - walk[0, 0]) / pace)
        np.testing.assert_allclose(figure.at, same.at, atol=1e-9)
        for stroke, other in zip(figure.strokes, same.strokes, strict=True):
            assert (stroke.width, stroke.colour) == (other.width, other.colour)
            np.testing.assert_allclose(stroke.points, other.points, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_runner_is_three_times_as_fast_and_looks_as_always(seed):
    cast = cast_of(seed)
    np.testing.assert_allclose(np.diff(way(cast, "runner"), axis=0), RUN * np.diff(way(cast, "passer-by"), axis=0))
    look = {(stroke.width, stroke.colour) for stroke in passer(cast, "runner", 0.5).strokes}
    assert look == {(stroke.width, stroke.colour) for stroke in passer(cast, "passer-by", 0.5).strokes}


def test_the_wrong_way_is_the_way_back():
    cast = cast_of(1)
    np.testing.assert_allclose(way(cast, "wrong-way")[::-1], way(cast, "passer-by"))


@pytest.mark.parametrize("seed", range(6))
def test_only_a_trespasser_leaves_the_walkway(seed):
    cast = cast_of(seed)
    y = way(cast, "trespasser")[0, 1]
    assert any(low <= y <= high for low, high in BEDS)
    assert not TOP - 0.03 <= y <= BOTTOM + 0.02
    walk, trespassed = way(cast, "passer-by"), way(cast, "trespasser")
    assert TOP < walk[0, 1] < BOTTOM
    paces = [np.diff(x)[0] / person_height(y) for x, y in ((walk[:, 0], walk[0, 1]), (trespassed[:, 0], y))]
    assert paces[0] == pytest.approx(paces[1]), "as fast as a person of that height walks"


@pytest.mark.parametrize("label", WALKS)
def test_a_whole_crossing_begins_and_ends_outside(label):
    cast = cast_of(2)
    lasts = crossing_s(cast, label)
    ends = sorted(passer(cast, label, time, lasts).at[0] for time in (0.0, lasts))
    np.testing.assert_allclose(ends, (-0.25, 4 / 3 + 0.25), atol=0.15)
    assert passer(cast, label, lasts / 2, lasts).at[0] == pytest.approx(2 / 3, abs=0.15)
    assert passer(cast, label, 0.0, lasts).marked
    assert not passer(cast, "passer-by", 0.0, lasts).marked
