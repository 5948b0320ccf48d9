"""What an explanation must agree with, whatever made it: the measured effect of hiding a frame."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.hidden_frames import agreement
from vidence.attribution.perturb.boxes import hide_all
from vidence.scoring.scores import ScoreFunction

FAINT = 0.01  # share of |score| that hiding one frame must take at least, or hiding frames says nothing


def deletion_agreement(
    model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction, values: Float[Tensor, "1 t i j"]
) -> tuple[float | None, bool | None]:
    """Rank correlation of a map's frame sums with the loss of the score when a frame shows the clip's median instead,
    and whether both name the same strongest frame. None for an image, and where hiding says nothing: no frame takes
    `FAINT` of the score.
    """
    t, h, w = x.shape[2:]
    if t < 2:
        return None, None
    whole, losses = hide_all(model, x, score, [(i, 0, 0) for i in range(t)], (1, h, w), "median")
    least = FAINT * float(whole.abs())
    if float(losses.abs().max()) <= least:
        return None, None
    weights = values[0].sum(dim=(1, 2))
    return agreement(weights, losses, torch.eye(t, dtype=torch.bool, device=losses.device), least=least)
