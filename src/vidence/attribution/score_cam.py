"""Score-CAM: channels weighted by what the model says of the clip seen through them (Wang et al., CVPRW 2020)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vidence.attribution.activation import on_grid, with_activation
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.perturb.fills import Fill, check_fill, filled_with
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.record.facts import Certificate
from vidence.scoring.scores import Logit, Probability, ScoreFunction

Masks: TypeAlias = Callable[[int, int], Tensor]  # (first, last) -> masks (v, t, h, w) in [0, 1]


@dataclass(frozen=True)
class ScoreCAM(Explainer):
    """sum_k c_k A_k, signed; c_k asks the model for the clip multiplied by channel k, drawn to its size and to [0, 1].

    A mask is one per frame where the layer sees frames, and runs through time where it is 3-D. `weighting`: `increase`,
    s(masked) - s(nothing shown), the paper's; `softmax` of s(masked) over the channels; `prob`, the class's probability
    where the score is its logit (any other score as it is), the authors' code. Of an autoencoder a channel's places are
    hidden instead, and c_k is the loss of the score: errors cannot be multiplied away.
    `channels`: how many are tried, those of largest variance; None: all (512 to 2048 passes for common networks).
    `fill`: what is seen where the mask is 0; None: black as in the paper, an autoencoder's own reconstruction.
    """

    layer: str | None = None
    weighting: Literal["increase", "softmax", "prob"] = "increase"
    channels: int | None = 64
    fill: Fill | None = None
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings that do not exist."""
        if self.weighting not in ("increase", "softmax", "prob"):
            raise SpecError(f"weighting must be 'increase', 'softmax' or 'prob'; got {self.weighting!r}.")
        check_budget(self.channels, self.fill)

    @classmethod
    def quick(cls) -> ScoreCAM:
        """Eight channels."""
        return cls(channels=8)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, one pass a channel, and for an increase the clip of which nothing is shown."""
        return Price(1 + min(channels, self.channels or channels) + (self.weighting == "increase"))

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """An autoencoder's error is compared, never read as it is."""
        if self.weighting != "increase" and isinstance(model, ReconstructionNetwork):
            return f"weighting={self.weighting!r} reads a class off the masked clip. Use weighting='increase' here."
        return None

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, s, k, h, w), the weighted channels `extra['channels']` (1, k)."""
        subject, activation = with_activation(
            model, self.layer, x.shape[2], lambda leaves: Subject(model, x, score, chunk=self.chunk)
        )
        chosen = most_varied(activation.values, self.channels)
        values = activation.values[:, chosen]
        maps = values.transpose(0, 1)

        def masks(first: int, last: int) -> Tensor:
            return activation.in_clip(between_extremes(on_grid(maps[first:last], (maps.shape[1], *x.shape[3:]))))

        weights = self._weights(subject, masks, maps)
        raw = weights[:, None, None] * values
        everything = activation.values.shape[1]
        flags = () if len(chosen) == everything else (tried(len(chosen), everything),)
        return Attributions(
            activation.in_frames(raw.sum(dim=1))[None].float(),
            raw=raw[None],
            layer=activation.layer,
            certificate=Certificate(layer=activation.layer, flags=(*flags, *activation.flags)),
            extra={"channels": chosen[None]},
        )

    def _weights(self, subject: Subject, masks: Masks, maps: Float[Tensor, "k s i j"]) -> Float[Tensor, " k"]:
        back, count = background(subject, self.fill), len(maps)
        if isinstance(subject.output, Reconstruction):
            return subject.whole.detach() - masked_scores(subject, masks, count, back, keep=False)
        if self.weighting == "increase":  # one more row, of which nothing is shown
            blank = maps.new_zeros(1, *subject.x.shape[2:])
            found = masked_scores(
                subject,
                lambda first, last: torch.cat([masks(first, min(last, count)), blank[: max(0, last - count)]]),
                count + 1,
                back,
            )
            return found[:count] - found[count]
        if self.weighting == "softmax":
            return masked_scores(subject, masks, count, back).softmax(dim=0)
        subject.score = as_probability(subject.score)
        flat = maps.amax(dim=(1, 2, 3)) == maps.amin(dim=(1, 2, 3))
        return masked_scores(subject, masks, count, back).masked_fill(flat, 0)


def check_budget(channels: int | None, fill: Fill | None) -> None:
    """Raise `SpecError` for no channels at all, or a fill that does not exist."""
    if channels is not None and channels < 1:
        raise SpecError(f"channels must be at least 1, or None for all; got {channels}.")
    if fill is not None:
        check_fill(fill)


def masked_scores(
    subject: Subject, masks: Masks, count: int, back: Float[Tensor, "1 c t h w"], *, keep: bool = True
) -> Float[Tensor, " count"]:
    """The score of the clip where a mask is 1 (`keep`) or where it is 0, `back` elsewhere; a pass a mask."""

    def rows(first: int, last: int) -> Float[Tensor, "v c t h w"]:
        seen = masks(first, last)[:, None]
        return torch.lerp(back, subject.x, seen) if keep else torch.lerp(subject.x, back, seen)

    return subject.scores(rows, count, label="channels as masks")


def background(subject: Subject, fill: Fill | None) -> Float[Tensor, "1 c t h w"]:
    """What is seen where a mask hides; None: black, or an autoencoder's own reconstruction."""
    if fill is None and not isinstance(subject.output, Reconstruction):
        return torch.zeros_like(subject.x)
    return filled_with(subject.x, "auto" if fill is None else fill, subject.output)


def most_varied(values: Float[Tensor, "s k h w"], channels: int | None) -> Int[Tensor, " k"]:
    """The channels of largest variance over the clip's places, in their own order; None: all."""
    spread = values.var(dim=(0, 2, 3), correction=0)
    return spread.argsort(descending=True, stable=True)[:channels].sort().values


def between_extremes(maps: Float[Tensor, "v t h w"]) -> Float[Tensor, "v t h w"]:
    """Each map from 0 (its least value in the clip) to 1 (its largest); a constant one is 0."""
    low, high = maps.amin(dim=(1, 2, 3), keepdim=True), maps.amax(dim=(1, 2, 3), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, torch.ones_like(low))


def tried(count: int, everything: int) -> str:
    """The sentence of a certificate whose budget left channels out."""
    return f"{count} of {everything} channels were tried, those of largest variance"


def as_probability(score: ScoreFunction) -> ScoreFunction:
    """The probability of the class whose logit is the score, whatever it is pinned on; any other score as it is."""
    if isinstance(score, Logit):
        return Probability(score.class_)
    inner = getattr(score, "score", None)
    if inner is None or not is_dataclass(score) or isinstance(score, type):
        return score
    return replace(score, score=as_probability(inner))
