"""From samples to a trained, saved detector: cache the windows, train, choose the threshold, write down the facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from vidence import spec
from vidence.datasets.dataset import Sample, digest_parts
from vidence.errors import SpecError
from vidence.models.classifier_detector import ClassifierDetector, ClassifierSettings
from vidence.scoring.thresholds import THRESHOLDS, BestF1, ThresholdRule
from vidence.scoring.timeline import Curve, curve
from vidence.training.account import fit_facts, fit_identity
from vidence.training.classify import arithmetic, train_classifier
from vidence.training.examples import Examples, clip_means
from vidence.training.film import Film, MovieWriter
from vidence.training.schedule import Schedule, schedule_for
from vidence.training.workbench import Workbench, finetuned, probabilities

FILMED_CLIPS = 4


def fit(
    settings: ClassifierSettings,
    samples: Sequence[Sample],
    val: Sequence[Sample],
    *,
    classes: Sequence[str],
    normal: Sequence[str],
    out: Path,
    weights: Path | None = None,
    seed: int = 0,
    epochs: int | None = None,
    patience: int | None = None,
    resume: bool = False,
    cache: Path | None = None,
    film: MovieWriter | None = None,
    progress: bool = True,
    schedule: Schedule | None = None,
    rule: ThresholdRule | None = None,
    device: str = "auto",
) -> ClassifierDetector:
    """Train on `samples`, choose epoch and threshold on `val`, save the detector into `out` and return it.

    `out` also gets log.csv, curve.png and progress.pt, from which `resume` goes on after a stop at any moment. Windows
    are cached in `cache`, by default in `out`/cache. `rule` chooses the threshold (default: best F1). `film` writes
    movies of filters and activations, `device` is where all of it computes (see `device_of`). Raises `DataError` for
    labels that are no class, `OutputError` for a full disk.
    """
    bench = Workbench(tuple(classes), tuple(normal), weights, cache or out / "cache", bar=progress, device=device)
    detector = bench.build(settings, seed=seed)
    schedule = schedule or schedule_for(detector.settings, pretrained=weights is not None)
    schedule = schedule.asked(epochs=epochs, patience=patience)
    schedule = replace(schedule, finetune=finetuned(detector.settings, schedule))
    data, digests = digest_parts(parts := {"train": samples, "val": val})
    pixels = schedule.finetune != 0
    examples = bench.examples(detector, samples, pixels=pixels, versions=schedule.views)
    held = bench.examples(detector, val, pixels=pixels)
    learns = pixels and hasattr(detector.network, "backbone")
    callbacks = [] if film is None else [_film(held, out / "film", learns=learns)]
    precision = f"{arithmetic(detector.network, examples)} on {examples.entries[0][0].x.dtype}"
    done = train_classifier(
        detector.network,
        examples,
        held,
        schedule,
        classes=len(classes),
        seed=seed,
        identity=fit_identity(detector, schedule, digests, seed, precision=precision),
        folder=out,
        resume=resume,
        bar=progress,
        callbacks=callbacks,
    )
    if film is not None:
        callbacks[0].written(film)
    exact = replace(bench, cache=None if pixels else bench.cache, precision="float32")  # as videos are scored later
    held = exact.examples(detector, val)
    detector.threshold, metrics = judged(detector, held, exact, rule or BestF1(), digests["val"])
    detector.facts = fit_facts(schedule, done, data, parts, seed) | {"metrics": {"val": metrics}}
    detector.save(out)
    return detector


def judged(
    detector: ClassifierDetector, examples: Examples, bench: Workbench, rule: ThresholdRule, data: str
) -> tuple[dict[str, Any], dict[str, float]]:
    """The threshold by the rule on per-frame curves, and the measures of whole clips; `data` is the clips' digest.

    Rules that need no labels see the normal clips alone.
    """
    windows, clip = probabilities(detector, examples)
    scores = detector.anomaly(windows).numpy()
    anomalous = bench.anomalous(examples.labels)
    curves = _curves(examples, scores, clip.numpy())
    normal = [each for each, odd in zip(curves, anomalous, strict=True) if not odd]
    if rule.needs_labels:
        truth = [np.full(len(each.times), odd) for each, odd in zip(curves, anomalous, strict=True)]
        threshold = rule.fit(curves, truth, line=spec.line(rule, THRESHOLDS))
    else:
        threshold = rule.fit(normal, line=spec.line(rule, THRESHOLDS))
    means = clip_means(windows, clip, len(anomalous))
    found, labels = means.argmax(dim=1).numpy(), examples.labels
    metrics = {
        "clips": float(len(labels)),
        "accuracy": float((found == labels).mean()),
        "balanced_accuracy": float(balanced_accuracy_score(labels, found)),
    }
    if anomalous.any() and not anomalous.all():
        metrics["auc"] = float(roc_auc_score(anomalous, detector.anomaly(means).numpy()))
    return threshold.facts(data, normal), metrics


def _curves(examples: Examples, scores: np.ndarray, clip: np.ndarray) -> list[Curve]:
    return [
        curve(zip(entry.times.tolist(), scores[clip == place].tolist(), strict=True))
        for place, entry in enumerate(examples.entries[0])
    ]


def _film(examples: Examples, folder: Path, *, learns: bool) -> Film:
    if not learns:
        raise SpecError(
            "a film shows a per-frame backbone that learns; this one is frozen, or there is none. Fine-tune it, or do "
            "without the film."
        )
    first = [np.asarray(entry.x[0]) for entry in examples.entries[0][:FILMED_CLIPS]]  # (t, c, h, w) uint8
    return Film(folder, torch.from_numpy(np.stack(first)).float().div(255).transpose(1, 2))
