"""What tests of comparisons share: a classifier that was not trained, beside clips whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from vidence.datasets.folder import Folder
from vidence.datasets.synthetic import CLASSES, Synthetic, write
from vidence.evaluate.measure import Case, Measure
from vidence.models.classifier_detector import ClassifierDetector
from vidence.models.cnn_rnn import CnnRnn


@pytest.fixture(scope="session")
def marked_set(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Nine clips of eight frames with masks, three of each class; events last three frames."""
    folder = tmp_path_factory.mktemp("marked")
    write(folder, 9, settings=Synthetic(size=(48, 64), length=8, event_frames=3))
    return Folder(str(folder / "clips.csv"))


@pytest.fixture(scope="session")
def classifier() -> ClassifierDetector:
    """Of the classes of `marked_set`, seeing a whole clip at 32 x 32 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = CnnRnn(backbone="small", rnn="gru", size=32, length=8, stride=8, units=4, blocks=0, rate=0.0)
        return settings.build(tuple(sorted(CLASSES)), normal=("normal",))


@dataclass(frozen=True)
class Inside(Measure):
    """Share of the positive mass that lies in the mask, of the mask's share: a toy that knows the truth."""

    aspect = "localisation"
    needs_truth = True

    def of(self, case: Case) -> float:
        positive = np.maximum(case.values, 0)
        assert case.mask is not None
        return float(positive[case.mask].sum() / max(positive.sum(), 1e-9) / case.mask.mean())


@dataclass(frozen=True)
class Peak(Measure):
    """How much the largest value stands out: a toy for which less is better, and that needs no truth."""

    scale: float = 1.0
    aspect = "complexity"
    better = "lower"

    def of(self, case: Case) -> float:
        return float(self.scale * case.values.max() / (np.abs(case.values).mean() + 1e-9))


@pytest.fixture
def toys() -> dict[str, Measure]:
    """Two measures by their lines."""
    return {"inside": Inside(), "peak(scale=2.0)": Peak(2.0)}
