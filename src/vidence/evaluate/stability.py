"""Does the map stay when the clip changes by less than one sees, and when the method is run once more?"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from vidence.errors import SpecError
from vidence.evaluate.measure import Case, Measure
from vidence.evaluate.similarity import similarity


@dataclass(frozen=True)
class _Sensitivity(Measure):
    """Of the changes of the map over its size, |a(x + d) - a(x)| / |a(x)|, one figure; None for a map that is zero.

    Over `n` draws of d, uniform in [-radius, radius] for each value of x in [0, 1]; x + d stays in [0, 1].
    """

    radius: float = 0.02
    n: int = 10
    aspect = "stability"
    better = "lower"

    def __post_init__(self) -> None:
        """Refuse settings that are none."""
        if not 0 < self.radius <= 1 or self.n < 1:
            raise SpecError(
                f"sensitivity needs a radius in (0, 1] and n of at least 1; got {self.radius!r} and {self.n!r}."
            )

    @classmethod
    def quick(cls) -> Self:
        """Two draws."""
        return cls(n=2)

    def of(self, case: Case) -> float | None:
        """`n` maps."""
        found = changes(case, radius=self.radius, n=self.n)
        return self.figure(found) if found else None

    @abstractmethod
    def figure(self, found: Sequence[float]) -> float:
        """The number for the changes of all draws."""


@dataclass(frozen=True)
class MaxSensitivity(_Sensitivity):
    """The largest change of the map over its size, |a(x + d) - a(x)| / |a(x)| (Yeh et al., NeurIPS 2019).

    Over `n` draws of d, uniform in [-radius, radius] for each value of x in [0, 1]; x + d stays in [0, 1]. None for a
    map that is zero.
    """

    def figure(self, found: Sequence[float]) -> float:
        """The largest."""
        return max(found)


@dataclass(frozen=True)
class AverageSensitivity(_Sensitivity):
    """`max-sensitivity` with the mean of the draws in place of the largest (Bhatt et al., IJCAI 2020)."""

    def figure(self, found: Sequence[float]) -> float:
        """The mean."""
        return float(np.mean(found))


@dataclass(frozen=True)
class ReRun(Measure):
    """Rank correlation of the map with the same method's under other seeds: 1 where nothing is drawn.

    Every seed is raised by `step`, those of a combined explainer's parts too. None for a constant map.
    """

    step: int = 1
    aspect = "stability"

    def of(self, case: Case) -> float | None:
        """One map."""
        return similarity(case.values, replace(case, explainer=reseeded(case.explainer, self.step)).again())


def changes(case: Case, *, radius: float, n: int) -> Sequence[float]:
    """How much the map changes under each of `n` draws, in sizes of the map; none for a map that is zero."""
    size = float(np.linalg.norm(case.values))
    if not size:
        return ()
    found = []
    for drawn in torch.from_numpy(case.rng.uniform(-radius, radius, (n, *case.x.shape))).to(case.x):
        again = case.again(x=(case.x + drawn).clamp(0, 1))
        found.append(float(np.linalg.norm(again - case.values)) / size)
    return found


def reseeded(explainer: Any, step: int) -> Any:
    """The same settings with every `seed` raised by `step`, also in settings and tuples of settings inside them."""
    if isinstance(explainer, tuple):
        return tuple(reseeded(part, step) for part in explainer)
    if not is_dataclass(explainer) or isinstance(explainer, type):
        return explainer
    held = {field.name: getattr(explainer, field.name) for field in fields(explainer) if field.init}
    new = {name: value + step if name == "seed" else reseeded(value, step) for name, value in held.items()}
    changed = {name: value for name, value in new.items() if value is not held[name] and value != held[name]}
    return replace(explainer, **changed) if changed else explainer
