"""Which rule a layer gets: convolutions, dense layers, and the first ones, which see pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidence.attribution.relevance.operations import CONVOLUTIONS
from vidence.attribution.relevance.propagation import Linear
from vidence.attribution.relevance.rules import AlphaBeta, Box, Epsilon, Gamma, Rule, z_plus

CompositeName = Literal["epsilon", "epsilon-alpha2-beta1", "epsilon-gamma-box", "epsilon-plus"]


@dataclass(frozen=True)
class Composite:
    """Rules by the kind of a linear operation. `first`: of those that see pixels, moved and scaled at most, not mixed.

    `dense` serves projections of recurrent layers and of attention, too.
    """

    convolution: Rule
    dense: Rule
    first: Rule | None = None

    def rule(self, call: Linear, *, sees_pixels: bool) -> Rule:
        """The rule of a call."""
        if sees_pixels and self.first is not None:
            return self.first
        return self.convolution if call.name in CONVOLUTIONS else self.dense


def composite_of(name: CompositeName, *, epsilon: float, gamma: float) -> Composite | None:
    """The composite of a name, None for an unknown one (names and values as in zennit: Anders et al., 2021)."""
    dense = Epsilon(epsilon)
    return {
        "epsilon": Composite(dense, dense),
        "epsilon-plus": Composite(z_plus(), dense),
        "epsilon-alpha2-beta1": Composite(AlphaBeta(2.0, 1.0), dense),
        "epsilon-gamma-box": Composite(Gamma(gamma), dense, Box()),
    }.get(name)
