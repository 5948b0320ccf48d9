"""What is written down of a fit: what decides its result, and what came of it."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

from vidence.datasets.dataset import Sample
from vidence.models.detector import Detector
from vidence.training.progress_file import Progress
from vidence.training.schedule import Schedule

_NAMED = ("vidence", "torch", "lightning", "numpy", "av", "opencv-python-headless", "scikit-learn")


def fit_identity(detector: Detector, schedule: Schedule, parts: Mapping[str, str], seed: int, *, precision: str) -> str:
    """SHA-256 of all that decides the result but the number of epochs, which a resumed fit may raise; one cycle of the
    rate spans them all, so there they count too.

    `detector` is untrained, `parts` are the digests of what it learns from and of what says which epoch is kept,
    `precision` is the arithmetic of the training.
    """
    facts = {
        "detector": detector.spec,
        "start": detector.weights_digest,
        "schedule": asdict(schedule if schedule.course == "one-cycle" else replace(schedule, epochs=1)),
        "parts": dict(parts),
        "seed": seed,
        "precision": precision,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def fit_facts(
    schedule: Schedule,
    done: Progress,
    data: str,
    parts: Mapping[str, Sequence[Sample]],
    seed: int,
    split_seed: int | None = None,
) -> dict[str, Any]:
    """Plain values for a detector's JSON; nothing in them depends on the machine's speed or the day.

    `split_seed` is what `parts` were split with, by default the `seed` of start and order.
    """
    return clip_facts(data, parts, seed, split_seed) | {
        "identity": done.identity,
        "schedule": asdict(schedule),
        "epochs": done.epoch,
        "kept_epoch": done.best_epoch,
    }


def clip_facts(
    data: str, parts: Mapping[str, Sequence[Sample]], seed: int, split_seed: int | None = None
) -> dict[str, Any]:
    """The part of `fit_facts` that a fit without epochs has too."""
    versions = {name: version(name) for name in _NAMED}
    return {
        "training_data": data,
        "clips": {part: dict(sorted(Counter(each.label for each in held).items())) for part, held in parts.items()},
        "seed": seed,
        "split_seed": seed if split_seed is None else split_seed,
        "versions": versions | {"python": platform.python_version()},
    }


def split_seed(facts: Mapping[str, Any]) -> int:
    """The seed that a fit's parts were split with: another seed's test part holds what was trained on."""
    return int(facts.get("split_seed", facts.get("seed")) or 0)
