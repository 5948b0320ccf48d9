"""What an explanation must agree with, whatever made it: the measured effect of hiding a frame."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.hidden_frames import agreement
from vidence.attribution.perturb.boxes import hide
from vidence.scoring.scores import ScoreFunction

FAINT = 0.01  # share of the clip's largest |score| below which the deletion of one frame names no frame


def deletion_agreement(
    model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction, values: Float[Tensor, "1 t i j"]
) -> tuple[float | None, bool | None]:
    """Rank correlation of a map's frame sums with the loss of the score when a frame shows the clip's median instead,
    and whether both name the same strongest frame. None for an image, and where hiding says nothing.
    """
    t, h, w = x.shape[2:]
    if t < 2:
        return None, None
    losses = hide(model, x, score, [(i, 0, 0) for i in range(t)], (1, h, w), "median")
    weights = values[0].sum(dim=(1, 2))
    least = FAINT * float(losses.abs().sum())
    return agreement(weights, losses, torch.eye(t, dtype=torch.bool, device=losses.device), least=least)
