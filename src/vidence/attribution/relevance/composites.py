"""Which rule a layer gets: convolutions, dense layers, and the first ones, which see pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidence.attribution.relevance.operations import CONVOLUTIONS
from vidence.attribution.relevance.propagation import Linear
from vidence.attribution.relevance.rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Rule, WSquare, z_plus

CompositeName = Literal[
    "epsilon-gamma-box",
    "epsilon-plus",
    "epsilon-plus-flat",
    "epsilon-plus-w-square",
    "epsilon-alpha2-beta1",
    "epsilon",
]


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


def composite_of(name: CompositeName, *, epsilon: float, gamma: float) -> Composite:
    """The composite of a name. Names and values are zennit's (Anders et al., 2021); with w^2 in the first layers it is
    deep Taylor decomposition for pixels without bounds (Montavon et al., 2017).
    """
    dense = Epsilon(epsilon)
    found: dict[CompositeName, Composite] = {
        "epsilon": Composite(dense, dense),
        "epsilon-plus": Composite(z_plus(), dense),
        "epsilon-plus-flat": Composite(z_plus(), dense, Flat()),
        "epsilon-plus-w-square": Composite(z_plus(), dense, WSquare()),
        "epsilon-alpha2-beta1": Composite(AlphaBeta(2.0, 1.0), dense),
        "epsilon-gamma-box": Composite(Gamma(gamma), dense, Box()),
    }
    return found[name]
