"""What a comparison's rows say: a mean with its interval, a mean rank, and what each map gains over each control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from vidence.evaluate.bootstrap import interval
from vidence.evaluate.measure import Aspect, Measure
from vidence.evaluate.measured_rows import FAILED, Measured

Shown: TypeAlias = tuple[str, int, str]  # `Measured.shown`
Verdict: TypeAlias = Literal["yes", "no", "unclear"]
PLACED_BY: tuple[Aspect, ...] = ("faithfulness", "localisation", "sanity")  # a map of nothing is best by any other
ALIKE = 1e-6  # of a value: nearer ones differ by rounding alone
FEWEST = 6  # clips: of fewer, even if all agree, chance does as well in more than 5 of 100 cases (2 / 2^n)


def ranked(values: Float[np.ndarray, "c m"]) -> Float[np.ndarray, "c m"]:
    """Places in each row, 1 the lowest; equal ones share the mean, and those that `ALIKE` calls equal are."""
    if not values.size:
        return np.empty(values.shape)
    order = values.argsort(axis=1)
    rising = np.take_along_axis(values, order, axis=1)
    steps = ~np.isclose(rising[:, 1:], rising[:, :-1], rtol=ALIKE, atol=1e-12)
    levels = np.empty(values.shape)
    np.put_along_axis(levels, order, np.pad(steps.cumsum(axis=1), ((0, 0), (1, 0))), axis=1)
    return np.asarray(rankdata(levels, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One measure of all maps: `values` (clips, maps), NaN where there is no number; `sign` +1 where higher is better,
    -1 where lower is, 0 where neither is.
    """

    measure: str
    sign: int
    clips: tuple[Shown, ...]
    maps: tuple[str, ...]
    values: Float[np.ndarray, "c m"]

    @property
    def measured(self) -> list[int]:
        """The maps that have a number of at least half of the clips of which any map has one.

        One that fails more often would leave the others few clips to be ranked by.
        """
        held = ~np.isnan(self.values)
        clips = int(held.any(axis=1).sum())
        return [place for place, count in enumerate(held.sum(axis=0).tolist()) if count and 2 * count >= clips]

    def complete(self, maps: Sequence[int]) -> list[int]:
        """The clips of which each of these maps has a number; none for no maps."""
        held = self.values[:, list(maps)]
        return [clip for clip, row in enumerate(held) if row.size and not np.isnan(row).any()]

    def sources(self, clips: Sequence[int]) -> list[str]:
        """Where each of these clips is from."""
        return [self.clips[clip][0] for clip in clips]

    def ranks(self, maps: Sequence[int]) -> Float[np.ndarray, "c m"]:
        """Places of these maps, 1 the best, in each clip of which all have a number; equal ones share the mean."""
        held = self.values[self.complete(maps)][:, list(maps)]
        return ranked(-self.sign * held)


@dataclass(frozen=True, slots=True)
class Gain:
    """What a map's measure is better than a control's, over the `n` clips of both: mean and 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def beats(self) -> Verdict:
        """Whether the interval lies above 0, below, or on both sides; unclear of fewer than `FEWEST` clips, whose
        interval is too narrow (of one clip it has no width).
        """
        if self.n < FEWEST:
            return "unclear"
        return "yes" if self.low > 0 else "no" if self.high < 0 else "unclear"


@dataclass(frozen=True, slots=True)
class Standing:
    """One map under one measure, over `n` clips of so many `sources`. `rank` is the mean place among all maps that are
    `Panel.measured`, 1 the best, over clips of which each has a number; `over_classes` the mean of the classes' means,
    as the pointing game is played; `gains` by control; `refused` why there is none, or none of how many clips;
    `seconds` the median of a map, `forwards` and `gradients` what settings promise.
    """

    explainer: str
    control: bool
    measure: str
    better: str
    n: int
    sources: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    over_classes: float | None = None
    rank: float | None = None
    gains: Mapping[str, Gain] | None = None
    refused: str = ""
    seconds: float | None = None
    forwards: int | None = None
    gradients: int | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no number, at least of some clips, because of an error that nobody foresaw."""
        return FAILED in self.refused


def panels(rows: Sequence[Measured], measures: Mapping[str, Measure]) -> dict[str, Panel]:
    """A panel per measure, in the order of `measures`, all with the same clips and maps; controls come last.

    Of measures `by_size` it holds sizes.
    """
    clips = tuple(dict.fromkeys(row.shown for row in rows))
    lines = sorted(dict.fromkeys((row.control, row.explainer) for row in rows), key=lambda each: each[0])
    maps = tuple(line for _, line in lines)
    made = {}
    for line, measure in measures.items():
        values = np.full((len(clips), len(maps)), np.nan)
        made[line] = Panel(line, {"higher": 1, "lower": -1}.get(measure.better or "", 0), clips, maps, values)
    places = {clip: i for i, clip in enumerate(clips)}, {line: i for i, line in enumerate(maps)}
    for row in rows:
        if row.value is not None and row.measure in made:
            value = abs(row.value) if measures[row.measure].by_size else row.value
            made[row.measure].values[places[0][row.shown], places[1][row.explainer]] = value
    return made


