"""CAMs that differ from Grad-CAM in what weights a channel: Grad-CAM++, HiResCAM, LayerCAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vidence.attribution.activation import Activation
from vidence.attribution.cam import GradientCAM, sharing
from vidence.errors import SpecError


@dataclass(frozen=True)
class GradCAMPlusPlus(GradientCAM):
    """sum_k A_k sum_pos alpha relu(g), alpha = 1 / (2 + g sum_pos A) (Chattopadhyay et al., WACV 2018).

    alpha is the paper's closed form for exp(score), with g^2 cancelled, so that small gradients keep it; relu(g)
    belongs to the formula: only channels that raise the score count, and a map is negative only where A is.
    `weights`: sums over each `frame` (each map cell in time of a 3-D convolution), or `shared`, over the whole clip;
    `auto`, `shared` at a 3-D convolution and `frame` elsewhere.
    """

    weights: Literal["auto", "frame", "shared"] = "auto"

    def __post_init__(self) -> None:
        """Refuse an unknown weighting."""
        if self.weights not in ("auto", "frame", "shared"):
            raise SpecError(f"weights must be 'auto', 'frame' or 'shared'; got {self.weights!r}.")

    def weighted(self, activation: Activation, gradient: Float[Tensor, "s k h w"]) -> Float[Tensor, "s k h w"]:
        """w_k A_k; a denominator within 1e-6 of zero (activations below zero) gives no weight."""
        values, over = activation.values, sharing(self.weights, activation)
        below = 2 + gradient * values.sum(dim=over, keepdim=True)
        alpha = torch.where(below.abs() > 1e-6, 1 / below, torch.zeros_like(below))
        return (alpha * gradient.clamp(min=0)).sum(dim=over, keepdim=True) * values


@dataclass(frozen=True)
class HiResCAM(GradientCAM):
    """sum_k g_k A_k, place by place (Draelos & Carin, arXiv, 2020): exact where one linear layer follows the layer."""

    def weighted(self, activation: Activation, gradient: Float[Tensor, "s k h w"]) -> Float[Tensor, "s k h w"]:
        """g_k A_k."""
        return gradient * activation.values


@dataclass(frozen=True)
class LayerCAM(GradientCAM):
    """sum_k relu(g_k) A_k, place by place (Jiang et al., TIP 2021), which serves shallow layers too.

    relu(g) belongs to the formula: what would lower the score is left out.
    """

    def weighted(self, activation: Activation, gradient: Float[Tensor, "s k h w"]) -> Float[Tensor, "s k h w"]:
        """relu(g_k) A_k."""
        return gradient.clamp(min=0) * activation.values
