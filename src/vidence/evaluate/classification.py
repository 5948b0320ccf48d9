"""How well a classifier separates clips: measures from probabilities, every average named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from vidence.errors import ShapeError


def measures(
    labels: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n k"], *, normal: Sequence[int]
) -> dict[str, float]:
    """Measures of clips with class indices `labels`; `normal` are the indices of normal classes.

    The class found is the likeliest. `auc` (area under the ROC curve) and `average_precision` take the anomaly as the
    positive side, scored with 1 - P(normal); they are NaN when only one side is present. Weighted recall equals
    accuracy by definition. A class that is never found has precision 0; averages run over classes that are present
    or found.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ShapeError(
            f"measures need labels (n,) and probabilities (n, k) of the same clips, one at least; got {labels.shape} "
            f"and {probabilities.shape}."
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1] or not np.isfinite(probabilities).all():
        raise ShapeError(
            f"labels must be 0..{probabilities.shape[1] - 1} and probabilities finite; got labels "
            f"{labels.min()}..{labels.max()}."
        )
    found = probabilities.argmax(axis=1)
    held = {"accuracy": accuracy_score(labels, found), "balanced_accuracy": _balanced(labels, found)}
    for average in ("macro", "weighted"):
        scores = precision_recall_fscore_support(labels, found, average=average, zero_division=0.0)
        held |= {f"{average}_{name}": value for name, value in zip(("precision", "recall", "f1"), scores, strict=False)}
    anomalous = ~np.isin(labels, list(normal))
    scores = 1 - probabilities[:, list(normal)].sum(axis=1)
    both = anomalous.any() and not anomalous.all()
    held["auc"] = roc_auc_score(anomalous, scores) if both else np.nan
    held["average_precision"] = average_precision_score(anomalous, scores) if both else np.nan
    return {name: float(value) for name, value in held.items()}


def per_class(
    labels: Int[np.ndarray, " n"], found: Int[np.ndarray, " n"], classes: Sequence[str]
) -> list[dict[str, float | str]]:
    """Precision, recall, F1 and number of clips of each class."""
    columns = precision_recall_fscore_support(labels, found, labels=range(len(classes)), zero_division=0.0)
    return [
        {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "clips": int(n)}
        for name, p, r, f, n in zip(classes, *columns, strict=True)
    ]


def _balanced(labels: np.ndarray, found: np.ndarray) -> float:
    """Mean recall of the classes that are present."""
    present = np.unique(labels)
    return float(np.mean([(found[labels == label] == label).mean() for label in present]))
