"""Fits `hybrid`: its members one after the other, then the scale and the threshold of what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidence.datasets.dataset import Dataset, Sample
from vidence.models.hybrid import Hybrid, HybridDetector
from vidence.scoring.thresholds import Quantile, ThresholdRule
from vidence.training.calibration import HIGH, calibrate
from vidence.training.motion_fit import fit_motion
from vidence.training.normal import fit_normal


def fit_hybrid(
    settings: Hybrid,
    samples: Sequence[Sample],
    val: Sequence[Sample],
    *,
    out: Path,
    seed: int = 0,
    split_seed: int | None = None,
    rule: ThresholdRule | None = None,
    weights: str | Path | None = None,
    progress: bool = True,
    **how: Any,
) -> HybridDetector:
    """Fit the members on normal `samples` and `val` into `out`/members, calibrate both on `val`, save all into `out`.

    `weights` are a MobileNetV2's, and add the group `appearance` to the motion; `how` is `fit_normal`'s, such as
    `epochs`. Raises what the members' fits raise.
    """
    same: dict[str, Any] = {"seed": seed, "split_seed": split_seed, "rule": rule, "progress": progress}
    motion = fit_motion(settings.motion, samples, val, out=out / "members" / "motion", weights=weights, **same)
    learned = fit_normal(settings.learned, samples, val, out=out / "members" / "learned", **same, **how)
    detector = HybridDetector(replace(settings, motion=motion.settings), motion, learned)
    detector.facts = dict(motion.facts)
    calibrate(detector, val, rule or Quantile(HIGH))
    detector.save(out)
    return detector


def suited(settings: Hybrid, dataset: Dataset) -> Hybrid:
    """The settings with the data set's channels where the learned member names none."""
    channels = dataset.channels if settings.learned.channels is None else settings.learned.channels
    return replace(settings, learned=replace(settings.learned, channels=channels))
