"""The clip, the model and the score that an explainer asks again and again: every pass of many goes through here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.calls import GradientOn
from vidence.attribution.outputs import one_each
from vidence.attribution.progress import counted
from vidence.errors import ExplainError
from vidence.scoring.scores import ScoreFunction, pinned

PIXELS_AT_ONCE = 32 * 224 * 224  # frames x height x width in one pass without a gradient; a gradient keeps 4 x as much
Rows: TypeAlias = Callable[[int, int], Tensor]  # (first, last) -> rows (last - first, c, t, h, w)


@dataclass(eq=False)
class Subject:
    """One clip x (1, c, t, h, w) of `model` under `score`, which is pinned on the clip as it is by the first pass.

    `chunk` is how many rows (variants of the clip) one pass takes; None: as many as a fixed memory budget allows.
    """

    model: nn.Module
    x: Float[Tensor, "1 c t h w"]
    score: ScoreFunction
    chunk: int | None = None
    output: Any = field(init=False)
    whole: Float[Tensor, " 1"] = field(init=False)

    def __post_init__(self) -> None:
        """One forward pass of the clip as it is."""
        with torch.no_grad():
            self.output = self.model(self.x)
            self.score = pinned(self.score, self.output, self.x)
            self.whole = one_each(self.score(self.output, self.x), 1).float()

    def at(self, rows: Float[Tensor, "v c t h w"]) -> Float[Tensor, " v"]:
        """The scores of variants, with the graph down to them where they ask for one; all in one pass."""
        with GradientOn() if rows.requires_grad else torch.no_grad():
            return one_each(self.score(self.model(rows), rows), len(rows))

    def steering(self, rows: Float[Tensor, "v c t h w"]) -> Float[Tensor, " v"]:
        """The scores of variants that a mask is stepped by. Raises `ExplainError` where no gradient comes back."""
        values = self.at(rows)
        return led_back(values) if rows.requires_grad else values

    def scores(self, rows: Rows, count: int, *, label: str) -> Float[Tensor, " count"]:
        """The scores of `count` variants, made chunk by chunk; no gradient."""
        return torch.cat([self.at(rows(first, last)) for first, last in self.chunks(count, label=label)]).float()

    def gradients(
        self, rows: Rows, count: int, *, label: str
    ) -> Iterator[tuple[slice, Float[Tensor, " v"], Float[Tensor, "v c t h w"]]]:
        """Chunk by chunk: which rows, their scores, and the gradient of each row's score in its own pixels."""
        for first, last in self.chunks(count, label=label, weight=4):
            asked = rows(first, last).detach().clone().requires_grad_()
            values = self.at(asked)
            gradient = torch.zeros_like(asked)
            if values.requires_grad:
                gradient = torch.autograd.grad(values.sum(), asked, materialize_grads=True)[0]
            yield slice(first, last), values.detach(), gradient

    def chunks(self, count: int, *, label: str, weight: int = 1) -> Iterator[tuple[int, int]]:
        """(first, last + 1) of rows that fit into one pass, counted; `weight`: memory of a row, 4 with its gradient."""
        step = self.chunk or max(1, PIXELS_AT_ONCE // (weight * self.x[0, 0].numel()))
        for first in counted(range(0, count, step), label=label):
            yield first, min(first + step, count)


def led_back(values: Float[Tensor, " v"]) -> Float[Tensor, " v"]:
    """The same scores. Raises `ExplainError` where they lead back to nothing: a mask would follow its penalties."""
    if not values.requires_grad:
        raise ExplainError(
            "an optimised mask needs a gradient of the score, and none comes back: the model detaches on the way, "
            "leaves torch, or runs in inference_mode. Take occlusion or rise."
        )
    return values
