"""Why: explainers by their text keys. Being listed here means being tested (`vidence.testing.check_explainer`)."""

from __future__ import annotations

from torch import nn

from vidence.attribution.activation import activation_maps
from vidence.attribution.cam import GradCAM
from vidence.attribution.explainer import Attributions, Explainer, TwoStage
from vidence.attribution.feature_visualisation import FeatureVisualisation
from vidence.attribution.gradient import Gradient
from vidence.attribution.perturb.occlusion import FrameOcclusion, Occlusion
from vidence.attribution.when_where import WhenWhere

EXPLAINERS: dict[str, type[Explainer]] = {
    "frame-occlusion": FrameOcclusion,
    "grad-cam": GradCAM,
    "gradient": Gradient,
    "occlusion": Occlusion,
    "when-where": WhenWhere,
}
COMBINE: dict[str, type[Explainer]] = {}

__all__ = [
    "COMBINE",
    "EXPLAINERS",
    "Attributions",
    "Explainer",
    "FeatureVisualisation",
    "FrameOcclusion",
    "GradCAM",
    "Gradient",
    "Occlusion",
    "TwoStage",
    "WhenWhere",
    "activation_maps",
    "default_for",
]


def default_for(model: nn.Module) -> Explainer:
    """`when-where` for a model that is recurrent or comes in two stages, else `grad-cam`."""
    recurrent = isinstance(model, TwoStage) or any(isinstance(module, nn.RNNBase) for module in model.modules())
    return WhenWhere() if recurrent else GradCAM()
