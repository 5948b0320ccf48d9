"""ResNet-50: residual bottlenecks as a per-frame backbone (He et al., CVPR 2016)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError
from vidence.models.mobilenet import IMAGENET_MEAN, IMAGENET_STD

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (which strides, as torchvision's does), 1 x 1 convolution; added to the input or its projection."""

    def __init__(self, c_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        c_out = EXPANSION * width
        self.conv1, self.bn1 = nn.Conv2d(c_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, c_out, 1, bias=False), nn.BatchNorm2d(c_out)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k i j"]:
        """(n, c_in, h, w) -> (n, 4 width, h / stride, w / stride), rounded up."""
        made = self.relu1(self.bn1(self.conv1(x)))
        made = self.relu2(self.bn2(self.conv2(made)))
        made = self.bn3(self.conv3(made))
        return self.relu3(made + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """The convolutional trunk, without the classifier: 23 508 032 parameters.

    `x` is float RGB (n, 3, h, w) in [0, 1], normalised inside with ImageNet's mean and deviation; `forward` returns
    (n, 2048, h / 32, w / 32), rounded up. The state dict carries torchvision's names (`conv1.weight` ..
    `layer4.2.bn3.bias`).
    """

    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        c_in = 64
        for place, blocks in enumerate(BLOCKS):
            width = 64 << place
            layer = [Bottleneck(c_in, width, stride=1 if place == 0 else 2)]
            c_in = EXPANSION * width
            layer += [Bottleneck(c_in, width, stride=1) for _ in range(blocks - 1)]
            self.add_module(f"layer{place + 1}", nn.Sequential(*layer))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 2048 i j"]:
        """(n, 3, h, w) in [0, 1] -> (n, 2048, h / 32, w / 32)."""
        if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ShapeError(
                f"ResNet50 takes float RGB (n, 3, h, w) in [0, 1]; got {x.dtype} {tuple(x.shape)}. "
                "Fold frames into the batch, put channels second and divide pixels by 255."
            )
        maps = (x - self.mean) / self.std
        for part in self.children():
            maps = part(maps)
        return maps
