"""What every fit shares: classes, backbone, cache; it makes detectors under a seed and labelled windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import Progress as Bar
from torch import Tensor

from vidence.datasets.dataset import Sample
from vidence.errors import DataError
from vidence.models.classifier_detector import ClassifierDetector, ClassifierSettings
from vidence.models.device import device_of, place_of
from vidence.models.evaluating import evaluating
from vidence.models.framewise import FramewiseNetwork
from vidence.training.examples import Examples, clip_means, decided
from vidence.training.feature_cache import FeatureCache, Precision
from vidence.training.schedule import Schedule
from vidence.training.views import views

WINDOWS_AT_ONCE, VOLUMES_AT_ONCE = 64, 4  # in one pass: of features, or of pixels through a 3-D network


@dataclass(frozen=True, eq=False)
class Workbench:
    """`weights` are the backbone's, `cache` the folder of cached windows (None: nothing is kept), `device` is where new
    detectors compute: see `device_of`.
    """

    classes: tuple[str, ...]
    normal: tuple[str, ...]
    weights: Path | None = None
    cache: Path | None = None
    bar: bool = False
    precision: Precision = "auto"
    device: str = "auto"

    def build(self, settings: ClassifierSettings, *, seed: int) -> ClassifierDetector:
        """An untrained detector; the same seed gives the same weights, and torch's own seed stays as it was."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = settings.build(self.classes, normal=self.normal, weights=self.weights)
        made.network.to(device_of(self.device))
        return made

    def examples(
        self, detector: ClassifierDetector, samples: Sequence[Sample], *, pixels: bool = False, versions: int = 0
    ) -> Examples:
        """The samples' windows with their labels: features of the detector's backbone, or `pixels` (always pixels of a
        detector whose network mixes frames from the start).

        `versions` augmented views follow the plain one; they are drawn once, so that all fits share the cache.
        """
        network = detector.network
        framewise = None if pixels or not isinstance(network, FramewiseNetwork) else network
        cache = FeatureCache(
            self.cache,
            None if framewise is None else framewise.encode,
            "" if framewise is None else framewise.feature_identity,
            detector.fit,
            detector.windows,
            precision=self.precision,
            device=place_of(network),
        )
        looks = views(versions, seed=0, timed=detector.windows.rate is not None)
        with Bar(console=Console(stderr=True), disable=not self.bar, transient=True) as bar, evaluating(network):
            task = bar.add_task("reading clips", total=len(samples) * len(looks))
            rows = [cache.entries(samples, view, step=lambda: bar.advance(task)) for view in looks]
        return Examples(rows, self.labels(samples))

    def labels(self, samples: Sequence[Sample]) -> Int[np.ndarray, " clips"]:
        """Class indices. Raises `DataError` for a label that is no class."""
        unknown = sorted({sample.label for sample in samples} - set(self.classes))
        if unknown:
            raise DataError(f"labels must be among {', '.join(self.classes)}; got {', '.join(unknown)}.")
        return np.array([self.classes.index(sample.label) for sample in samples], dtype=np.int64)

    def anomalous(self, labels: Int[np.ndarray, " clips"]) -> np.ndarray:
        """Whether each label is a class that is not normal, bool (clips,)."""
        return np.array([self.classes[label] not in self.normal for label in labels], dtype=bool)


def finetuned(settings: Any, schedule: Schedule) -> Any:
    """How many stages of the backbone are to learn: the schedule's word, else what the detector's setting says."""
    if schedule.finetune is not None:
        return schedule.finetune
    return 0 if settings.frozen else "all"


def probabilities(detector: ClassifierDetector, examples: Examples) -> tuple[Float[Tensor, "m k"], Int[Tensor, " m"]]:
    """Class probabilities of every window, and the source each belongs to."""
    found, clips = [], []
    device = place_of(detector.network)
    size = WINDOWS_AT_ONCE if isinstance(detector.network, FramewiseNetwork) else VOLUMES_AT_ONCE
    with evaluating(detector.network):
        for batch in examples.batches(size):
            found.append(decided(detector.network, batch.x.to(device)).softmax(dim=1).cpu())
            clips.append(batch.clip)
    return torch.cat(found), torch.cat(clips)


def clip_probabilities(detector: ClassifierDetector, examples: Examples) -> Float[np.ndarray, "clips k"]:
    """Class probabilities of each source: the mean over its windows."""
    windows, clip = probabilities(detector, examples)
    return clip_means(windows, clip, len(examples.labels)).numpy()
