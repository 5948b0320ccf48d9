"""When x where: how much each frame matters, spread over the places that made it matter. [own method]

Gates of a recurrent layer saturate at an event, and its local gradient vanishes there; a measured change does not. So
the score is compared with that of the clip's own background, and the difference is shared out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, in_frames, with_activation
from vidence.attribution.calls import RecurrentCalls, per_call, per_frame
from vidence.attribution.explainer import Attributions, Explainer, TwoStage, joined_outputs, score_rows
from vidence.attribution.hidden_frames import (
    agreement,
    bridged,
    hidden_runs,
    hiding_orders,
    mean_over_runs,
    shapley,
)
from vidence.attribution.perturb.occlusion import hide
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

Weights = Literal["fade", "shapley", "runs"]
Reference = Literal["time", "space"]
FAINT = 0.05  # share of the score; a smaller effect of hiding everything leaves little to explain


@dataclass(frozen=True)
class WhenWhere(Explainer):
    """Temporal weight x spatial map: the sizes of a frame's values sum to the size of its weight, in units of the score.

    The `reference` is what the layer's maps show at a place most of the time (`time`, the median over frames; what
    moves or comes and goes leaves it) or in most places of the frame (`space`; also hides what stands still, but no
    trained model ever saw such a frame). An image has only the latter.
    `weights` shares the change of the score out to frames. `fade`: all frames fade to the reference together, and each
    gets its part of the path integral (Aumann-Shapley, `steps` nodes); two consecutive frames stay as alike as
    they were, so it suits models that take differences. `shapley`: frames are hidden one after another in `orders`
    random orders and their reverses. `runs`: the mean effect, per hidden frame, of the runs of 1, 2, 4, ... frames that
    cover a frame. A hidden frame is bridged from its neighbours' features. Runs are hidden in every case, for the certificate.
    Only the head is run again, in one batch: `decide` of a two-stage model, or all that follows the first nn.GRU,
    nn.LSTM or nn.RNN call. A model with neither is run once per frame, and the certificate says so.
    """

    layer: str | None = None
    weights: Weights = "fade"
    reference: Reference = "time"
    steps: int = 8
    orders: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.weights not in ("fade", "shapley", "runs"):
            raise SpecError(f"weights must be 'fade', 'shapley' or 'runs'; got {self.weights!r}.")
        if self.reference not in ("time", "space"):
            raise SpecError(f"reference must be 'time' or 'space'; got {self.reference!r}.")
        if self.steps < 1 or self.orders < 2 or self.orders % 2:
            raise SpecError(f"steps must be at least 1, orders even; got steps={self.steps}, orders={self.orders}.")

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is the spatial map before scaling, (1, s, h, w); `extra`: `weights` (1, t), `effect` (1,)."""
        t = x.shape[2]
        variants = _Variants(self)

        def run(leaves: list[Tensor]) -> Any:
            if isinstance(model, TwoStage):
                return _decided(model, variants.made(model.encode(x), leaves), variants.traced)
            with RecurrentCalls(lambda features: variants.made(features, leaves)):
                return model(x)

        output, activation = with_activation(model, self.layer, t, run)
        scores = score_rows(score, output, x)
        if len(variants.held) and len(scores) == len(variants.leaf):
            return variants.explained(scores, activation, t)
        return self._frame_by_frame(model, x, score, scores, activation)

    def _frame_by_frame(
        self, model: nn.Module, x: Tensor, score: ScoreFunction, scores: Tensor, activation: Activation
    ) -> Attributions:
        """Without a recurrent call each frame is hidden in the pixels; the places are gradient x activation."""
        t, h, w = x.shape[2:]
        weights = hide(model, x, score, [(i, 0, 0) for i in range(t)], (1, h, w), "median")
        places = (activation.gradient(scores.sum()) * activation.values).sum(dim=1)
        flag = (
            f"no recurrent layer and no encode/decide was found: {t} frames were hidden in the pixels one by one, "
            f"at the price of {t + 2} forward passes; evidence that several frames repeat is underrated"
        )
        return Attributions(
            distributed(in_frames(places, t), weights)[None].float(),
            raw=places[None],
            layer=activation.layer,
            certificate=Certificate(layer=activation.layer, seed=self.seed, flags=(flag,)),
            extra={"weights": weights[None]},
        )


