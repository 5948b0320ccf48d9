"""The short check of one explanation (methods.md E, line 14): figures that say how far its picture can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What was measured of one map on one window, which begins at sample `first`. None: `unmeasured` says why.

    `marked` is the share of the score that the strongest part of the map carries, `region` its size (share of the clip,
    0 to 1), `chance` what random regions of that size carry; `gain` how much earlier the score comes back when the clip
    is shown in the map's order than in a random one (area between the curves, -1 to 1). `sane` says whether the map
    depends on what the model learnt and on what is asked; `flags` what it ignores, in words. `other` is the explainer
    of another family that the map was compared with: `agreement` is their rank correlation, `overlap` the share of the
    strongest cells of a common grid that both name, `overlap_chance` what it would be by chance. `rerun` is the rank
    correlation with the same map made once more, under what `varied` says. `settings` are the settings of each figure;
    everything random was drawn by `seed`.
    """

    first: int
    region: float | None = None
    marked: float | None = None
    chance: float | None = None
    gain: float | None = None
    sane: bool | None = None
    flags: tuple[str, ...] = ()
    other: str | None = None
    agreement: float | None = None
    overlap: float | None = None
    overlap_chance: float | None = None
    rerun: float | None = None
    varied: str | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
