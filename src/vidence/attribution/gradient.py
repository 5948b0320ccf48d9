"""Saliency: the gradient of the score in the pixels (Simonyan et al., 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.calls import GradientOn
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.outputs import score_rows
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

Reduction = Literal["sum", "abs_sum", "abs_max", "l2"]


def reduced(raw: Float[Tensor, "n c t h w"], channels: Reduction) -> Float[Tensor, "n t h w"]:
    """Channels to one value a pixel: `sum` keeps the sign and completeness, the others are sizes."""
    if channels == "sum":
        return raw.sum(dim=1)
    if channels == "abs_sum":
        return raw.abs().sum(dim=1)
    return raw.abs().amax(dim=1) if channels == "abs_max" else raw.norm(dim=1)


@dataclass(frozen=True)
class Gradient(Explainer):
    """|d score / d x|, by default its largest channel (Simonyan): a size, so every value is positive.

    `channels='sum'` keeps the sign. It shows where a small change would matter, not what was used: gates that
    are saturated hide an event from it.
    """

    channels: Reduction = "abs_max"

    def __post_init__(self) -> None:
        """Refuse an unknown reduction."""
        if self.channels not in ("sum", "abs_sum", "abs_max", "l2"):
            raise SpecError(f"channels must be 'sum', 'abs_sum', 'abs_max' or 'l2'; got {self.channels!r}.")

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward and one full backward pass. `raw` is the gradient (1, c, t, h, w)."""
        asked = x.clone().requires_grad_()
        with GradientOn():
            total = score_rows(score, model(asked), asked).sum()
        raw = torch.zeros_like(x)
        if total.requires_grad:
            raw = torch.autograd.grad(total, asked, materialize_grads=True)[0]
        flags = () if raw.any() else ("the score does not depend on the pixels: the map is zero",)
        return Attributions(reduced(raw, self.channels).float(), raw=raw, certificate=Certificate(flags=flags))
