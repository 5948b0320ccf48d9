"""Attention rollout: attention multiplied through the blocks (Abnar & Zuidema, ACL 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import in_frames
from vidence.attribution.attention_calls import Attention, AttentionCalls, without_attention
from vidence.attribution.eigen_cam import ANY_SCORE
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.tokens import TokenLayout
from vidence.errors import ExplainError, SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

Heads = Literal["mean", "max", "min"]


@dataclass(frozen=True)
class OfAttention(Explainer):
    """A map out of a transformer's attentions, fused over `heads`, in one pass: the same for every class and score."""

    heads: Heads = "mean"

    def __post_init__(self) -> None:
        """Refuse an unknown fusion."""
        if self.heads not in get_args(Heads):
            raise SpecError(f"heads must be 'mean', 'max' or 'min'; got {self.heads!r}.")

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """One forward pass."""
        return Price(1)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Models without attention over all tokens."""
        return without_attention(model)


@dataclass(frozen=True)
class AttentionRollout(OfAttention):
    """What reaches the class token (or the mean of all tokens) through attention and residual paths, >= 0.

    Each attention loses the `discard` share of its smallest weights, gets the residual path added and its rows brought
    to one; divided attention takes its time and its space step one after the other. It says where the network looked,
    not why it decided.
    """

    discard: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an unknown fusion and shares out of range."""
        super().__post_init__()
        if not 0 <= self.discard < 1:
            raise SpecError(f"discard must be a share from 0 to below 1; got {self.discard}.")

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, t', h', w'), a value for each token that has a place."""
        seen, layout = attentions(model, x, self.heads)
        mixing = torch.eye(layout.tokens, device=x.device)
        for site in seen:
            mixing = rolled(_kept(weights_of(site), self.discard), mixing, layout)
        sites = f"{len(seen)} attentions, the last {seen[-1].layer}"
        return on_tokens(layout.read(mixing), x.shape[2], sites, said=(ANY_SCORE,))


def attentions(model: nn.Module, x: Float[Tensor, "1 c t h w"], heads: Heads) -> tuple[list[Attention], TokenLayout]:
    """Every self-attention of one clip, its weights fused over heads to (m, l, l), and where the tokens lie."""

    def fuse(weights: Tensor) -> Tensor:
        return weights.mean(dim=1) if heads == "mean" else getattr(weights, f"a{heads}")(dim=1)

    calls = AttentionCalls(model, x.shape[2], weights="values", fuse=fuse)
    with torch.no_grad(), calls:
        model(x)
    return called(calls), calls.layout


def called(calls: AttentionCalls) -> list[Attention]:
    """The attentions that were seen. Raises `ExplainError` where there were none."""
    if not calls.seen:
        raise ExplainError(
            "no attention was seen at torch's functions: the model runs a kernel of its own. Load it with attention "
            "'sdpa' or 'eager', or take gradient or occlusion."
        )
    return calls.seen


def rolled(weights: Float[Tensor, "m l l"], mixing: Float[Tensor, "n n"], layout: TokenLayout) -> Float[Tensor, "n n"]:
    """One attention and its residual path, of equal weight, after what was mixed before; rows sum to one again."""
    sums = layout.mixed(weights, torch.ones(len(mixing), 1, device=mixing.device))
    return (mixing + layout.mixed(weights, mixing)) / (1 + sums)


def on_tokens(places: Float[Tensor, "t h w"], t: int, layer: str, *, said: tuple[str, ...] = ()) -> Attributions:
    """The attribution of values that tokens have; `said` are the method's own warnings."""
    zero = () if places.any() else ("no place of the clip reaches the output through attention: the map is zero",)
    return Attributions(
        in_frames(places, t)[None].float(),
        raw=places[None],
        layer=layer,
        certificate=Certificate(layer=layer, flags=(*said, *zero)),
    )


def weights_of(site: Attention) -> Tensor:
    """The weights that were kept of an attention."""
    if site.weights is None:
        raise ExplainError(f"the weights of {site.layer} were not kept. Ask `AttentionCalls` for them.")
    return site.weights


def _kept(weights: Float[Tensor, "m l l"], discard: float) -> Float[Tensor, "m l l"]:
    """The largest weights; the `discard` share of the smallest is zero."""
    count = int(discard * weights.numel())
    if count == 0:
        return weights
    return weights.where(weights > weights.flatten().kthvalue(count).values, 0)
