"""A trained detector meets new normal footage: the SVDD step once more, and a new scale and threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vidence import spec
from vidence.datasets.dataset import Sample, cut_in_time, digest
from vidence.datasets.folder import Folder
from vidence.errors import DataError
from vidence.frames.footage import footage_in, videos_at
from vidence.frames.images import IMAGE_SUFFIXES
from vidence.frames.source import is_text
from vidence.models.detector import Detector
from vidence.models.one_class import OneClass
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.scoring.run import scored_curve
from vidence.scoring.thresholds import THRESHOLDS, Fixed, Quantile, ThresholdRule
from vidence.training.calibration import HIGH
from vidence.training.one_class_tuning import reconstructing, tune
from vidence.training.svdd_step import TUNINGS, Tuning

HELD = 0.2  # share of new footage that is kept from tuning, to calibrate on
QUANTILES = (0.5, 0.9, 0.99)


def adapted(
    detector: Detector,
    new: Sequence[Sample],
    held: Sequence[Sample],
    *,
    old: Sequence[Sample] = (),
    how: Tuning | None = None,
    seed: int = 0,
    progress: bool = False,
) -> ReconstructionDetector:
    """A new detector: tuned on `new`, calibrated and with a threshold from `held` and `old`; all of it is normal.

    A centre that the detector has is kept, so that embeddings of old and new footage come to lie at one place. The
    threshold's rule stays, where it needs no labels; a fixed number stays as it is, on the new scale.
    `facts['history']` gets an entry. Raises `SpecError` for a detector that does not reconstruct or has no encoder.
    """
    detector = reconstructing(detector)
    how = how or TUNINGS[detector.settings.recipe]
    if isinstance(detector.network, OneClass):
        how = replace(how, centre="kept")
    found = tune(
        detector,
        new,
        [*held, *old],
        how,
        seed=seed,
        rule=rule_again(detector),
        progress=progress,
    )
    found.facts["history"] = history(detector, new, held, old, svdd=found.facts["svdd"])
    return found


def divided(samples: Sequence[Sample], *, seed: int = 0) -> tuple[list[Sample], list[Sample]]:
    """Samples to tune on, and a fifth of them, whole, to calibrate on; of a single video its last fifth.

    Raises `DataError` for a single source of fewer than two frames.
    """
    if len(samples) > 1:
        count = max(1, round(HELD * len(samples)))
        kept = set(np.random.default_rng(seed).permutation(len(samples))[:count].tolist())
        parts = ([sample for k, sample in enumerate(samples) if (k in kept) is side] for side in (False, True))
        return tuple(parts)  # type: ignore[return-value]  # two
    early, late = cut_in_time(*samples)
    return [early], [late]


def footage_at(path: str | Path, *, fps: float | None = None) -> list[Sample]:
    """The normal samples at a path: a video, a folder of frames, a folder of videos, or the normal ones of a folder of
    class folders or of a CSV. `fps` is the frame rate of folders of frames. Raises `DataError` if there are none.
    """
    if plain := plain_footage(path):
        return [_normal(one, fps) for one in plain]
    dataset = Folder(str(path), rate=fps)
    return [sample for sample in dataset.samples() if sample.label in dataset.normal]


def plain_footage(path: str | Path) -> list[Path]:
    """The sources at a path without labels: a video, the videos of a folder, or a folder of frames; else none."""
    place = Path(path)
    if place.is_dir():
        framed = any(one.suffix.lower() in IMAGE_SUFFIXES for one in footage_in(place) if one.is_file())
        return [place] if framed else videos_at(place)
    return [place] if place.is_file() and place.suffix.lower() != ".csv" and not is_text(place) else []


def error_quantiles(detector: ReconstructionDetector, samples: Sequence[Sample]) -> dict[str, float]:
    """The median, the .9 and the .99 quantile of the raw errors of normal frames, smoothed as they are live."""
    facts = {name: fact for name, fact in detector.facts.items() if name != "calibration"}
    raw = ReconstructionDetector(detector.settings, detector.network, facts=facts)
    values = np.concatenate([scored_curve(raw, sample.open()).values for sample in samples])
    if not len(values):
        raise DataError("a frame of the normal footage must get a score; none does. Give longer videos.")
    return {f"{q:g}": float(np.quantile(values, q)) for q in QUANTILES}


def _normal(place: Path, fps: float | None) -> Sample:
    return Sample(str(place), "normal", place.name, fps=fps)


def history(
    detector: Detector, new: Sequence[Sample], held: Sequence[Sample], old: Sequence[Sample], **more: Any
) -> list[dict[str, Any]]:
    """The detector's history with one more entry: from which version, on which clips (their digests together, and
    `sources`, those of the files one by one), and what else there is to say.
    """
    entry = {
        "step": "adapt",
        "from": detector.weights_digest,
        "new": digest(new),
        "held": digest(held),
        "old": digest(old) if old else None,
        "sources": sorted({_source(each) for each in [*new, *held, *old]}),
        **more,
    }
    return [*detector.facts.get("history", []), entry]


def adapted_on(detector: Detector, samples: Sequence[Sample]) -> list[Sample]:
    """Those of the samples whose files, or sections of them, the detector was adapted or calibrated anew on."""
    steps = detector.facts.get("history", [])
    known = {source for step in steps for source in step.get("sources", [])}
    return [sample for sample in samples if _source(sample) in known] if known else []


def _source(sample: Sample) -> str:
    """The digest of the whole file, whatever section of it is meant."""
    return replace(sample, frames=None).open().digest


def rule_again(detector: Detector) -> ThresholdRule:
    """The rule of the detector's threshold, if it needs no labels; else, or without one, the .99 quantile."""
    own = detector.threshold or {}
    rule = spec.build(own["rule"], THRESHOLDS) if own.get("rule") else None
    if isinstance(rule, Fixed):
        return Fixed(float(own["value"]))  # whatever the line says: the number in force may have been set by hand
    return Quantile(HIGH) if rule is None or rule.needs_labels else rule
