"""The mask of an input attention, as a map like any other: what the network let in (Ravi's thesis, eq. 3.11, 3.12)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.eigen_cam import ANY_SCORE
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.families import NAMES, family_of
from vidence.errors import ExplainError
from vidence.models.reconstruction import Reconstruction
from vidence.record.facts import Certificate
from vidence.scoring.score import ScoreFunction, pinned


@dataclass(frozen=True)
class InputAttentionMask(Explainer):
    """The mask that an SA or SSA network multiplies its input with, (n, t, h, w), never negative.

    It is the same for every score: it says how much of a pixel went in, and not what came of it. Judge it by the same
    measures as every other map. A network without an input attention is refused.
    """

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """One pass."""
        return Price(1)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Only networks that reconstruct have one; whether this one has shows in its output."""
        family = family_of(model)
        if family == "reconstruction":
            return None
        return (
            f"input-attention shows the mask of an autoencoder with input attention; this is {NAMES[family]}. Take "
            "gradient or occlusion."
        )

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """In `extra` the `score` of the clip. Frames that the network has no mask for are 0."""
        with torch.no_grad():
            output = model(x)
            value = pinned(score, output, x)(output, x)
        if not isinstance(output, Reconstruction) or output.attention is None:
            raise ExplainError(
                "input-attention needs a network with an input attention, such as cae(attention='sa'); this one has "
                "none. Take residual, gradient or occlusion."
            )
        mask, first = output.attention.float(), output.first_frame
        values = torch.zeros(1, *x.shape[2:], device=x.device)
        values[:, first : first + mask.shape[1]] = mask
        certificate = Certificate(flags=(ANY_SCORE,))
        return Attributions(values, raw=output.attention, certificate=certificate, extra={"score": value})
