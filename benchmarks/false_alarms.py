"""Does a budget of one alarm per hour hold on normal footage that the rule has not seen?

    .venv/bin/python benchmarks/false_alarms.py DETECTOR [--minutes 180] [--unseen 360] [--film 1] [--size H W]

Fits `false-alarm-budget(per_hour=1)` on normal synthetic films and counts the alarms on as many others. People walk
and stand, one more walker comes and goes, nothing anomalous happens; every film has its own camera and people. Films
are drawn and scored one at a time, without writing videos; the speed is printed as they go.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidence.datasets.cast import Happening
from vidence.datasets.synthetic import SCENE, Synthetic
from vidence.frames.clip import Frame
from vidence.frames.images import ORDER
from vidence.models.detector import Detector, load_detector
from vidence.scoring.run import judge
from vidence.scoring.thresholds import THRESHOLDS, FalseAlarmBudget
from vidence.scoring.timeline import Curve, events
from vidence.spec import line

QUIET_S, VISIT_S = (2.0, 20.0), (0.25, 12.0)  # how long the visitor is away, and stays
UNSEEN = 500_000  # seeds of the unseen films start here


@dataclass(frozen=True, eq=False)
class NormalFilm:
    """A source that is drawn while it is read. Its digest is its seed: there are no bytes."""

    seed: int
    made: Synthetic

    @property
    def name(self) -> str:
        """The film's seed."""
        return f"normal-{self.seed}"

    @property
    def digest(self) -> str:
        """Stands for the bytes of a file."""
        return f"{self.seed:064x}"

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.made.rate

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.made.size

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.made.length / self.made.rate

    @property
    def clock(self) -> str:
        """What the times are from."""
        return ORDER

    @property
    def dropped(self) -> int:
        """Every frame is drawn."""
        return 0

    @property
    def notes(self) -> list[str]:
        """Nothing goes wrong while drawing."""
        return []

    def __iter__(self) -> Iterator[Frame]:
        """The frames, as `Synthetic.film` draws them."""
        film = self.made.film(visits(self.seed, self.duration), self.seed)
        yield from (Frame(pixels, time) for pixels, time in zip(film.pixels, film.times, strict=True))


def visits(seed: int, seconds: float) -> list[Happening]:
    """One more walker comes and goes at random times."""
    rng, found, time = np.random.default_rng([seed, 7]), [], 0.0
    while (time := time + float(rng.uniform(*QUIET_S))) < seconds:
        stays = float(rng.uniform(*VISIT_S))
        found.append(Happening("visit", time, time + stays))
        time += stays
    return found


def curves(detector: Detector, made: Synthetic, minutes: float, first_seed: int, what: str) -> list[Curve]:
    """Score films until `minutes` of footage are together; progress goes to stderr."""
    found: list[Curve] = []
    began, seconds = time.perf_counter(), 0.0
    while seconds < minutes * 60:
        left = round((minutes * 60 - seconds) * made.rate)
        film = NormalFilm(first_seed + len(found), replace(made, length=min(made.length, max(left, 16))))
        found.append(judge(detector, film, threshold=np.inf).curve)
        seconds += found[-1].seconds
        spent = time.perf_counter() - began
        told = f"{what} {seconds / 60:7.1f} of {minutes:g} minutes, {seconds / spent:.2f} x real time"
        print(f"\r{told}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def alarms(found: Sequence[Curve], threshold: float, merge_s: float) -> int:
    """Events over all films."""
    return sum(len(events(curve, threshold, merge_s=merge_s)) for curve in found)


def main() -> None:
    """Fit, count, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", type=Path)
    parser.add_argument("--minutes", type=float, default=180, help="minutes of footage to fit on")
    parser.add_argument("--unseen", type=float, default=360, help="minutes of footage to count alarms on")
    parser.add_argument("--film", type=float, default=1, help="minutes of one film: one camera, one set of people")
    parser.add_argument("--per-hour", type=float, default=1.0)
    parser.add_argument("--size", type=int, nargs=2, default=SCENE.size, metavar=("H", "W"))
    asked = parser.parse_args()
    detector = load_detector(asked.detector)
    rule = FalseAlarmBudget(per_hour=asked.per_hour)
    made = Synthetic(size=tuple(asked.size), length=round(asked.film * 60 * SCENE.rate), rate=SCENE.rate)
    fitting = curves(detector, made, asked.minutes, 1, "fitting")
    fitted = rule.fit(fitting, line=line(rule, THRESHOLDS))
    unseen = curves(detector, made, asked.unseen, UNSEEN, "unseen ")
    hours = sum(curve.seconds for curve in unseen) / 3600
    count = alarms(unseen, fitted.value, rule.merge_s)
    print(f"footage    {sum(curve.seconds for curve in fitting) / 3600:.2f} h to fit on, {hours:.2f} h unseen")
    print(f"rule       {fitted.rule}")
    print(f"threshold  {fitted.value:.6g}: {fitted.origin}")
    for warning in fitted.warnings:
        print(f"warning    {warning}")
    low, high = fitted.low or 0.0, fitted.high or 0.0  # a budget always gives both
    print(f"promised   {low:.3g} to {high:.3g} alarms per hour")
    print(f"unseen     {count} alarms in {hours:.2f} h: {count / hours:.3g} per hour")
    print("inside the promised interval" if low <= count / hours <= high else "OUTSIDE the promised interval")


if __name__ == "__main__":
    main()
