"""Eigen-CAM: the direction in which a layer's channels vary most (Muhammad & Yeasin, IJCNN 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, with_activation
from vidence.attribution.cam import GradientCAM
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.outputs import score_rows
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

ANY_SCORE = "the map is the same for every score"  # what each certificate of such a method says


def first_component(values: Float[Tensor, "s k h w"]) -> Float[Tensor, "s h w"]:
    """All places of the clip, their channels centred, on the first right singular vector; the largest |value| is > 0.

    One decomposition a clip, of the smaller of the two Gram matrices (places or channels), in double precision.
    """
    s, k, h, w = values.shape
    places = values.movedim(1, 3).reshape(s * h * w, k).double()
    places = places - places.mean(dim=0)
    if k <= len(places):
        found = places @ torch.linalg.eigh(places.T @ places).eigenvectors[:, -1]
    else:
        size, direction = torch.linalg.eigh(places @ places.T)
        found = direction[:, -1] * size[-1].clamp(min=0).sqrt()
    found = found * (1.0 if found[found.abs().argmax()] >= 0 else -1.0)
    return found.reshape(s, h, w).to(values.dtype)


@dataclass(frozen=True)
class EigenCAM(Explainer):
    """The first principal component of the activation of `layer` (None: the last convolution); no gradient.

    It shows what the network looks at most, whatever is asked: the map is the same for every score, and its sign is
    a convention.
    """

    layer: str | None = None

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward pass and one small eigenvalue problem."""
        output, activation = with_activation(model, self.layer, x.shape[2], lambda leaves: model(x))
        score_rows(score, output, x)  # a score that does not suit the model is an error here as everywhere
        return Attributions(
            activation.in_frames(first_component(activation.values))[None].float(),
            layer=activation.layer,
            certificate=Certificate(layer=activation.layer, flags=(ANY_SCORE, *activation.flags)),
        )

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """One forward pass."""
        return Price(1)


@dataclass(frozen=True)
class EigenGradCAM(GradientCAM):
    """The first principal component of g A (Gildenblat, pytorch-grad-cam, 2021): as Eigen-CAM, of what the score uses.

    A component has no sign of its own: it gets the one by which it goes with the sum over channels of g A, so that
    positive is towards the score, counted from the clip's mean.
    """

    def weighted(self, activation: Activation, gradient: Float[Tensor, "s k h w"]) -> Float[Tensor, "s k h w"]:
        """g_k A_k."""
        return gradient * activation.values

    def combined(self, raw: Float[Tensor, "s k h w"]) -> Float[Tensor, "s h w"]:
        """The first component of all channels, turned to go with their sum."""
        found, total = first_component(raw), raw.sum(dim=1)
        return found if float((found * (total - total.mean())).sum()) >= 0 else -found
