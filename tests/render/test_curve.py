import numpy as np
import pytest

from vidence.errors import ShapeError
from vidence.record.facts import Event
from vidence.render.curve import event_span, require_curve, score_range


def test_score_range():
    assert score_range(np.array([0.2, 0.9]), 0.5) == (0.0, 1.0)
    low, high = score_range(np.array([-2.0, 3.0]), 5.0)
    assert low < -2
    assert high > 5
    assert score_range(np.array([4.0]), None) == (3.5, 4.5)
    assert score_range(np.array([0.2]), float("inf")) == (0.0, 1.0)


def test_an_event_covers_its_frames_whole():
    assert event_span(Event(2, 2, 1), np.array([0.0, 1, 2, 3])) == (1.5, 2.5)


@pytest.mark.parametrize(
    ("times", "values"), [([], []), ([0, 1], [1]), ([1, 0], [1, 1]), ([0, 1], [1, float("nan")]), ([[0]], [[1]])]
)
def test_what_is_no_curve_is_refused(times, values):
    with pytest.raises(ShapeError):
        require_curve(times, values)
