"""Layer-wise relevance propagation (Bach et al., PLoS ONE 2015) through every layer of a video model."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.certifying import relative_gap
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.outputs import score_rows
from vidence.attribution.relevance.composites import CompositeName, composite_of
from vidence.attribution.relevance.conservation import Ledger
from vidence.attribution.relevance.followed import check_agreement
from vidence.attribution.relevance.layerwise import Attention, Layerwise
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

MOST = 0.5  # share of the relevance that causes of either sign may absorb before the certificate says so
LACKING = 0.1  # share of the score that the map's sum may lack, or have too much, before it says so
UNNAMED = 0.01  # share of the score that may be missing without a name


@dataclass(frozen=True)
class LRP(Explainer):
    """The score, handed backwards layer by layer until it lies on the pixels.

    `composite` names the rules: 'epsilon-gamma-box' (first layers z-box, convolutions gamma, dense ones epsilon),
    'epsilon-plus' (convolutions z+), 'epsilon-plus-flat' and 'epsilon-plus-w-square' (in first layers all pixels in
    view alike, or by their squared weights, whatever they show), 'epsilon-alpha2-beta1', 'epsilon'. `epsilon` is
    relative to the mean size of a layer's outputs. `attention` 'cp' holds attention weights, 'attn' sends relevance
    through queries and keys as well. What biases, epsilon, initial states, constants and rules absorb is in
    `extra['ledger']`, layer by layer; the certificate's gap is what has no name there, and a flag says what the map
    sums to where that is not the score.
    """

    composite: CompositeName = "epsilon-gamma-box"
    epsilon: float = 1e-6
    gamma: float = 0.25
    attention: Attention = "cp"

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.composite not in get_args(CompositeName):
            raise SpecError(f"composite must be one of {', '.join(get_args(CompositeName))}; got {self.composite!r}.")
        if self.attention not in ("cp", "attn"):
            raise SpecError(f"attention must be 'cp' or 'attn'; got {self.attention!r}.")
        if self.epsilon < 0 or self.gamma < 0:
            raise SpecError(f"epsilon and gamma must not be negative; got {self.epsilon} and {self.gamma}.")

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """One pass that is followed, with one way back, and a plain one that it is compared with."""
        return Price(2, 1)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """A followed pass, about three times its price backwards, and a plain one. `raw` is (1, c, t, h, w)."""
        rules = composite_of(self.composite, epsilon=self.epsilon, gamma=self.gamma)
        asked = x.clone().requires_grad_()
        with closing(Layerwise(model, asked, rules, attention=self.attention)) as mode:
            return self._explained(mode, asked, model, x, score)

    def _explained(
        self, mode: Layerwise, asked: Tensor, model: nn.Module, x: Tensor, score: ScoreFunction
    ) -> Attributions:
        with mode:
            output = model(asked)
            mode.forget_gates()
            total = mode.now(score_rows(score, output, asked).sum())
        check_agreement(mode, total, model, x, score)
        raw = torch.zeros_like(x)
        if total.requires_grad:
            raw = mode.settle(torch.autograd.grad(total, mode.leaves, materialize_grads=True))
        ledger = Ledger(float(total.detach()), float(raw.double().sum()), mode.accounts.rows())
        share = relative_gap(ledger.gap, ledger.score, ledger.mapped)
        return Attributions(
            raw.sum(dim=1).float(),
            raw=raw,
            gap=raw.new_tensor([ledger.gap]),
            certificate=Certificate(gap=share, flags=_flags(ledger, share, nothing=not raw.any())),
            extra={"ledger": ledger},
        )


def _flags(ledger: Ledger, share: float, *, nothing: bool) -> tuple[str, ...]:
    """What a reader must know before trusting the map."""
    flags = ["no relevance reaches the pixels: the map is zero"] if nothing else []
    absorbed = {name: amount / abs(ledger.score) for name, amount in ledger.causes.items()} if ledger.score else {}
    sizes = sum(map(abs, absorbed.values()))
    if sizes > MOST or abs(sum(absorbed.values())) > LACKING:
        largest = max(absorbed, key=lambda name: abs(absorbed[name]))
        flags.append(
            f"the map sums to {ledger.mapped / ledger.score:.0%} of the score: {sizes:.0%} is absorbed on the way, "
            f"most by {largest.replace('_', ' ')} ({absorbed[largest]:.0%}; causes by their sizes)"
        )
    if abs(share) > UNNAMED:
        flags.append(f"{abs(share):.1%} of the score is missing without a name")
    return tuple(flags)
