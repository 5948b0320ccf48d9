"""How much of a clip a map marks: a reader can only check a map that is not everywhere (Bhatt et al., IJCAI 2020).

How fine a map is changes these numbers, so that all are taken of the sizes |a| on one grid of cells.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from vidence.errors import SpecError
from vidence.evaluate.measure import Case, Measure
from vidence.evaluate.pooled_maps import SIDE, pooled

Masses: TypeAlias = Float[np.ndarray, " m"]


def gini(masses: Masses) -> float:
    """0 where all are equal, (m - 1) / m where one holds everything (Hurley and Rickard, TIT 2009); not all zero."""
    m, held = len(masses), np.sort(masses.astype(np.float64))
    return float(((2 * np.arange(1, m + 1) - m - 1) * held).sum() / (m * held.sum()))


def entropy(masses: Masses) -> float:
    """Shannon's of the masses as a distribution, as a share of a flat one's: in [0, 1]; 1 also where all are zero."""
    total = masses.sum(dtype=np.float64)
    share = masses / total if total > 0 else np.full(len(masses), 1 / len(masses))
    held = share[share > 0]
    return float(-(held * np.log(held)).sum() / np.log(max(len(masses), 2)))


def area(masses: Masses, least: float) -> float:
    """The share of the cells that reach `least` of the largest: in [0, 1]; 1 also where all are zero."""
    return float((masses >= least * masses.max()).mean())


class Gridded(Measure):
    """A measure of the sizes on a grid of the clip's frames x `grid` x `grid` cells; None of a map that is zero.

    Frames of fewer pixels a side have that many cells.
    """

    aspect = "complexity"
    grid: int

    def __post_init__(self) -> None:
        """Refuse a grid that is none."""
        if self.grid < 1:
            raise SpecError(f"grid must be at least 1 cell a side; got {self.grid!r}.")

    def of(self, case: Case) -> float | None:
        """That of the cells' sizes."""
        return self.spread(pooled(np.abs(case.values), self.grid).reshape(-1)) if case.values.any() else None

    @abstractmethod
    def spread(self, masses: Masses) -> float:
        """The number for sizes that are not all zero."""


@dataclass(frozen=True)
class Gini(Gridded):
    """The Gini coefficient of the cells' sizes: 0 for a flat map, near 1 where a few cells hold everything."""

    grid: int = SIDE

    def spread(self, masses: Masses) -> float:
        """As `gini`."""
        return gini(masses)


@dataclass(frozen=True)
class Entropy(Gridded):
    """Entropy of the cells' sizes as a distribution over space and time, as a share of a flat map's."""

    grid: int = SIDE
    better = "lower"

    def spread(self, masses: Masses) -> float:
        """As `entropy`."""
        return entropy(masses)


@dataclass(frozen=True)
class EffectiveComplexity(Gridded):
    """The share of the cells whose size reaches `least` of the largest (after Nguyen and Martinez, 2020)."""

    grid: int = SIDE
    least: float = 0.1
    better = "lower"

    def __post_init__(self) -> None:
        """Refuse a height that no cell or every one reaches."""
        super().__post_init__()
        if not 0 < self.least <= 1:
            raise SpecError(f"least must be a share above 0, at most 1; got {self.least!r}.")

    def spread(self, masses: Masses) -> float:
        """As `area`."""
        return area(masses, self.least)


@dataclass(frozen=True)
class TemporalGini(Measure):
    """The Gini coefficient of the frames' sizes: 0 where every frame holds as much; None for an image or a zero map."""

    aspect = "complexity"
    better = None

    def of(self, case: Case) -> float | None:
        """No grid is needed: a frame's sum is the same on any."""
        masses = np.abs(case.values).sum(axis=(1, 2), dtype=np.float64)
        return gini(masses) if len(masses) > 1 and masses.any() else None
