"""A source through a detector: windows, curve, alarms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidence.datasets.section import Section
from vidence.errors import ShapeError
from vidence.frames.clip import Clip
from vidence.frames.source import open_source
from vidence.models.detector import load_detector
from vidence.models.reconstruction_detector import ReconstructionSettings
from vidence.models.recurrent_autoencoder import ConvRecurrent
from vidence.models.trivial import PreviousFrame
from vidence.record.facts import ClipRef, Event
from vidence.scoring.run import Judgement, ScoredWindow, curve_of, judge, scored, scored_curve
from vidence.scoring.timeline import events


def window(first: int, value: float, *, frames: int = 4) -> ScoredWindow:
    times = tuple((first + place) / 10 for place in range(frames))
    return ScoredWindow(ClipRef("a", "0" * 64, first, times), (value,) * frames)


def test_each_window_is_scored_as_the_network_scores_it(film: Path, detector_folder: Path) -> None:
    detector = load_detector(detector_folder)
    found = list(scored(detector, open_source(film)))
    assert len(found) == 29
    for clip, one in found[::7]:
        p = detector.network(detector.prepare(clip)).softmax(dim=1)[0].detach().numpy()
        np.testing.assert_allclose(one.probabilities, p, atol=1e-3)  # the logits are scaled a thousandfold
        assert one.value == pytest.approx(1 - p[1], abs=1e-3)
        assert (one.first_s, one.last_s) == (clip.times[0], clip.times[-1])


def test_a_judgement_and_what_its_step_sees(film: Path, detector_folder: Path) -> None:
    seen: list[tuple[Clip, ScoredWindow]] = []
    source = open_source(film)
    judged = judge(load_detector(detector_folder), source, threshold=0.5, step=lambda *each: seen.append(each))
    assert tuple(one for _, one in seen) == judged.windows
    assert judged.events == tuple(events(judged.curve, 0.5))
    assert len(judged.events) == 2
    assert judged.anomalous == tuple(one for one in judged.windows if one.value > 0.5)
    assert judged.peak.value == max(event.peak for event in judged.events)


def test_alarms_are_joined_as_the_rule_of_the_threshold_joined_them(film: Path, detector_folder: Path) -> None:
    detector = load_detector(detector_folder)
    detector.threshold = {"value": 0.5, "rule": "false-alarm-budget(merge_s=60.0)", "merge_s": 60.0}
    assert len(judge(detector, open_source(film), threshold=0.5).events) == 1
    assert len(judge(detector, open_source(film), threshold=0.4).events) == 2, "a number of the user's has no such rule"


@pytest.mark.parametrize("settings", [PreviousFrame(size=64), ConvRecurrent(mode="seq2seq", size=64)])
def test_a_source_without_a_scored_frame(settings: ReconstructionSettings, film: Path) -> None:
    """A prediction has nothing to follow, were the window filled with repeats of it or not."""
    detector, short = settings.build(), Section(open_source(film), 0, 1)
    assert list(scored(detector, short)) == []
    assert not len(scored_curve(detector, short).times)
    with pytest.raises(ShapeError, match=r"film\.mp4 is too short"):
        judge(detector, short, threshold=0.5)


def test_a_windows_score_is_its_highest_frame() -> None:
    ref = ClipRef("a", "0" * 64, 0, (0.0, 0.1))
    assert ScoredWindow(ref, (0.2, 0.7)).value == 0.7


@pytest.mark.parametrize(("span", "shared"), [((0.3, 0.3), True), ((0.31, 9.0), False), ((-1.0, 0.0), True)])
def test_windows_share_their_ends(span: tuple[float, float], shared: bool) -> None:
    assert window(0, 0.5).overlaps(*span) is shared


def test_the_scored_frames_of_a_stretch() -> None:
    ref = ClipRef("a", "0" * 64, 0, (0.0, 0.1, 0.2, 0.3))
    every, late = ScoredWindow(ref, (0.9, 0.2, 0.7, 0.1)), ScoredWindow(ref, (0.7, 0.1), times=(0.2, 0.3))
    assert every.within(0.1, 0.2) == {0.1: 0.2, 0.2: 0.7}
    assert late.within(0.1, 0.2) == {0.2: 0.7}
    assert late.within(0.0, 0.1) == {}


def test_windows_that_score_a_frame_of_an_event() -> None:
    windows = (window(0, 0.9), window(20, 0.6), window(22, 0.7))
    judged = Judgement(windows, 0.5, curve_of(windows), ())
    assert judged.scoring(Event(2.0, 2.1, 0.6)) == windows[1:2]
    assert judged.scoring(Event(2.2, 2.2, 0.7)) == windows[1:]
    assert judged.scoring(Event(1.0, 1.9, 0.7)) == ()
    assert judged.peak is windows[0]
