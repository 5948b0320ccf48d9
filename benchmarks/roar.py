"""Remove and retrain, keep and retrain (Hooker et al., NeurIPS 2019), on the synthetic set.

    .venv/bin/python benchmarks/roar.py --out roar.csv [--clips 120] [--epochs 8] [--seeds 3] [--share .1 ...]

For each seed: clips are drawn, a `cnn-rnn` on the `small` backbone learns them, and each map of the class that it finds
is made for all clips. Then the strongest share of each map goes, or all but that, in training, validation and test
clips, and a new network learns from its start. What it still knows of the test clips is written to --out, a ledger that
a second run goes on from; the table is printed at the end. An event lasts the whole clip. `random-map` is the row to
beat: pixels at random.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from scipy.stats import t as student
from torch import nn

from vidence import spec
from vidence.attribution import COMBINE, EXPLAINERS
from vidence.datasets.synthetic import CLASSES, Synthetic
from vidence.evaluate.controls import CONTROLS
from vidence.evaluate.retraining import LabelledClips, Mode, Parts, accuracy, maps, trained
from vidence.models.cnn_rnn import CnnRnn
from vidence.training.ledger import Ledger, run_key
from vidence.training.schedule import Schedule, schedule_for

LINES = (
    "gradient",
    "input-x-gradient",
    "integrated-gradients(steps=8, limit=8)",
    "grad-cam",
    "lrp",
    "when-where",
    "random-map",
)
SHARES = (0.1, 0.3, 0.5, 0.9)
MODES: tuple[Mode, ...] = ("remove", "keep")


@dataclass(frozen=True)
class Sizes:
    """What decides a run beside seed, map, mode and share; `clips` are those of the training."""

    clips: int
    epochs: int
    side: int
    frames: int


@dataclass
class Setting:
    """The clips of one seed, and the network that learnt them as they are."""

    sizes: Sizes
    seed: int

    @cached_property
    def parts(self) -> Parts:
        """Training clips, half as many to choose the epoch, and as many again to measure on."""
        n = self.sizes.clips
        return Parts(*(self._drawn(count, part) for part, count in enumerate((n, n // 2, n))))

    def _drawn(self, n: int, part: int) -> LabelledClips:
        side, frames = self.sizes.side, self.sizes.frames
        film = Synthetic(size=(side, side), length=frames, event_frames=frames)
        first = self._first(part)
        pixels = [film.clip(CLASSES[i % len(CLASSES)], first + i).pixels for i in range(n)]
        return LabelledClips(np.stack(pixels), np.arange(n) % len(CLASSES))

    def _first(self, part: int) -> int:
        """The seed of a part's first clip, and of its random map: no two clips of any part have one in common."""
        return 1_000_000 * (3 * self.seed + part)

    def learnt(self, parts: Parts) -> nn.Module:
        """A new network of these clips."""
        return trained(self.detector, parts, self.schedule, classes=len(CLASSES), seed=self.seed)

    @property
    def detector(self) -> CnnRnn:
        """The network's settings."""
        side, frames = self.sizes.side, self.sizes.frames
        return CnnRnn(backbone="small", size=side, length=frames, stride=frames, rate=0.0)

    @property
    def schedule(self) -> Schedule:
        """The detector's own, cut short."""
        return replace(schedule_for(self.detector.resolved(weights=False)), epochs=self.sizes.epochs)

    @cached_property
    def network(self) -> nn.Module:
        """What learnt the clips as they are."""
        return self.learnt(self.parts)

    def explained(self, line: str) -> list[np.ndarray]:
        """The maps of training, validation and test clips."""
        explainer = spec.build(line, {**EXPLAINERS, **COMBINE, **CONTROLS})
        return [maps(explainer, self.network, part, seed=self._first(i)) for i, part in enumerate(self.parts)]


@dataclass(frozen=True)
class Run:
    """One training, of clips as they are by default."""

    seed: int
    line: str = ""
    mode: Mode = "remove"
    share: float = 0.0

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.line or 'all'} {self.mode} {self.share}"


def runs(lines: Sequence[str], shares: Sequence[float], seeds: int) -> Iterator[Run]:
    """Seed by seed, each map's together."""
    for seed in range(seeds):
        yield Run(seed)
        for line, mode, share in itertools.product(lines, MODES, shares):
            yield Run(seed, line, mode, share)


def key_of(run: Run, sizes: Sizes) -> str:
    """Of all that decides the result."""
    return run_key(asdict(run) | asdict(sizes))


def fill(ledger: Ledger, asked: Sequence[Run], sizes: Sizes, console: Console) -> None:
    """Retrain what the ledger lacks."""
    missing = [run for run in asked if key_of(run, sizes) not in ledger]
    console.print(f"{len(asked)} trainings of {sizes}; {len(asked) - len(missing)} are in {ledger.path}")
    begun = time.monotonic()
    done = 0
    for seed, of_seed in itertools.groupby(missing, key=lambda run: run.seed):
        setting = Setting(sizes, seed)
        for line, of_line in itertools.groupby(of_seed, key=lambda run: run.line):
            told = setting.explained(line) if line else []
            for run in of_line:
                parts = setting.parts.without(told, run.share, mode=run.mode, seed=run.seed) if line else setting.parts
                network = setting.learnt(parts) if line else setting.network
                found = accuracy(network, parts.test)
                ledger.add(key_of(run, sizes), asdict(run) | asdict(sizes) | {"accuracy": found})
                done += 1
                left = (time.monotonic() - begun) / done * (len(missing) - done) / 60
                console.print(f"{done}/{len(missing)} {run}: {found:.3f}; about {left:.0f} min left")


def told_as(values: Sequence[float]) -> str:
    """The mean over seeds, and half the width of Student's 95 % interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.2f}"
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{mean:.2f} ± {half:.2f}"


def table(held: Mapping[Run, float], lines: Sequence[str], shares: Sequence[float]) -> str:
    """Markdown: test accuracy, and how much better clips are learnt by what is kept than by what is left."""
    seeds = sorted({run.seed for run in held if run.line == ""})
    heads = [f"{mode} {share:g}" for mode, share in itertools.product(MODES, shares)]
    rows = [f"| map | {' | '.join(heads)} | keep less remove |", f"|---|{'---|' * (len(heads) + 1)}"]
    for line in lines:
        found = np.array([[[held[Run(seed, line, m, s)] for s in shares] for m in MODES] for seed in seeds])
        cells = [told_as(list(found[:, m, s])) for m, s in itertools.product(range(2), range(len(shares)))]
        gain = told_as(list((found[:, 1] - found[:, 0]).mean(axis=1)))
        rows.append(f"| `{line}` | {' | '.join(cells)} | {gain} |")
    whole = told_as([held[Run(seed)] for seed in seeds])
    rows.append(f"\nClips as they are: {whole}; always one class: {1 / len(CLASSES):.2f}; seeds: {len(seeds)}.")
    return "\n".join(rows)


def main() -> None:
    """Retrain and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--share", type=float, action="append")
    parser.add_argument("--explainer", action="append")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    lines, shares = asked.explainer or LINES, asked.share or SHARES
    sizes = Sizes(asked.clips, asked.epochs, asked.side, asked.frames)
    ledger = Ledger(asked.out)
    wanted = list(runs(lines, shares, asked.seeds))
    fill(ledger, wanted, sizes, Console(stderr=True))
    held: dict[Run, Any] = {run: ledger[key_of(run, sizes)]["accuracy"] for run in wanted}
    print(table(held, lines, shares))


if __name__ == "__main__":
    main()
