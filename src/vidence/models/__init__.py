"""Networks and detectors. Being listed means being tested: `tests/models/test_detectors.py` (classifiers) and
`test_reconstruction_settings.py` (all others) run over this table.
"""

from __future__ import annotations

from typing import Any

from vidence.models.cnn_rnn import CnnRnn, CnnRnnDetector, CnnRnnNetwork
from vidence.models.detector import Detector, FrameScores, Session, load_detector
from vidence.models.recurrent_autoencoder import ConvRecurrent
from vidence.models.trivial import MeanFrame, PreviousFrame, Random

DETECTORS: dict[str, type[Any]] = {
    "cnn-rnn": CnnRnn,
    "random": Random,
    "mean-frame": MeanFrame,
    "previous-frame": PreviousFrame,
    "conv-recurrent": ConvRecurrent,
}

__all__ = [
    "DETECTORS",
    "CnnRnn",
    "CnnRnnDetector",
    "CnnRnnNetwork",
    "ConvRecurrent",
    "Detector",
    "FrameScores",
    "MeanFrame",
    "PreviousFrame",
    "Random",
    "Session",
    "load_detector",
]
