"""What an explainer is, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction


@dataclass(frozen=True, slots=True, eq=False)
class Attributions:
    """A map per clip. `values` (n, t, h, w) float32 on the map's own grid, positive = towards the score;
    `raw` what the method computed before channels were reduced; `gap` (n,) the completeness gap where the
    method promises completeness; `layer` the call site a feature map was taken from."""

    values: Float[Tensor, "n t h w"]
    raw: Tensor | None = None
    gap: Float[Tensor, " n"] | None = None
    layer: str | None = None
    certificate: Certificate = Certificate()
    extra: Mapping[str, Any] = field(default_factory=dict)


class Explainer(ABC):
    """A frozen dataclass of settings; the model comes at call time and is left as it was, also after an error."""

    @abstractmethod
    def attribute(
        self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction
    ) -> Attributions:
        """Explain `score(model(x), x)` for each clip of the batch."""

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction
    ) -> Float[Tensor, "n t h w"]:
        """Return the map alone."""
        return self.attribute(model, x, score).values


@runtime_checkable
class TwoStage(Protocol):
    """A video model in two functions, so that frame features can be cached, streamed and perturbed.

    `encode` folds the frames into one batch; `decide` is everything that mixes frames.
    """

    def encode(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n t f"]:
        """Features of each frame alone."""
        ...

    def decide(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n k"]:
        """Logits from the features of all frames."""
        ...
