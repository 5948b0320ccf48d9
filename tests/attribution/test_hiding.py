"""The score without the marked region, on a detector whose score is known."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.attribution.hiding import distinct, hidden_score
from vidence.frames.clip import Clip
from vidence.models.detector import FrameScores
from vidence.record.facts import ClipRef


class Brightness:
    """Scores a clip by its brightest pixel."""

    def start(self) -> Brightness:
        return self

    def push(self, clip: Clip) -> FrameScores:
        values = np.full(len(clip.times), clip.pixels.max() / 255, np.float32)
        return FrameScores(np.array(clip.times), values)


def clip() -> Clip:
    pixels = np.zeros((5, 12, 16, 3), np.uint8)
    pixels[2, 2:4, 3:5] = 255
    return Clip(ClipRef("a.mp4", "0" * 64, 0, (0.0, 0.1, 0.2, 0.3, 0.4)), pixels)


def test_hiding_the_cause_removes_the_score_and_hiding_elsewhere_does_not() -> None:
    region = np.zeros((5, 12, 16), bool)
    region[2, 2:4, 3:5] = True
    hidden = hidden_score(Brightness(), [clip()], region)  # type: ignore[arg-type]
    assert hidden is not None
    assert (hidden.value, hidden.control) == (0.0, 1.0)
    assert hidden.share == pytest.approx(4 / (5 * 12 * 16))


def test_nothing_marked_nothing_measured() -> None:
    assert hidden_score(Brightness(), [clip()], np.zeros((5, 12, 16), bool)) is None  # type: ignore[arg-type]


def test_a_region_that_is_the_whole_picture_has_no_control() -> None:
    hidden = hidden_score(Brightness(), [clip()], np.ones((5, 12, 16), bool))  # type: ignore[arg-type]
    assert hidden is not None
    assert hidden.control is None


class Growing(Brightness):
    """Scores the brightest pixel of this window and the one before; a hidden place shows half brightness."""

    def __init__(self) -> None:
        self.held = [0.0]

    def start(self) -> Growing:
        return Growing()

    def push(self, clip: Clip) -> FrameScores:
        self.held.append(clip.pixels.max() / 255)
        return FrameScores(np.array(clip.times), np.full(len(clip.times), sum(self.held[-2:]), np.float32))

    def reference(self, clip: Clip) -> tuple[np.ndarray, str]:
        return np.full_like(clip.pixels, 51), "a fifth"


def test_the_detectors_own_reference_is_shown_and_said() -> None:
    region = np.zeros((5, 12, 16), bool)
    region[2, 2:4, 3:5] = True
    hidden = hidden_score(Growing(), [clip()], region)  # type: ignore[arg-type]
    assert hidden is not None
    assert hidden.fill == "a fifth"
    assert hidden.value == pytest.approx(0.2)


def test_a_window_is_scored_after_those_before_it_and_the_region_is_hidden_in_all_of_them() -> None:
    before = Clip(ClipRef("a.mp4", "0" * 64, 0, (-0.2, -0.1, 0.0, 0.1, 0.2)), clip().pixels[[0, 2, 0, 0, 2]])
    clips = [before, clip()]  # bright at -.1 s and at .2 s, a frame that both hold
    assert list(distinct(clips)) == pytest.approx([-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4])
    shared, all_bright = np.zeros((2, 7, 12, 16), bool)
    shared[4, 2:4, 3:5] = True
    all_bright[[1, 4], 2:4, 3:5] = True
    for region, expected in ((shared, 1.0 + 0.2), (all_bright, 0.2 + 0.2)):
        hidden = hidden_score(Growing(), clips, region)  # type: ignore[arg-type]
        assert hidden is not None
        assert hidden.value == pytest.approx(expected)
        assert hidden.control == pytest.approx(2.0)
