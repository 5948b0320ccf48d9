"""The paper's three sweeps, with the noise that it left out: several seeds a setting, mean and deviation, tests.

Poirier's tables give one run a setting, and the same nominal setting differs by up to 6 points between them. Here
a seed decides the split and the random start, the same for every setting, so that settings are compared in pairs.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vidence.datasets.dataset import Sample, digest
from vidence.errors import DataError
from vidence.models.classifier_detector import ClassifierDetector
from vidence.models.cnn_rnn import CnnRnn
from vidence.training.classify import train_classifier
from vidence.training.examples import Examples
from vidence.training.ledger import Ledger, run_key
from vidence.training.schedule import Schedule, schedule_for
from vidence.training.workbench import Workbench, clip_probabilities, finetuned

Parts = Mapping[str, Sequence[Sample]]
Measure = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]
OnPoint = Callable[[Any, int, ClassifierDetector], Mapping[str, float] | None]
MEASURES = {"accuracy": "accuracy", "precision": "weighted_precision", "recall": "weighted_recall", "f1": "weighted_f1"}


@dataclass(frozen=True)
class Sweep:
    """One setting of `CnnRnn` over its values, and where the paper's numbers for them are."""

    field: str
    values: tuple[float, ...]
    table: str
    column: str
    scale: float = 1.0

    def published(self) -> dict[float, dict[str, float]]:
        """The paper's accuracy, precision, recall and F1 (0..1) by value, as printed."""
        text = (files("vidence.training") / "published" / self.table).read_text(encoding="utf-8")
        rows = csv.DictReader(text.splitlines())
        return {
            float(row[self.column]) / self.scale: {name: float(row[f"{name}_pct"]) / 100 for name in MEASURES}
            for row in rows
        }


SWEEPS: dict[str, Sweep] = {
    "units": Sweep("units", (8, 16, 32, 64, 128, 256, 512, 1024, 2048), "poirier_1_gru_units.csv", "gru_units"),
    "dropout": Sweep("dropout", (0.0, 0.25, 0.5, 0.75), "poirier_2_dropout.csv", "dropout_pct", scale=100.0),
    "blocks": Sweep("blocks", (2, 3, 4), "poirier_3_blocks.csv", "blocks"),
}


def run_sweep(
    name: str,
    settings: CnnRnn,
    parts: Callable[[int], Parts],
    bench: Workbench,
    out: Path,
    *,
    measure: Measure,
    seeds: Sequence[int] = (0, 1, 2),
    schedule: Schedule | None = None,
    on_point: OnPoint | None = None,
) -> list[dict[str, Any]]:
    """One row per value and seed, kept in `out`/NAME.csv; points that are there already are not run again.

    `parts(seed)` splits the clips into train, val and test; `measure(labels, probabilities)` measures the test part
    and must give the names in `MEASURES`; `on_point(value, seed, detector)` may draw maps and return measures of
    them, which join the row. Features are cached, so the settings swept must not change the backbone or the windows.
    """
    if name not in SWEEPS:
        raise DataError(f"a sweep is one of {', '.join(SWEEPS)}; got {name!r}.")
    sweep, ledger = SWEEPS[name], Ledger(out / f"{name}.csv")
    schedule = schedule or schedule_for(settings.resolved(bench.weights is not None))
    windows = _Windows(settings, bench, schedule)
    rows = []
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not bench.bar) as bar:
        for seed in seeds:
            split = parts(seed)
            data = {part: digest(held) for part, held in split.items()}
            for value in bar.track(sweep.values, description=f"seed {seed}"):
                changed: dict[str, Any] = {sweep.field: value}
                point = replace(settings, **changed)
                facts = {"settings": asdict(point), "schedule": asdict(schedule), "data": data, "seed": seed}
                key = run_key(facts | {"maps": on_point is not None})
                if key not in ledger:
                    ledger.add(key, _point(point, split, windows, seed, value, measure, on_point) | {"value": value})
                rows.append(ledger[key])
    return rows


def _point(
    settings: CnnRnn,
    split: Parts,
    windows: _Windows,
    seed: int,
    value: float,
    measure: Measure,
    on_point: OnPoint | None,
) -> dict[str, Any]:
    """Train one setting under one seed and measure it."""
    started, bench = time.monotonic(), windows.bench
    detector = bench.build(settings, seed=seed)
    held = {part: windows.of(samples) for part, samples in split.items()}
    done = train_classifier(
        detector.network, held["train"], held["val"], windows.schedule, classes=len(bench.classes), seed=seed
    )
    found = clip_probabilities(detector, held["test"])
    row: dict[str, Any] = {"value": value, "seed": seed, "epochs": done.epoch, "kept_epoch": done.best_epoch}
    row |= measure(held["test"].labels, found)
    if on_point is not None:
        row |= on_point(value, seed, detector) or {}
    return row | {"seconds": round(time.monotonic() - started, 2)}


class _Windows:
    """The clips' windows, read once for all points."""

    def __init__(self, settings: CnnRnn, bench: Workbench, schedule: Schedule) -> None:
        self.bench, self.schedule = bench, schedule
        self._detector = bench.build(settings, seed=0)
        self._pixels = finetuned(self._detector.settings, schedule) != 0
        self._held: dict[str, int] = {}
        self._all = Examples([[] for _ in range(1 + schedule.views)], np.zeros(0, dtype=np.int64))

    def of(self, samples: Sequence[Sample]) -> Examples:
        """The windows of some clips."""
        new = [sample for sample in samples if sample.path not in self._held]
        if new:
            more = self.bench.examples(self._detector, new, pixels=self._pixels, versions=self.schedule.views)
            self._held |= {sample.path: len(self._held) + place for place, sample in enumerate(new)}
            entries = [[*old, *fresh] for old, fresh in zip(self._all.entries, more.entries, strict=True)]
            self._all = Examples(entries, np.concatenate([self._all.labels, more.labels]))
        return self._all.chosen([self._held[sample.path] for sample in samples])
