import numpy as np
import pytest

from vidence.errors import SpecError
from vidence.frames.clip import Clip, Frame
from vidence.record.facts import ClipRef
from vidence.training.views import PLAIN, View, views

PIXELS = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
CLIP = Clip(ClipRef("a", "d", 0, (0.0, 0.1)), PIXELS)


class Ticks:
    """Ten frames, one each 0.1 s from 5 s on."""

    name, digest, fps, size, duration = "ticks", "d", 10.0, (2, 2), 1.0
    clock, dropped = "container", None
    notes: list[str] = []  # noqa: RUF012

    def __iter__(self):
        for t in range(10):
            yield Frame(np.full((2, 2, 3), t, dtype=np.uint8), 5 + t / 10)


def played(view: View) -> tuple[list[int], list[float]]:
    frames = list(view.frames(Ticks()))
    return [int(frame.pixels[0, 0, 0]) for frame in frames], [frame.time for frame in frames]


def test_the_plain_view_changes_nothing() -> None:
    source = Ticks()
    assert PLAIN.frames(source) is source
    np.testing.assert_array_equal(PLAIN.clip(CLIP).pixels, PIXELS)


def test_flip_and_crop() -> None:
    np.testing.assert_array_equal(View(flip=True).clip(CLIP).pixels, PIXELS[:, :, ::-1])
    corner = View(crop=0.5, row=1.0, column=0.0).clip(CLIP).pixels
    np.testing.assert_array_equal(corner, PIXELS[:, 2:, :3])
    np.testing.assert_array_equal(View(crop=0.5, row=1.0, column=0.0, flip=True).clip(CLIP).pixels, corner[:, :, ::-1])


def test_offset_and_speed() -> None:
    shown, times = played(View(offset=0.35, speed=2.0))
    assert shown == [4, 5, 6, 7, 8, 9]
    np.testing.assert_allclose(times, [2.7, 2.75, 2.8, 2.85, 2.9, 2.95])


def test_a_late_start_never_empties_a_source() -> None:
    assert played(View(offset=60.0))[0] == [9]


def test_drawn_views_are_repeatable_and_differ() -> None:
    drawn = views(6, seed=0, timed=True)
    assert drawn == views(6, seed=0, timed=True)
    assert len(set(drawn)) == 7
    assert drawn[0] == PLAIN
    assert sum(view.flip for view in drawn) == 3
    assert all(0.7 <= view.crop <= 1 and 0.8 <= view.speed <= 1.25 for view in drawn)
    assert {view.speed for view in views(6, seed=0, timed=False)} == {1.0}, "without a rate, speed would not act"


@pytest.mark.parametrize("wrong", [{"crop": 0.0}, {"crop": 1.1}, {"row": -0.1}, {"speed": 0.0}, {"offset": -1.0}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="a view needs"):
        View(**wrong)
