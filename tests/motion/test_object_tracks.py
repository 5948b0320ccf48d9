"""Tracks of boxes: they keep apart, tell how long something stays, end, and know nothing of what comes later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from vidence.motion.moving_regions import Regions
from vidence.motion.object_tracks import OF_OBJECT, PATIENCE_S, Objects, ObjectTracker

RATE = 10.0
Given = Sequence[tuple[float, float, float, float]]


def boxes(found: Given, names: Sequence[str | None] | None = None) -> Regions:
    held = np.array(found, np.float32).reshape(-1, 4)
    return Regions(held, held[:, 2] * held[:, 3], tuple(names or [None] * len(held)))


def tracked(film: Sequence[Given]) -> list[Objects]:
    tracker = ObjectTracker()
    return [tracker.step(boxes(found), k / RATE) for k, found in enumerate(film)]


def value(objects: Objects, name: str) -> np.ndarray:
    return objects.values[:, OF_OBJECT.index(name)]


def crossing(k: int) -> Given:
    """Two boxes of 20 x 10 that cross; while they overlap they are one region."""
    left, right = 3.0 * k, 120.0 - 3 * k
    if abs(left - right) < 10:
        first = min(left, right)
        return [(50, first, 24, max(left, right) + 10 - first)]
    return [(50, left, 20, 10), (54, right, 20, 10)]


def test_two_that_cross_keep_their_tracks() -> None:
    found = tracked([crossing(k) for k in range(41)])
    assert all(each.ids.tolist() == [0, 1] for each in found[1:])
    for k, each in enumerate(found[1:], start=1):
        np.testing.assert_allclose(each.boxes[:, 1], [3 * k, 120 - 3 * k], atol=1.5)
        np.testing.assert_allclose(value(each, "pace"), [30, 30], atol=3)


def test_a_stay_is_timed_and_ends_when_it_leaves() -> None:
    film = [[(10.0, 5.0 * min(k, 10), 20.0, 10.0)] for k in range(60)] + [
        [(10.0, 50 + 5.0 * k, 20, 10)] for k in range(9)
    ]
    found = tracked(film)
    stood = [float(value(each, "dwell")[0]) for each in found[1:]]
    np.testing.assert_allclose(np.diff(stood[12:58]), 0.1, atol=1e-5)
    assert stood[57] == pytest.approx(5.0, abs=0.3)
    assert stood[-1] < 0.5  # its centre went further than half its longer side
    np.testing.assert_allclose(found[50].values[0, :4], [10, 20, 200, 2])


def test_earlier_objects_do_not_depend_on_later_frames() -> None:
    film = [crossing(k) for k in range(30)]
    for one, other in zip(tracked(film[:17]), tracked(film), strict=False):
        np.testing.assert_array_equal(one.values, other.values)


def test_tracks_end_and_their_number_is_bounded() -> None:
    rng, tracker = np.random.default_rng(0), ObjectTracker()
    for k in range(100):
        found = [(y, x, 4.0, 4.0) for y, x in rng.uniform(0, 500, (8, 2))]
        tracker.step(boxes(found), k / RATE)
        assert len(tracker) <= 8 * (PATIENCE_S * RATE + 2)
    assert len(tracker.step(boxes([]), 10.0).ids) == 0
    tracker.step(boxes([]), 20.0)
    assert len(tracker) == 0


def test_names_of_the_user_make_the_track() -> None:
    tracker = ObjectTracker()
    tracker.step(boxes([(0, 0, 10, 10), (0, 90, 10, 10)], ["a", "b"]), 0.0)
    found = tracker.step(boxes([(0, 90, 10, 10), (0, 0, 10, 10)], ["a", "b"]), 0.1)
    assert found.boxes[:, 1].tolist() == [90, 0]


def test_cells_have_the_values_of_the_smallest_object_that_touches_them() -> None:
    values = np.arange(2 * len(OF_OBJECT), dtype=np.float32).reshape(2, -1) + 1
    values[:, OF_OBJECT.index("area")] = [400, 1600]
    given = Objects(np.arange(2), np.array([[20, 20, 20, 20], [0, -10, 40, 40]], np.float32), values)
    cover = given.cover((60, 60), (6, 6))
    assert cover[3, 3].tolist() == values[0].tolist()
    assert cover[0, 2].tolist() == values[1].tolist()
    assert (cover[4:] == 0).all()
    assert int((cover[..., 0] > 0).sum()) == 4 * 3 + 2
