"""How well scores tell anomalous frames (or images) from normal ones. The anomaly is the positive side throughout.

Measures that need both kinds of frames are None where there is one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from vidence.scoring.thresholds import GMean

Truth = Bool[np.ndarray, " n"]
Scores = Float[np.ndarray, " n"]
SIDES = ("normal", "anomalous")
RESAMPLES = 1000


def frame_auc(truth: Truth, scores: Scores) -> float | None:
    """Area under the ROC curve."""
    return float(roc_auc_score(truth, scores)) if _both(truth) else None


def average_precision(truth: Truth, scores: Scores) -> float | None:
    """Average precision; by chance it is the share of anomalous frames, not one half."""
    return float(average_precision_score(truth, scores)) if _both(truth) else None


def equal_error_rate(truth: Truth, scores: Scores) -> float | None:
    """Where the ROC curve, interpolated between its points, has as many misses as false alarms (FNR = FPR)."""
    if not _both(truth):
        return None
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    return float(np.interp(0.0, fpr + tpr - 1, fpr))


def class_auc(labels: Sequence[str], truth: Truth, scores: Scores) -> dict[str, float | None]:
    """The AUC of each class's anomalous frames against all normal frames. `labels` are those of the frames' sources."""
    held = np.asarray(labels)
    found = {}
    for name in sorted(set(held[truth].tolist())):
        kept = ~truth | (held == name)
        found[name] = frame_auc(truth[kept], scores[kept])
    return found


def at_threshold(truth: Truth, scores: Scores, threshold: float) -> dict[str, Any]:
    """What an alarm above `threshold` means: precision, recall and F1 of both sides and their average weighted by
    frames, accuracy (which is the weighted recall) and balanced accuracy. A side never found has precision 0.
    """
    found = scores > threshold
    each = precision_recall_fscore_support(truth, found, labels=[False, True], zero_division=0.0)
    whole = precision_recall_fscore_support(truth, found, labels=[False, True], average="weighted", zero_division=0.0)
    measured: dict[str, Any] = {
        name: dict(zip(SIDES, map(float, sides), strict=True)) | {"weighted": float(weighted)}
        for name, sides, weighted in zip(("precision", "recall", "f1"), each, whole, strict=False)
    }
    measured["accuracy"] = float(accuracy_score(truth, found))
    measured["balanced_accuracy"] = float(balanced_accuracy_score(truth, found)) if _both(truth) else None
    return measured


def oracle(truth: Truth, scores: Scores) -> dict[str, Any] | None:
    """The threshold with the best G-mean, chosen on the very data it is measured on: what nobody has in advance."""
    if not _both(truth):
        return None
    value = GMean()(scores, truth)
    measured = at_threshold(truth, scores, value)
    sensitivity, specificity = measured["recall"]["anomalous"], measured["recall"]["normal"]
    origin = "oracle: chosen on the test data"
    return {"value": value, "origin": origin, "g_mean": float(np.sqrt(sensitivity * specificity))} | measured


def auc_interval(
    truths: Sequence[Truth], scores: Sequence[Scores], *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """The 95 % percentile-bootstrap interval of the AUC over videos, which are drawn whole.

    Draws without both kinds of frames are left out; None with fewer than two videos, or if no draw is left. Exact: the
    AUC of a draw is the mean of the videos' pairwise AUCs, weighted by how often both were drawn.
    """
    if len(truths) < 2:
        return None
    wins = _wins(truths, scores)
    positives, negatives = (np.array([int((each == side).sum()) for each in truths]) for side in (True, False))
    drawn = np.random.default_rng(seed).multinomial(len(truths), np.full(len(truths), 1 / len(truths)), resamples)
    pairs = (drawn @ positives) * (drawn @ negatives)
    won = ((drawn @ wins) * drawn).sum(axis=1)
    if not pairs.any():
        return None
    low, high = np.quantile(won[pairs > 0] / pairs[pairs > 0], [0.025, 0.975])
    return float(low), float(high)


def _wins(truths: Sequence[Truth], scores: Sequence[Scores]) -> Float[np.ndarray, "v v"]:
    """Pairs of an anomalous frame of video i and a normal one of j in which the first scores higher; ties are half."""
    anomalous = np.concatenate([each[truth] for truth, each in zip(truths, scores, strict=True)])
    video = np.repeat(np.arange(len(truths)), [int(truth.sum()) for truth in truths])
    wins = np.zeros((len(truths), len(truths)))
    for j, (truth, each) in enumerate(zip(truths, scores, strict=True)):
        normal = np.sort(each[~truth])
        below, upto = (np.searchsorted(normal, anomalous, side) for side in ("left", "right"))
        wins[:, j] = np.bincount(video, (below + upto) / 2, minlength=len(truths))
    return wins


def _both(truth: Truth) -> bool:
    return bool(truth.any() and not truth.all())
