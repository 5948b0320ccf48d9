"""The last attention as a picture: where the class token looks (Caron et al., ICCV 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.eigen_cam import ANY_SCORE
from vidence.attribution.explainer import Attributions
from vidence.attribution.rollout import OfAttention, attentions, on_tokens, weights_of
from vidence.scoring.scores import ScoreFunction


@dataclass(frozen=True)
class AttentionMap(OfAttention):
    """The last attention's weights on each place, from the class token or the mean of all tokens.

    What earlier blocks moved between places is not in it.
    """

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, t', h', w'); of divided attention the last step, within frames, with equal weight for each."""
        seen, layout = attentions(model, x, self.heads)
        mixing = layout.mixed(weights_of(seen[-1]), torch.eye(layout.tokens, device=x.device))
        return on_tokens(layout.read(mixing), x.shape[2], seen[-1].layer, said=(ANY_SCORE,))
