"""What 3-D convolutional classifiers share: input and normalisation, and which part makes the logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError


class VolumeNetwork(nn.Module, ABC):
    """A network over clips: x (n, 3, t, h, w) in [0, 1] -> logits (n, k), normalised inside with `mean` and `std`.

    `head` names the child that makes the logits; all others are the trunk, which weights from elsewhere may fill.
    """

    head: ClassVar[str]
    mean: Float[Tensor, "3 1 1 1"]
    std: Float[Tensor, "3 1 1 1"]

    def __init__(self, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n k"]:
        """Logits. Raises `ShapeError` for anything but float RGB clips."""
        if x.ndim != 5 or x.shape[1] != 3 or 0 in x.shape or not x.is_floating_point():
            raise ShapeError(
                f"{type(self).__name__} takes float RGB (n, 3, t, h, w) in [0, 1]; got {x.dtype} {tuple(x.shape)}. "
                "Use prepare(clip), or put channels second and divide pixels by 255."
            )
        return self.judged((x - self.mean) / self.std)

    @abstractmethod
    def judged(self, x: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n k"]:
        """Logits of a normalised clip."""

    def start_convolutions(self) -> None:
        """Draw all kernels for ReLUs behind them (He et al., ICCV 2015)."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
