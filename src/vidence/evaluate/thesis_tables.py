"""Trains, scores and keeps the rows of the thesis' tables: what the ledger lists is not run again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from vidence import spec
from vidence.datasets.dataset import Dataset, Sample, digest
from vidence.errors import DataError
from vidence.evaluate.evaluation import evaluate
from vidence.evaluate.thesis_rows import Row
from vidence.models import DETECTORS, load_detector
from vidence.models.reconstruction_detector import Recipe, ReconstructionDetector, ReconstructionSettings
from vidence.training.ledger import Ledger, run_key
from vidence.training.normal import fit_normal, settled
from vidence.training.one_class_tuning import tune
from vidence.training.recipes_normal import NORMAL_RECIPES

COSTS = ("parameters", "flops_per_frame", "frames_per_s", "peak_rss_mib")
KEPT = (  # of `Evaluation.metrics`
    "frame_auc",
    "frame_ap",
    "eer",
    "pixel_auc",
    "pro",
    "event_delay_s",
    "false_alarms_per_hour",
)


@dataclass(frozen=True, eq=False)
class Bench:
    """What all rows share. `recipe` overrides the lines' training recipe; `frames` are cached in `out`/cache."""

    key: str
    dataset: Dataset
    out: Path
    recipe: Recipe = "corrected"
    split_seed: int = 0

    def run(
        self, rows: Sequence[Row], *, seeds: int, epochs: int | None, tell: Callable[[str], None] = lambda text: None
    ) -> list[dict[str, Any]]:
        """One entry per row and seed, from the ledger where it has them; a stopped run goes on where it was."""
        ledger = Ledger(self._ledger)
        train, val, test = self.dataset.normal_split(self.split_seed)
        if not test:
            raise DataError("a table needs labelled clips to test on; this set has none.")
        data = digest([*train, *val, *test])
        found = []
        for row in rows:
            for seed in range(1 if untrained(row) else seeds):
                keys = self._keys({"row": row.name, "line": row.line, "seed": seed, "data": data}, epochs)
                key = next((each for each in keys if each in ledger), keys[0])
                if key not in ledger:
                    tell(f"{row.name}, seed {seed}")
                    figures = self._one(row, seed, epochs, (train, val, test))
                    about = {"row": row.name, "table": row.table, "line": row.line, "recipe": self.recipe, "seed": seed}
                    ledger.add(key, about | self._split | figures)
                found.append(ledger[key])
        return found

    def kept(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """What the ledger has of the rows, with whatever seeds and epochs it was run, each run once; nothing is
        trained.
        """
        names = {row.name for row in rows}
        held = {(run["row"], run["seed"], run["epochs"]): run for run in Ledger(self._ledger) if self._like(run)}
        return [run for run in held.values() if run["row"] in names]

    def _like(self, run: Mapping[str, Any]) -> bool:
        """Whether a run of the ledger has this bench's recipe and split."""
        return run["recipe"] == self.recipe and (run.get("split_seed") or 0) == self.split_seed

    @property
    def _split(self) -> dict[str, int]:
        """What is written of the split; ledgers say nothing of the usual one."""
        return {"split_seed": self.split_seed} if self.split_seed else {}

    def _asked(self, epochs: int | None) -> tuple[int | None, ...]:
        """What may have been asked for to train as long: nothing, or the recipe's own number of epochs."""
        usual = NORMAL_RECIPES[self.recipe].schedule.epochs
        return (usual, None) if epochs in (usual, None) else (epochs,)

    def _keys(self, facts: Mapping[str, Any], epochs: int | None) -> list[str]:
        """The keys under which the ledger may have a run, the one for a new run first."""
        known = {**facts, "recipe": self.recipe, **self._split}
        return [run_key(known | {"epochs": each}) for each in self._asked(epochs)]

    @property
    def _ledger(self) -> Path:
        return self.out / f"{self.key}.csv"

    def _one(
        self,
        row: Row,
        seed: int,
        epochs: int | None,
        parts: tuple[Sequence[Sample], Sequence[Sample], Sequence[Sample]],
    ) -> dict[str, Any]:
        """Train a row (or tune the one it starts from), and measure it."""
        folder = self._folder(row.name, seed, epochs)
        train, val, test = parts
        if row.starts_from:
            base = load_detector(self._folder(row.starts_from, seed, epochs))
            if not isinstance(base, ReconstructionDetector):
                raise DataError(f"{row.name} starts from {row.starts_from}, which has no network to tune.")
            score = spec.build(row.line, DETECTORS).score
            detector = tune(base, train, val, seed=seed, score=score, cache=self.out / "cache", progress=True)
            detector.save(folder)
        else:
            detector = fit_normal(
                self._settings(row),
                train,
                val,
                out=folder,
                seed=seed,
                split_seed=self.split_seed,
                epochs=epochs,
                resume=True,
                cache=self.out / "cache",
            )
        found = evaluate(detector, self.dataset, test)
        return figures(detector, found.metrics("live"), found.metrics("paper"))

    def _settings(self, row: Row) -> ReconstructionSettings:
        settings: ReconstructionSettings = spec.build(row.line, DETECTORS)
        return settled(replace(settings, recipe=self.recipe), self.dataset)

    def _folder(self, name: str, seed: int, epochs: int | None) -> Path:
        """Names that hold on any file system; sets, recipes and splits lie apart. One that is there already goes on."""
        plain = "".join(sign if sign.isalnum() else "-" for sign in name.lower()).strip("-")
        place = self.out / "detectors" / self.key / self.recipe
        split = f"-split-{self.split_seed}" if self.split_seed else ""
        folders = [place / f"{plain}-{seed}-{each or 'default'}{split}" for each in self._asked(epochs)]
        return next((folder for folder in folders if folder.exists()), folders[-1])


def untrained(row: Row) -> bool:
    """Whether a row has nothing that a seed could change."""
    return row.table == "baseline"


def figures(detector: Any, live: Mapping[str, Any], paper: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of one run; NaN where a measure is undefined. `paper_precision`, `_recall` and `_f1` are
    weighted averages at the best threshold of the test data, as the thesis prints them; `auc_CLASS` is per class.
    """
    kept = {f"live_{name}": _number(live.get(name)) for name in KEPT}
    kept |= {f"paper_{name}": _number(paper.get(name)) for name in ("frame_auc", "frame_ap", "eer")}
    oracle = paper.get("oracle") or {}
    kept |= {f"paper_{name}": _number(oracle.get(name, {}).get("weighted")) for name in ("precision", "recall", "f1")}
    classes = {name: _number(value) for name, value in sorted((paper.get("class_auc") or {}).items())}
    kept |= {"class_mean_auc": fmean(classes.values()) if classes else math.nan}
    cost, facts = live.get("cost", {}), detector.facts
    kept |= {name: _number(cost.get(name)) for name in COSTS}
    val = facts.get("metrics", {}).get("val", {})
    kept |= {name: _number(val.get(name)) for name in ("mse", "mean_frame_mse")}
    state = {"epochs": facts.get("epochs", 0), "plateau": bool(facts.get("plateau_reached", True))}
    return kept | state | {f"auc_{name}": value for name, value in classes.items()}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
