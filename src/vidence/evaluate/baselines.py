"""Simple classifiers to beat: without picture, without motion, or with motion but without order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vidence.datasets.dataset import Sample
from vidence.models.motion_energy import MotionEnergy
from vidence.training.entry_store import Entry
from vidence.training.examples import Examples

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of logistic regression; smaller is smoother


def nuisance(samples: Sequence[Sample]) -> Float[np.ndarray, "n 3"]:
    """What a camera betrays without its picture: height, width, frames per second (0 for unknown)."""
    sources = [sample.open() for sample in samples]
    return np.array([(*source.size, source.fps or 0.0) for source in sources], dtype=np.float64)


def frame_average(examples: Examples) -> Float[np.ndarray, "n f"]:
    """The mean feature over all frames of a clip: what was seen, without when."""
    return np.stack([np.concatenate(_frames(entry)).mean(axis=0) for entry in examples.entries[0]])


def mean_change(examples: Examples) -> Float[np.ndarray, "n f"]:
    """The mean absolute difference of consecutive frames' features: how much moved, without order."""
    rows = []
    for entry in examples.entries[0]:
        changes = [np.abs(np.diff(frames, axis=0)) for frames in _frames(entry)]
        whole = np.concatenate(changes)
        rows.append(whole.mean(axis=0) if len(whole) else np.zeros(entry.x.shape[2]))
    return np.stack(rows)


def last_energy(examples: Examples, energy: MotionEnergy) -> Float[np.ndarray, "n f"]:
    """The motion energy of a clip's last step, averaged over its windows: the network's input without the network."""
    with torch.no_grad():
        windows = (torch.from_numpy(np.array(entry.x, dtype=np.float32)) for entry in examples.entries[0])
        steps = [energy(x)[:, -1] for x in windows]
    return np.stack([step.mean(dim=0).numpy() for step in steps])


def _frames(entry: Entry) -> list[Float[np.ndarray, "t f"]]:
    """Each window's frames, less the repeats that fill up a partial one."""
    kept = []
    for x, times in zip(entry.x, entry.times, strict=True):
        fresh = np.concatenate([[True], np.diff(times) > 0])
        kept.append(np.asarray(x, dtype=np.float32)[fresh])
    return kept


def forest(
    x: Float[np.ndarray, "n f"], labels: Int[np.ndarray, " n"], groups: Sequence[str], *, seed: int, inner: int
) -> Any:
    """A random forest: takes any dependence on few numbers."""
    return RandomForestClassifier(n_estimators=200, min_samples_leaf=3, class_weight="balanced", random_state=seed).fit(
        x, labels
    )


def regression(
    x: Float[np.ndarray, "n f"], labels: Int[np.ndarray, " n"], groups: Sequence[str], *, seed: int, inner: int
) -> Any:
    """Logistic regression on standardised features; its strength is the best of `inner` grouped folds.

    Best is the mean, over classes, of the AUC of that class's probability among all clips held out.
    """
    folds = StratifiedGroupKFold(inner, shuffle=True, random_state=seed)
    parts = list(folds.split(x, labels, groups))

    def held_out_auc(model: Any) -> float:
        found = np.zeros((len(x), int(labels.max()) + 1))
        for held_in, held_out in parts:
            fitted = clone(model).fit(x[held_in], labels[held_in])
            found[held_out] = class_probabilities(fitted, x[held_out], found.shape[1])
        return float(np.mean([roc_auc_score(labels == each, found[:, each]) for each in np.unique(labels)]))

    made = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, class_weight="balanced", max_iter=2000))
        for c in STRENGTHS
    ]
    return max(made, key=held_out_auc).fit(x, labels)


def class_probabilities(model: Any, x: Float[np.ndarray, "n f"], k: int) -> Float[np.ndarray, "n k"]:
    """The model's probabilities with a column for every class, also those that its training part lacked."""
    whole = np.zeros((len(x), k))
    whole[:, np.asarray(model.classes_, dtype=int)] = model.predict_proba(x)
    return whole
