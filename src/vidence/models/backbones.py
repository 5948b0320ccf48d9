"""The per-frame networks a detector can stand on: frames (n, 3, h, w) -> maps (n, c, i, j)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vidence.errors import SpecError
from vidence.models.mobilenet import MobileNetV2
from vidence.models.resnet import ResNet50
from vidence.models.small import Small
from vidence.models.vgg import VGG19

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "vgg19": VGG19,
    "mobilenet-v2": MobileNetV2,
    "resnet50": ResNet50,
    "small": Small,
}


def shortened(backbone: nn.Module, stages: int) -> nn.Module:
    """The backbone with the first `stages` modules of its `features` only (0: all), changed in place."""
    features = getattr(backbone, "features", None)
    if stages and (not isinstance(features, nn.Sequential) or stages > len(features)):
        most = len(features) if isinstance(features, nn.Sequential) else 0
        raise SpecError(f"stages must be 0 (all) to {most} for {type(backbone).__name__}; got {stages}.")
    if stages:
        backbone.features = features[:stages]  # type: ignore[index]
    return backbone


def map_shape(backbone: nn.Module, size: int) -> tuple[int, int]:
    """Channels and side of the maps of a picture of `size` pixels, found by looking at one in eval mode."""
    training, device = backbone.training, next(backbone.parameters(), torch.empty(0)).device
    backbone.eval()  # or batch norms would count the picture as seen
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, size, size, device=device))
    backbone.train(training)
    return maps.shape[1], maps.shape[2]


def variant(backbone: nn.Module) -> dict[str, Any]:
    """What a backbone needs to be made again beside its state dict: MobileNetV2's padding and normalisation depend on
    where its weights came from. Plain values, for JSON; `BACKBONES[name](**variant)` takes them back.
    """
    if not isinstance(backbone, MobileNetV2):
        return {}
    mean, std = (buffer.flatten().tolist() for buffer in (backbone.mean, backbone.std))
    return {"padding": backbone.padding, "mean": mean, "std": std}
