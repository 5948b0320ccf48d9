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

    def look(self, pixels: UInt8[np.ndarray, "h w 3"], *, size: tuple[int, int]) -> Float[Tensor, "1 v i j"]:
        """The features of a picture that is analysed at a `size` (h, w)."""
        height, width = (LARGER * side for side in size)
        smaller = pixels.shape[0] > height
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
        with evaluating(self):
            x = rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w").float() / 255
            return self.backbone(x)

    def read(
        self, features: Float[Tensor, "1 v h w"], places: Float[np.ndarray, "i j 2"]
    ) -> Float32[np.ndarray, "i j v"]:
        """Features at places, shares of the height and the width, bilinear, all equally long: what is there, not how
        strongly.
        """
        grid = torch.from_numpy(2 * places[None, ..., ::-1] - 1).float()
        found = F.grid_sample(features, grid, align_corners=False, padding_mode="border")[0]
        return rearrange(F.normalize(found, dim=0) * math.sqrt(LOOKS), "v i j -> i j v").numpy()
