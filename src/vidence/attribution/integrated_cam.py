"""Integrated gradients of the recurrent head, in the space of frame features, carried back to a layer's places.

The path from one ordinary frame to the clip's own crosses every gate, so a saturated one hides nothing; and since only
what follows the features is run again, it costs little more than a forward pass. [own method]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import with_activation
from vidence.attribution.calls import GradientOn, Leaves, per_call, per_frame
from vidence.attribution.certifying import relative_gap
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.families import NAMES, family_of, remembers, why_not_alone
from vidence.attribution.frame_order import at_frames
from vidence.attribution.outputs import first_row, one_each
from vidence.attribution.path import check_nodes, nodes
from vidence.attribution.progress import counted
from vidence.attribution.recurrent_calls import LATER, NotAlone, with_variants
from vidence.attribution.reference import median_over_time, reference_features, reference_maps, regrouped
from vidence.attribution.two_stage import TwoStage
from vidence.errors import ExplainError, SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction, pinned

FEATURES_AT_ONCE = 2**24  # numbers in the rows of one head pass: bounds memory
INSTEAD = "take integrated-gradients, which goes the same way in the pixels"


@dataclass(frozen=True)
class IntegratedCAM(Explainer):
    """Integrated gradients (Sundararajan et al., 2017) of all that follows the frame features, then placed by a CAM.

    A frame's weight is what its features add on the straight way from the `baseline`, the clip's median or mean frame
    feature in every frame, to the clip; weights sum to the change of the score. There are `steps` Gauss-Legendre nodes;
    a gate that closes on a small piece of the way is found by what each piece misses of the score's measured change
    over it: the worst pieces are halved, with as many nodes more, until the gap is within `tolerance` or there are
    `limit` nodes, which the certificate says. Each frame's weight then
    goes to channels and places of `layer` (None: the last convolution) by the gradient of the integrated features times
    what stands out from the layer's own reference, and keeps its sum. Fewer than three frames have no ordinary one:
    their reference is what most places show. Works for `encode`/`decide` and for models that call nn.GRU, nn.LSTM or
    nn.RNN, which are run again as a whole for more nodes; others are refused.
    """

    layer: str | None = None
    baseline: Literal["median", "mean"] = "median"
    steps: int = 32
    tolerance: float = 0.01
    limit: int = 512
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.baseline not in ("median", "mean"):
            raise SpecError(f"baseline must be 'median' or 'mean'; got {self.baseline!r}.")
        check_nodes(self.steps, self.limit, self.tolerance)

    @classmethod
    def quick(cls) -> Self:
        """Eight nodes, and twice as many more where they do not suffice."""
        return cls(steps=8, limit=24)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """One pass of the model; one more for its head whenever pieces are halved, or a chunk takes fewer nodes.

        A two-stage model runs `encode` once and `decide` as often instead, which are no passes of the model.
        """
        half = max(1, self.steps // 2)
        chunk = self.chunk or self.limit
        passes = ceil(self.steps / chunk) + (self.limit - self.steps) // (2 * half) * ceil((2 * half + 1) / chunk)
        return Price(passes, passes, at_most=True)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Families whose frames are not one feature each before anything mixes them; attention may follow a recurrent
        layer.
        """
        family = family_of(model)
        if family not in ("reconstruction", "transformer", "volume") or (family == "transformer" and remembers(model)):
            return None
        return f"integrated-cam follows frame features into a recurrent head, and {NAMES[family]} has none: {INSTEAD}."

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` (1, s, k, h, w) by channel; in `extra` the effect (1,), the number of nodes, and weights (1, t), one
        for each step of the recurrent head: fewer than frames after a stride in time.
        """
        head = _Head(self, model, x, score)
        change = head.whole - head.emptied
        gradient, count = head.integrated()  # (1, t, f)
        weights = (gradient * (head.held - head.empty)).sum(dim=2)[0]
        gap = change - weights.double().sum().float()
        missed = relative_gap(float(gap), float(change), float(head.whole))
        raw = head.placed(gradient, weights)
        values, t = raw.sum(dim=1), x.shape[2]
        if len(values) != t:
            values = settled(head.activation.in_frames(values) * (len(values) / t), at_frames(weights, head.frames, t))
        flags = list(head.activation.flags)
        if abs(missed) > self.tolerance:
            flags.append(f"the path integral misses {abs(missed):.1%} of the change of the score with {count} nodes")
        if torch.allclose(head.held, head.empty):
            flags.append("the clip stands still, so that it equals its reference: the map is zero; take grad-cam")
        elif not raw.any():
            flags.append("no frame's features change the score: the map is zero")
        layer = head.activation.layer
        return Attributions(
            values[None].float(),
            raw=raw[None],
            gap=gap,
            layer=layer,
            certificate=Certificate(gap=missed, layer=layer, flags=tuple(flags)),
            extra={"weights": weights[None], "effect": change, "nodes": count},
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """A piece of the way from 0 to 1, the scores at its ends, and the integral of the gradient over it."""

    first: float
    last: float
    before: float
    after: float
    gradient: Float[Tensor, "1 t f"]
    gap: float  # what the integral misses of the score's change over the piece


class _Head:
    """Everything behind the frame features of one clip. The first pass scores the clip and its reference, too."""

    def __init__(self, settings: IntegratedCAM, model: nn.Module, x: Tensor, score: ScoreFunction) -> None:
        self.settings, self.model, self.x = settings, model, x
        self.features: Tensor  # (1, t, f) with the graph down to the layer
        self.held: Tensor  # the same without a graph
        self.empty: Tensor  # (1, t, f) of the reference
        self.frames: Sequence[float] | None = None  # whose features they are, where that is known
        self._places, self._shares = nodes(settings.steps)
        t = x.shape[2]
        if isinstance(model, TwoStage):
            _, self.activation = with_activation(
                model, settings.layer, t, lambda leaves: self._begin(model.encode(x), leaves)
            )
            leaf = self._rows(self._places[: self._at_once], ends=True)
            output = self._decided(leaf)
        else:
            (output, leaf), self.activation = with_activation(model, settings.layer, t, self._first)
            if len(leaf) == 1:
                raise _without(LATER)
        self.score = pinned(score, first_row(output), x)
        scores, slopes = self._sloped(output, leaf)
        self.whole, self.emptied = scores[:1], scores[1:2]
        self._begun = scores[2:], slopes[2:]

    def _first(self, leaves: list[Tensor]) -> tuple[Any, Tensor]:
        """The model's pass, the batch multiplied at its recurrent call."""

        def vary(features: Tensor) -> Tensor:
            self._begin(features, leaves)
            return self._rows(self._places[: self._at_once], ends=True) if leaves else features

        return self._through(vary)

    def _through(self, vary: Callable[[Tensor], Tensor]) -> tuple[Any, Tensor]:
        """The model's output for the rows that stand in for the features, and these rows."""
        try:
            output, rows = with_variants(self.model, self.x, vary)
        except NotAlone as error:
            raise _without(str(error)) from error
        if rows is None:
            raise _without(why_not_alone(self.model))
        return output, rows

    def _begin(self, features: Float[Tensor, "1 t f"], leaves: list[Tensor]) -> None:
        """Take the features of the clip and of its reference; nothing while the layer is still looked for."""
        if not leaves:
            return
        self.features, self.held = features, features.detach()
        t = features.shape[1]
        maps = per_frame(leaves, t).detach()
        self.frames = leaves.numbers.along(features, 1) if isinstance(leaves, Leaves) else None
        if len(maps) < 3:
            reference = reference_maps(maps, "space")
        else:
            reference = maps.mean(dim=0, keepdim=True) if self._mean else median_over_time(maps)
        self.standing_out = maps - reference
        if t < 3:
            self.empty = reference_features(features, leaves, per_call(self.standing_out, leaves, t))
        else:
            ordinary = self.held[0].mean(dim=0, keepdim=True) if self._mean else median_over_time(self.held[0])
            self.empty = ordinary.expand_as(self.held)

    @property
    def _mean(self) -> bool:
        return self.settings.baseline == "mean"

    @property
    def _at_once(self) -> int:
        return self.settings.chunk or max(1, FEATURES_AT_ONCE // self.held.numel())

    def _rows(self, places: Float[Tensor, " v"], *, ends: bool = False) -> Float[Tensor, "v t f"]:
        """The features at places of the way, after those of the clip and the reference if its `ends` count."""
        rows = self.empty + places.to(self.held)[:, None, None] * (self.held - self.empty)
        return (torch.cat([self.held, self.empty, rows]) if ends else rows).requires_grad_()

    def _decided(self, rows: Tensor) -> Any:
        """The output for rows of features."""
        if isinstance(self.model, TwoStage):
            with GradientOn():
                return self.model.decide(rows)
        with GradientOn():
            return self._through(lambda features: rows)[0]

    def _sloped(self, output: Any, leaf: Tensor) -> tuple[Float[Tensor, " v"], Float[Tensor, "v t f"]]:
        """The score of each row, and its gradient there."""
        scores = one_each(self.score(output, self.x.expand(len(leaf), -1, -1, -1, -1)), len(leaf))
        if not scores.requires_grad:
            return scores.float(), torch.zeros_like(leaf)
        slopes = torch.autograd.grad(scores.sum(), leaf, materialize_grads=True)[0]
        return scores.detach().float(), slopes

    def _asked(self, places: Float[Tensor, " v"]) -> tuple[Float[Tensor, " v"], Float[Tensor, "v t f"]]:
        """Scores and gradients at places of the way, chunk by chunk."""
        found = []
        for first in counted(range(0, len(places), self._at_once), label="head passes"):
            leaf = self._rows(places[first : first + self._at_once])
            found.append(self._sloped(self._decided(leaf), leaf))
        scores, slopes = zip(*found, strict=True)
        return torch.cat(scores), torch.cat(slopes)

    def _missed(self, pieces: list[_Piece]) -> float:
        """The share of the change of the score that the pieces miss, each at its worst."""
        change, whole = float(self.whole - self.emptied), float(self.whole)
        return abs(relative_gap(sum(abs(piece.gap) for piece in pieces), change, whole))

    def integrated(self) -> tuple[Float[Tensor, "1 t f"], int]:
        """The mean gradient of the score along the way, and from how many nodes."""
        rule, slopes = self.settings, self._begun[1]
        if len(slopes) < rule.steps:
            slopes = torch.cat([slopes, self._asked(self._places[self._at_once :])[1]])
        pieces = [self._piece(0.0, 1.0, float(self.emptied), float(self.whole), slopes, self._shares)]
        count, half = rule.steps, max(1, rule.steps // 2)
        while self._missed(pieces) > rule.tolerance and count + 2 * half <= rule.limit:
            pieces.sort(key=lambda piece: -abs(piece.gap))
            worst = [piece for piece in pieces if abs(piece.gap) >= abs(pieces[0].gap) / 2]
            worst = worst[: (rule.limit - count) // (2 * half)]
            pieces = pieces[len(worst) :] + self._halved(worst, half)
            count += 2 * half * len(worst)
        return torch.stack([piece.gradient for piece in pieces]).sum(dim=0), count

    def _halved(self, pieces: list[_Piece], half: int) -> list[_Piece]:
        """Each piece in two, with `half` nodes in either, all in one pass."""
        places, shares = nodes(half)
        asked = []
        for piece in pieces:
            width = (piece.last - piece.first) / 2
            middle = piece.first + width
            asked += [piece.first + width * places, torch.tensor([middle]).double(), middle + width * places]
        scores, slopes = self._asked(torch.cat(asked))
        found = []
        for i, piece in enumerate(pieces):
            first = i * (2 * half + 1)
            middle, between = (piece.first + piece.last) / 2, float(scores[first + half])
            left, right = slopes[first : first + half], slopes[first + half + 1 : first + 2 * half + 1]
            found.append(self._piece(piece.first, middle, piece.before, between, left, shares))
            found.append(self._piece(middle, piece.last, between, piece.after, right, shares))
        return found

    def _piece(
        self, first: float, last: float, before: float, after: float, slopes: Tensor, shares: Float[Tensor, " v"]
    ) -> _Piece:
        """Gradients at the nodes of a piece as its integral."""
        gradient = torch.einsum("v,vtf->tf", ((last - first) * shares).to(slopes), slopes)[None]
        gap = after - before - float((gradient * (self.held - self.empty)).double().sum())
        return _Piece(first, last, before, after, gradient, gap)

    def placed(self, gradient: Float[Tensor, "1 t f"], weights: Float[Tensor, " t"]) -> Float[Tensor, "s k h w"]:
        """Weights carried to the layer's channels and places: each frame's sum to its weight."""
        raw = self.activation.gradient(self.features, gradient) * self.standing_out
        if len(raw) != self.x.shape[2]:  # a 3-D convolution has fewer maps than frames
            return settled(raw, regrouped(weights, len(raw)))
        return settled(raw, at_frames(weights, self.frames, len(raw)))


def _without(why: str) -> ExplainError:
    """The refusal of a model whose frame features have no head that can be run alone."""
    return ExplainError(
        "integrated-cam needs frame features: a model with encode and decide, or with one nn.GRU, nn.LSTM or nn.RNN "
        f"over one clip; {why}: {INSTEAD}."
    )


def settled(raw: Float[Tensor, "s ..."], weights: Float[Tensor, " s"]) -> Float[Tensor, "s ..."]:
    """Values whose sums are the weights: what a row lacks is added where its values are large, evenly if all are 0."""
    flat = raw.flatten(1)
    size = flat.abs()
    total = size.sum(dim=1, keepdim=True)
    share = torch.where(total > 0, size / total, 1 / flat.shape[1])
    return (flat + (weights - flat.sum(dim=1))[:, None] * share).view_as(raw)
