"""The residual: where a reconstruction is wrong. Another explanation of an autoencoder has to say more than it does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer
from vidence.errors import ExplainError, SpecError
from vidence.models.reconstruction import scored_frames
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction, has_places, pinned

COMPLETE = 1e-3  # share of the score that rounding may lose


@dataclass(frozen=True)
class Residual(Explainer):
    """The score's own density over the pixels; it looks at no gradient and at nothing inside the network.

    For squared and absolute errors and for 1 - SSIM the map sums to the score; for PSNR it sums to the squared error. A
    score without places (a logit, a distance between embeddings) is refused; in a sum, such a part is left out and
    the gap says how much that is. It shows where the network was wrong, not what made it so.

    The map's cells are sums over `cell` x `cell` pixels (fewer where those do not fit): an error on an edge is
    one pixel wide, and a picture scaled to such peaks shows little else. `raw` has every pixel, and so has `cell=1`.
    """

    cell: int = 4

    def __post_init__(self) -> None:
        """Refuse what is no number of pixels."""
        if isinstance(self.cell, bool) or not isinstance(self.cell, int) or self.cell < 1:
            raise SpecError(f"residual: cell must be a whole number of pixels, at least 1; got {self.cell!r}.")

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward pass. In `extra`, `scored` (first, last + 1): the frames of the clip that have an error."""
        with torch.no_grad():
            output = model(x)
            held = pinned(score, output, x) if has_places(score) else score
            if not has_places(held):
                raise ExplainError(
                    "residual needs a score that is spread over pixels, such as squared-error, of a network that "
                    "returns a Reconstruction. For this score take gradient, grad-cam or occlusion."
                )
            values = held.density(output, x)
            whole = held(output, x)
        gap = whole - values.sum(dim=(1, 2, 3))
        share: float | None = float(gap / whole) if whole.any() else 0.0
        flag = None
        if not getattr(held, "complete", True):
            share, flag = None, "the map is the squared error; the score, its logarithm, is no sum over places"
        elif share is not None and abs(share) > COMPLETE:
            flag = "the map leaves out a part of the score that has no places"
        return Attributions(
            _in_cells(values.float(), self.cell),
            raw=values,
            gap=None if share is None else gap,
            certificate=Certificate(gap=share, flags=() if flag is None else (flag,)),
            extra={"scored": scored_frames(output)},
        )


def _in_cells(values: Float[Tensor, "n t h w"], cell: int) -> Float[Tensor, "n t i j"]:
    """Sums over cells of the greatest side up to `cell` that divides the picture, so that nothing is lost."""
    side = next(each for each in range(cell, 0, -1) if not values.shape[2] % each and not values.shape[3] % each)
    return F.avg_pool2d(values, side) * side**2
