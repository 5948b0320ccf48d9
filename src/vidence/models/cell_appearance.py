"""What the cells of a picture look like: MobileNetV2's features half-way up (Sandler et al., CVPR 2018)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from vidence.models.backbones import shortened, variant
from vidence.models.evaluating import evaluating
from vidence.models.mobilenet import MobileNetV2

DEPTH, CHANNELS = 11, 64  # modules of `features`, and what they give: a vector every 16 pixels
LOOKS = 16  # numbers that are kept of a vector, directions drawn at random (Johnson and Lindenstrauss, 1984)


class CellAppearance(nn.Module):
    """The first modules of a MobileNetV2, frozen: one map a picture, read at the places of its cells."""

    directions: Tensor

    def __init__(self, backbone: MobileNetV2) -> None:
        super().__init__()
        self.backbone = shortened(backbone, DEPTH).requires_grad_(False).eval()
        drawn = torch.randn(CHANNELS, LOOKS, generator=torch.Generator().manual_seed(0))
        self.register_buffer("directions", torch.linalg.qr(drawn).Q)

    @classmethod
    def restored(cls, origin: Mapping[str, Any]) -> CellAppearance:
        """Without its weights, from what `origin` gave."""
        return cls(MobileNetV2(**origin))

    def origin(self) -> dict[str, Any]:
        """What is needed beside the weights to make it again."""
        return variant(self.backbone)

    def look(
        self, pixels: UInt8[np.ndarray, "h w 3"], shape: tuple[int, int], *, height: int
    ) -> Float32[np.ndarray, "i j v"]:
        """What each of (i, j) cells looks like; a picture higher than `height` is shrunk to it."""
        if pixels.shape[0] > height:
            wide = round(pixels.shape[1] * height / pixels.shape[0])
            pixels = cv2.resize(pixels, (wide, height), interpolation=cv2.INTER_AREA)
        with evaluating(self):
            x = rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w").float() / 255
            return self.read(self.backbone(x), shape).numpy()

    def read(self, features: Float[Tensor, "1 c h w"], shape: tuple[int, int]) -> Float[Tensor, "i j v"]:
        """Features at the middle of each cell, bilinear, all equally long before they are projected."""
        at_cells = F.interpolate(features, size=shape, mode="bilinear", align_corners=False)[0]
        directed = F.normalize(at_cells, dim=0) * math.sqrt(CHANNELS)
        return rearrange(directed, "c i j -> i j c") @ self.directions