def leaderboard(rows: Sequence[Measured], measures: Mapping[str, Measure], *, seed: int = 0) -> tuple[Standing, ...]:
    """A standing per measure and map: best mean rank first, controls among them, refused maps last."""
    found = []
    controls = {row.explainer for row in rows if row.control}
    by_pair: dict[tuple[str, str], list[Measured]] = {}
    for row in rows:
        by_pair.setdefault((row.measure, row.explainer), []).append(row)
    for line, panel in panels(rows, measures).items():
        ranks = panel.ranks(panel.measured).mean(axis=0) if panel.sign and panel.complete(panel.measured) else None
        places = {} if ranks is None else dict(zip(panel.measured, ranks.tolist(), strict=True))
        standings = [
            _standing(panel, place, by_pair.get((line, name), []), places.get(place), controls, seed=seed)
            for place, name in enumerate(panel.maps)
        ]
        found += sorted(standings, key=lambda each: (each.n == 0, each.rank is None, each.rank or 0.0))
    return tuple(found)


def placed_by(measures: Mapping[str, Measure]) -> list[str]:
    """The lines of the measures whose places a map's mean place is made of: those of `PLACED_BY` that have a better."""
    return [line for line, each in measures.items() if each.aspect in PLACED_BY and each.better is not None]


def mean_places(standings: Sequence[Standing], measures: Mapping[str, Measure]) -> dict[str, float]:
    """Each map's mean place over the measures of `placed_by`, best first; maps without any are left out."""
    held: dict[str, list[float]] = {}
    for each in standings:
        if each.rank is not None and each.measure in placed_by(measures):
            held.setdefault(each.explainer, []).append(each.rank)
    return dict(sorted(((name, fmean(ranks)) for name, ranks in held.items()), key=lambda pair: pair[1]))


def _standing(
    panel: Panel, place: int, rows: Sequence[Measured], rank: float | None, controls: set[str], *, seed: int
) -> Standing:
    name, values = panel.maps[place], panel.values[:, place]
    clips = np.flatnonzero(~np.isnan(values)).tolist()
    held, sources = values[clips], panel.sources(clips)
    labels = {row.shown: row.label for row in rows}
    gains = {
        other: gain(panel, place, panel.maps.index(other), seed=seed)
        for other in panel.maps
        if other in controls and other != name and panel.sign
    }
    mean, low, high = interval(held, sources, seed=seed) if held.size else (None, None, None)
    seconds = [row.seconds for row in rows if row.seconds is not None]
    prices = [(row.forwards, row.gradients) for row in rows if row.forwards is not None]
    return Standing(
        explainer=name,
        control=name in controls,
        measure=panel.measure,
        better={1: "higher", -1: "lower", 0: "neither"}[panel.sign],
        n=len(held),
        sources=len(set(sources)),
        mean=mean,
        low=low,
        high=high,
        over_classes=_over_classes(held, [labels[panel.clips[clip]] for clip in clips]),
        rank=rank,
        gains={other: each for other, each in gains.items() if each is not None},
        refused=_refused(rows, some=bool(held.size)),
        seconds=median(seconds) if seconds else None,
        forwards=prices[0][0] if prices else None,
        gradients=prices[0][1] if prices else None,
    )


def _over_classes(values: Float[np.ndarray, " c"], labels: Sequence[str]) -> float | None:
    """Each class counts as much as any other, however many clips it has."""
    classes = np.array(labels)
    means = [values[classes == label].mean() for label in dict.fromkeys(labels)]
    return float(np.mean(means)) if means else None


def _refused(rows: Sequence[Measured], *, some: bool) -> str:
    reasons = [row.refused for row in rows if row.refused]
    reasons.sort(key=lambda each: not each.startswith(FAILED))  # failures first
    if not reasons:
        return ""
    return f"{len(reasons)} of {len(rows)} clips: {reasons[0]}" if some else reasons[0]


def gain(panel: Panel, place: int, other: int, *, seed: int = 0) -> Gain | None:
    """What one map of a panel is better than another, over the clips of both; None without any."""
    clips = panel.complete([place, other])
    if not clips:
        return None
    found = panel.sign * (panel.values[clips, place] - panel.values[clips, other])
    return Gain(*interval(found, panel.sources(clips), seed=seed), len(clips))
