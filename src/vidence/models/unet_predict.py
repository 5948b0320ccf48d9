"""A U-Net that predicts the next frame from the four before: `unet-predict`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.halving import check_size
from vidence.models.predicting import PredictorSettings, check_context
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured, shown

LEVELS = 4


@dataclass(frozen=True, kw_only=True)
class UNetPredict(PredictorSettings):
    """Future frame prediction (Liu et al., CVPR 2018) with the paper's intensity and gradient losses, small.

    Left out are the paper's adversarial and optical flow losses. `past`: frames that a prediction sees; `width`:
    filters of the first of four levels, each next has twice as many; `gradient`: the weight of the gradient loss. The
    score is -PSNR as in the paper. `size` is a multiple of 8.
    """

    length: int = 12
    score: str = "psnr"
    past: int = 4
    width: int = 16
    gradient: float = 1.0

    @property
    def context(self) -> int:
        """`past`."""
        return self.past

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved."""
        super().__post_init__()
        check_size("unet-predict", self.size, multiple=2 ** (LEVELS - 1))
        if self.width < 1 or not self.gradient >= 0:
            raise SpecError(
                f"unet-predict: width must be at least 1, gradient not negative; got {self.width}, {self.gradient}."
            )

    def network(self) -> UNetPredictNetwork:
        """The untrained network."""
        return UNetPredictNetwork(self.channels or 3, past=self.past, width=self.width, gradient=self.gradient)


class UNetPredictNetwork(ReconstructionNetwork):
    """All runs of `past` frames in a clip are one batch; what it predicts stands for the frame after each."""

    def __init__(self, channels: int, *, past: int, width: int, gradient: float) -> None:
        super().__init__()
        self.channels, self.first_frame, self.gradient = channels, past, gradient
        widths = [width * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(map(_level, [channels * past, *widths[:-1]], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * wide, wide, 2, 2) for wide in widths[-2::-1])
        self.merge = nn.ModuleList(_level(2 * wide, wide) for wide in widths[-2::-1])
        self.last = nn.Sequential(nn.Conv2d(width, channels, 3, 1, 1), nn.Sigmoid())

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Predict the frames from the first that has a past. Raises `ShapeError` where there is none."""
        check_context(x, self.first_frame)
        pasts = coloured(x, self.channels)[:, :, :-1].unfold(2, self.first_frame, 1)  # (n, c, s, h, w, past)
        predicted = self._predicted(rearrange(pasts, "n c s h w past -> (n s) (past c) h w"))
        x_hat = rearrange(predicted, "(n s) c h w -> n c s h w", n=len(x))
        return Reconstruction(x_hat, first_frame=self.first_frame)

    def penalty(self, output: Reconstruction, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, ""]:
        """The gradient loss: edges must be where they are in the frame (Mathieu et al. 2016)."""
        truth = shown(output, x)
        wrong = [(_slope(output.x_hat, axis) - _slope(truth, axis)).abs().mean() for axis in (3, 4)]
        return self.gradient * sum(wrong, output.x_hat.new_zeros(()))

    def _predicted(self, maps: Float[Tensor, "m k h w"]) -> Float[Tensor, "m c h w"]:
        seen: list[Tensor] = []
        for level in self.down:
            maps = level(nn.functional.max_pool2d(maps, 2) if seen else maps)
            seen.append(maps)
        for up, merge, skipped in zip(self.up, self.merge, seen[-2::-1], strict=True):
            maps = merge(torch.cat([skipped, up(maps)], dim=1))
        return self.last(maps)


def _level(c_in: int, c_out: int) -> nn.Sequential:
    first = (nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())
    return nn.Sequential(*first, nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())


def _slope(x: Tensor, axis: int) -> Tensor:
    return x.diff(dim=axis).abs()
