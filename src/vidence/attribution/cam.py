"""Grad-CAM: channels weighted by the gradient of the final score (Selvaraju et al., ICCV 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, in_frames, with_activation
from vidence.attribution.calls import RecurrentCalls
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.outputs import score_rows
from vidence.attribution.two_stage import TwoStage
from vidence.errors import ExplainError, SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

Weights = Literal["frame", "shared", "frame_local"]


@dataclass(frozen=True)
class GradCAM(Explainer):
    """sum_k alpha_k A_k, signed; `layer` names a module of the model (None: the last convolution).

    `weights`: `frame`, alpha_{t,k} = mean over space of d score / d A, so that frames differ as the recurrent layer
    saw them; `shared`, one alpha_k for the clip; `frame_local`, Poirier's: the gradient of each frame's features,
    which leaves out all that mixes frames. No ReLU: cutting at zero is a matter of display.
    """

    layer: str | None = None
    weights: Weights = "frame"

    def __post_init__(self) -> None:
        """Refuse an unknown weighting."""
        if self.weights not in ("frame", "shared", "frame_local"):
            raise SpecError(f"weights must be 'frame', 'shared' or 'frame_local'; got {self.weights!r}.")

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward pass, and a backward pass as deep as the layer. `raw` is (1, s, k, h, w), weighted channels."""
        t = x.shape[2]
        if self.weights == "frame_local":
            features, activation = _frame_features(model, x, self.layer)
            gradient = activation.gradient(features.sum())
        else:
            output, activation = with_activation(model, self.layer, t, lambda leaves: model(x))
            gradient = activation.gradient(score_rows(score, output, x).sum())
        over = (0, 2, 3) if self.weights == "shared" else (2, 3)
        raw = gradient.mean(dim=over, keepdim=True) * activation.values
        flags = () if gradient.any() else (f"the score does not depend on {activation.layer}: the map is zero",)
        return Attributions(
            in_frames(raw.sum(dim=1), t)[None].float(),
            raw=raw[None],
            layer=activation.layer,
            certificate=Certificate(layer=activation.layer, flags=flags),
        )


def _frame_features(model: nn.Module, x: Tensor, layer: str | None) -> tuple[Tensor, Activation]:
    """The features of each frame before anything mixes frames, with the graph down to the layer."""
    if isinstance(model, TwoStage):
        return with_activation(model, layer, x.shape[2], lambda leaves: model.encode(x))
    calls = RecurrentCalls(lambda features: features)
    with calls:
        _, activation = with_activation(model, layer, x.shape[2], lambda leaves: model(x))
    if calls.features is None:
        raise ExplainError(
            "weights='frame_local' needs frame features: a model with encode and decide, or with nn.GRU, nn.LSTM or "
            "nn.RNN; this one has neither. Use weights='frame'."
        )
    return calls.features, activation
