"""Do explainers show the same, do measures rank them alike, and would other clips have told the same?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from vidence.evaluate.bootstrap import bounds, draws, interval, means
from vidence.evaluate.leaderboard import Panel, ranked
from vidence.evaluate.measure import Measure

Level: TypeAlias = Literal["interval", "ordinal"]
Maps: TypeAlias = Mapping[str, Float[np.ndarray, "t i j"]]
LEAST = 3  # explainers, below which a rank correlation over them says nothing


@dataclass(frozen=True, slots=True)
class Agreement:
    """One figure with its 95 % bootstrap interval over `n` clips. `kind`: `maps` (Spearman's correlation of two
    explainers' maps, place by place), `measures` (of two measures' values, explainer by explainer, within a clip),
    `reversal` (of mean places under two measures), `clips` (Krippendorff's alpha: do clips, as raters, agree on how
    explainers stand under one measure), `quiet` (of one explainer's mass where nothing happens, see `quiet_mass`).
    """

    kind: Literal["maps", "measures", "reversal", "clips", "quiet"]
    first: str
    second: str
    statistic: str
    mean: float
    low: float
    high: float
    n: int


def between_maps(clips: Sequence[Maps], sources: Sequence[Hashable], *, seed: int = 0) -> list[Agreement]:
    """Spearman's correlation of each two explainers' maps on the common grid, the mean over clips that have both;
    `sources` names the source of each clip.
    """
    found: dict[tuple[str, str], list[tuple[float, Hashable]]] = {}
    for maps, source in zip(clips, sources, strict=True):
        ranked = {line: rankdata(values) for line, values in maps.items()}
        for first, second in combinations(ranked, 2):
            if ranked[first].shape == ranked[second].shape:
                alike = float(pearson(ranked[first], ranked[second]))
                if not np.isnan(alike):
                    found.setdefault((first, second), []).append((alike, source))
    return [
        Agreement("maps", *pair, "spearman", *interval(*zip(*told, strict=True), seed=seed), len(told))
        for pair, told in found.items()
    ]


def between_measures(panels: Sequence[Panel], explainers: Sequence[str], *, seed: int = 0) -> list[Agreement]:
    """Spearman's correlation of each two measures over the explainers, within each clip, the mean over clips; turned
    so that +1 means that both call the same explainer good.
    """
    found = []
    for first, second in combinations([panel for panel in panels if panel.sign], 2):
        held = _both(first, second, explainers)
        if held is None:
            continue
        *values, sources = held
        within = pearson(*map(ranked, values))
        kept = np.flatnonzero(~np.isnan(within)).tolist()
        if kept:
            names = first.measure, second.measure
            figure = interval(within[kept], [sources[clip] for clip in kept], seed=seed)
            found.append(Agreement("measures", *names, "spearman", *figure, len(kept)))
    return found


def reversal(first: Panel, second: Panel, explainers: Sequence[str], *, seed: int = 0) -> Agreement | None:
    """Spearman's correlation, over the explainers, of their mean places under two measures: -1 where these rank
    explainers in opposite order (Li et al., WACV 2021, say so of objective and subjective measures), +1 where in the
    same. Of places, because single clips may have values that outweigh all others.

    None with fewer than three explainers that have both. The interval draws sources and clips anew; explainers stay as
    they are.
    """
    held = _both(first, second, explainers)
    if held is None:
        return None
    *values, sources = held
    n, drawn = len(sources), draws(sources, seed=seed)
    places = [ranked(each) for each in values]
    of_maps = [np.concatenate([each.mean(axis=0)[None], means(each, drawn)]) for each in places]
    found = pearson(*(rankdata(each, axis=1) for each in of_maps))
    if np.isnan(found[0]):
        return None
    return Agreement("reversal", first.measure, second.measure, "spearman", float(found[0]), *bounds(found[1:]), n)


def reversals(
    panels: Mapping[str, Panel], measures: Mapping[str, Measure], explainers: Sequence[str], *, seed: int = 0
) -> list[Agreement]:
    """`reversal` of each measure of faithfulness beside each of localisation."""
    by = {aspect: [line for line, each in measures.items() if each.aspect == aspect] for aspect in _REVERSED}
    pairs = [(panels[one], panels[other]) for one in by["faithfulness"] for other in by["localisation"]]
    found = (reversal(one, other, explainers, seed=seed) for one, other in pairs if one.sign and other.sign)
    return [each for each in found if each is not None]


_REVERSED = ("faithfulness", "localisation")


def between_clips(panel: Panel, explainers: Sequence[str], *, seed: int = 0) -> list[Agreement]:
    """Krippendorff's alpha of one measure: clips rate explainers, by the values and by their order within the clip.

    A clip that is drawn twice is not compared with itself, or the interval would lie too high.
    """
    maps = _places(panel, explainers)
    clips = panel.complete(maps)
    if len(maps) < 2 or len(clips) < 2:
        return []
    values = panel.values[clips][:, maps]
    counts = draws(panel.sources(clips), seed=seed)
    found = []
    rated: dict[Level, Float[np.ndarray, "c m"]] = {"interval": values, "ordinal": ranked(values)}
    for level, ratings in rated.items():
        whole = krippendorff(ratings, level)
        scale = ratings if level == "interval" else rankdata(ratings).reshape(ratings.shape)
        again = np.array([krippendorff(scale, "interval", weights=each) for each in counts])
        if not np.isnan(whole):
            name = f"alpha-{level}"
            found.append(Agreement("clips", panel.measure, "", name, whole, *bounds(again), len(clips)))
    return found


def krippendorff(
    ratings: Float[np.ndarray, "r u"], level: Level, *, weights: Float[np.ndarray, " r"] | None = None
) -> float:
    """Krippendorff's alpha (Content Analysis, 2004) of raters who rate units; NaN: not rated.

    1: raters agree, 0: no more than by chance; NaN where nothing is rated twice, or all ratings are equal. The ordinal
    distance of two values is that of their mean places among all ratings, so the ordinal alpha is the interval alpha of
    places. `weights`: how often each rater was drawn; copies of one rater are not compared with each other.
    """
    count = np.ones(len(ratings)) if weights is None else np.asarray(weights, np.float64)
    rated = ~np.isnan(ratings)
    sizes = count @ rated  # (u,)
    own = count**2 @ rated  # pairs of a rating with itself and its copies
    paired = sizes**2 > own
    rated = rated & paired
    values = np.where(rated, ratings, 0.0)
    if level == "ordinal":
        values = values.copy()
        values[rated] = rankdata(values[rated])
    sizes, own = sizes[paired], own[paired]
    total = sizes.sum()
    if not total:
        return float("nan")
    values[rated] -= (count @ values).sum() / total  # squares of what is centred lose no digits
    inside = count @ values**2 - (count @ values) ** 2 / np.maximum(count @ rated, 1e-300)
    observed = (2 * sizes**2 * inside[paired] / (sizes**2 - own)).sum() / total
    expected = 2 * total * (count @ values**2).sum() / (total**2 - own.sum())
    return float(1 - observed / expected) if expected > 0 else float("nan")


def pearson(first: Float[np.ndarray, "... m"], second: Float[np.ndarray, "... m"]) -> np.ndarray:
    """The correlation along the last axis; NaN where one side does not vary. Of ranks it is Spearman's."""
    one, other = (values - values.mean(axis=-1, keepdims=True) for values in (first, second))
    norm = np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((one * other).sum(axis=-1) / np.where(norm > 0, norm, np.nan))


def _both(
    first: Panel, second: Panel, explainers: Sequence[str]
) -> tuple[Float[np.ndarray, "c m"], Float[np.ndarray, "c m"], list[str]] | None:
    """Both measures, higher better, of the explainers and clips that have both, and the clips' sources; None where that
    is too little.
    """
    maps = sorted(set(_places(first, explainers)) & set(_places(second, explainers)))
    clips = sorted(set(first.complete(maps)) & set(second.complete(maps)))
    if len(maps) < LEAST or not clips:
        return None
    one, other = (panel.sign * panel.values[clips][:, maps] for panel in (first, second))
    return one, other, first.sources(clips)


def _places(panel: Panel, explainers: Sequence[str]) -> list[int]:
    return [place for place in panel.measured if panel.maps[place] in explainers]
