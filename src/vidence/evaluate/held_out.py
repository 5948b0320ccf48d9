"""A trained detector's figures on clips it has never seen, kept with the detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from vidence.datasets.dataset import Sample
from vidence.evaluate.classification import measures, per_class
from vidence.models.classifier_detector import ClassifierDetector
from vidence.training.workbench import Workbench, clip_probabilities


def measure(detector: ClassifierDetector, samples: Sequence[Sample], *, out: str | Path) -> dict[str, float]:
    """Measure whole clips (mean of their windows, float32) and write the figures into the detector's folder `out`.

    Precision, recall and F1 of each class stand beside them, under `per_class`. Measures that need both kinds of clips
    are left out where only one is present.
    """
    bench = Workbench(detector.classes, detector.normal, precision="float32", bar=True)
    examples = bench.examples(detector, samples)
    normal = [detector.classes.index(name) for name in detector.normal]
    probabilities = clip_probabilities(detector, examples)
    found = measures(examples.labels, probabilities, normal=normal)
    figures = {"clips": float(len(samples))} | {name: value for name, value in found.items() if math.isfinite(value)}
    detector.facts = detector.facts | {
        "metrics": {**detector.facts.get("metrics", {}), "test": figures},
        "per_class": per_class(examples.labels, probabilities.argmax(axis=1), detector.classes),
    }
    detector.save(out)
    return figures
