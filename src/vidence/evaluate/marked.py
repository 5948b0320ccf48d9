"""How much of the score a marked region carries, beside a region of that size anywhere else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from vidence.attribution.perturb.fills import Fill
from vidence.errors import ShapeError
from vidence.evaluate.measure import Case
from vidence.evaluate.references import concealed_of


@dataclass(frozen=True, slots=True)
class MarkedShare:
    """Shares of what hiding the whole clip takes from its score: hiding the `marked` region alone, and `elsewhere`.

    `elsewhere` holds one share for each copy of the region that was moved to a random place and time. `size` is the
    region's share of the clip's pixels. A share may exceed 1, where the rest speaks against the score, or be negative.
    """

    size: float
    marked: float
    elsewhere: tuple[float, ...]

    @property
    def random(self) -> float:
        """The mean share of a random region."""
        return float(np.mean(self.elsewhere))


def marked_share(
    case: Case, region: Bool[np.ndarray, "t h w"], *, draws: int = 8, fill: Fill = "auto"
) -> MarkedShare | None:
    """Hide a `region` that was marked, and `draws` (1 or more) moved copies of it.

    A copy goes round the clip's edges in time and space, and may meet the region. None where hiding everything does not
    lower the score, or nothing is marked. Costs draws + 3 passes. Raises `ShapeError` for what is no region.
    """
    if region.dtype != bool or region.shape != case.values.shape:
        raise ShapeError(f"a region must be bool {case.values.shape}, like its map; got {region.dtype} {region.shape}.")
    if not region.any():
        return None
    moves = case.rng.integers(0, region.shape, (draws, 3))
    copies = [np.roll(region, tuple(map(int, move)), axis=(0, 1, 2)) for move in moves]
    clip = concealed_of(case, fill, "score")
    lost = clip.fall
    if lost is None:
        return None
    hidden = np.stack([region, *copies])
    scores = clip.scores(lambda a, b: hidden[a:b], len(hidden), label="regions hidden")
    marked, *elsewhere = ((clip.whole - float(score)) / lost for score in scores)
    return MarkedShare(float(region.mean()), marked, tuple(elsewhere))
