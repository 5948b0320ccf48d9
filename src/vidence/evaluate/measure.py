"""What a measure of an explanation is, and what it may look at: one map of one clip."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidence.attribution.explainer import Explainer
from vidence.attribution.subject import Subject
from vidence.errors import DataError, ShapeError
from vidence.scoring.scores import ScoreFunction
from vidence.spec import Settings

Aspect: TypeAlias = Literal["faithfulness", "localisation", "complexity", "stability", "consistency", "sanity"]


@dataclass(eq=False)
class Case:
    """One map of one clip: `values` float (t, h, w) at the size of x (1, c, t, h, w), + = towards the score.

    `explainer` is what drew the map and is asked again by measures that change the clip or the model; `score` is of a
    fixed class where it is a classifier's. `mask` bool (t, h, w) says where the anomaly is: all False where nothing
    happens, None where that is not known. `seed` belongs to the clip and is the same for every map of it. `shared` is
    what measures keep for the other maps of the clip (`references.concealed_of`). Raises `ShapeError` for a map or mask
    of another shape, `DataError` for a map that is not finite.
    """

    model: nn.Module
    x: Float[Tensor, "1 c t h w"]
    score: ScoreFunction
    explainer: Explainer
    values: Float[np.ndarray, "t h w"]
    mask: Bool[np.ndarray, "t h w"] | None = None
    seed: int = 0
    chunk: int | None = None
    shared: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no map of this clip."""
        shape = tuple(self.x.shape[2:])
        if self.values.shape != shape:
            raise ShapeError(f"a map must be {shape}, like its clip's frames; got {self.values.shape}. Resize it.")
        if not np.isfinite(self.values).all():
            raise DataError(f"a map must be finite everywhere; {type(self.explainer).__name__}'s is not.")
        if self.mask is not None and (self.mask.dtype != bool or self.mask.shape != shape):
            raise ShapeError(f"a mask must be bool {shape}, like its map; got {self.mask.dtype} {self.mask.shape}.")

    @cached_property
    def subject(self) -> Subject:
        """The model under the pinned score, for measures that ask it again: one forward pass at the first use."""
        return Subject(self.model, self.x, self.score, chunk=self.chunk)

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator: each measure of each map of this clip draws the same sample."""
        return np.random.default_rng(self.seed)

    @property
    def event(self) -> bool:
        """Whether it is known that something happens, and where."""
        return self.mask is not None and bool(self.mask.any())

    def again(
        self, *, model: nn.Module | None = None, x: Float[Tensor, "1 c t h w"] | None = None
    ) -> Float[np.ndarray, "t h w"]:
        """The explainer's map of another clip, of another model, or simply once more."""
        asked = self.explainer(model or self.model, self.x if x is None else x, self.score)
        return asked[0].detach().float().cpu().numpy()


class Measure(Settings, ABC):
    """A frozen dataclass of settings that gives a map one number; its line and settings are stored beside the number.

    `better` says which way is good (None: neither), `needs_truth` whether it asks for a mask with an event in it,
    `by_size` whether maps are ranked by the number's size (-.9 is as strong a likeness as .9).
    """

    aspect: ClassVar[Aspect]
    better: ClassVar[Literal["higher", "lower"] | None] = "higher"
    needs_truth: ClassVar[bool] = False
    by_size: ClassVar[bool] = False

    @abstractmethod
    def of(self, case: Case) -> float | None:
        """The number, or None where this case has none (a constant map has no correlation)."""

    @classmethod
    def quick(cls) -> Self:
        """The same measure on a small budget, for tests and a first look."""
        return cls()

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting spelt out, defaults too."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __call__(self, case: Case) -> float | None:
        """Measure one map; None where the measure says nothing of it. Raises `DataError` for a number that is none."""
        if self.needs_truth and not case.event:
            return None
        value = self.of(case)
        if value is not None and not isfinite(value):
            raise DataError(
                f"a measure must be finite; {type(self).__name__} of {type(case.explainer).__name__} is {value}. "
                "See that the model's score is finite on this clip."
            )
        return value
