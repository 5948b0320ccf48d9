import numpy as np
import pytest
from PIL import Image

from vidence.errors import ShapeError
from vidence.record.facts import Event
from vidence.render.curve import curve_png, event_span, require_curve, score_range

TIMES = np.arange(0, 10, 0.04)
VALUES = 0.1 + 0.8 * np.exp(-((TIMES - 6) ** 2))


def shaded(path):
    with Image.open(path) as page:
        assert (page.format, page.size) == ("PNG", (1350, 420))
        picture = np.asarray(page.convert("RGB")).astype(int)
    return (np.abs(picture - (252, 236, 206)).max(axis=-1) < 8).sum()


def test_events_are_shaded_and_the_threshold_drawn(tmp_path):
    curve_png(tmp_path / "plain.png", TIMES, VALUES)
    curve_png(tmp_path / "full.png", TIMES, VALUES, 0.5, [Event(5, 7, 0.9)], title="a $ign_of 100%")
    assert shaded(tmp_path / "plain.png") < 50
    assert 0.05 < shaded(tmp_path / "full.png") / (1350 * 420) < 0.2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full.png", "plain.png"]


@pytest.mark.parametrize("values", [[0.5], [3.0, 3.0], [-20.0, 40.0]])
def test_short_flat_and_unbounded_curves_are_drawn(tmp_path, values):
    curve_png(tmp_path / "c.png", np.arange(len(values)), values, 1.0, [Event(0, 0, 3.0)])
    assert (tmp_path / "c.png").stat().st_size > 1000


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
def test_what_is_no_curve_is_refused(tmp_path, times, values):
    with pytest.raises(ShapeError):
        require_curve(times, values)
    with pytest.raises(ShapeError):
        curve_png(tmp_path / "c.png", times, values)
    assert not list(tmp_path.iterdir())
