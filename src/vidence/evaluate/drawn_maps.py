"""What has been drawn of one clip is not drawn again as a part of another explainer."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer
from vidence.scoring.score import ScoreFunction


class DrawnMaps:
    """Maps of one clip, one model and one score, by the explainers that drew them."""

    def __init__(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> None:
        self._asked = model, x, score
        self._held: list[tuple[Explainer, Attributions, float]] = []
        self._spared = 0.0

    def attributed(self, explainer: Explainer) -> tuple[Attributions, float]:
        """The explainer's map, and the seconds that it takes; those of parts that were already there count too."""
        began, self._spared = time.perf_counter(), 0.0
        looking: Any = explainer
        if isinstance(getattr(looking, "of", None), tuple):  # it is made of others
            looking = replace(looking, of=tuple(_Once(part, self) for part in looking.of))
        found = looking.attribute(*self._asked, certify=False)
        seconds = time.perf_counter() - began + self._spared
        self._held.append((explainer, found, seconds))
        return found, seconds

    def part(
        self, explainer: Explainer, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction
    ) -> Attributions:
        """The map of a part: what is there, if it is asked about this clip (under noise it is another)."""
        for held, found, seconds in self._held:
            if held == explainer and torch.equal(x, self._asked[1]):
                self._spared += seconds
                return found
        return explainer.explain_clip(model, x, score)


@dataclass(frozen=True)
class _Once(Explainer):
    explainer: Explainer
    maps: DrawnMaps

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        return self.explainer.refusal(model, x, score)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        return self.maps.part(self.explainer, model, x, score)
