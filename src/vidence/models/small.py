"""Four convolutions: a backbone that trains from scratch in seconds, for the demo and the tests."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError

CHANNELS = (16, 32, 64, 64)
STRIDES = (2, 2, 2, 1)


class Small(nn.Module):
    """Four times convolution, batch norm and ReLU; a feature sees 37 x 37 pixels, one every 8.

    `x` is float RGB (n, 3, h, w) in [0, 1], centred inside to [-1, 1]; `forward` returns (n, 64, h / 8, w / 8),
    rounded up.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for place, (c_out, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True)):
            kernel = 5 if place < 2 else 3  # wide early kernels: the receptive field is cheap there
            layers += [
                nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(c_out),
                nn.ReLU(),
            ]
            c_in = c_out
        self.features = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 64 i j"]:
        """(n, 3, h, w) in [0, 1] -> (n, 64, h / 8, w / 8)."""
        if x.ndim != 4 or x.shape[1] != 3 or not torch.is_floating_point(x):
            raise ShapeError(
                f"the small backbone takes float RGB (n, 3, h, w) in [0, 1]; got {x.dtype} {tuple(x.shape)}. "
                "Fold frames into the batch, put channels second and divide pixels by 255."
            )
        return self.features(2 * x - 1)
