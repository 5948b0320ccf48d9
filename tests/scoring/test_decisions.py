"""From a judgement to a record: every fact comes from the detector, the source or the judgement."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vidence.errors import SpecError
from vidence.frames.source import open_source
from vidence.models.classifier_detector import ClassifierDetector, ClassifierSettings
from vidence.models.trivial import MeanFrame
from vidence.record.conditions import ModelFacts
from vidence.record.decision import DecisionRecord
from vidence.replaying import replayed
from vidence.scoring.cases import cases
from vidence.scoring.decisions import record, threshold_of
from vidence.scoring.run import judge


@pytest.fixture
def detector(detector_folder: Path) -> ClassifierDetector:
    return ClassifierSettings.load(detector_folder)


def test_a_record_tells_one_alarm(detector: ClassifierDetector, film: Path) -> None:
    source = open_source(film)
    judged = judge(detector, source, threshold=0.5)
    first, second = cases(judged)
    made = record(detector, source, judged, second)
    assert made.events == (judged.events[1],)
    assert made.detection.value == judged.events[1].peak
    assert made.detection.score == "anomaly(normal=['normal'])"
    assert made.detection.weights == detector.weights_digest
    assert made.detection.clip.digest == source.digest
    assert (made.reading.length, made.reading.stride, made.reading.size) == (4, 2, (32, 48))
    assert made.model.metrics == {"test auc": 0.75}
    assert (made.outcome.rule, made.outcome.origin) == ("fixed", "set by hand")
    assert sum(made.outcome.probabilities.values()) == pytest.approx(1)
    assert made.outcome.probabilities["flash"] == pytest.approx(made.detection.value)
    assert made.outcome.times[0] <= judged.events[1].first_s <= judged.events[1].last_s <= made.outcome.times[-1]
    assert made.outcome.times[0] > judged.events[0].last_s  # the other alarm has a record of its own
    earlier = record(detector, source, judged, first)
    assert earlier.outcome.times[-1] < judged.events[1].first_s
    assert DecisionRecord.from_payload(made.payload()).id == made.id
    again = open_source(film)
    assert len(list(again)) == 60  # what a source notes and drops is known once it is read
    assert record(detector, again, judged, second).id == made.id


def test_two_alarms_in_one_window_have_values_of_their_own(tmp_path: Path) -> None:
    for second in range(16):
        picture = np.full((64, 64, 3), 127, np.uint8)
        bright = {2: 8, 12: 32}.get(second, 0)
        picture[:bright, :bright] = 255
        cv2.imwrite(str(tmp_path / f"{second:02}.png"), picture)
    detector, source = MeanFrame(size=64, length=16, smooth=1).build(), open_source(tmp_path)
    judged = judge(detector, source, threshold=20)
    assert len(judged.windows) == 1
    made = [record(detector, source, judged, case) for case in cases(judged)]
    assert [each.detection.value for each in made] == [each.events[0].peak for each in made]
    assert made[0].detection.value < made[1].detection.value / 10
    assert all(check.difference == 0 for each in made for check in replayed(each, detector, source, folder=tmp_path))


def test_a_record_of_no_alarm_shows_the_whole_curve(detector: ClassifierDetector, quiet_film: Path) -> None:
    source = open_source(quiet_film)
    judged = judge(detector, source, threshold=0.5)
    made = record(detector, source, judged, *cases(judged))
    assert made.events == ()
    assert made.outcome.times == tuple(judged.curve.times.tolist())
    assert made.detection.value == max(window.value for window in judged.windows)


def test_the_users_threshold_has_no_promise(detector: ClassifierDetector, film: Path) -> None:
    promised = {"value": 0.5, "rule": "false-alarm-budget", "origin": "footage", "low": 0.1, "high": 2.0}
    detector.threshold = promised
    source = open_source(film)
    outcomes = [
        record(detector, source, judged, cases(judged)[0]).outcome
        for judged in (judge(detector, source, threshold=each) for each in (0.5, 0.6))
    ]
    assert outcomes[0].false_alarms == (0.1, 2.0)
    assert (outcomes[1].false_alarms, outcomes[1].rule, outcomes[1].origin) == (None, "fixed", "set by the user")


def test_a_threshold_set_by_hand_may_be_a_bare_value(detector: ClassifierDetector, film: Path) -> None:
    detector.threshold = {"value": 0.5}
    source = open_source(film)
    judged = judge(detector, source, threshold=threshold_of(detector, None))
    assert record(detector, source, judged, cases(judged)[0]).outcome.origin == "set by the user"


def test_device_and_precision_are_the_networks(detector: ClassifierDetector, film: Path) -> None:
    source = open_source(film)
    judged = judge(detector, source, threshold=0.5)

    def model() -> ModelFacts:
        return record(detector, source, judged, cases(judged)[0]).model

    assert (model().device, model().precision) == ("cpu", "float32")
    detector.network.double().to("meta")
    assert (model().device, model().precision) == ("meta", "float64")
    detector.network = torch.nn.Identity()
    assert (model().device, model().precision) == ("cpu", "float32")


def test_the_threshold_in_force(detector: ClassifierDetector) -> None:
    assert threshold_of(detector, None) == 0.5
    assert threshold_of(detector, 0.0) == 0.0
    for wrong in (math.nan, math.inf):
        with pytest.raises(SpecError, match="finite"):
            threshold_of(detector, wrong)
    detector.threshold = None
    with pytest.raises(SpecError, match="--threshold"):
        threshold_of(detector, None)
