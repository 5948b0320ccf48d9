"""When x where: how much each frame matters, spread over the places that made it matter. [own method]

Gates of a recurrent layer saturate at an event, and its local gradient vanishes there; a measured change does not. So
the score is compared with that of the clip's own background, and the difference is shared out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, with_activation
from vidence.attribution.calls import Leaves, per_call, per_frame
from vidence.attribution.certifying import relative_gap
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.families import why_not_alone
from vidence.attribution.frame_order import at_frames
from vidence.attribution.hidden_frames import (
    agreement,
    bridged,
    hidden_runs,
    hiding_orders,
    mean_over_runs,
    shapley,
)
from vidence.attribution.outputs import first_row, full, joined_outputs, score_rows
from vidence.attribution.perturb.boxes import hide_frames
from vidence.attribution.recurrent_calls import LATER, NotAlone, with_variants
from vidence.attribution.reference import (
    Kind,
    detailed,
    distributed,
    reference_features,
    reference_maps,
)
from vidence.attribution.two_stage import TwoStage
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

FAINT = 0.05  # an effect below this share of the score, or a deletion below this share of the effect, says nothing
WEAK = 0.2  # below this share of the effect of the spatial reference, the temporal one left the evidence standing
VALUES = 2**20  # of features in a reference's states of the clip, up to which `auto` can afford `shapley`
MISSED = 0.9  # share of the effect that the path integral may miss before the certificate warns


@dataclass(frozen=True)
class WhenWhere(Explainer):
    """Temporal weight x spatial map: a frame's values, as sizes, sum to the size of its weight, in units of the score.

    The `reference` of the layer's maps is what a place shows most of the time (`time`, the median over frames; what
    moves or comes and goes leaves it), or what most places of a frame show (`space`; hides what stands still too, but
    no model was trained on such frames). `auto` takes time, unless that changes the score far less than space would.
    `weights` shares the change of the score out to frames. `shapley`: frames go to the reference one after another, in
    `orders` random orders and their reverses, and each gets the mean change at its turn: frames that say the same share
    what they say. Places are told by the gradient half-way through the turns. `fade`: all frames fade together, and
    each gets its part of the path integral (Aumann-Shapley, `steps` nodes, scaled to the measured change; `gap` is what
    the integral missed); consecutive frames stay as alike as they were, but where a head saturates the few frames of
    the steep part get everything. `runs`: the mean effect, per hidden frame, of the runs of 1, 2, 4, ... frames that
    cover a frame, bridged from their neighbours' features. Runs are hidden in every case, for the certificate. `auto`
    is `shapley` where features are so few (256 a frame of 16) that it costs little beside the pass, else `fade`;
    `extra['by']` says which.
    `detail` makes the grid that many times finer, by the pixels' own change over time (1: the layer's grid).
    Only the head is run again: `decide` of a two-stage model, or in one batch all that follows the first nn.GRU,
    nn.LSTM or nn.RNN call. A model with neither is run once per frame, as is one that the clip goes through beside that
    call (a second recurrent layer, a path past it) or that does not take many variants there; the certificate says so.
    """

    layer: str | None = None
    weights: Literal["auto", "shapley", "fade", "runs"] = "auto"
    reference: Literal["auto", "time", "space"] = "auto"
    steps: int = 8
    orders: int = 16
    detail: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.weights not in ("auto", "shapley", "fade", "runs"):
            raise SpecError(f"weights must be 'auto', 'shapley', 'fade' or 'runs'; got {self.weights!r}.")
        if self.reference not in ("auto", "time", "space"):
            raise SpecError(f"reference must be 'auto', 'time' or 'space'; got {self.reference!r}.")
        if min(self.steps, self.detail) < 1 or self.orders < 2 or self.orders % 2:
            raise SpecError(
                f"steps and detail must be at least 1, orders even; got {self.steps}, {self.detail}, {self.orders}."
            )

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """One pass, and a gradient of the head; where that cannot be run alone every frame is hidden in the pixels."""
        return Price(3 + t, 1, at_most=True)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is the spatial map before scaling (1, s, h, w); in `extra` weights (1, t), effect (1,), reference."""
        variants = _Variants(self)
        if isinstance(model, TwoStage):
            _, activation = with_activation(
                model, self.layer, x.shape[2], lambda leaves: variants.make(model.encode(x), leaves)
            )
            with torch.no_grad():
                output = model.decide(variants.probes)
            probed = score_rows(score, output, x)
            kind = variants.chosen(probed)
            leaf = variants.path(kind).requires_grad_()
            along = score_rows(score, joined_outputs([first_row(output), model.decide(leaf)]), x)[1:]
            return self._explained(variants, activation, x, probed, _gradient(along, leaf), kind)
        unfit = None
        try:
            (output, rows), activation = with_activation(
                model, self.layer, x.shape[2], lambda leaves: with_variants(model, x, variants.rows(leaves))
            )
        except NotAlone as error:
            unfit = str(error)
        if unfit is not None:  # the pass that was given up is forgotten by now
            output, activation = with_activation(model, self.layer, x.shape[2], lambda leaves: model(x))
            return self._frame_by_frame(model, x, score, output, activation, why=unfit, passed=2)
        if rows is None or len(rows) == 1:
            why = why_not_alone(model) if rows is None else LATER
            return self._frame_by_frame(model, x, score, output, activation, why=why, passed=1)
        scores = score_rows(score, output, x)
        probed = scores[: len(variants.probes)].detach()
        kind = variants.chosen(probed)
        ours = variants.rows_of_path(kind)
        gradient = _gradient(scores[ours], rows)[ours]
        return self._explained(variants, activation, x, probed, gradient, kind)

    def _explained(
        self,
        variants: _Variants,
        activation: Activation,
        x: Tensor,
        probed: Tensor,
        gradient: Float[Tensor, "v t f"],
        kind: Kind,
    ) -> Attributions:
        """Weights from the scores, places from the gradient along the path."""
        t = x.shape[2]
        gradient = torch.einsum("vt,vtf->tf", variants.credit, gradient)[None]
        share = (gradient * (variants.held - variants.empty[kind])).sum(dim=2)[0]
        effect = probed[:1] - variants.emptied(probed)[kind]
        found = variants.weights(probed, kind, share)
        weights = _to_scale(found, effect) if variants.by == "fade" else found
        weights = at_frames(weights, variants.frames, t)
        places = (activation.gradient(variants.features, gradient) * variants.standing_out[kind]).sum(dim=1)
        values = distributed(activation.in_frames(places), weights)
        if self.detail > 1 and t > 2:
            values = detailed(values, x[0], self.detail)
        return Attributions(
            values[None].float(),
            raw=places[None],
            gap=effect - found.sum(),
            layer=activation.layer,
            certificate=self._certificate(variants, found, effect, probed, activation),
            extra={"weights": weights[None], "effect": effect, "reference": kind, "by": variants.by},
        )

    def _certificate(
        self, variants: _Variants, weights: Tensor, effect: Tensor, probed: Tensor, activation: Activation
    ) -> Certificate:
        """How well the weights foretell what hiding frames was measured to do."""
        size, whole = float(effect.abs()), float(probed[0].abs())
        rank, same = agreement(weights, variants.effects(probed), variants.runs, least=FAINT * size)
        promised = size > 0 and self.weights != "runs"  # means over runs do not sum to anything
        gap = relative_gap(float(effect - weights.sum()), float(effect), whole) if promised else None
        flags = list(activation.flags)
        if size < FAINT * max(1.0, whole):
            flags.append(f"fading the whole clip changes the score by {float(effect):.2g} only: little to explain")
        elif gap is not None and abs(gap) > MISSED:
            flags.append(f"the path integral misses {abs(gap):.0%} of the change of the score; raise `steps`")
        return Certificate(
            gap=gap, deletion_rank=rank, same_top_frame=same, seed=self.seed, layer=activation.layer, flags=tuple(flags)
        )

    def _frame_by_frame(
        self,
        model: nn.Module,
        x: Tensor,
        score: ScoreFunction,
        output: Any,
        activation: Activation,
        *,
        why: str,
        passed: int,
    ) -> Attributions:
        """Each frame hidden in the pixels, after `passed` passes; the places are gradient x activation."""
        t = x.shape[2]
        gradient = activation.gradient(score_rows(score, output, x).sum())
        _, weights = hide_frames(model, x, score)
        places = (gradient * activation.values).sum(dim=1)
        values = distributed(activation.in_frames(places), weights)
        if self.detail > 1 and t > 2:
            values = detailed(values, x[0], self.detail)
        flag = (
            f"{why}: {t} frames were hidden in the pixels one by one, at the price of {passed + 1 + t} forward passes; "
            "evidence that several frames repeat is underrated"
        )
        return Attributions(
            values[None].float(),
            raw=places[None],
            layer=activation.layer,
            certificate=Certificate(layer=activation.layer, seed=self.seed, flags=(flag, *activation.flags)),
            extra={"weights": weights[None]},
        )


