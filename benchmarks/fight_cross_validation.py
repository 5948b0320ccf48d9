"""The recurrent classifier on real fight clips: 5 folds that keep each film on one side, options chosen on inner folds.

    .venv/bin/python benchmarks/fight_cross_validation.py ../shared/data/fight_surv ../shared/data/mobilenet_backbones \
        --out runs/fight [--seeds 3]

Writes fits.csv, folds.csv, predictions/ and table.md; a stopped run goes on. Beside the chosen network stand the
nuisance baseline (resolution and frame rate), frame averages without a recurrent layer, regression on mean feature
changes, and regression on the network's own motion energy, all in the same folds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from vidence.datasets.folder import normal_classes, read_folder
from vidence.evaluate.cross_validation import Candidate, cross_validate
from vidence.models.cnn_rnn import CnnRnn
from vidence.training.schedule import schedule_for
from vidence.training.workbench import Workbench


def candidates() -> list[Candidate]:
    """The bare line and what stands nearest to it."""
    lines = {
        "bare": CnnRnn(),
        "lstm": CnnRnn(rnn="lstm"),
        "learned projection": CnnRnn(projector="learned"),
        "twelve directions": CnnRnn(projection=12),
    }
    resolved = {name: line.resolved(weights=True) for name, line in lines.items()}
    schedule = schedule_for(CnnRnn().resolved(weights=True))
    return [Candidate(name, settings, schedule) for name, settings in resolved.items()]


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/fight"))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)  # the heads are small: a second thread waits longer than it computes
    samples = read_folder(asked.data / "clips.csv", group="source_video")
    classes = tuple(sorted({sample.label for sample in samples}))
    bench = Workbench(classes, normal_classes(classes, None), asked.weights, asked.out / "cache", bar=True)
    began = time.perf_counter()
    made = bench.build(CnnRnn(), seed=0)
    bench.examples(made, samples)
    print(f"features of {len(samples)} clips: {time.perf_counter() - began:.0f} s (0 if cached)", flush=True)
    cross_validate(samples, candidates(), bench, asked.out, seeds=range(asked.seeds))
    print((asked.out / "table.md").read_text(encoding="utf-8"))
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
