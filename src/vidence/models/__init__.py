"""Networks and detectors. Being listed means being tested: `tests/models/test_detectors.py` runs over this table."""

from __future__ import annotations

from vidence.models.cnn_rnn import CnnRnn, CnnRnnDetector, CnnRnnNetwork
from vidence.models.detector import Detector, FrameScores, Session, load_detector

DETECTORS: dict[str, type[CnnRnn]] = {"cnn-rnn": CnnRnn}

__all__ = [
    "DETECTORS",
    "CnnRnn",
    "CnnRnnDetector",
    "CnnRnnNetwork",
    "Detector",
    "FrameScores",
    "Session",
    "load_detector",
]
