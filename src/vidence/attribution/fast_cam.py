"""Fast-CAM: how selective the channels are at each place, at several depths (Mundhenk et al., arXiv, 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import in_frames, on_grid, with_activations
from vidence.attribution.cam import GradCAM, GradientCAM
from vidence.attribution.eigen_cam import ANY_SCORE
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.families import has_only_tokens
from vidence.attribution.outputs import score_rows
from vidence.attribution.weighted_cam import GradCAMPlusPlus
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

WEIGHTED: dict[str, type[GradientCAM]] = {"grad-cam": GradCAM, "grad-cam++": GradCAMPlusPlus}


def smoe_scale(values: Float[Tensor, "s k h w"]) -> Float[Tensor, "s h w"]:
    """SMOE scale m (log2 m - mean_k log2 A_k), m the mean over channels of the positive part: 0 for equal channels."""
    positive = values.clamp(min=0) + 1e-7
    mean = positive.mean(dim=1)
    return mean * (mean.log2() - positive.log2().mean(dim=1))


def as_quantile(maps: Float[Tensor, "s h w"]) -> Float[Tensor, "s h w"]:
    """Normal distribution function of each value, mean and spread those of the clip's map; a constant map is 1/2."""
    return torch.special.ndtr((maps - maps.mean()) / maps.std(correction=0).clamp(min=1e-12))


@dataclass(frozen=True)
class FastCAM(Explainer):
    """SMOE scale maps of several layers, each as normal quantiles of its clip, with equal weights.

    `layers`: how many, from the deepest (the last layer before each change of size), or module names. Alone it shows
    where the network is busy, whatever is asked: values lie in (0, 1), the same for every score. `weighted_by`
    'grad-cam' or 'grad-cam++' multiplies by that map of the last convolution, and gives it a sign.
    """

    layers: int | tuple[str, ...] = 5
    weighted_by: Literal["grad-cam", "grad-cam++"] | None = None

    def __post_init__(self) -> None:
        """Refuse no layers at all, and maps that are not offered."""
        if not self.layers or (isinstance(self.layers, int) and self.layers < 1):
            raise SpecError(f"layers must be at least 1, or names of modules; got {self.layers!r}.")
        if self.weighted_by is not None and self.weighted_by not in WEIGHTED:
            raise SpecError(f"weighted_by must be 'grad-cam', 'grad-cam++' or None; got {self.weighted_by!r}.")

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """One forward pass; weighted, that of the other method too."""
        return Price(2, 1) if self.weighted_by else Price(1)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Tokens have signs and one scale, unless a convolutional network made them."""
        if has_only_tokens(model):
            return "fast-cam needs layers of several sizes that a ReLU follows; tokens have neither. Use eigen-cam."
        return None

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """Values on the finest layer's grid; `extra['maps']` are the layers' quantiles, shallowest first."""
        t = x.shape[2]
        output, layers = with_activations(model, self.layers, t, lambda: model(x))
        score_rows(score, output, x)  # a score that does not suit the model is an error here as everywhere
        maps = [as_quantile(smoe_scale(layer.values)) for layer in layers]
        size = tuple(max(sizes) for sizes in zip(*(part.shape for part in maps), strict=True))
        busy = in_frames(torch.stack([on_grid(part[None], size)[0] for part in maps]).mean(dim=0), t)[None]
        names = ", ".join(layer.layer for layer in layers)
        certificate = Certificate(layer=names, flags=(ANY_SCORE,))
        if self.weighted_by is not None:
            weight = WEIGHTED[self.weighted_by]().explain_clip(model, x, score)
            busy = busy * on_grid(weight.values, tuple(busy.shape[1:]))
            certificate = replace(certificate, flags=weight.certificate.flags)
        return Attributions(busy.float(), layer=names, certificate=certificate, extra={"maps": maps})
