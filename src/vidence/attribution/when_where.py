"""When x where: how much each frame matters, spread over the places that made it matter. [own method]

Gates of a recurrent layer saturate at an event, and its local gradient vanishes there; a measured change does not. So the
score is compared with what it would be if every frame showed its own background only, and the difference is shared out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, in_frames, with_activation
from vidence.attribution.calls import RecurrentCalls, per_call, per_frame
from vidence.attribution.explainer import Attributions, Explainer, TwoStage, score_rows
from vidence.attribution.perturb.occlusion import hide
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

Weights = Literal["fade", "shapley", "runs"]
FAINT = 0.05  # a deletion below this share of the whole effect says nothing about which frame is first


@dataclass(frozen=True)
class WhenWhere(Explainer):
    """Temporal weight x spatial map, signed: |values| of a frame sum to the size of its weight, in units of the score.

    In feature space a frame is hidden by its background: the features it would have if every channel of the layer's
    map showed its median over space everywhere. `weights` shares the score's change out to frames: `fade`, all
    frames fade to their background together, and each gets its part of the path integral (Aumann-Shapley, `steps` nodes);
    `shapley`, whole frames are hidden in `orders` random orders, each with its reverse; `runs`, the mean effect per
    frame of hiding runs of 1, 2, 4, ... frames that cover it. Runs are measured in every case, for the certificate.
    The head alone is run again, in one batch: `decide` of a two-stage model, or all that follows the first nn.GRU, nn.LSTM or
    nn.RNN call. A model with neither is run once per frame, and the certificate says so.
    """

    layer: str | None = None
    weights: Weights = "fade"
    steps: int = 8
    orders: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.weights not in ("fade", "shapley", "runs"):
            raise SpecError(f"weights must be 'fade', 'shapley' or 'runs'; got {self.weights!r}.")
        if self.steps < 1 or self.orders < 2 or self.orders % 2:
            raise SpecError(f"steps must be at least 1 and orders even; got steps={self.steps}, orders={self.orders}.")

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is the spatial map before scaling, (1, s, h, w); `extra`: `weights` (1, t), `effect` (1,)."""
        t = x.shape[2]
        plan = Plan(self)

        def run(leaves: list[Tensor]) -> Any:
            if isinstance(model, TwoStage):
                return model.decide(plan.variants(model.encode(x), leaves))
            with RecurrentCalls(lambda features: plan.variants(features, leaves)):
                return model(x)

        output, activation = with_activation(model, self.layer, t, run)
        scores = score_rows(score, output, x)
        if plan.features is None:
            return self._frame_by_frame(model, x, score, scores, activation)
        return plan.attributions(scores, activation, t)

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
            certificate=Certificate(layer=activation.layer, flags=(flag,)),
            extra={"weights": weights[None]},
        )


class Plan:
    """The variants of one clip's features, and what their scores say."""

    def __init__(self, settings: WhenWhere) -> None:
        self.settings = settings
        self.features: Tensor | None = None

    def variants(self, features: Float[Tensor, "1 t f"], leaves: list[Tensor]) -> Float[Tensor, "v t f"]:
        """As it is; faded; hidden by runs; hidden in random orders."""
        if not leaves:  # the layer is not found yet; this pass only looks for it
            return features
        t = features.shape[1]
        self.features, self.background = features, background_features(features, leaves, t)
        held, empty = features.detach(), self.background
        steps = self.settings.steps
        alphas = (torch.arange(steps, device=held.device, dtype=held.dtype) + 0.5) / steps
        faded = empty + alphas[:, None, None] * (held - empty)
        self.runs = hidden_runs(t).to(held.device)
        rows = [held, faded, torch.where(self.runs[..., None], empty, held)]
        if self.settings.weights == "shapley":
            self.orders = hiding_orders(t, self.settings.orders, self.settings.seed).to(held.device)
            hidden = self.orders.argsort(dim=1)[:, None, :] <= torch.arange(t, device=held.device)[:, None]
            rows.append(torch.where(hidden.flatten(0, 1)[..., None], empty, held))
        self.leaf = torch.cat(rows).detach().requires_grad_()
        return self.leaf

    def attributions(self, scores: Float[Tensor, " v"], activation: Activation, t: int) -> Attributions:
        """Weights from the scores, places from the gradient along the fading."""
        assert self.features is not None
        steps, runs = self.settings.steps, len(self.runs)
        whole = scores[0].detach()
        gradient = torch.autograd.grad(scores[1 : 1 + steps].sum(), self.leaf, retain_graph=True)[0]
        gradient = gradient[1 : 1 + steps].mean(dim=0, keepdim=True)  # (1, t, f)
        share = (gradient * (self.features.detach() - self.background)).sum(dim=2)[0]
        effects = whole - scores[1 + steps : 1 + steps + runs].detach()
        pixels = activation.gradient(self.features, gradient)
        places = ((activation.values - background_maps(activation.values)) * pixels).sum(dim=1)  # (s, h, w)
        if self.settings.weights == "fade":
            weights = share
        elif self.settings.weights == "runs":
            weights = mean_over_runs(effects, self.runs)
        else:
            weights = shapley(whole, scores[1 + steps + runs :].detach(), self.orders)
        values = distributed(in_frames(places, t), weights)
        return Attributions(
            values[None].float(),
            raw=places[None],
            layer=activation.layer,
            certificate=Certificate(layer=activation.layer),
            extra={"weights": weights[None], "effect": effects[-1:]},
        )


