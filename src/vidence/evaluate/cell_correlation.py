"""Does the map say of cells what hiding them does? Correlations of the two, over sets of cells or over single ones."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool

from vidence.errors import SpecError
from vidence.evaluate.cells import pooled
from vidence.evaluate.measure import Case
from vidence.evaluate.references import RESOLVED
from vidence.evaluate.removal import Removal


@dataclass(frozen=True)
class _Correlated(Removal):
    """Pearson's correlation, over sets of cells, of the map's sum there with the loss of the score without them.

    Says nothing of a map that is the same for all sets, or of a model that loses the same by each.
    """

    def of(self, case: Case) -> float | None:
        """In [-1, 1]: 1 is a map whose sums are the losses, but for their scale."""
        clip = self.clip(case)
        hidden = self.hidden(clip.count, case.rng)
        named = hidden @ pooled(case.values, clip.labels, "sum")
        losses = clip.whole - clip.scores(hidden, label="sets of cells hidden")
        if _flat(named, float(np.abs(named).max())) or _flat(losses, abs(clip.whole) + float(np.abs(losses).max())):
            return None
        return float(np.corrcoef(named, losses)[0, 1])

    @abstractmethod
    def hidden(self, count: int, rng: np.random.Generator) -> Bool[np.ndarray, "v m"]:
        """Sets out of `count` cells."""


def _flat(values: np.ndarray, size: float) -> bool:
    return bool(np.ptp(values) <= RESOLVED * size)


@dataclass(frozen=True)
class FaithfulnessCorrelation(_Correlated):
    """Over `runs` random sets of a `share` of all cells (Bhatt et al., IJCAI 2020)."""

    runs: int = 100
    share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        if self.runs < 3 or not 0 < self.share < 1:
            raise SpecError(f"runs must be 3 or more and share lie in (0, 1); got {self.runs} and {self.share}.")

    @classmethod
    def quick(cls) -> Self:
        """Sixteen sets of a coarse grid."""
        return cls(grid=4, depth=2, runs=16)

    def hidden(self, count: int, rng: np.random.Generator) -> Bool[np.ndarray, "v m"]:
        """Sets of equal size."""
        size = max(1, round(self.share * count))
        return rng.random((self.runs, count)).argsort(axis=1) < size


@dataclass(frozen=True)
class SingleCell(_Correlated):
    """Over the cells, each hidden alone (Li et al., WACV 2021, "faithfulness"): blind to what cells do together."""

    grid: int = 4
    depth: int = 4

    @classmethod
    def quick(cls) -> Self:
        """Four cells a frame."""
        return cls(grid=2)

    def hidden(self, count: int, rng: np.random.Generator) -> Bool[np.ndarray, "v m"]:
        """One cell each."""
        return np.eye(count, dtype=bool)
