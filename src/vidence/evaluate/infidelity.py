"""How far the map is from what perturbing the clip does to the score (Yeh et al., NeurIPS 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vidence.attribution.perturb.fills import Fill
from vidence.errors import DataError, SpecError
from vidence.evaluate.measure import Case, Measure
from vidence.evaluate.references import RESOLVED, Scale, asked, check_reference, concealed_of, subject_of

Perturbation: TypeAlias = Literal["boxes", "gaussian"]
SIDES = (1 / 8, 1 / 2)  # shortest and longest side of a box, as shares of the clip's


@dataclass(frozen=True)
class Infidelity(Measure):
    """The mean squared difference of the score's change and of what the map says of it, over `samples` perturbations.

    'boxes': random cuboids go behind the reference `fill`, and the map's sum inside is its word; 'gaussian': gray noise
    of standard deviation `noise` is subtracted, and the map's product with it is its word, as of a gradient. `scaled`:
    the map is first multiplied by the best factor, which is never negative: a map of the wrong sign is not turned
    round. `relative`: as a share of the mean squared change, so that 0 is exact and 1 a map of zeros (with `scaled`
    nothing is worse). Raises `DataError` where the score changes by no more than rounding.
    """

    perturbation: Perturbation = "boxes"
    samples: int = 128
    noise: float = 0.1
    fill: Fill = "auto"
    scale: Scale = "score"
    scaled: bool = True
    relative: bool = True
    aspect = "faithfulness"
    better = "lower"

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_reference(self.fill, self.scale)
        if self.perturbation not in ("boxes", "gaussian"):
            raise SpecError(f"perturbation must be 'boxes' or 'gaussian'; got {self.perturbation!r}.")
        if self.samples < 1 or self.noise <= 0:
            raise SpecError(f"samples must be 1 or more and noise positive; got {self.samples} and {self.noise}.")

    @classmethod
    def quick(cls) -> Self:
        """Sixteen perturbations."""
        return cls(samples=16)

    def of(self, case: Case) -> float | None:
        """The mean squared difference."""
        said, changes, whole = self._hidden(case) if self.perturbation == "boxes" else self._noisy(case)
        largest = float(np.abs(changes).max())
        if largest <= RESOLVED * max(abs(whole), largest):
            raise DataError(
                f"infidelity needs a score that changes by more than rounding; {self.samples} perturbations change "
                f"{whole:.6g} by {largest:.2g} at most. Take another fill, or more noise."
            )
        size = float(np.square(changes).mean())
        own = float(np.square(said).mean())
        factor = max(0.0, float((said * changes).mean()) / own) if self.scaled and own > 0 else 1.0
        missed = float(np.square(factor * said - changes).mean())
        return missed / size if self.relative else missed

    def _hidden(self, case: Case) -> tuple[Float[np.ndarray, " v"], Float[np.ndarray, " v"], float]:
        """What the map says of each box, what the score loses by it, and the score."""
        along = [
            _stretches(side, self.samples, rng) for side, rng in zip(case.values.shape, case.rng.spawn(3), strict=True)
        ]
        t, h, w = along
        said = np.einsum("vt,vh,vw,thw->v", *(each.astype(np.float64) for each in along), case.values, optimize=True)
        clip = concealed_of(case, self.fill, self.scale)
        scores = clip.scores(
            lambda a, b: t[a:b, :, None, None] & h[a:b, None, :, None] & w[a:b, None, None, :],
            self.samples,
            label="boxes hidden",
        )
        return said, clip.whole - scores, clip.whole

    def _noisy(self, case: Case) -> tuple[Float[np.ndarray, " v"], Float[np.ndarray, " v"], float]:
        """The same of each noise; drawn in turn, whatever the chunk."""
        subject, rng = subject_of(case, self.scale), case.rng
        said: list[float] = []

        def rows(first: int, last: int) -> Tensor:
            drawn = self.noise * rng.standard_normal((last - first, *case.values.shape))
            said.extend(np.tensordot(drawn, case.values, axes=3))
            return subject.x - torch.from_numpy(drawn).to(subject.x)[:, None]

        scores = asked(subject, rows, self.samples, label="noises")
        whole = float(subject.whole)
        return np.array(said), whole - scores, whole


def _stretches(side: int, count: int, rng: np.random.Generator) -> Bool[np.ndarray, "v s"]:
    """Along one side of the clip, `count` random stretches."""
    shortest, longest = (max(1, round(share * side)) for share in SIDES)
    lengths = rng.integers(shortest, longest + 1, count)
    firsts = rng.integers(0, side - lengths + 1)
    place = np.arange(side)
    return (place >= firsts[:, None]) & (place < (firsts + lengths)[:, None])
