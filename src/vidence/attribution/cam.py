"""Channels of a layer, weighted by the gradient of the final score in them: Grad-CAM (Selvaraju et al., ICCV 2017)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, with_activation
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.families import remembers, why_not_alone
from vidence.attribution.outputs import score_rows
from vidence.attribution.recurrent_calls import with_variants
from vidence.attribution.two_stage import TwoStage
from vidence.errors import ExplainError, SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

THROUGH_TIME = "gradients through a recurrent layer may name wrong frames, where its gates saturate: see when-where"
Weights = Literal["auto", "frame", "shared", "frame_local"]


def sharing(weights: str, activation: Activation) -> tuple[int, ...]:
    """The axes of (s, k, h, w) that share a channel's weight: 'frame' (frame_local, too), 'shared', or 'auto', which is
    'shared' at a 3-D convolution, as in its literature, and 'frame' elsewhere.
    """
    shared = activation.spans_time if weights == "auto" else weights == "shared"
    return (0, 2, 3) if shared else (2, 3)


@dataclass(frozen=True)
class GradientCAM(Explainer):
    """A map from an activation and the gradient of the score in it; `layer` names a module (None: last convolution).

    One forward pass, and a backward pass as deep as the layer. Of an autoencoder the layer is its encoder's last one
    with places. No ReLU at the end: cutting at zero is a matter of display.
    """

    layer: str | None = None

    @abstractmethod
    def weighted(self, activation: Activation, gradient: Float[Tensor, "s k h w"]) -> Float[Tensor, "s k h w"]:
        """The channels, each times what the gradient says of it."""

    @property
    def through_time(self) -> bool:
        """Whether the gradient passes what mixes frames."""
        return True

    def combined(self, raw: Float[Tensor, "s k h w"]) -> Float[Tensor, "s h w"]:
        """One map out of all channels."""
        return raw.sum(dim=1)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, s, k, h, w), weighted channels."""
        activation, gradient = self.differentiated(model, x, score)
        raw = self.weighted(activation, gradient)
        flags: tuple[str, ...] = (
            () if gradient.any() else (f"the score does not depend on {activation.layer}: the map is zero",)
        )
        if self.through_time and x.shape[2] > 1 and remembers(model):
            flags = (*flags, THROUGH_TIME)
        return Attributions(
            activation.in_frames(self.combined(raw))[None].float(),
            raw=raw[None],
            layer=activation.layer,
            certificate=Certificate(layer=activation.layer, flags=(*flags, *activation.flags)),
        )

    def differentiated(
        self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction
    ) -> tuple[Activation, Float[Tensor, "s k h w"]]:
        """The layer's activation, and the gradient of the score in it."""
        output, activation = with_activation(model, self.layer, x.shape[2], lambda leaves: model(x))
        return activation, activation.gradient(score_rows(score, output, x).sum())


@dataclass(frozen=True)
class GradCAM(GradientCAM):
    """sum_k alpha_k A_k, signed; `layer` names a module of the model (None: the last convolution).

    `weights`: `frame`, alpha_{t,k} = mean over space of d score / d A, so that frames differ as the recurrent layer
    saw them; `shared`, one alpha_k for the clip; `auto`, `shared` at a 3-D convolution and `frame` elsewhere;
    `frame_local`, Poirier's: the gradient of each frame's features, which leaves out all that mixes frames.
    """

    weights: Weights = "auto"

    def __post_init__(self) -> None:
        """Refuse an unknown weighting."""
        if self.weights not in get_args(Weights):
            raise SpecError(f"weights must be 'auto', 'frame', 'shared' or 'frame_local'; got {self.weights!r}.")

    @property
    def through_time(self) -> bool:
        """Not of the features of each frame."""
        return self.weights != "frame_local"

    def weighted(self, activation: Activation, gradient: Float[Tensor, "s k h w"]) -> Float[Tensor, "s k h w"]:
        """alpha_k A_k."""
        return gradient.mean(dim=sharing(self.weights, activation), keepdim=True) * activation.values

    def differentiated(
        self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction
    ) -> tuple[Activation, Float[Tensor, "s k h w"]]:
        """The gradient of the score, or of each frame's features."""
        if self.weights != "frame_local":
            return super().differentiated(model, x, score)
        features, activation = _frame_features(model, x, self.layer)
        return activation, activation.gradient(features.sum())


def _frame_features(model: nn.Module, x: Tensor, layer: str | None) -> tuple[Tensor, Activation]:
    """The features of each frame before anything mixes frames, with the graph down to the layer."""
    if isinstance(model, TwoStage):
        return with_activation(model, layer, x.shape[2], lambda leaves: model.encode(x))
    features, activation = with_activation(
        model, layer, x.shape[2], lambda leaves: with_variants(model, x, lambda features: features)[1]
    )
    if features is None:
        raise ExplainError(
            "weights='frame_local' needs frame features: a model with encode and decide, or with nn.GRU, nn.LSTM or "
            f"nn.RNN over one clip; {why_not_alone(model)}. Use weights='frame'."
        )
    return features, activation
