"""Why: explainers by their text keys. Being listed here means being tested (`vidence.testing.check_explainer`)."""

from __future__ import annotations

from torch import nn

from vidence.attribution.activation import activation_maps
from vidence.attribution.attention_map import AttentionMap
from vidence.attribution.averaging import SmoothGrad, SmoothGradSquared, VarGrad
from vidence.attribution.cam import GradCAM
from vidence.attribution.cdam import CDAM, IntegratedCDAM, SmoothCDAM
from vidence.attribution.class_activation import CAM, SaliencyTubes
from vidence.attribution.combine import Consensus, Mean, Product, Smooth
from vidence.attribution.counterfactual import CounterfactualBox
from vidence.attribution.eigen_cam import EigenCAM, EigenGradCAM
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.families import remembers
from vidence.attribution.fast_cam import FastCAM
from vidence.attribution.feature_pyramids import ClassFeaturePyramids
from vidence.attribution.feature_visualisation import FeatureVisualisation
from vidence.attribution.gradient import Gradient, InputXGradient
from vidence.attribution.gradient_shap import GradientSHAP
from vidence.attribution.guided import DeconvNet, GuidedBackprop
from vidence.attribution.input_attention import InputAttentionMask
from vidence.attribution.integrated_cam import IntegratedCAM
from vidence.attribution.path import BlurIG, IntegratedGradients
from vidence.attribution.perturb.adaptive_occlusion import AdaptiveOcclusion
from vidence.attribution.perturb.extremal import ExtremalPerturbation
from vidence.attribution.perturb.fgvis import FGVis
from vidence.attribution.perturb.igos import IGOS, IGOSPlusPlus
from vidence.attribution.perturb.masker_training import train_masker
from vidence.attribution.perturb.masking_model import MaskingModel
from vidence.attribution.perturb.meaningful import MeaningfulPerturbation
from vidence.attribution.perturb.occlusion import FrameOcclusion, Occlusion
from vidence.attribution.perturb.rise import RISE
from vidence.attribution.perturb.surrogate import LIME, KernelSHAP
from vidence.attribution.perturb.temporal_mask import TemporalMask
from vidence.attribution.poly_cam import PolyCAM
from vidence.attribution.relevance.deep_lift import DeepLIFT
from vidence.attribution.relevance.excitation import ExcitationBackprop
from vidence.attribution.relevance.lrp import LRP
from vidence.attribution.residual import Residual
from vidence.attribution.rollout import AttentionRollout
from vidence.attribution.score_cam import ScoreCAM
from vidence.attribution.temporal_influence import TemporalInfluence
from vidence.attribution.tokens import TokenLayout
from vidence.attribution.transformer_relevance import TransformerRelevance
from vidence.attribution.two_stage import TwoStage
from vidence.attribution.weighted_cam import GradCAMPlusPlus, HiResCAM, LayerCAM
from vidence.attribution.when_where import WhenWhere
from vidence.models.reconstruction import ReconstructionNetwork
from vidence.scoring.scores import ScoreFunction, has_places

