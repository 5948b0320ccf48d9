"""Does the score follow the places that the map names? Curves of hiding them in order, and areas under these."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float, Int

from vidence.errors import SpecError
from vidence.evaluate.cells import Pooling, first_of, pooled, ranking
from vidence.evaluate.measure import Case
from vidence.evaluate.removal import CellClip, Removal


@dataclass(frozen=True, slots=True, eq=False)
class RemovalCurve:
    """Scores over the share of cells that are shown (insertion) or hidden (deletion), from 0 to 1.

    `empty` is the score with everything hidden, `fall` what that takes from the clip's; None where it takes nothing.
    """

    shares: Float[np.ndarray, " s"]
    scores: Float[np.ndarray, " s"]
    empty: float
    fall: float | None

    @property
    def area(self) -> float:
        """The area under the scores, by trapezia."""
        return float(np.trapezoid(self.scores, self.shares))

    def normalised(self) -> RemovalCurve | None:
        """From 1, the score of the clip, to 0, that of the reference; None where there is no fall."""
        if self.fall is None:
            return None
        return RemovalCurve(self.shares, (self.scores - self.empty) / self.fall, 0.0, 1.0)


@dataclass(frozen=True)
class _Ordered(Removal):
    """Cells go in the order of the map's mean or sum there (`by`), in `steps` parts of like size.

    `normalised`: scores are shares of what hiding everything takes from the clip's, so that clips can be averaged; the
    measure then says nothing of a clip whose score does not fall by that. Of a single cell it never says anything.
    """

    steps: int = 32
    by: Pooling = "mean"
    normalised: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        if self.steps < 1 or self.by not in ("mean", "sum"):
            raise SpecError(f"steps must be 1 or more and by 'mean' or 'sum'; got {self.steps} and {self.by!r}.")

    @classmethod
    def quick(cls) -> Self:
        """Eight steps of a coarse grid."""
        return cls(grid=4, depth=2, steps=8)

    def of(self, case: Case) -> float | None:
        """The number, from the clip in its cells and the order of these, most relevant first."""
        clip = self.clip(case)
        return self.along(case, clip, self.order(case, clip)) if clip.count > 1 else None

    def order(self, case: Case, clip: CellClip) -> Int[np.ndarray, " m"]:
        """The cells, most relevant first."""
        return ranking(pooled(case.values, clip.labels, self.by), case.rng)

    def counts(self, clip: CellClip, share: float = 1) -> Int[np.ndarray, " s"]:
        """How many cells are gone after each step, 0 first; fewer steps where there are fewer cells."""
        last = max(1, round(share * clip.count))
        return np.linspace(0, last, min(self.steps, last) + 1).round().astype(int)

    @abstractmethod
    def along(self, case: Case, clip: CellClip, order: Int[np.ndarray, " m"]) -> float | None:
        """The number of one order of the cells."""


@dataclass(frozen=True)
class _Area(_Ordered):
    """The area under a curve from the clip to its reference, or back where it `inserts`."""

    inserts: ClassVar[bool]

    def curve(self, case: Case) -> RemovalCurve:
        """The curve itself, in the score's own units; `.normalised()` is what is averaged over clips."""
        clip = self.clip(case)
        return self._curve(clip, self.order(case, clip))

    def along(self, case: Case, clip: CellClip, order: Int[np.ndarray, " m"]) -> float | None:
        """The area under the curve."""
        if self.normalised and clip.fall is None:
            return None  # of any map: the model need not be asked
        curve = self._curve(clip, order)
        taken = curve.normalised() if self.normalised else curve
        return None if taken is None else taken.area

    def _curve(self, clip: CellClip, order: Int[np.ndarray, " m"]) -> RemovalCurve:
        counts = self.counts(clip)
        first = first_of(order, counts)
        scores = clip.scores(~first if self.inserts else first, label="cells hidden in order")
        return RemovalCurve(counts / clip.count, scores, clip.concealed.empty, clip.fall)


@dataclass(frozen=True)
class Insertion(_Area):
    """The area while cells appear out of the reference, most relevant first (Petsiuk et al., BMVC 2018).

    The same states, run backwards, are deletion with the least relevant first.
    """

    inserts = True


@dataclass(frozen=True)
class Deletion(_Area):
    """The area while cells go behind the reference, most relevant first (Petsiuk et al., BMVC 2018)."""

    inserts = False
    better = "lower"


@dataclass(frozen=True)
class InsertionGain(_Ordered):
    """The area of insertion above the mean one of `orders` random orders of the same cells: 0 is chance."""

    orders: int = 4

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        if self.orders < 1:
            raise SpecError(f"orders must be 1 or more; got {self.orders}.")

    def along(self, case: Case, clip: CellClip, order: Int[np.ndarray, " m"]) -> float | None:
        """Areas under all curves, whose scores are asked for together."""
        rng, counts = case.rng, self.counts(clip)
        lost = clip.fall if self.normalised else 1.0
        if lost is None:
            return None
        orders = [order, *(rng.permutation(clip.count) for _ in range(self.orders))]
        hidden = np.concatenate([~first_of(each, counts) for each in orders])
        scores = clip.scores(hidden, label="cells shown in orders").reshape(len(orders), -1)
        areas = np.trapezoid(scores, counts / clip.count, axis=1)
        return float(areas[0] - areas[1:].mean()) / lost


@dataclass(frozen=True)
class _Early(_Ordered):
    """Looks at the most relevant `share` of the cells only, whose removal leaves a clip that is still one."""

    steps: int = 16
    share: float = 0.25

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise SpecError(f"share must lie in (0, 1]; got {self.share}.")

    def falls(self, clip: CellClip, orders: list[Int[np.ndarray, " m"]]) -> Float[np.ndarray, "o s"] | None:
        """What the score lost after each step of each order, 0 first; as a share of all where that is asked."""
        counts = self.counts(clip, self.share)
        lost = clip.fall if self.normalised else 1.0
        if lost is None:
            return None
        hidden = np.concatenate([first_of(each, counts) for each in orders])
        scores = clip.scores(hidden, label="cells hidden in order")
        return (clip.whole - scores.reshape(len(orders), -1)) / lost


@dataclass(frozen=True)
class AOPC(_Early):
    """The mean loss of the score while the most relevant cells go one after another (Samek et al., TNNLS 2017)."""

    def along(self, case: Case, clip: CellClip, order: Int[np.ndarray, " m"]) -> float | None:
        """The mean over all steps, the first of which hides nothing."""
        falls = self.falls(clip, [order])
        return None if falls is None else float(falls.mean())


@dataclass(frozen=True)
class ABPC(_Early):
    """The area between hiding the most and the least relevant cells first (Samek et al., TNNLS 2017).

    0 is a random order: what a clip loses by looking strange alone, both orders take from it.
    """

    def along(self, case: Case, clip: CellClip, order: Int[np.ndarray, " m"]) -> float | None:
        """The mean difference over all steps."""
        falls = self.falls(clip, [order, order[::-1]])
        return None if falls is None else float((falls[0] - falls[1]).mean())
