"""A map in few numbers and words."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.attribution.summary import carrying, place, profile, segments, strong


def test_segments_by_hand() -> None:
    values = np.zeros((5, 4, 6), np.float32)
    values[1:3, 0:2, 4:6] = 1.0  # 8 of the 10 marked units
    values[4, 3, 0] = 2.0
    values[0] = -3.0
    times = np.arange(5) / 2
    first, second = segments(times, values)
    assert (first.first_s, first.last_s, first.box) == (0.5, 1.0, (4 / 6, 0.0, 1.0, 0.5))
    assert (first.weight, second.weight) == (0.8, 0.2)
    assert (second.first_s, second.box) == (2.0, (0.0, 0.75, 1 / 6, 1.0))
    np.testing.assert_allclose(profile(values), [0, 4 / 24, 4 / 24, 0, 2 / 24])


def test_a_segment_ends_where_a_frame_was_not_explained() -> None:
    scored = np.array([0.0, 0.1, 0.4, 0.5, 0.6, 3.0])
    explained = np.array([0.0, 0.1, 0.5, 0.55, 0.6, 3.0])  # not 0.4; 0.55 has a map, but no score
    found = segments(explained, np.ones((6, 2, 2), np.float32), scored=scored)
    assert [(each.first_s, each.last_s) for each in found] == [(0.5, 3.0), (0.0, 0.1)]  # the recording has a gap, too
    assert [each.weight for each in found] == pytest.approx([4 / 6, 2 / 6])


def test_a_map_without_positive_evidence_marks_nothing() -> None:
    values = -np.ones((2, 3, 3), np.float32)
    assert not strong(values).any()
    assert not carrying(values).any()
    assert segments(np.arange(2.0), values) == ()


def test_the_carrying_region_is_the_smallest_with_nine_tenths() -> None:
    values = np.zeros((2, 2, 4), np.float32)
    values[0, 0] = (50, 30, 9, 2)
    values[1, 1] = (6, 3, -99, 0)  # 100 in all: 50 + 30 + 9 holds 89, and 6 more 95
    expected = np.zeros(values.shape, bool)
    expected[0, 0, :3] = expected[1, 1, 0] = True
    np.testing.assert_array_equal(carrying(values), expected)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 0.2, 0.2), "in the upper left of the picture"),
        ((0.4, 0.4, 0.6, 0.6), "in the middle of the picture"),
        ((0.8, 0.4, 1.0, 0.6), "in the right part of the picture"),
        ((0.4, 0.8, 0.6, 1.0), "in the lower part of the picture"),
    ],
)
def test_places_have_names(box: tuple[float, float, float, float], words: str) -> None:
    assert place(box) == words
