"""The short check of one explanation (methods.md E, line 14): figures that say how far its picture can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What was measured of one map on the window that decided. None: could not be measured; `unmeasured` says why.

    `marked` is the share of the score that the strongest `region` of the map (share of the volume, 0 to 1) carries,
    `chance` what random regions of that size carry; `gain` how much earlier the score comes back when the clip is shown
    in the map's order than in a random one (area between the curves, -1 to 1). `sane` says whether the map depends on
    what the model learnt and on what is asked; `flags` what it ignores, in words. `other` is the explainer of another
    family that the map was compared with: `agreement` is their rank correlation, `overlap` the share of the marked
    region that both mark. `rerun` is the rank correlation with the same map made once more, under what `varied` says.
    `settings` are the measures' lines by name; everything random was drawn by `seed`.
    """

    region: float
    marked: float | None = None
    chance: float | None = None
    gain: float | None = None
    sane: bool | None = None
    flags: tuple[str, ...] = ()
    other: str | None = None
    agreement: float | None = None
    overlap: float | None = None
    rerun: float | None = None
    varied: str | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
