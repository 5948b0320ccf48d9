"""The score without the marked region, on a detector whose score is known."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.attribution.hiding import hidden_score
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
    hidden = hidden_score(Brightness(), clip(), region)  # type: ignore[arg-type]
    assert hidden is not None
    assert (hidden.value, hidden.control) == (0.0, 1.0)
    assert hidden.share == pytest.approx(4 / (5 * 12 * 16))


def test_nothing_marked_nothing_measured() -> None:
    assert hidden_score(Brightness(), clip(), np.zeros((5, 12, 16), bool)) is None  # type: ignore[arg-type]


def test_a_region_that_is_the_whole_picture_has_no_control() -> None:
    hidden = hidden_score(Brightness(), clip(), np.ones((5, 12, 16), bool))  # type: ignore[arg-type]
    assert hidden is not None
    assert hidden.control is None
