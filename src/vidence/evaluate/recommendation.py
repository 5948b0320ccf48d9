"""Which explainer a user of a detector should take: chosen on half of the clips, and told by the other half.

The rule is fixed here, not tuned: among explainers whose map changes with the network's weights, the one whose place
in `CRITERIA` is best by the lower end of its interval. It is recommended only if it beats every control on clips that
had no part in the choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from vidence.errors import DataError
from vidence.evaluate.bootstrap import bounds, draws
from vidence.evaluate.leaderboard import Gain, Panel, panels
from vidence.evaluate.measure import Measure
from vidence.evaluate.measured_rows import Measured
from vidence.evaluate.sanity import SAME

CRITERIA = ("insertion(scale='auto')", "strongest-frame", "mass-ratio")
RANDOMISED = "cascading-randomisation(stages=1)"
OF_PIXELS = "mass-ratio"  # means nothing where only the time is known
TIE = 0.01  # of the share of maps that are beaten: nearer than that, the cheaper one


@dataclass(frozen=True, slots=True)
class Placed:
    """A map on some clips: the mean share of the other maps that it beats (1: all, 0: none), over `CRITERIA`, with its
    interval over sources and clips; what it is better than each control; `alike`, how much of the map is left without
    the network's weights, the mean size of the correlation (None: not known); the passes that its settings promise, a
    backward pass counted twice.
    """

    explainer: str
    control: bool
    beaten: float
    low: float
    high: float
    gains: Mapping[str, Gain]
    alike: float | None
    passes: int

    @property
    def passed(self) -> bool:
        """Whether the map was not found to be independent of the weights."""
        return self.alike is None or self.alike < SAME  # a size


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`chosen` is the best candidate, None where no explainer is one; `tried` all maps on the half that chose, best
    first, `told` the same on the other half; `criteria` those that the clips allow; `clips` how many each half has.
    """

    chosen: str | None
    tried: tuple[Placed, ...]
    told: tuple[Placed, ...]
    criteria: tuple[str, ...]
    clips: tuple[int, int]

    @property
    def held_out(self) -> Placed | None:
        """The chosen explainer on clips that had no part in the choice."""
        return next((each for each in self.told if each.explainer == self.chosen), None)

    @property
    def unbeaten(self) -> tuple[str, ...]:
        """The controls that the chosen explainer was not shown to beat on the other half; all where there is none."""
        found = self.held_out
        if found is None:
            return tuple(each.explainer for each in self.told if each.control)
        return tuple(control for control, gain in found.gains.items() if gain.beats != "yes")

    @property
    def line(self) -> str | None:
        """The recommended explainer's line; None where nothing beats the controls."""
        return None if self.unbeaten else self.chosen


def recommend(
    rows: Sequence[Measured],
    measures: Mapping[str, Measure],
    *,
    groups: Mapping[str, str] = MappingProxyType({}),
    seed: int = 0,
) -> Recommendation:
    """Choose on half of the clips and report on the other, as `halves` deals them.

    Raises `DataError` where a half has nothing to go by.
    """
    first, second = halves(rows, groups=groups, seed=seed)
    tried, criteria = placed(first, measures, seed=seed)
    told, _ = placed(second, measures, seed=seed)
    known = any(each.alike is not None for each in tried)  # else the network has no weights to be randomised
    able = [each for each in tried if not each.control and each.passed and (each.alike is not None or not known)]
    chosen = None
    if able:
        limit = max(each.low for each in able) - TIE
        chosen = min((each for each in able if each.low >= limit), key=lambda each: (each.passes, -each.low)).explainer
    counts = (len({row.window for row in first}), len({row.window for row in second}))
    return Recommendation(chosen, tried, told, criteria, counts)


def halves(
    rows: Sequence[Measured], *, groups: Mapping[str, str] = MappingProxyType({}), seed: int = 0
) -> tuple[list[Measured], list[Measured]]:
    """The rows of two halves of the clips that share no group of sources, alike in the number of clips, of each class
    and altogether, as far as whole groups allow.

    `groups` are those of sources by their digests; of fewer than four groups halves share no source, and of fewer than
    four sources clips are dealt one by one. They are dealt largest first, equal ones in the order that `seed` draws.
    """
    parts: list[dict[tuple[str, int], Any]] = [
        {row.window: groups.get(row.clip, row.clip) for row in rows},
        {row.window: row.clip for row in rows},
        {row.window: row.window for row in rows},
    ]
    part = next((each for each in parts if len(set(each.values())) >= 4), parts[-1])
    held: dict[Any, Counter[str]] = {}  # how many clips of each class
    for window, label in {row.window: row.label for row in rows}.items():
        held.setdefault(part[window], Counter())[label] += 1
    units = sorted(held)
    drawn = [units[i] for i in np.random.default_rng(seed).permutation(len(units))]
    ahead, chosen = Counter[str](), set()  # clips that the first half has more of than the other, and its groups
    for unit in sorted(drawn, key=lambda each: -held[each].total()):
        if sum(count * (ahead[label] + ahead.total()) for label, count in held[unit].items()) <= 0:
            chosen.add(unit)
            ahead.update(held[unit])
        else:
            ahead.subtract(held[unit])
    first = [row for row in rows if part[row.window] in chosen]
    return first, [row for row in rows if part[row.window] not in chosen]


