"""Relevance of attention: weights times their gradients, through the blocks (Chefer et al., ICCV 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.attention_calls import AttentionCalls, without_attention
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.outputs import score_rows
from vidence.attribution.rollout import called, on_tokens, weights_of
from vidence.scoring.scores import ScoreFunction


@dataclass(frozen=True)
class TransformerRelevance(Explainer):
    """R <- R + E_heads[(dscore/dA * A)+] R over all attentions A, from R = 1, >= 0; what reaches the class token (or
    the mean of all tokens) from each place.

    The generic form, whose weights are attention itself and not its LRP relevance. Cutting at zero keeps evidence for
    the score alone. Each token's own path is left out of the mean: it is the same everywhere.
    """

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Models without attention over all tokens."""
        return without_attention(model)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward pass, and a backward pass to the first attention. `raw` is (1, t', h', w')."""
        calls = AttentionCalls(model, x.shape[2], weights="graph")
        with calls:
            total = score_rows(score, model(x), x).sum()
        seen, layout = called(calls), calls.layout
        weights = [weights_of(site) for site in seen]
        gradients: tuple[Tensor, ...] = tuple(torch.zeros_like(part) for part in weights)
        if total.requires_grad:
            gradients = torch.autograd.grad(total, weights, materialize_grads=True)
        own = torch.eye(layout.tokens, device=x.device)
        mixing = own
        for part, gradient in zip(weights, gradients, strict=True):
            kept = layout.split((gradient * part).detach()).clamp_min(0).mean(dim=1)
            mixing = mixing + layout.mixed(kept.float(), mixing)
        return on_tokens(layout.read(mixing - own), x.shape[2], f"{len(seen)} attentions, the last {seen[-1].layer}")
