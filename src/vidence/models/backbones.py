"""The per-frame networks a detector can stand on: frames (n, 3, h, w) -> maps (n, c, i, j)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from vidence.models.mobilenet import MobileNetV2
from vidence.models.small import Small
from vidence.models.vgg import VGG19


@dataclass(frozen=True)
class Backbone:
    """How a backbone is made, and its geometry: `channels` of the maps, `stride` in pixels, and whether a map's side
    is the picture's side / stride rounded up (padded convolutions) or down (poolings).
    """

    make: Callable[..., nn.Module]
    channels: int
    stride: int
    rounds_up: bool

    def side(self, size: int) -> int:
        """The side of the maps of a picture of `size` pixels."""
        return -(-size // self.stride) if self.rounds_up else size // self.stride


BACKBONES: dict[str, Backbone] = {
    "vgg19": Backbone(VGG19, channels=512, stride=32, rounds_up=False),
    "mobilenet-v2": Backbone(MobileNetV2, channels=1280, stride=32, rounds_up=True),
    "small": Backbone(Small, channels=64, stride=8, rounds_up=True),
}


def variant(backbone: nn.Module) -> dict[str, Any]:
    """What a backbone needs to be made again beside its state dict: MobileNetV2's padding and normalisation depend on
    where its weights came from. Plain values, for JSON; `BACKBONES[name].make(**variant)` takes them back.
    """
    if not isinstance(backbone, MobileNetV2):
        return {}
    mean, std = (buffer.flatten().tolist() for buffer in (backbone.mean, backbone.std))
    return {"padding": backbone.padding, "mean": mean, "std": std}
