"""A detector's threshold on the scale of a score that is explained, where the two can be compared at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from vidence.models.detector import Detector
from vidence.scoring.score import ScoreFunction
from vidence.scoring.scores import SCORES, Anomaly, NormalisedError
from vidence.spec import build


@dataclass(frozen=True, slots=True)
class Operating:
    """`value` above which there is an alarm: of the clip's score, or (`per` frame) of the mean error of its frames."""

    value: float
    per: Literal["clip", "frame"]


def operating_threshold(detector: Detector, score: ScoreFunction) -> Operating | None:
    """The detector's threshold for `score`; None where it is no threshold of this score.

    A detector of reconstructions compares smoothed errors of frames with it, on the scale of its calibration: brought
    back to errors, it is a threshold for the mean error of the frames that are explained. One that says 1 - P(normal)
    compares that. A normalised error has the same scale where it has the same calibration.
    """
    if detector.threshold is None:
        return None
    value = float(detector.threshold["value"])
    if isinstance(score, Anomaly):
        own = Anomaly(detector.normal).named(detector.classes)
        same = own.normal and score.named(detector.classes).normal == own.normal
        return Operating(value, "clip") if same else None
    low, high = detector.scale
    if isinstance(score, NormalisedError):
        same = (score.low, score.high) == (low, high) and _is_own(detector, score.of)
        return Operating(value, "clip") if same else None
    return Operating(low + value * (high - low), "frame") if _is_own(detector, score) else None


def _is_own(detector: Detector, score: Any) -> bool:
    """Whether a score is the error that the detector's alarms are made of, of whichever frames."""
    line = getattr(detector, "score_line", None)
    if line is None:
        return False
    known: Any = build(line, SCORES)
    return type(score) is type(known) and _of_all_frames(score) == _of_all_frames(known)


def _of_all_frames(score: Any) -> Any:
    return replace(score, frame=None) if hasattr(score, "frame") else score
