"""The residual: where a reconstruction is wrong. Another explanation of an autoencoder has to say more than it does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.certifying import relative_gap
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.errors import ExplainError, SpecError
from vidence.record.facts import Certificate
from vidence.scoring.score import ScoreFunction, has_places, pinned, places_of, scored_by

COMPLETE = 1e-3  # share of the score that rounding may lose
ROUNDING = 1e-5  # share of the sizes that were summed: of a signed map the sum itself may be next to nothing


@dataclass(frozen=True)
class Residual(Explainer):
    """The score's own density over the pixels; it looks at no gradient and at nothing inside the network.

    For squared and absolute errors and for 1 - SSIM, and for regions and frame contrasts of them, the map sums to the
    score; for PSNR it sums to the squared error. A score without places (a logit, a distance between embeddings) is
    refused; what has none in a sum or a normalised error is left out and the gap says how much that is. It shows where
    the network was wrong, not what made it so.

    The map's cells are sums over `cell` x `cell` pixels (fewer where those do not fit): an error on an edge is
    one pixel wide, and a picture scaled to such peaks shows little else. `raw` has every pixel, and so has `cell=1`.
    """

    cell: int = 4

    def __post_init__(self) -> None:
        """Refuse what is no number of pixels."""
        if self.cell < 1:
            raise SpecError(f"residual: cell must be at least 1 pixel; got {self.cell}.")

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """One pass."""
        return Price(1)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """It is the score's density, which not every score has."""
        if has_places(score):
            return None
        return (
            "residual needs a score that is spread over pixels, such as squared-error, of a network that returns a "
            "Reconstruction. For this score take gradient, grad-cam or occlusion."
        )

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward pass. In `extra`, `scored` (first, last + 1): the frames of the clip that the score counts."""
        with torch.no_grad():
            output = model(x)
            held = pinned(score, output, x)
            if not has_places(held):
                raise ExplainError("residual needs a score that stays spread over pixels when it is pinned.")
            values = held.density(output, x)
            whole = held(output, x)
        gap = whole - values.sum(dim=(1, 2, 3))
        exact = float(gap.abs()) <= ROUNDING * float(values.abs().sum())
        share: float | None = 0.0 if exact or not whole.any() else relative_gap(float(gap), float(whole), float(whole))
        flag = None
        if places_of(held) == "other":
            share, flag = None, "the map is the squared error; the score, its logarithm, is no sum over places"
        elif share is not None and abs(share) > COMPLETE:
            flag = "the map leaves out a part of the score that has no places"
        return Attributions(
            _in_cells(values.float(), self.cell),
            raw=values,
            gap=None if share is None else gap,
            certificate=Certificate(gap=share, flags=() if flag is None else (flag,)),
            extra={"scored": scored_by(held, output)},
        )


def _in_cells(values: Float[Tensor, "n t h w"], cell: int) -> Float[Tensor, "n t i j"]:
    """Sums over cells of the greatest side up to `cell` that divides the picture, so that nothing is lost."""
    side = next(each for each in range(cell, 0, -1) if not values.shape[2] % each and not values.shape[3] % each)
    return F.avg_pool2d(values, side) * side**2