@dataclass
class _Variants:
    """The variants of one clip's features: as it is, fading, all hidden, runs hidden, hidden in random orders."""

    settings: WhenWhere
    features: Tensor = field(default_factory=lambda: torch.empty(0))  # with the graph down to the layer
    held: Tensor = field(default_factory=lambda: torch.empty(0))
    empty: Tensor = field(default_factory=lambda: torch.empty(0))
    leaf: Tensor = field(default_factory=lambda: torch.empty(0))
    standing_out: Tensor = field(default_factory=lambda: torch.empty(0))  # of the layer's maps, from the reference
    runs: Tensor = field(default_factory=lambda: torch.empty(0))
    orders: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def traced(self) -> int:
        """How many of the first rows a gradient is asked of."""
        return 1 + self.settings.steps

    def made(self, features: Float[Tensor, "1 t f"], leaves: list[Tensor]) -> Float[Tensor, "v t f"]:
        """All variants, one clip a row; the features alone while the layer is still looked for."""
        if not leaves:
            return features
        t, steps = features.shape[1], self.settings.steps
        self.features, self.held = features, features.detach()
        maps = per_frame([leaf.detach() for leaf in leaves], t)
        self.standing_out = maps - reference_maps(maps, self.settings.reference)
        self.empty = reference_features(features, leaves, per_call(self.standing_out, leaves, t))
        alphas = (torch.arange(steps, device=features.device, dtype=self.held.dtype) + 0.5) / steps
        fading = self.empty + alphas[:, None, None] * (self.held - self.empty)
        self.runs = hidden_runs(t, overlap=4 if self.settings.weights == "runs" else 1).to(features.device)
        rows = [self.held, fading, self.empty, bridged(self.held[0], self.runs)]
        if self.settings.weights == "shapley":
            self.orders = hiding_orders(t, self.settings.orders, self.settings.seed).to(features.device)
            hidden = self.orders.argsort(dim=1)[:, None, :] <= torch.arange(t - 1, device=features.device)[:, None]
            rows.append(bridged(self.held[0], hidden.flatten(0, 1)))
        self.leaf = torch.cat(rows).detach().requires_grad_()
        return self.leaf

    def explained(self, scores: Float[Tensor, " v"], activation: Activation, t: int) -> Attributions:
        """Weights from the scores, places from the gradient along the fading."""
        steps = self.settings.steps
        parts = scores.detach().split([1, steps, 1, len(self.runs), self.orders.shape[0] * (t - 1)])
        effect, effects = parts[0] - parts[2], parts[0] - parts[3]
        gradient = torch.zeros_like(self.leaf)
        if scores.requires_grad:
            gradient = torch.autograd.grad(scores[1 : 1 + steps].sum(), self.leaf)[0]
        gradient = gradient[1 : 1 + steps].mean(dim=0, keepdim=True)  # (1, t, f)
        share = (gradient * (self.held - self.empty)).sum(dim=2)[0]
        places = activation.gradient(self.features, gradient) * self.standing_out
        weights = {
            "fade": lambda: share,
            "runs": lambda: mean_over_runs(effects, self.runs),
            "shapley": lambda: shapley(parts[0], parts[4], parts[2], self.orders),
        }[self.settings.weights]()
        raw = places.sum(dim=1)
        return Attributions(
            distributed(in_frames(raw, t), in_time(weights, t))[None].float(),
            raw=raw[None],
            gap=effect - weights.sum(),
            layer=activation.layer,
            certificate=self._certificate(weights, effect, effects, parts[0], activation.layer),
            extra={"weights": weights[None], "effect": effect},
        )

    def _certificate(self, weights: Tensor, effect: Tensor, effects: Tensor, whole: Tensor, layer: str) -> Certificate:
        """How well the weights foretell what hiding frames was measured to do."""
        rank, same = agreement(weights, effects, self.runs, least=FAINT * float(effect.abs()))
        flags = []
        if float(effect.abs()) < FAINT * max(1.0, float(whole.abs())):
            flags.append(f"fading the whole clip changes the score by {float(effect):.2g} only: little to explain")
        gap = float((effect - weights.sum()) / effect) if float(effect.abs()) > 1e-6 else None
        if not flags and gap is not None and abs(gap) > 0.5:
            flags.append(f"the frames' weights miss {abs(gap):.0%} of the change of the score: raise `steps`")
        return Certificate(
            gap=gap, deletion_rank=rank, same_top_frame=same, seed=self.settings.seed, layer=layer, flags=tuple(flags)
        )


def _decided(model: TwoStage, variants: Float[Tensor, "v t f"], traced: int) -> Any:
    """The head on all variants, with a graph for the first ones only."""
    followed = model.decide(variants[:traced])
    if len(variants) <= traced:
        return followed
    with torch.no_grad():
        return joined_outputs([followed, model.decide(variants[traced:])])


def reference_maps(maps: Float[Tensor, "s k h w"], reference: Reference) -> Float[Tensor, "s k h w"]:
    """Each channel's median over time at each place, or over the places of each frame."""
    if reference == "time" and len(maps) > 2:
        return maps.median(dim=0, keepdim=True).values.expand_as(maps)
    return maps.flatten(2).median(dim=2).values[..., None, None].expand_as(maps)


def reference_features(
    features: Float[Tensor, "1 t f"], leaves: list[Tensor], standing_out: list[Tensor]
) -> Float[Tensor, "1 t f"]:
    """The features of the reference maps: features - J (maps - reference), J the derivative at the maps.

    Exact where pooling is linear. The product with J comes from differentiating the product with its transpose, so no
    function of the model has to be called again.
    """
    if not features.requires_grad:
        return features.detach()
    probe = torch.zeros_like(features, requires_grad=True)
    back = torch.autograd.grad(features, leaves, probe, create_graph=True, allow_unused=True, materialize_grads=True)
    linear = [(one, part) for one, part in zip(back, standing_out, strict=True) if one.requires_grad]
    change = torch.autograd.grad([one for one, _ in linear], probe, [part for _, part in linear], retain_graph=True)[0]
    return (features - change).detach()


def distributed(places: Float[Tensor, "t h w"], weights: Float[Tensor, " t"]) -> Float[Tensor, "t h w"]:
    """Each frame's weight spread over the places whose sign agrees with it, evenly where none does."""
    agreeing = (places * weights.sign()[:, None, None]).clamp(min=0)
    total = agreeing.sum(dim=(1, 2), keepdim=True)
    even = torch.full_like(places, 1 / places[0].numel())
    return torch.where(total > 0, agreeing / total, even) * weights[:, None, None]


def in_time(weights: Float[Tensor, " s"], t: int) -> Float[Tensor, " t"]:
    """Weights of s groups of frames -> t frames, their sum kept."""
    return weights if len(weights) == t else in_frames(weights[:, None, None], t)[:, 0, 0] * (len(weights) / t)