EXPLAINERS: dict[str, type[Explainer]] = {
    "adaptive-occlusion": AdaptiveOcclusion,
    "attention-map": AttentionMap,
    "attention-rollout": AttentionRollout,
    "blur-ig": BlurIG,
    "cam": CAM,
    "cdam": CDAM,
    "class-feature-pyramids": ClassFeaturePyramids,
    "counterfactual-box": CounterfactualBox,
    "deconvnet": DeconvNet,
    "deep-lift": DeepLIFT,
    "eigen-cam": EigenCAM,
    "eigen-grad-cam": EigenGradCAM,
    "excitation-backprop": ExcitationBackprop,
    "extremal-perturbation": ExtremalPerturbation,
    "fast-cam": FastCAM,
    "fgvis": FGVis,
    "frame-occlusion": FrameOcclusion,
    "grad-cam": GradCAM,
    "grad-cam++": GradCAMPlusPlus,
    "gradient": Gradient,
    "gradient-shap": GradientSHAP,
    "guided-backprop": GuidedBackprop,
    "hires-cam": HiResCAM,
    "igos": IGOS,
    "igos++": IGOSPlusPlus,
    "input-attention": InputAttentionMask,
    "input-x-gradient": InputXGradient,
    "integrated-cam": IntegratedCAM,
    "integrated-cdam": IntegratedCDAM,
    "integrated-gradients": IntegratedGradients,
    "kernel-shap": KernelSHAP,
    "layer-cam": LayerCAM,
    "lime": LIME,
    "lrp": LRP,
    "masking-model": MaskingModel,
    "meaningful-perturbation": MeaningfulPerturbation,
    "occlusion": Occlusion,
    "poly-cam": PolyCAM,
    "residual": Residual,
    "rise": RISE,
    "saliency-tubes": SaliencyTubes,
    "score-cam": ScoreCAM,
    "smooth-cdam": SmoothCDAM,
    "smooth-grad": SmoothGrad,
    "smooth-grad-squared": SmoothGradSquared,
    "temporal-influence": TemporalInfluence,
    "temporal-mask": TemporalMask,
    "transformer-relevance": TransformerRelevance,
    "var-grad": VarGrad,
    "when-where": WhenWhere,
}
OF_ERRORS = ("input-attention", "residual", "temporal-influence")  # which say nothing of a logit
ON_ANY_SCORE = tuple(key for key in EXPLAINERS if key not in OF_ERRORS)
COMBINE: dict[str, type[Explainer]] = {
    "consensus": Consensus,
    "mean": Mean,
    "product": Product,
    "smooth": Smooth,
}

__all__ = [
    "CAM",
    "CDAM",
    "COMBINE",
    "EXPLAINERS",
    "IGOS",
    "LIME",
    "LRP",
    "ON_ANY_SCORE",
    "RISE",
    "AdaptiveOcclusion",
    "AttentionMap",
    "AttentionRollout",
    "Attributions",
    "BlurIG",
    "ClassFeaturePyramids",
    "Consensus",
    "CounterfactualBox",
    "DeconvNet",
    "DeepLIFT",
    "EigenCAM",
    "EigenGradCAM",
    "ExcitationBackprop",
    "Explainer",
    "ExtremalPerturbation",
    "FGVis",
    "FastCAM",
    "FeatureVisualisation",
    "FrameOcclusion",
    "GradCAM",
    "GradCAMPlusPlus",
    "Gradient",
    "GradientSHAP",
    "GuidedBackprop",
    "HiResCAM",
    "IGOSPlusPlus",
    "InputAttentionMask",
    "InputXGradient",
    "IntegratedCAM",
    "IntegratedCDAM",
    "IntegratedGradients",
    "KernelSHAP",
    "LayerCAM",
    "MaskingModel",
    "Mean",
    "MeaningfulPerturbation",
    "Occlusion",
    "PolyCAM",
    "Product",
    "Residual",
    "SaliencyTubes",
    "ScoreCAM",
    "Smooth",
    "SmoothCDAM",
    "SmoothGrad",
    "SmoothGradSquared",
    "TemporalInfluence",
    "TemporalMask",
    "TokenLayout",
    "TransformerRelevance",
    "TwoStage",
    "VarGrad",
    "WhenWhere",
    "activation_maps",
    "default_for",
    "train_masker",
]


def default_for(model: nn.Module, score: ScoreFunction | None = None) -> Explainer:
    """`residual` for a reconstruction whose error has places, `when-where` for a model that is recurrent (torch's
    layers and cells, Keras's, convolutional ones) or comes in two stages, else `grad-cam`; `occlusion` for a network
    that reconstructs nothing and may have no gradient.
    """
    if isinstance(model, ReconstructionNetwork):
        placed = score is None or has_places(score)
        return Residual() if placed else GradCAM() if model.reconstructs else Occlusion()
    return WhenWhere() if isinstance(model, TwoStage) or remembers(model) else GradCAM()