@dataclass
class _Variants:
    """One clip's features and what is tried instead of them. `probes` are scored without a gradient: as it is, all
    frames hidden by each reference, runs hidden, then (for `shapley`, by each reference) frames hidden in random
    orders. The path is scored with one: `seen` says how much of each frame is there in a row of it, `credit` how much
    of the row's gradient is the frame's.
    """

    settings: WhenWhere
    features: Tensor = field(init=False)  # (1, t, f) with the graph down to the layer
    held: Tensor = field(init=False)  # the same without a graph
    frames: tuple[float, ...] | None = None  # which frames they are of, where that is known
    by: str = field(init=False)  # which weights, where the settings leave it open
    probes: Tensor = field(init=False)
    runs: Tensor = field(init=False)
    orders: Tensor = field(init=False)
    seen: Tensor = field(init=False)  # (v, t)
    credit: Tensor = field(init=False)  # (v, t); the sum over v is 1
    standing_out: dict[Kind, Tensor] = field(default_factory=dict)  # maps less reference, (s, k, h, w)
    empty: dict[Kind, Tensor] = field(default_factory=dict)  # features of the reference, (1, t, f)

    def make(self, features: Float[Tensor, "1 t f"], leaves: list[Tensor]) -> None:
        """Take the features of one clip; nothing while the layer is still looked for (no leaves)."""
        if not leaves:
            return
        t = features.shape[1]
        self.features, self.held = features, features.detach()
        maps = per_frame(leaves, t).detach()
        self.frames = leaves.numbers.along(features, 1) if isinstance(leaves, Leaves) else None
        asked: tuple[Kind, ...] = ("time", "space") if self.settings.reference == "auto" else (self.settings.reference,)
        for kind in asked if len(maps) > 2 else ("space",):  # a median of two frames is no background
            self.standing_out[kind] = maps - reference_maps(maps, kind)
            shown = per_call(self.standing_out[kind], leaves, t)
            self.empty[kind] = reference_features(features, leaves, shown)
        self.by = self.settings.weights
        if self.by == "auto":
            self.by = "shapley" if self.settings.orders * t * features.numel() <= VALUES else "fade"
        runs = hidden_runs(t, overlap=4) if self.by == "runs" else hidden_runs(t, growth=4)
        self.runs = runs.to(features.device)
        rows = [self.held, *self.empty.values(), bridged(self.held[0], self.runs)]
        if self.by == "shapley":
            self.orders = hiding_orders(t, self.settings.orders, self.settings.seed).to(features.device)
            turns = self.orders.argsort(dim=1)[:, None, :]  # (m, 1, t)
            turn = torch.arange(t, device=features.device)[:, None]
            after, during = (turns > turn).to(features), (turns == turn).to(features)  # (m, t, t)
            rows += [self._between(kind, after[:, :-1].flatten(0, 1)) for kind in self.empty]
            self.seen = (after + during / 2).flatten(0, 1)
            self.credit = during.flatten(0, 1) / len(self.orders)
        else:
            steps = self.settings.steps
            alphas = (torch.arange(steps, device=features.device, dtype=features.dtype) + 0.5) / steps
            self.seen = alphas[:, None].expand(-1, t)
            self.credit = torch.full_like(self.seen, 1 / steps)
        self.probes = torch.cat(rows)

    def rows(self, leaves: list[Tensor]) -> Callable[[Tensor], Tensor]:
        """Of one clip's features the probes and the path to every reference, in one batch for a model whose head cannot
        be called alone; the features themselves while the layer is still looked for.
        """

        def batch(features: Float[Tensor, "1 t f"]) -> Float[Tensor, "v t f"]:
            self.make(features, leaves)
            if not leaves:
                return features
            return torch.cat([self.probes, *map(self.path, self.empty)]).requires_grad_()

        return batch

    def path(self, kind: Kind) -> Float[Tensor, "v t f"]:
        """Between the reference and the clip: at the middles of equal steps, or of each frame's turn to be hidden."""
        return self._between(kind, self.seen)

    def rows_of_path(self, kind: Kind) -> slice:
        """Where the path to a reference lies among its `rows`."""
        first = len(self.probes) + list(self.empty).index(kind) * len(self.seen)
        return slice(first, first + len(self.seen))

    def _between(self, kind: Kind, seen: Float[Tensor, "v t"]) -> Float[Tensor, "v t f"]:
        return self.empty[kind] + seen[..., None] * (self.held - self.empty[kind])

    def emptied(self, probed: Tensor) -> dict[Kind, Tensor]:
        """The score with every frame hidden, by reference, (1,) each."""
        return {kind: probed[1 + i : 2 + i] for i, kind in enumerate(self.empty)}

    def effects(self, probed: Tensor) -> Float[Tensor, " v"]:
        """What hiding each run takes from the score."""
        first = 1 + len(self.empty)
        return probed[0] - probed[first : first + len(self.runs)]

    def chosen(self, probed: Tensor) -> Kind:
        """The reference to explain by."""
        kinds, emptied = list(self.empty), self.emptied(probed)
        if len(kinds) == 1:
            return kinds[0]
        time, space = ((probed[:1] - emptied[kind]).abs() for kind in ("time", "space"))
        return "space" if bool(time < WEAK * space) else "time"

    def weights(self, probed: Tensor, kind: Kind, share: Float[Tensor, " t"]) -> Float[Tensor, " t"]:
        """Each frame's weight, in float32 at least; `share` is its part of the path integral."""
        if self.by == "fade":
            return full(share)
        if self.by == "runs":
            return mean_over_runs(self.effects(probed), self.runs)
        ordered = probed[1 + len(self.empty) + len(self.runs) :].chunk(len(self.empty))
        hidden = ordered[list(self.empty).index(kind)]
        return shapley(probed[:1], hidden, self.emptied(probed)[kind], self.orders)


def _gradient(scores: Float[Tensor, " v"], leaf: Float[Tensor, "n t f"]) -> Float[Tensor, "n t f"]:
    """Of the scores' sum; zero where the score does not depend on the features."""
    if not scores.requires_grad:
        return torch.zeros_like(leaf)
    return torch.autograd.grad(scores.sum(), leaf)[0]


def _to_scale(weights: Float[Tensor, " t"], effect: Float[Tensor, " 1"]) -> Float[Tensor, " t"]:
    """Weights that sum to the measured effect: a few nodes find the shares of a steep step, but not its height."""
    total = weights.sum()
    return weights * (effect / total) if bool(total * effect > 0) else weights
