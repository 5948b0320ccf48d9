"""Grouped k-fold cross-validation of the recurrent classifier beside its baselines, options chosen inside.

Nothing about an outer test fold is seen before it is scored: which candidate is used, and at which epoch its training
ends, is decided on groups of the outer training part. Finished fits are kept in a ledger: a stopped run goes on.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sklearn.model_selection import StratifiedGroupKFold

from vidence.aside import written_aside
from vidence.datasets.dataset import Sample, digest
from vidence.errors import DataError
from vidence.evaluate import baselines
from vidence.evaluate.classification import measures
from vidence.models.cnn_rnn import CnnRnn
from vidence.models.motion_energy import MotionEnergy
from vidence.training.classify import train_classifier
from vidence.training.examples import Examples
from vidence.training.ledger import Ledger, run_key
from vidence.training.schedule import Schedule
from vidence.training.workbench import Workbench, clip_probabilities, finetuned

REPORTED = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "average_precision")


@dataclass(frozen=True)
class Candidate:
    """One way to build and train; `cross_validate` chooses among several on inner folds."""

    name: str
    settings: CnnRnn
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True, eq=False)
class Fold:
    """Indices of clips: `train` and `test` share no group; so do the pairs of `inner`, within `train`."""

    seed: int
    number: int
    train: Int[np.ndarray, " a"]
    test: Int[np.ndarray, " b"]
    inner: list[tuple[Int[np.ndarray, " c"], Int[np.ndarray, " d"]]]


def grouped_folds(
    labels: Int[np.ndarray, " n"], groups: Sequence[str], *, folds: int, inner: int, seeds: Sequence[int]
) -> list[Fold]:
    """Outer and inner folds, a new shuffle for every seed. Raises `DataError` with fewer groups than folds."""
    sides = np.asarray(groups)
    if len(set(groups)) < max(folds, 2) or folds < 2 or inner < 2:
        raise DataError(
            f"cross-validation needs at least two folds and as many groups as folds; got {folds} folds, {inner} inner "
            f"ones and {len(set(groups))} groups. Use fewer folds or group more finely."
        )
    made = []
    for seed in seeds:
        outer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for number, (train_part, test) in enumerate(outer.split(labels, labels, sides)):
            split = StratifiedGroupKFold(inner, shuffle=True, random_state=seed)
            pairs = split.split(train_part, labels[train_part], sides[train_part])
            made.append(Fold(seed, number, train_part, test, [(train_part[a], train_part[b]) for a, b in pairs]))
    return made


def cross_validate(
    samples: Sequence[Sample],
    candidates: Sequence[Candidate],
    bench: Workbench,
    out: Path,
    *,
    folds: int = 5,
    inner: int = 3,
    seeds: Sequence[int] = (0, 1, 2),
) -> list[dict[str, Any]]:
    """Measures per model, fold and seed; `out` gets fits.csv, folds.csv, predictions/ and table.md.

    Models are the chosen candidate ('cnn-rnn') and the baselines, all in the same folds.
    """
    if not candidates or len({each.name for each in candidates}) < len(candidates):
        raise DataError("cross-validation needs candidates with different names.")
    run = _Run(samples, candidates, bench, out)
    planned = grouped_folds(run.labels, [each.group for each in samples], folds=folds, inner=inner, seeds=seeds)
    fits = len(planned) * (1 + (len(candidates) * inner if len(candidates) > 1 else 0))
    with _bar(bench.bar) as bar:
        task = bar.add_task("cross-validation", total=fits)
        run.step = lambda: bar.advance(task)
        rows = [row for fold in planned for row in (run.recurrent(fold), *run.baselines(fold))]
    with written_aside(out / "table.md") as aside:
        aside.write_text(table(rows, normal=run.normal), encoding="utf-8")
    return rows


class _Run:
    """One cross-validation: samples as windows of each candidate, and what is finished."""

    def __init__(self, samples: Sequence[Sample], candidates: Sequence[Candidate], bench: Workbench, out: Path) -> None:
        self.samples, self.candidates, self.bench, self.out = samples, candidates, bench, out
        self.labels, self.data = bench.labels(samples), digest(samples)
        self.normal = [bench.classes.index(name) for name in bench.normal]
        self.fits, self.folds = Ledger(out / "fits.csv"), Ledger(out / "folds.csv")
        self.step: Callable[[], None] = lambda: None
        self._examples: dict[str, Examples] = {}
        self._plain: dict[str, np.ndarray] = {}

    def recurrent(self, fold: Fold) -> dict[str, Any]:
        """Choose a candidate on the inner folds, fit it on the outer training part, measure it on the test part."""
        chosen, started = self.candidates[0], time.monotonic()
        if len(self.candidates) > 1:
            chosen = max(self.candidates, key=lambda each: self._inner_auc(each, fold))
        whole = chosen.schedule.patience is None  # no epoch is chosen, so no clips need to be held back for it
        held_in, held_out = fold.inner[0]
        found = self._fitted(chosen, fold.train if whole else held_in, held_out, fold.test, seed=fold.seed)
        self.step()
        return self._measured("cnn-rnn", fold, found, chosen=chosen.name, seconds=time.monotonic() - started)

    def baselines(self, fold: Fold) -> Iterator[dict[str, Any]]:
        """Nuisance, frame average, mean change, and motion energy where the first candidate looks at it."""
        groups = np.array([each.group for each in self.samples])[fold.train]
        energetic = self.candidates[0].settings.differences == "energy"
        for name, learner in _BASELINES.items():
            if name == "motion-energy" and not energetic:
                continue
            started, x = time.monotonic(), self._described(name)
            model = learner(x[fold.train], self.labels[fold.train], groups, seed=fold.seed, inner=len(fold.inner))
            found = baselines.class_probabilities(model, x[fold.test], len(self.bench.classes))
            yield self._measured(name, fold, found, chosen="", seconds=time.monotonic() - started)

    def _inner_auc(self, candidate: Candidate, fold: Fold) -> float:
        """AUC of the inner test parts, pooled; accuracy where there is one side only."""
        found, labels = [], []
        for held_in, held_out in fold.inner:
            found.append(self._fitted(candidate, held_in, held_out, held_out, seed=fold.seed))
            labels.append(self.labels[held_out])
            self.step()
        held = measures(np.concatenate(labels), np.concatenate(found), normal=self.normal)
        return held["accuracy"] if np.isnan(held["auc"]) else held["auc"]

    def _fitted(
        self, candidate: Candidate, held_in: np.ndarray, val: np.ndarray, test: np.ndarray, *, seed: int
    ) -> Float[np.ndarray, "n k"]:
        """Class probabilities of `test` from a fit on `held_in`, which ends by `val`; read where it was done before."""
        facts = {"candidate": asdict(candidate), "data": self.data, "seed": seed}
        key = run_key(facts | {name: part.tolist() for name, part in (("in", held_in), ("val", val), ("test", test))})
        file = self.out / "predictions" / f"{key}.npy"
        if key in self.fits and file.exists():
            return np.load(file, allow_pickle=False)
        started = time.monotonic()
        detector = self.bench.build(candidate.settings, seed=seed)
        examples = self._windows(candidate)
        done = train_classifier(
            detector.network,
            examples.chosen(held_in),
            examples.chosen(val),
            candidate.schedule,
            classes=len(self.bench.classes),
            seed=seed,
        )
        found = clip_probabilities(detector, examples.chosen(test))
        with written_aside(file) as aside, aside.open("wb") as handle:
            np.save(handle, found, allow_pickle=False)
        row = {"candidate": candidate.name, "seed": seed, "clips": len(held_in), "epochs": done.epoch}
        self.fits.add(key, row | {"kept_epoch": done.best_epoch, "seconds": round(time.monotonic() - started, 2)})
        return found

    def _windows(self, candidate: Candidate) -> Examples:
        if candidate.name not in self._examples:
            detector = self.bench.build(candidate.settings, seed=0)
            pixels = finetuned(detector.settings, candidate.schedule) != 0
            self._examples[candidate.name] = self.bench.examples(
                detector, self.samples, pixels=pixels, versions=candidate.schedule.views
            )
        return self._examples[candidate.name]

    def _described(self, name: str) -> Float[np.ndarray, "n f"]:
        """Each clip as a baseline sees it: from the backbone of the first candidate, averaged over space."""
        if name not in self._plain:
            if name == "nuisance":
                self._plain[name] = baselines.nuisance(self.samples)
            elif name == "motion-energy":
                network: Any = self.bench.build(self.candidates[0].settings, seed=0).network
                energy = MotionEnergy(cells=network.grid**2)
                self._plain[name] = baselines.last_energy(self._windows(self.candidates[0]), energy)
            else:
                settings = replace(self.candidates[0].settings, features="gap")
                examples = self.bench.examples(self.bench.build(settings, seed=0), self.samples)
                self._plain["frame-average"] = baselines.frame_average(examples)
                self._plain["mean-change"] = baselines.mean_change(examples)
        return self._plain[name]

    def _measured(self, model: str, fold: Fold, found: np.ndarray, *, chosen: str, seconds: float) -> dict[str, Any]:
        """Measures on the fold's test part, written down with the probabilities."""
        file = self.out / "predictions" / f"{model}-seed{fold.seed}-fold{fold.number}.csv"
        with written_aside(file) as aside, aside.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(["file", "label", *(f"p_{name}" for name in self.bench.classes)])
            for place, row in zip(fold.test, found.tolist(), strict=True):
                writer.writerow([Path(self.samples[place].path).name, self.samples[place].label, *row])
        held = measures(self.labels[fold.test], found, normal=self.normal)
        whole = {"model": model, "seed": fold.seed, "fold": fold.number, "chosen": chosen, "clips": len(fold.test)}
        row = whole | held | {"seconds": round(seconds, 2)}
        self.folds.add(run_key({"model": model, "seed": fold.seed, "fold": fold.number}), row)
        return row | {"labels": self.labels[fold.test].tolist(), "found": found.tolist()}


