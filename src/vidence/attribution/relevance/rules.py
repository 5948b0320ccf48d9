"""How a linear operation shares relevance out among its inputs (Bach et al., PLoS ONE 2015; Montavon et al., 2017).

Each rule is written for any linear operator through the operator itself, so that it serves dense layers, convolutions
of any dimension and transposed ones. Relevance is carried as a multiplier c: an input a has the relevance a c.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vidence.attribution.relevance.propagation import Linear
from vidence.errors import SpecError

TINY = 1e-12  # of the mean size of a denominator: rules whose denominators do not cancel need no more


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a linear operation sees: `a`, and what it would see of a clip of `low` or `high` pixels (first layers)."""

    a: Tensor
    low: Tensor | None = None
    high: Tensor | None = None

    @property
    def box(self) -> tuple[Tensor, Tensor]:
        """Bounds of `a`; wider where differences of pixels leave what the two clips give."""
        if self.low is None or self.high is None:
            raise SpecError("this rule needs the range of the pixels, which only a first layer has. Choose another.")
        low, high = torch.minimum(self.low, self.high), torch.maximum(self.low, self.high)
        return torch.minimum(low, self.a), torch.maximum(high, self.a)


@dataclass(frozen=True, eq=False)
class Shares:
    """`parts` are linear in the inputs; each is given its `multipliers`. What bias and epsilon keep is summed up.

    `unsupported` is the relevance of outputs that nothing contributes to, which the rule gives to nobody.
    """

    parts: tuple[Tensor, ...]
    multipliers: tuple[Tensor, ...]
    bias: Tensor
    epsilon: Tensor
    unsupported: Tensor


class Rule(ABC):
    """A frozen value; `share` gives the relevance of a linear call's outputs back to its inputs."""

    @abstractmethod
    def share(self, call: Linear, inputs: Inputs, z: Tensor, relevance: Tensor) -> Shares:
        """Share out `relevance`, of the shape of the outputs z. Gradients to the inputs are on."""


@dataclass(frozen=True)
class Epsilon(Rule):
    """a w R / (z + eps sign z), z with its bias. `epsilon` is relative to the call's mean |z|.

    0 is LRP-0: gradient x input on a network without biases whose functions are piecewise linear.
    """

    epsilon: float = 1e-6

    def share(self, call: Linear, inputs: Inputs, z: Tensor, relevance: Tensor) -> Shares:
        """One part: the operation itself."""
        part = call.function(inputs.a, call.weight)
        return _proportional((part,), (call.bias,), (1.0,), relevance, self.epsilon)


