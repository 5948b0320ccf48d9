"""DeepLIFT: the change of the score from a baseline, shared out by what each call of the network made of it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.certifying import relative_gap
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.outputs import mapped, score_rows
from vidence.attribution.path import Baseline, baseline_of, check_baseline, instead, meant, of_nothing
from vidence.attribution.relevance.differences import Differences, Reference
from vidence.attribution.relevance.followed import check_agreement
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction, pinned

TOLERANCE = 0.01  # share of the change that may be missed before the certificate says so


@dataclass(frozen=True)
class DeepLIFT(Explainer):
    """(x - x') times multipliers, change of the score by change of the pixel (Shrikumar et al., ICML 2017, rescale).

    Signed, and sums to s(x) - s(x'), through recurrent layers, pooling, squared errors and attention as well: products
    of two activations are shared by halves (a gate gets credit), maxima go to the winner that moved. `gap` is what is
    missed: rounding, and decisions that are no function of the pixels (a comparison used as a mask). `baseline` is
    that of `integrated-gradients`; in `live` mode the score sees the baseline as its target, too.
    """

    baseline: Baseline = "auto"

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_baseline(self.baseline)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, which is followed and then compared with a plain pass, its baseline, and one way back."""
        return Price(3, 1)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, c, t, h, w); in `extra` the change of the score and the baseline's name.

        Raises `ExplainError` for an unknown call.
        """
        with closing(Differences(model)) as clip:
            return self._explained(clip, model, x, score)

    def _explained(self, clip: Differences, model: nn.Module, x: Tensor, score: ScoreFunction) -> Attributions:
        asked = x.clone().requires_grad_()
        with clip:
            output = model(asked)
        output = mapped(output, clip.now)
        seen = mapped(output, Tensor.detach)
        held = pinned(score, seen, x)
        with clip:
            total = clip.now(score_rows(held, output, asked).sum())
        check_agreement(clip, total, model, x, held)
        start = baseline_of(x, self.baseline, seen)
        other = start.clone().requires_grad_()
        reference = Reference(model, clip)
        with reference:
            against = reference.now(score_rows(held, model(other), other).sum())
        reference.finish()
        raw = torch.zeros_like(x)
        if total.requires_grad:
            raw = torch.autograd.grad(total, asked, materialize_grads=True)[0] * (x - start)
        change = (total - against).detach()
        gap = change - raw.double().sum().to(change)
        share = relative_gap(float(gap), float(change), float(total.detach()))
        flags = [*instead(x, self.baseline, seen), *of_nothing(raw, x, start)]
        if abs(share) > TOLERANCE:
            flags.append(f"the multipliers miss {abs(share):.1%} of the change of the score")
        return Attributions(
            raw.sum(dim=1).float(),
            raw=raw,
            gap=gap[None],
            certificate=Certificate(gap=share, flags=tuple(flags)),
            extra={"effect": change[None], "baseline": meant(x, self.baseline, seen)},
        )
