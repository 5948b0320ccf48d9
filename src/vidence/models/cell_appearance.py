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

DEPTH, LOOKS = 11, 64  # modules of `features`, and the values that they give every 16 pixels
LARGER = 2  # times the analysed size: a person is 30 pixels high there, and the network learnt from larger things


class CellAppearance(nn.Module):
    """The first modules of a MobileNetV2, frozen: one map a picture, read at the places of its cells."""

    def __init__(self, backbone: MobileNetV2) -> None:
        super().__init__()
        self.backbone = shortened(backbone, DEPTH).requires_grad_(False).eval()

    @classmethod
    def restored(cls, origin: Mapping[str, Any]) -> CellAppearance:
        """Without its weights, from what `origin` gave."""
        return cls(MobileNetV2(**origin))

    def origin(self) -> dict[str, Any]:
        """What is needed beside the weights to make it again."""
        return variant(self.backbone)

    def look(
        self, pixels: UInt8[np.ndarray, "h w 3"], cells: tuple[int, int], *, size: tuple[int, int]
    ) -> Float32[np.ndarray, "i j v"]:
        """What each of `cells` (i, j) looks like in a picture that is analysed at a `size` (h, w)."""
        height, width = (LARGER * side for side in size)
        smaller = pixels.shape[0] > height
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
        with evaluating(self):
            x = rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w").float() / 255
            return self.read(self.backbone(x), cells).numpy()

    def read(self, features: Float[Tensor, "1 v h w"], cells: tuple[int, int]) -> Float[Tensor, "i j v"]:
        """Features at the middle of each cell, bilinear, all equally long: what they are, not how strongly."""
        at_cells = F.interpolate(features, size=cells, mode="bilinear", align_corners=False)[0]
        return rearrange(F.normalize(at_cells, dim=0) * math.sqrt(LOOKS), "v i j -> i j v")
