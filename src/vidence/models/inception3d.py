"""I3D: Inception with kernels inflated over time (Carreira and Zisserman, CVPR 2017)."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.models.resnet3d import WIDTH
from vidence.models.volume import VolumeNetwork

Side = tuple[int, int, int]  # of a kernel or a stride: time, height, width

# name -> kernel and stride of a pooling; channels, kernel and stride of a convolution; channels of a mixed block:
# 1 x 1 x 1; 1 x 1 x 1 and 3 x 3 x 3; again; 1 x 1 x 1 behind a pooling
POOLINGS: dict[str, tuple[Side, Side]] = {
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}
CONVOLUTIONS: dict[str, tuple[int, Side, Side]] = {
    "Conv3d_1a_7x7": (64, (7, 7, 7), (2, 2, 2)),
    "Conv3d_2b_1x1": (64, (1, 1, 1), (1, 1, 1)),
    "Conv3d_2c_3x3": (192, (3, 3, 3), (1, 1, 1)),
}
MIXED: dict[str, tuple[int, ...]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
ORDER = (
    *("Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "MaxPool3d_3a_3x3"),
    *("Mixed_3b", "Mixed_3c", "MaxPool3d_4a_3x3", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"),
    *("MaxPool3d_5a_2x2", "Mixed_5b", "Mixed_5c"),
)


class InceptionI3D(VolumeNetwork):
    """The RGB network. With `width` 64 and 400 classes it has 12 697 264 parameters and the names of pytorch-i3d.

    Of 16 frames of 224 x 224 pixels `Mixed_5c` makes 2 maps of 7 x 7. Logits are averaged over pairs of neighbouring
    maps, as in the publication. x is brought to [-1, 1] inside.
    """

    head: ClassVar[str] = "logits"

    def __init__(self, classes: int = 400, *, width: int = WIDTH, dropout: float = 0.5) -> None:
        super().__init__(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        c_in = 3
        for name in ORDER:
            if name in POOLINGS:
                self.add_module(name, SamePool(*POOLINGS[name]))
            elif name in CONVOLUTIONS:
                c_out, kernel, stride = CONVOLUTIONS[name]
                self.add_module(name, Unit(c_in, c_in := _scaled(c_out, width), kernel, stride))
            else:
                made = Mixed(c_in, tuple(_scaled(channels, width) for channels in MIXED[name]))
                self.add_module(name, made)
                c_in = made.channels
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Sequential(OrderedDict(conv3d=nn.Conv3d(c_in, classes, 1)))
        self.start_convolutions()
        nn.init.normal_(self.get_parameter("logits.conv3d.weight"), 0.0, 0.01)

    def judged(self, x: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n k"]:
        """(n, 3, t, h, w) -> (n, k)."""
        for name in ORDER:
            x = self.get_submodule(name)(x)
        pairs = F.avg_pool3d(x, (min(2, x.shape[2]), *x.shape[3:]), stride=1)  # (n, c, t' - 1, 1, 1)
        return self.logits(self.dropout(pairs)).mean((2, 3, 4))


class Unit(nn.Module):
    """Convolution, batch norm, ReLU; TensorFlow's padding: ceil(side / stride) comes out, the odd zero lies behind."""

    def __init__(self, c_in: int, c_out: int, kernel: Side = (1, 1, 1), stride: Side = (1, 1, 1)) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(c_in, c_out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(c_out, eps=0.001, momentum=0.01)
        self.relu = nn.ReLU()

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k s i j"]:
        """(n, c_in, t, h, w) -> (n, c_out, ceil(t / stride), ...)."""
        x = _padded(x, self.conv3d.kernel_size, self.conv3d.stride)
        return self.relu(self.bn(self.conv3d(x)))


class SamePool(nn.Module):
    """Maximum over windows, padded as `Unit` is; what it sees is never negative, so that zeros change nothing."""

    def __init__(self, kernel: Side, stride: Side) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.pool = nn.MaxPool3d(kernel, stride)

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n c s i j"]:
        """(n, c, t, h, w) -> (n, c, ceil(t / stride), ...)."""
        return self.pool(_padded(x, self.kernel, self.stride))


class Mixed(nn.Module):
    """Four branches side by side; `widths`: see `MIXED`."""

    def __init__(self, c_in: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, narrow, wide, narrow_too, wide_too, pooled = widths
        self.b0 = Unit(c_in, one)
        self.b1a, self.b1b = Unit(c_in, narrow), Unit(narrow, wide, (3, 3, 3))
        self.b2a, self.b2b = Unit(c_in, narrow_too), Unit(narrow_too, wide_too, (3, 3, 3))
        self.b3a, self.b3b = SamePool((3, 3, 3), (1, 1, 1)), Unit(c_in, pooled)
        self.channels = one + wide + wide_too + pooled

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k t h w"]:
        """(n, c_in, t, h, w) -> (n, channels, t, h, w)."""
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, dim=1)


def _scaled(channels: int, width: int) -> int:
    return max(1, channels * width // WIDTH)


def _padded(x: Float[Tensor, "n c t h w"], kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around x, so that ceil(side / stride) windows fit."""
    sides: list[int] = []
    for side, window, step in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):  # w, h, t
        missing = max(window - (side % step or step), 0)
        sides += [missing // 2, missing - missing // 2]
    return F.pad(x, sides) if any(sides) else x
