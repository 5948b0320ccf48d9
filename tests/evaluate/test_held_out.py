"""Held-out figures: those of the clips' mean probabilities, kept with the detector."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from vidence.datasets.dataset import Sample
from vidence.evaluate.held_out import measure
from vidence.frames.source import open_source
from vidence.models.classifier_detector import ClassifierSettings
from vidence.scoring.run import scored


@pytest.fixture
def samples(make_film: Callable[..., Path]) -> list[Sample]:
    made = []
    for number in range(4):
        label = "flash" if number % 2 else "normal"
        flashes = ((0.2, 0.9),) if number % 2 else ()
        path = make_film(f"held-{number}.mp4", flashes, frames=12, seed=number)
        made.append(Sample(str(path), label, str(number)))
    return made


def test_the_figures_are_those_of_the_clips(detector_folder: Path, samples: list[Sample], tmp_path: Path) -> None:
    detector = ClassifierSettings.load(detector_folder)
    found = measure(detector, samples, out=tmp_path)
    p = np.stack(
        [
            np.mean([one.probabilities for _, one in scored(detector, open_source(each.path))], axis=0)
            for each in samples
        ]
    )
    labels = np.array([detector.classes.index(each.label) for each in samples])
    assert found["clips"] == 4
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, p.argmax(axis=1)))
    assert found["auc"] == pytest.approx(roc_auc_score(labels == 0, p[:, 0]))
    facts = json.loads((tmp_path / "detector.json").read_text())["facts"]
    assert facts["metrics"]["test"] == found
    assert [row["class"] for row in facts["per_class"]] == list(detector.classes)
    hits = (p.argmax(axis=1) == labels) & (labels == 0)
    assert facts["per_class"][0]["recall"] == pytest.approx(hits.sum() / (labels == 0).sum())
    assert facts["seed"] == 0  # what was there stays


def test_one_kind_of_clip_has_no_auc(detector_folder: Path, samples: list[Sample], tmp_path: Path) -> None:
    found = measure(ClassifierSettings.load(detector_folder), samples[::2], out=tmp_path)
    assert "auc" not in found
    assert all(np.isfinite(list(found.values())))
