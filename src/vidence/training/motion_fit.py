"""Fits `motion-attributes` to normal footage: no epochs, one pass to learn and two over what is held out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.progress import track

from vidence.datasets.dataset import Sample, digest
from vidence.frames.clip import Clip
from vidence.models.cell_appearance import CellAppearance
from vidence.models.mobilenet import MobileNetV2
from vidence.models.motion_attributes import MotionAttributes, MotionAttributesDetector
from vidence.models.motion_objects import box_path
from vidence.models.weights import load_weights
from vidence.scoring.run import scored_curve
from vidence.scoring.thresholds import Quantile, ThresholdRule
from vidence.training.account import clip_facts
from vidence.training.adaptation import history, rule_again
from vidence.training.calibration import HIGH, calibrate, refuse_labels_and_no_samples


def fit_motion(
    settings: MotionAttributes,
    samples: Sequence[Sample],
    val: Sequence[Sample],
    *,
    out: Path,
    seed: int = 0,
    split_seed: int | None = None,
    rule: ThresholdRule | None = None,
    weights: str | Path | None = None,
    progress: bool = True,
) -> MotionAttributesDetector:
    """Learn the cells of normal `samples`, calibrate and choose the threshold on normal `val`, save into `out`.

    `rule` chooses the threshold on live scores (default: the .99 quantile). The same seed and footage give the same
    file. `weights` are a MobileNetV2's, and add the group `appearance`; the detector's file holds what is used of them.
    Raises `SpecError` for a rule that needs labels or the group without weights, `DataError` where a part is empty or
    nothing moves in it.
    """
    rule = rule or Quantile(HIGH)
    refuse_labels_and_no_samples(rule, samples, val)
    detector = settings.build() if weights is None else settings.looking().build(_appearance(weights))
    detector.learn(_clips(detector, samples, "learning", bar=progress), seed=seed)
    data = digest([*samples, *val])
    detector.facts = clip_facts(data, {"train": samples, "val": val}, seed, split_seed) | _known(detector)
    detector.facts |= {"boxes": _boxes(settings, [*samples, *val])} if settings.boxes else {}
    calibrate(detector, val, rule)
    detector.save(out)
    return detector


def adapt_motion(
    detector: MotionAttributesDetector,
    new: Sequence[Sample],
    held: Sequence[Sample],
    *,
    old: Sequence[Sample] = (),
    seed: int = 0,
    progress: bool = False,
) -> MotionAttributesDetector:
    """A new detector that has learnt `new` too, its scales and threshold from `held` and `old`; all of it is normal.

    The memory stays as large as it was: of all cells ever seen, old and new, each is kept with the same chance.
    `facts['history']` gets an entry that says how far the new footage was from what was known (`drift`).
    """
    found = detector.settings.build(detector.known.appearance)
    found.known.load_state_dict(detector.known.state_dict())
    found.facts = dict(detector.facts)
    entries = history(detector, new, held, old, drift=drift(detector, held))
    found.learn(_clips(found, new, "learning", bar=progress), seed=seed + len(entries))
    found.facts |= _known(found) | {"history": entries}
    calibrate(found, [*held, *old], rule_again(detector))
    return found


def drift(detector: MotionAttributesDetector, samples: Sequence[Sample]) -> dict[str, float]:
    """How far normal footage is from what the detector knows: the share of `frames` above its threshold, and per group
    the share of moving cells further than usual, which is .001 where nothing has changed.
    """
    distances = [seen.distances for seen in detector.watched(_clips(detector, samples, "", bar=False))]
    far = np.concatenate(distances) > 1 if distances else np.zeros((0, len(detector.settings.groups)), bool)
    values = np.concatenate([scored_curve(detector, each.open()).values for each in samples])
    limit = math.inf if detector.threshold is None else float(detector.threshold["value"])
    found = {"frames": float((values > limit).mean()) if len(values) else 0.0}
    shares = far.mean(axis=0) if len(far) else np.zeros(far.shape[1])
    return found | {name: float(share) for name, share in zip(detector.settings.groups, shares, strict=True)}


def _clips(detector: MotionAttributesDetector, samples: Sequence[Sample], what: str, *, bar: bool) -> Iterator[Clip]:
    """The windows of all samples, one after the other."""
    console = Console(stderr=True)
    for sample in track(samples, what, console=console, transient=True, disable=not bar):
        yield from detector.windows.cut(sample.open())


def _appearance(weights: str | Path) -> CellAppearance:
    return CellAppearance(cast(MobileNetV2, load_weights("mobilenet-v2", weights)))


def _known(detector: MotionAttributesDetector) -> dict[str, Any]:
    memory = detector.known
    known = {"cells": {"kept": int(memory.count), "seen": int(memory.seen)}, "delay_frames": detector.delay}
    return known | detector.scene.facts()


def _boxes(settings: MotionAttributes, samples: Sequence[Sample]) -> dict[str, str]:
    """SHA-256 of the files of boxes that were learnt from, by name."""
    paths = [box_path(str(settings.boxes), sample.path) for sample in samples]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