def placed(
    rows: Sequence[Measured], measures: Mapping[str, Measure], *, seed: int = 0
) -> tuple[tuple[Placed, ...], tuple[str, ...]]:
    """All maps that have a place under each criterion that these clips allow, best first, and those criteria."""
    told = [row for row in rows if row.measure != OF_PIXELS or row.known == "pixels"]
    held = {line: panel for line, panel in panels(told, measures).items() if line in CRITERIA}
    usable = [panel for panel in held.values() if panel.complete(panel.measured) and len(panel.measured) > 1]
    if not usable:
        raise DataError(
            "a recommendation needs clips of which maps can be measured on both halves; there are none. Take more "
            "clips, or clips whose truth is known."
        )
    kept = np.logical_and.reduce([_has(panel) for panel in usable])
    maps = np.flatnonzero(kept)
    shares = np.stack([_shares(panel, maps) for panel in usable])  # (criteria, clips, maps)
    sources = usable[0].sources(range(shares.shape[1]))
    counts = np.concatenate([np.ones((1, len(sources)), int), draws(sources, seed=seed)])
    means = _means(shares, counts)  # (1 + draws, maps), the clips as they are first
    names = [usable[0].maps[place] for place in maps]
    clips = int((~np.isnan(shares[:, :, 0])).any(axis=0).sum())
    controls = {row.explainer for row in rows if row.control}
    found = [_placed(names, place, means, rows, controls, clips=clips) for place in range(len(names))]
    return tuple(sorted(found, key=lambda each: -each.low)), tuple(panel.measure for panel in usable)


def recommendation_facts(
    found: Recommendation, rows: Sequence[Measured], *, score: str, explained: str, weights: str, seed: int
) -> dict[str, Any]:
    """What a detector's JSON says of its recommended explainer: the line, where it holds, and its figures, without a
    date. `score` is the line of the default score that the line belongs to, `explained` what was explained, in words.
    """
    told = found.held_out
    if told is None:
        raise DataError("nothing was chosen, so there is nothing to write down.")
    return {
        "explainer": found.chosen,
        "score": score,
        "explained": explained,
        "weights": weights,
        "seed": seed,
        "clips": {"choosing": found.clips[0], "told_by": found.clips[1]},
        "criteria": list(found.criteria),
        "maps_beaten": {"mean": told.beaten, "low": told.low, "high": told.high},
        "gain_over": {
            name: {"mean": gain.mean, "low": gain.low, "high": gain.high} for name, gain in told.gains.items()
        },
        "alike_without_weights": told.alike,
        "passes": told.passes,
        "compared": sorted({row.explainer for row in rows}),
    }


def _has(panel: Panel) -> Bool[np.ndarray, " m"]:
    has = np.zeros(len(panel.maps), dtype=bool)
    has[panel.measured] = True
    return has


def _shares(panel: Panel, maps: Int[np.ndarray, " m"]) -> Float[np.ndarray, "c m"]:
    """The share of the other maps that each beats, clip by clip; NaN in clips without a number of each."""
    found = np.full((len(panel.clips), len(maps)), np.nan)
    places = maps.tolist()
    found[panel.complete(places)] = 1 - (panel.ranks(places) - 1) / (len(maps) - 1)
    return found


def _means(shares: Float[np.ndarray, "k c m"], counts: Int[np.ndarray, "d c"]) -> Float[np.ndarray, "d m"]:
    """Over the clips of each draw within each criterion, then over the criteria that these clips allow."""
    told = ~np.isnan(shares[:, :, 0])  # (k, c): a clip has all maps or none
    sums = np.einsum("dc,kcm->dkm", counts, np.where(told[..., None], shares, 0), optimize=True)
    sizes = counts @ told.T  # (d, k)
    within = sums / np.maximum(sizes, 1)[..., None]
    allowed = (sizes > 0).sum(axis=1)[:, None]
    return np.where(allowed > 0, within.sum(axis=1) / np.maximum(allowed, 1), np.nan)


def _placed(
    names: Sequence[str],
    place: int,
    means: Float[np.ndarray, "d m"],
    rows: Sequence[Measured],
    controls: set[str],
    *,
    clips: int,
) -> Placed:
    name = names[place]
    mine = [row for row in rows if row.explainer == name]
    alike = [abs(row.value) for row in mine if row.measure == RANDOMISED and row.value is not None]
    gains = {
        other: Gain(float(gap[0]), *bounds(gap[1:]), clips)
        for i, other in enumerate(names)
        if other in controls and other != name
        for gap in [means[:, place] - means[:, i]]
    }
    return Placed(
        explainer=name,
        control=name in controls,
        beaten=float(means[0, place]),
        low=bounds(means[1:, place])[0],
        high=bounds(means[1:, place])[1],
        gains=gains,
        alike=mean(alike) if alike else None,
        passes=max(((row.forwards or 0) + 2 * (row.gradients or 0) for row in mine), default=0),
    )