def background_maps(maps: Float[Tensor, "s k h w"]) -> Float[Tensor, "s k 1 1"]:
    """Each channel's median over space: what a map shows where nothing stands out."""
    return maps.flatten(2).median(dim=2).values[..., None, None]


def background_features(features: Float[Tensor, "1 t f"], leaves: list[Tensor], t: int) -> Float[Tensor, "1 t f"]:
    """The features of the background maps: features - J (maps - background), J the derivative at the maps.

    Exact where pooling is linear or picks a maximum. The product with J comes from differentiating the product
    with its transpose, so no function of the model has to be called again.
    """
    maps = per_frame([leaf.detach() for leaf in leaves], t)
    shift = per_call(maps - background_maps(maps), leaves, t)
    probe = torch.zeros_like(features, requires_grad=True)
    back = torch.autograd.grad(features, leaves, probe, create_graph=True, allow_unused=True, materialize_grads=True)
    change = torch.autograd.grad(back, probe, shift, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
    return (features - change).detach()


def hidden_runs(t: int) -> Bool[Tensor, "v t"]:
    """Every run of 1, 2, 4, ... of t frames, True where hidden; the last row hides all."""
    place, rows, length = torch.arange(t), [], 1
    while length < t:
        first = torch.arange(t - length + 1)[:, None]
        rows.append((place >= first) & (place < first + length))
        length *= 2
    return torch.cat([*rows, torch.ones(1, t, dtype=torch.bool)])


def hiding_orders(t: int, orders: int, seed: int) -> Tensor:
    """Random orders of frames and their reverses, (orders, t)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.stack([torch.randperm(t, generator=generator) for _ in range(orders // 2)])
    return torch.cat([drawn, drawn.flip(1)])


def mean_over_runs(effects: Float[Tensor, " v"], runs: Bool[Tensor, "v t"]) -> Float[Tensor, " t"]:
    """Mean effect per hidden frame over the runs that cover a frame."""
    cover = runs.to(effects)
    return (effects / cover.sum(dim=1)) @ cover / cover.sum(dim=0)


def shapley(whole: Tensor, scores: Float[Tensor, " v"], orders: Tensor) -> Float[Tensor, " t"]:
    """Mean drop of the score when a frame is hidden after those before it; sums to the effect of hiding all."""
    curve = torch.cat([whole.expand(len(orders), 1), scores.view(orders.shape)], dim=1)
    return (curve[:, :-1] - curve[:, 1:]).gather(1, orders.argsort(dim=1)).mean(dim=0)


def distributed(places: Float[Tensor, "t h w"], weights: Float[Tensor, " t"]) -> Float[Tensor, "t h w"]:
    """Each frame's map scaled so that the sizes of its values sum to the size of the frame's weight."""
    agreeing = (places * weights.sign()[:, None, None]).clamp(min=0)
    total = agreeing.sum(dim=(1, 2), keepdim=True)
    even = torch.full_like(places, 1 / places[0].numel())
    return torch.where(total > 0, agreeing / total, even) * weights[:, None, None]
