"""A trained detector, tuned to lie near a centre of normal embeddings: frames, tuning, calibration and threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import Progress as Bar

from vidence.datasets.dataset import Sample, digest
from vidence.errors import DataError, SpecError
from vidence.models.detector import Detector
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.scoring.thresholds import Quantile, ThresholdRule
from vidence.spec import parse
from vidence.training.calibration import HIGH, calibrate, pixel_errors
from vidence.training.clips import Footage, clips_of
from vidence.training.frame_cache import FrameCache
from vidence.training.svdd_step import TUNINGS, Tuning, tuned


def tune(
    detector: ReconstructionDetector,
    train: Sequence[Sample],
    val: Sequence[Sample],
    how: Tuning | None = None,
    *,
    seed: int = 0,
    score: str | None = None,
    rule: ThresholdRule | None = None,
    cache: Path | None = None,
    progress: bool = False,
) -> ReconstructionDetector:
    """A new detector, its encoder tuned on normal `train`, calibrated and with a threshold from normal `val`.

    The one that is given stays as it is, and so does its decoder in the new one. Without `how`, it is tuned as its
    recipe says. `score` replaces its score ('centre-distance' is that of Deep SVDD). `rule` is that of `fit_normal`.
    Frames are kept in `cache`, if there is one. Raises `DataError` without samples, `SpecError` for a network without
    an encoder.
    """
    if not train or not val:
        raise DataError(f"tuning needs normal samples to tune and to calibrate on; got {len(train)} and {len(val)}.")
    how = how or TUNINGS[detector.settings.recipe]
    with footages(detector, [train, val], cache=cache, bar=progress) as (footage, held):
        with Bar(console=Console(stderr=True), disable=not progress, transient=True) as bar:
            task = bar.add_task("tuning", total=how.epochs)
            found = tuned(detector, clips_of(detector, footage), how, seed=seed, step=lambda: bar.advance(task))
        if found.network.reconstructs:
            found.facts["metrics"] = {"val": pixel_errors(found.network, clips_of(found, held), footage.mean())}
    if score is not None:
        found = ReconstructionDetector(replace(found.settings, score=score), found.network, facts=found.facts)
    found.facts["svdd"] |= {"seed": seed, "training_data": digest([*train, *val])}
    calibrate(found, val, rule or Quantile(HIGH))
    return found


@contextmanager
def footages(
    detector: ReconstructionDetector, parts: Sequence[Sequence[Sample]], *, cache: Path | None, bar: bool = False
) -> Iterator[list[Footage]]:
    """The frames of each part, fitted to the detector's input; without a `cache` they are gone after the block."""
    with TemporaryDirectory() as gone:
        frames = FrameCache(cache or Path(gone), detector.fit, detector.windows.rate, detector.settings.channels or 3)
        yield frames.footages(parts, bar=bar)


def reconstructing(detector: Detector) -> ReconstructionDetector:
    """The detector, if it is one that reconstructs. Raises `SpecError` for another."""
    if not isinstance(detector, ReconstructionDetector):
        key = parse(detector.spec).key
        raise SpecError(f"the SVDD step needs a detector that reconstructs, such as bcae1; this one is {key}.")
    return detector
