"""What an explanation must agree with, whatever made it: the measured effect of hiding a frame."""

from __future__ import annotations

from math import copysign

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.hidden_frames import agreement
from vidence.attribution.perturb.boxes import hide_frames
from vidence.scoring.scores import ScoreFunction

LOST = 1e-4  # a change of the score below this share of it is lost in float32: its gap says nothing
FAINT = 0.01  # share of |score| that hiding one frame must take at least, or hiding frames says nothing


def relative_gap(gap: float, change: float, score: float) -> float:
    """The share of a change of the score that a map misses: above 0 it falls short, below 0 it adds up to too much."""
    least = max(LOST * abs(score), 1e-12)
    return gap / (change if abs(change) > least else copysign(least, change))


def deletion_agreement(
    model: nn.Module,
    x: Float[Tensor, "1 c t h w"],
    score: ScoreFunction,
    values: Float[Tensor, "1 t i j"],
    *,
    chunk: int | None = None,
) -> tuple[float | None, bool | None]:
    """Rank correlation of a map's frame sums with the loss of the score when a frame shows the clip's median instead,
    and whether both name the same strongest frame. None for an image, and where hiding says nothing: no frame takes
    `FAINT` of the score. `chunk` is how many hidden frames one pass of the model takes; None: as many as a fixed memory
    budget allows, and one where the model refuses several.
    """
    t = x.shape[2]
    if t < 2:
        return None, None
    whole, losses = hide_frames(model, x, score, chunk=chunk)
    least = FAINT * float(whole.abs())
    if float(losses.abs().max()) <= least:
        return None, None
    weights = values[0].sum(dim=(1, 2))
    return agreement(weights, losses, torch.eye(t, dtype=torch.bool, device=losses.device), least=least)
