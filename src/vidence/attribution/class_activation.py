"""CAM (Zhou et al., CVPR 2016) and saliency tubes (Stergiou et al., ICIP 2019): the classifier's own weights."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, with_activation
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.families import attends
from vidence.attribution.outputs import score_rows
from vidence.errors import ExplainError
from vidence.models.reconstruction import ReconstructionNetwork
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

# steps of autograd that are linear in what they are given, whatever the values are; batch norm because of eval mode
LINEAR = {
    "AccumulateGrad", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "Add", "Alias", "AsStrided", "AvgPool2D",
    "AvgPool3D", "Cat", "Clone", "Copy", "CopySlices", "CudnnBatchNorm", "Expand", "Gather", "Index", "IndexSelect",
    "Mean", "NativeBatchNorm", "Neg", "Permute", "ReshapeAlias", "Rsub", "Select", "Slice", "Split",
    "SplitWithSizes", "Squeeze", "Stack", "Sub", "Sum", "T", "ToCopy", "Transpose", "Unbind", "UnsafeView",
    "Unsqueeze", "View",
}  # fmt: skip
# linear in one factor
PRODUCTS = {"Addmm", "Baddbmm", "Bmm", "Convolution", "Div", "Linear", "MkldnnConvolution", "Mm", "Mul", "Mv"}
TOLERANCE = 1e-4  # of the largest gradient


@dataclass(frozen=True)
class ClassActivation(Explainer):
    """sum_k w_k A_k, w_k the weight of the classifier's single linear layer behind global average pooling.

    `layer` names a module (None: the last convolution). What follows it must be linear in it and treat all places
    alike: both are checked for every clip, and anything else is refused. The mean over the layer's places is then
    exactly score - `extra['bias']`.
    """

    layer: str | None = None

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Networks whose answer no linear layer gives."""
        if isinstance(model, ReconstructionNetwork):
            return "an autoencoder has no class weights that a CAM could show. Use grad-cam."
        if any(isinstance(module, nn.RNNBase | nn.RNNCellBase) for module in model.modules()):
            return (
                "a CAM needs a mean over time and one linear layer, and this model has a recurrent one. Use grad-cam."
            )
        if self.layer is None and attends(model):
            return "a CAM needs places that nothing mixes, as a transformer's attention does. Use grad-cam."
        return None

    @abstractmethod
    def shown(self, maps: Float[Tensor, "s h w"], activation: Activation, x: Tensor) -> Float[Tensor, "t i j"]:
        """The map on the grid that the method shows."""

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward pass and a gradient of the linear layer; `raw` is (1, s, k, h, w), weighted channels."""
        asked = x.clone().requires_grad_()  # so that what goes past the layer is seen, too
        output, activation = with_activation(model, self.layer, x.shape[2], lambda leaves: model(asked))
        total = score_rows(score, output, asked).sum()
        step = _not_linear(total.grad_fn, asked) if total.requires_grad else None
        if step is not None:
            raise ExplainError(
                f"a CAM needs global average pooling and one linear layer after {activation.layer}; here the score "
                f"passes {step}. Name the layer whose maps are pooled, or use grad-cam."
            )
        gradient = activation.gradient(total)
        weight = gradient.mean(dim=(0, 2, 3), keepdim=True)
        if float((gradient - weight).abs().max()) > TOLERANCE * float(gradient.abs().max()):
            raise ExplainError(
                f"a CAM needs global average pooling after {activation.layer}; this model weights its places "
                "differently. Use grad-cam or hires-cam."
            )
        values = activation.values
        raw = weight * values[:, 0].numel() * values
        maps = raw.sum(dim=1)
        flags = activation.flags
        if not gradient.any():
            flags = (f"the score does not depend on {activation.layer}: the map is zero", *flags)
        return Attributions(
            self.shown(maps, activation, x)[None].float(),
            raw=raw[None],
            layer=activation.layer,
            certificate=Certificate(layer=activation.layer, flags=flags),
            extra={"bias": total.detach()[None] - maps.mean()},
        )


@dataclass(frozen=True)
class CAM(ClassActivation):
    """sum_k w_k A_k of a classifier with global average pooling and one linear layer (Zhou et al., CVPR 2016)."""

    def shown(self, maps: Float[Tensor, "s h w"], activation: Activation, x: Tensor) -> Float[Tensor, "t h w"]:
        """The layer's own places, a map a frame."""
        return activation.in_frames(maps)


@dataclass(frozen=True)
class SaliencyTubes(ClassActivation):
    """CAM of the last 3-D convolution, drawn out to the clip's size by cubic interpolation (Stergiou, ICIP 2019)."""

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """What a CAM refuses, and networks that see one frame at a time."""
        kinds = {type(module) for module in model.modules()}
        if nn.Conv2d in kinds and nn.Conv3d not in kinds:
            return "saliency tubes need a 3-D convolution; this network's see one frame. Use cam, or grad-cam."
        return super().refusal(model, x, score)

    def shown(self, maps: Float[Tensor, "s h w"], activation: Activation, x: Tensor) -> Float[Tensor, "t h w"]:
        """Tubes of the clip's own size by cubic convolution."""
        if activation.leaves[0].ndim != 5:
            raise ExplainError(f"saliency tubes need a 3-D convolution; {activation.layer} sees one frame. Use cam.")
        t, h, w = x.shape[2:]
        cubic = partial(
            F.interpolate, mode="bicubic", antialias=True
        )  # which takes the kernel that keeps straight lines
        rows = cubic(maps[None], size=(h, w))  # (1, s, h, w)
        return cubic(rows.flatten(2)[None], size=(t, h * w)).reshape(t, h, w)


def _not_linear(node: Any, x: Tensor) -> str | None:
    """What between the score and the marked activation is not linear, or goes past it to the clip; None if nothing."""
    waiting, seen, found = [node], {node}, None
    while waiting:
        step = waiting.pop()
        name = re.sub(r"Backwards?\d*$", "", step.name().rsplit("::")[-1])
        if name == "AccumulateGrad" and step.variable is x:
            return "it by on another branch"
        above = [parent for parent, _ in step.next_functions]
        above = above[1:] if name == "Copy" else above  # the first is what was overwritten
        live = [place for place, parent in enumerate(above) if parent is not None]
        product = name in PRODUCTS and len(live) == 1 and (name != "Div" or live == [0])
        if name not in LINEAR and not product:
            found = found or f"through {name}"
        waiting.extend(parent for parent in above if parent is not None and parent not in seen)
        seen.update(above)
    return found
