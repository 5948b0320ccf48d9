"""Saliency: the gradient of the score in the pixels (Simonyan et al., 2014), alone or times the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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
FLAT = "the score does not depend on the pixels: the map is zero"


def reduced(raw: Float[Tensor, "n c t h w"], channels: Reduction) -> Float[Tensor, "n t h w"]:
    """Channels to one value a pixel: `sum` keeps the sign and completeness, the others are sizes."""
    if channels == "sum":
        return raw.sum(dim=1)
    if channels == "abs_sum":
        return raw.abs().sum(dim=1)
    return raw.abs().amax(dim=1) if channels == "abs_max" else raw.norm(dim=1)


def check_reduction(channels: str) -> None:
    """Raise `SpecError` for a reduction that does not exist."""
    if channels not in ("sum", "abs_sum", "abs_max", "l2"):
        raise SpecError(f"channels must be 'sum', 'abs_sum', 'abs_max' or 'l2'; got {channels!r}.")


def pixel_gradient(
    model: Callable[[Tensor], Any], x: Float[Tensor, "1 c t h w"], score: ScoreFunction
) -> tuple[Float[Tensor, "1 c t h w"], Float[Tensor, " 1"]]:
    """Return d score / d x and the score: a forward and a full backward pass; zero where nothing depends on pixels."""
    asked = x.clone().requires_grad_()
    with GradientOn():
        value = score_rows(score, model(asked), asked)
    if not value.requires_grad:
        return torch.zeros_like(x), value.detach()
    return torch.autograd.grad(value.sum(), asked, materialize_grads=True)[0], value.detach()


@dataclass(frozen=True)
class Gradient(Explainer):
    """|d score / d x|, by default its largest channel (Simonyan): a size, so every value is positive.

    `channels='sum'` keeps the sign. It shows where a small change would matter, not what was used: gates that
    are saturated hide an event from it.
    """

    channels: Reduction = "abs_max"

    def __post_init__(self) -> None:
        """Refuse an unknown reduction."""
        check_reduction(self.channels)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward and one full backward pass. `raw` is the gradient (1, c, t, h, w)."""
        raw, _ = pixel_gradient(model, x, score)
        flags = () if raw.any() else (FLAT,)
        return Attributions(reduced(raw, self.channels).float(), raw=raw, certificate=Certificate(flags=flags))


@dataclass(frozen=True)
class InputXGradient(Explainer):
    """x * d score / d x (Shrikumar et al., 2016): what a pixel adds to a score that is linear and black where absent.

    Signed; sums to the score of a network without biases that is homogeneous of degree one (so never to a squared
    error, which it counts twice). Black pixels get nothing whatever they mean; saturated gates hide an event.
    """

    channels: Reduction = "sum"

    def __post_init__(self) -> None:
        """Refuse an unknown reduction."""
        check_reduction(self.channels)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward and one full backward pass. `raw` is (1, c, t, h, w); the score stands in `extra`."""
        gradient, value = pixel_gradient(model, x, score)
        flags = () if gradient.any() else (FLAT,)
        raw = x * gradient
        values = reduced(raw, self.channels).float()
        return Attributions(values, raw=raw, certificate=Certificate(flags=flags), extra={"score": value})
