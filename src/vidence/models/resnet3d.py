"""Residual networks over space and time: R3D and R(2+1)D (Tran et al., CVPR 2018)."""

from __future__ import annotations

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from vidence.models.volume import VolumeNetwork

Convolution = Literal["3d", "2+1d"]
KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_STD = (0.22803, 0.22145, 0.216989)
WIDTH = 64  # channels of the published networks' first stage


class VideoResNet(VolumeNetwork):
    """Stem, four stages of two (`blocks`) residual blocks, mean over space and time, linear layer.

    `convolution` is '3d' (R3D) or '2+1d': each 3 x 3 x 3 kernel becomes 1 x 3 x 3, batch norm, ReLU and 3 x 1 x 1. With
    `width` 64 and 400 classes R3D-18 has 33 371 472 parameters and R(2+1)D-18 31 505 325, and both state dicts carry
    torchvision's names. Of 16 frames of 112 x 112 pixels `layer4` makes 2 maps of 7 x 7. Kinetics' mean and deviation.
    """

    head: ClassVar[str] = "fc"

    def __init__(
        self,
        classes: int = 400,
        *,
        convolution: Convolution,
        width: int = WIDTH,
        blocks: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(mean=KINETICS_MEAN, std=KINETICS_STD)
        self.stem = _stem(convolution, width)
        c_in = width
        for place in range(4):
            c_out, stride = width << place, 1 if place == 0 else 2
            layer = [Block(c_in, c_out, stride=stride, convolution=convolution)]
            layer += [Block(c_out, c_out, stride=1, convolution=convolution) for _ in range(blocks - 1)]
            self.add_module(f"layer{place + 1}", nn.Sequential(*layer))
            c_in = c_out
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(c_in, classes)
        self.start_convolutions()
        nn.init.normal_(self.fc.weight, 0.0, 0.01)
        nn.init.zeros_(self.fc.bias)

    def judged(self, x: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n k"]:
        """(n, 3, t, h, w) -> (n, k)."""
        maps = self.stem(x)
        for place in range(4):
            maps = self.get_submodule(f"layer{place + 1}")(maps)  # (n, c, t / 2^place, h / 2^(place + 1), ...)
        return self.fc(self.dropout(maps.mean((2, 3, 4))))


class Block(nn.Module):
    """Two convolutions with batch norms, added to the input or its projection."""

    def __init__(self, c_in: int, c_out: int, *, stride: int, convolution: Convolution) -> None:
        super().__init__()
        between = c_in * c_out * 27 // (c_in * 9 + 3 * c_out)  # so that 2+1d has the parameters of 3d; of both of them
        first = _convolution(c_in, c_out, convolution, between=between, stride=stride)
        second = _convolution(c_out, c_out, convolution, between=between)
        self.conv1 = nn.Sequential(first, nn.BatchNorm3d(c_out), nn.ReLU())
        self.conv2 = nn.Sequential(second, nn.BatchNorm3d(c_out))
        self.relu = nn.ReLU()
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv3d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm3d(c_out))

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k s i j"]:
        """(n, c_in, t, h, w) -> (n, c_out, t / stride, h / stride, w / stride), rounded up."""
        made = self.conv2(self.conv1(x))
        return self.relu(made + (x if self.downsample is None else self.downsample(x)))


def _convolution(c_in: int, c_out: int, kind: Convolution, *, between: int, stride: int = 1) -> nn.Module:
    """A 3 x 3 x 3 convolution, whole or factored with `between` channels."""
    if kind == "3d":
        return nn.Conv3d(c_in, c_out, 3, stride, 1, bias=False)
    return nn.Sequential(
        nn.Conv3d(c_in, between, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(),
        nn.Conv3d(between, c_out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


def _stem(kind: Convolution, width: int) -> nn.Sequential:
    """3 x 7 x 7, whole or factored with 45 channels (of 64); halves height and width."""
    if kind == "3d":
        whole = nn.Conv3d(3, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        return nn.Sequential(whole, nn.BatchNorm3d(width), nn.ReLU())
    between = max(1, 45 * width // WIDTH)
    return nn.Sequential(
        nn.Conv3d(3, between, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(),
        nn.Conv3d(between, width, (3, 1, 1), 1, (1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(),
    )
