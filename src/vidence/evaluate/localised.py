"""Explainers and controls on clips whose anomaly is known: one table with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from vidence.attribution.explainer import Explainer
from vidence.errors import DataError, ShapeError
from vidence.evaluate.bootstrap import interval
from vidence.evaluate.comparison import at_size_of, strongest_anomalous
from vidence.evaluate.controls import controls
from vidence.evaluate.localisation import (
    AgainstTruth,
    Mask,
    MassInside,
    MassRatio,
    Pointing,
    PointingFrames,
    RankAccuracy,
    StrongestFrame,
)
from vidence.frames.clip import Clip
from vidence.frames.transforms import resize_map
from vidence.models.classifier_detector import ClassifierDetector
from vidence.models.evaluating import evaluating
from vidence.scoring.scores import Logit, logits_of, pinned

COLUMNS: Mapping[str, AgainstTruth] = MappingProxyType(
    {
        "mass-inside": MassInside(),
        "mass-ratio": MassRatio(),
        "pointing": Pointing(),
        "pointing-exact": Pointing(tolerance=0),
        "pointing-frames": PointingFrames(),
        "strongest-frame": StrongestFrame(),
        "rank-accuracy": RankAccuracy(),
    }
)

SEED = 0  # of noise and draws


@dataclass(frozen=True, slots=True, eq=False)
class MaskedClip:
    """A clip whose anomaly is known: `mask` (t, h, w) at the clip's pixels (empty: nothing happens), and its class."""

    clip: Clip
    mask: Mask
    label: str

    def __post_init__(self) -> None:
        if self.mask.dtype != bool or self.mask.shape != self.clip.pixels.shape[:3]:
            raise ShapeError(
                f"a mask must be bool {self.clip.pixels.shape[:3]}, like its clip; got {self.mask.dtype} "
                f"{self.mask.shape}."
            )


@dataclass(frozen=True, slots=True)
class Row:
    """One explainer (or control) under one measure: mean over `n` clips and its 95 % bootstrap interval."""

    explainer: str
    measure: str
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Localisation:
    """The table. `quiet` is, per explainer, the mean positive mass on clips without anomaly over that on clips with one
    (None where there are none of the former); `accuracy` the share of clips that the detector classifies right.
    """

    rows: tuple[Row, ...]
    quiet: Mapping[str, float | None]
    accuracy: float

    def row(self, explainer: str, measure: str) -> Row:
        """One row. Raises `KeyError` for one that was not measured."""
        return {(row.explainer, row.measure): row for row in self.rows}[explainer, measure]

    def markdown(self) -> str:
        """A table with a row per explainer: mean [95 % interval]."""
        measures = list(dict.fromkeys(row.measure for row in self.rows))
        lines = ["| map | " + " | ".join(measures) + " | mass without event |", "|---" * (len(measures) + 2) + "|"]
        for name in dict.fromkeys(row.explainer for row in self.rows):
            cells = [self.row(name, measure) for measure in measures]
            quiet = self.quiet.get(name)
            shown = [f"{cell.mean:.2f} [{cell.low:.2f}, {cell.high:.2f}]" for cell in cells]
            lines.append(f"| {name} | " + " | ".join([*shown, "" if quiet is None else f"{quiet:.2f}"]) + " |")
        n = max(row.n for row in self.rows)
        lines.append(f"\n{n} clips with an anomaly; accuracy on all {self.accuracy:.3f}; seed {SEED}.")
        return "\n".join(lines) + "\n"


def localise(
    detector: ClassifierDetector, explainers: Mapping[str, Explainer], clips: Iterable[MaskedClip]
) -> Localisation:
    """Measure explainers and controls on clips of known truth.

    Explained is the logit of the clip's own class, right or wrong; in clips without anomaly, that of the strongest
    anomalous class. Maps are brought to the clip's pixels before they are measured; a measure that says nothing of a
    clip leaves it out. Raises `DataError` when no clip has an anomaly.
    """
    found: dict[tuple[str, str], list[float]] = {}
    masses: dict[tuple[str, bool], list[float]] = {}
    right = []
    for i, known in enumerate(clips):
        x = detector.prepare(known.clip)
        with evaluating(detector.network):
            output = detector.network(x)
        right.append(detector.classes[int(logits_of(output).argmax())] == known.label)
        event = bool(known.mask.any())
        label = known.label if event else strongest_anomalous(output, detector.classes, detector.normal)
        chosen = pinned(Logit(label).named(detector.classes), output, x)
        size = (known.mask.shape[1], known.mask.shape[2])
        beside = controls(chosen, seed=SEED + i)
        for name, each in {**explainers, **(beside if event else {})}.items():
            shown = at_size_of(x, each(detector.network, x, chosen))
            values = resize_map(shown, detector.fit.to_source(size, (shown.shape[1], shown.shape[2])), size)
            masses.setdefault((name, event), []).append(float(np.maximum(values, 0).sum()))
            for key, measure in COLUMNS.items() if event else ():
                number = measure.against(values, known.mask, np.random.default_rng([SEED, i]))
                if number is not None:
                    found.setdefault((name, key), []).append(number)
    if not found:
        raise DataError(f"localisation needs clips with an anomaly; none of {len(right)} clips has one.")
    rows = tuple(Row(name, key, *interval(values, seed=SEED), len(values)) for (name, key), values in found.items())
    quiet = {name: _quiet(masses, name) for name in explainers}
    return Localisation(rows, quiet, float(np.mean(right)))


def _quiet(masses: Mapping[tuple[str, bool], Sequence[float]], name: str) -> float | None:
    loud = float(np.mean(masses[name, True]))
    return float(np.mean(masses[name, False])) / loud if (name, False) in masses and loud > 0 else None