@dataclass(frozen=True)
class Gamma(Rule):
    """Contributions of the output's sign count 1 + gamma times (Andeol et al., 2021, for inputs of either sign)."""

    gamma: float = 0.25

    def share(self, call: Linear, inputs: Inputs, z: Tensor, relevance: Tensor) -> Shares:
        """A part for outputs that are positive, and one for those that are negative, where they have relevance."""
        w, b = call.weight, call.bias
        more, less = w + self.gamma * w.clamp(min=0), w + self.gamma * w.clamp(max=0)
        positive = z >= 0
        found = []
        for here, one, other, bounds in (
            (positive, more, less, {"min": 0}),
            (~positive, less, more, {"max": 0}),
        ):
            asked = relevance * here
            if asked.any():
                shift = None if b is None else b + self.gamma * b.clamp(**bounds)
                found.append(_proportional((_signed(call, inputs.a, one, other),), (shift,), (1.0,), asked, TINY))
        return Shares(
            tuple(part for shares in found for part in shares.parts),
            tuple(c for shares in found for c in shares.multipliers),
            sum((shares.bias for shares in found), relevance.new_zeros(())),
            sum((shares.epsilon for shares in found), relevance.new_zeros(())),
            sum((shares.unsupported for shares in found), relevance.new_zeros(())),
        )


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """alpha of the positive contributions, beta of the negative ones, alpha - beta = 1; no bias.

    Where an output has contributions of one sign only, they take all: nothing is lost, and nothing made up.
    """

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what would make or lose relevance."""
        if self.alpha - self.beta != 1 or self.beta < 0:
            raise SpecError(f"alpha - beta must be 1 and beta not negative; got {self.alpha} and {self.beta}.")

    def share(self, call: Linear, inputs: Inputs, z: Tensor, relevance: Tensor) -> Shares:
        """Two parts: all positive, and all negative contributions."""
        plus, minus = call.weight.clamp(min=0), call.weight.clamp(max=0)
        above, below = _signed(call, inputs.a, plus, minus), _signed(call, inputs.a, minus, plus)
        alpha = torch.where(below == 0, 1.0, torch.where(above == 0, 0.0, self.alpha)).to(above.dtype)
        return _proportional((above, below), (None, None), (alpha, 1 - alpha), relevance, TINY)


def z_plus() -> AlphaBeta:
    """The positive contributions alone (deep Taylor decomposition, z+)."""
    return AlphaBeta(1.0, 0.0)


@dataclass(frozen=True)
class Box(Rule):
    """a w - l w+ - h w-, for pixels in [l, h] (z-box, Montavon et al., Pattern Recognition 2017): black counts, too."""

    def share(self, call: Linear, inputs: Inputs, z: Tensor, relevance: Tensor) -> Shares:
        """Three parts, which reach the pixels through what precedes the layer: as it is, lowest, and highest."""
        low, high = inputs.box
        parts = (
            call.function(inputs.a, call.weight),
            call.function(low, call.weight.clamp(min=0)),
            call.function(high, call.weight.clamp(max=0)),
        )
        total = parts[0] - parts[1] - parts[2]
        shared = _proportional((total,), (None,), (1.0,), relevance, TINY)
        s = shared.multipliers[0]
        return replace(shared, parts=parts, multipliers=(s, -s, -s))


@dataclass(frozen=True)
class WSquare(Rule):
    """w^2 of the pixels' own weights, whatever the pixels are."""

    def share(self, call: Linear, inputs: Inputs, z: Tensor, relevance: Tensor) -> Shares:
        """One part, carried by the pixels' range."""
        return _proportional((call.function(_ones(inputs), call.weight.square()),), (None,), (1.0,), relevance, TINY)


@dataclass(frozen=True)
class Flat(Rule):
    """All pixels in the layer's view alike."""

    def share(self, call: Linear, inputs: Inputs, z: Tensor, relevance: Tensor) -> Shares:
        """One part, carried by the pixels' range."""
        ones = torch.ones_like(call.weight)
        return _proportional((call.function(_ones(inputs), ones),), (None,), (1.0,), relevance, TINY)


def _signed(call: Linear, a: Tensor, above: Tensor, below: Tensor) -> Tensor:
    """`above` weighs what is positive in a, `below` what is negative."""
    if (a >= 0).all():
        return call.function(a, above)
    return call.function(a.clamp(min=0), above) + call.function(a.clamp(max=0), below)


def _ones(inputs: Inputs) -> Tensor:
    """Ones that depend on the pixels' range, so that relevance finds its way to the pixels whatever their value."""
    low, high = inputs.box
    width = high - low
    return width * torch.where(width > 0, 1 / width, 0).detach()


def _proportional(
    parts: tuple[Tensor, ...],
    biases: tuple[Tensor | None, ...],
    weights: tuple[float | Tensor, ...],
    relevance: Tensor,
    epsilon: float,
) -> Shares:
    """weights[i] R / (part_i + bias_i + epsilon) for each part."""
    multipliers, kept, lost, unsupported = [], *(relevance.new_zeros(()) for _ in range(3))
    for part, bias, weight in zip(parts, biases, weights, strict=True):
        z = part.detach() if bias is None else part.detach() + bias
        keeps = epsilon * z.abs().mean() * torch.where(z >= 0, 1.0, -1.0).to(z.dtype)
        given = relevance * weight / (z + keeps)
        supported = (z != 0) & given.isfinite()
        given = torch.where(supported, given, 0)
        unsupported = unsupported + torch.where(supported, 0, relevance * weight).sum()
        multipliers.append(given)
        lost = lost + (given * keeps).sum()
        if bias is not None:
            kept = kept + (given * bias).sum()
    return Shares(parts, tuple(multipliers), kept, lost, unsupported)