_BASELINES: dict[str, Any] = {
    "nuisance": baselines.forest,
    "frame-average": baselines.regression,
    "mean-change": baselines.regression,
    "motion-energy": baselines.regression,
}


def table(rows: Sequence[Mapping[str, Any]], *, normal: Sequence[int]) -> str:
    """Markdown: mean and standard deviation over folds and seeds, and the AUC of each seed's pooled predictions."""
    lines = ["| model | " + " | ".join(REPORTED) + " | pooled auc |", "|---" * (len(REPORTED) + 2) + "|"]
    for model in dict.fromkeys(row["model"] for row in rows):
        held = [row for row in rows if row["model"] == model]
        cells = [_mean_sd([row[name] for row in held]) for name in REPORTED]
        pooled = []
        for seed in sorted({row["seed"] for row in held}):
            parts = [row for row in held if row["seed"] == seed]
            labels, found = (np.concatenate([part[name] for part in parts]) for name in ("labels", "found"))
            pooled.append(measures(labels, found, normal=normal)["auc"])
        lines.append(f"| {model} | " + " | ".join([*cells, _mean_sd(pooled)]) + " |")
    return "\n".join(lines) + "\n"


def _mean_sd(values: Sequence[float]) -> str:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return "-"
    return f"{np.mean(known):.3f} ± {np.std(known, ddof=1):.3f}" if len(known) > 1 else f"{known[0]:.3f}"


def _bar(shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    clocks = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False))
    return Progress(*columns, *clocks, console=Console(stderr=True), disable=not shown)
