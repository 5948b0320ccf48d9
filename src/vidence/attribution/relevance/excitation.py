"""Excitation backprop: the probability that a place of a feature map wins, top-down from a class."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, in_frames, with_activation
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.families import NAMES, family_of
from vidence.attribution.outputs import score_rows
from vidence.attribution.relevance.conservation import Ledger
from vidence.attribution.relevance.followed import check_agreement
from vidence.attribution.relevance.winning import SIGNED, Winning
from vidence.errors import ExplainError, SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

Recurrent = Literal["z-plus", "as-released"]
MOST = 0.01  # share of the probability that may be lost before the certificate says so


@dataclass(frozen=True)
class ExcitationBackprop(Explainer):
    """Marginal winning probabilities at a layer, in all 1 and never negative (Zhang et al., IJCV 2018).

    It starts at the classifier's outputs that make up the score (a logit: 1 at the class) and stops at `layer` (None:
    the last convolution, with the residual sum and activation that follow it). `contrastive` takes away, at the
    classifier's input, what its negated weights would give: c-EB, signed, in all 0 (it is published with what is
    negative cut off at the end, which is a matter of display). Biases are ignored; a sum counts as one linear operation
    with those it adds. Through recurrent layers (Bargal et al., CVPR 2018) gates are held and signed states count by
    their positive part, which the certificate says: the published form has ReLU states. `recurrent='as-released'` is
    what its code does: no probability goes to a state (released.py). `extra['mass']` is a ledger of what each layer
    receives and loses.
    """

    layer: str | None = None
    contrastive: bool = False
    recurrent: Recurrent = "z-plus"

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.recurrent not in ("z-plus", "as-released"):
            raise SpecError(f"recurrent must be 'z-plus' or 'as-released'; got {self.recurrent!r}.")
        if self.contrastive and self.recurrent == "as-released":
            raise SpecError(
                "contrastive=True needs recurrent='z-plus': as released, each frame has a total of its own."
            )

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Autoencoders and transformers: their activations are signed."""
        family = family_of(model)
        if family not in ("reconstruction", "transformer"):
            return None
        signed = "attention" if family == "transformer" else NAMES[family]  # it may follow a recurrent layer
        return (
            "excitation-backprop shares out probability among activations that are never negative, and those of "
            f"{signed} are signed; take lrp."
        )

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """One pass that is followed, with one way back, and a plain one that it is compared with."""
        return Price(2, 1)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, s, k, h, w), probabilities; a followed pass, back as deep as the layer, and a plain one."""
        released = self.recurrent == "as-released"
        with closing(Winning(model, contrastive=self.contrastive, released=released)) as mode:
            return self._explained(mode, model, x, score)

    def _explained(self, mode: Winning, model: nn.Module, x: Tensor, score: ScoreFunction) -> Attributions:
        total, activation = self._passed(mode, model, x, score)
        check_agreement(mode, total, model, x, score)
        raw = torch.zeros_like(activation.values)
        if total.requires_grad:
            raw = activation.values * activation.gradient(*mode.starts(total))
        mass = Ledger(1.0, float(raw.double().sum()), mode.accounts.rows())
        return Attributions(
            in_frames(raw.sum(dim=1), x.shape[2])[None].float(),
            raw=raw[None],
            gap=raw.new_tensor([mass.gap]),
            layer=activation.layer,
            certificate=Certificate(
                gap=mass.gap, layer=activation.layer, flags=self._flags(mass, mode.signed, not raw.any())
            ),
            extra={"mass": mass},
        )

    def _passed(self, mode: Winning, model: nn.Module, x: Tensor, score: ScoreFunction) -> tuple[Tensor, Activation]:
        """The score, and the activation that it was made of."""

        def run(leaves: list[Tensor]) -> Tensor:
            mode.restart()
            return mode.now(score_rows(score, model(x), x).sum())

        with mode:
            total, activation = with_activation(model, self.layer, x.shape[2], run)
        if mode.released and not mode.recurs:
            raise ExplainError(
                "recurrent='as-released' needs an nn.LSTM or an nn.RNN of ReLU after the layer, and none was called. "
                "Take recurrent='z-plus'."
            )
        values = activation.values
        if (values < -SIGNED * values.abs().amax()).any():
            raise ExplainError(
                "excitation-backprop needs a layer whose output is never negative, as after a ReLU; that of "
                f"{activation.layer} is signed. Name another layer, or take lrp."
            )
        return total, activation

    def _flags(self, mass: Ledger, signed: bool, empty: bool) -> tuple[str, ...]:
        """What a reader must know before trusting the map."""
        flags = ["no probability reaches the layer: the map is zero"] if empty else []
        if mass.causes["rule"] > MOST and not self.contrastive:
            flags.append(f"{mass.causes['rule']:.1%} of the probability finds no positive support on the way")
        if signed:
            flags.append("recurrent states are signed here: they count by their positive part (published: ReLU states)")
        return tuple(flags)
