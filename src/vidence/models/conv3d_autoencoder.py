"""An autoencoder with convolutions over space and time: `conv3d-ae`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from vidence.models.halving import SLOPE, check_size
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import ReconstructionSettings

WIDTHS = (32, 48, 64, 64)
SLOWER = (False, True, True, False)  # which steps halve the time as well
PACE = 2 ** sum(SLOWER)  # frames per step of the code


@dataclass(frozen=True, kw_only=True)
class Conv3dAE(ReconstructionSettings):
    """A small spatio-temporal autoencoder (Zhao et al., Spatio-Temporal AutoEncoder for Video Anomaly Detection,
    ACM MM 2017), with strides instead of pooling and without the branch that predicts. `size` is a multiple of 16.
    """

    length: int = 16

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved."""
        super().__post_init__()
        check_size("conv3d-ae", self.size, multiple=2 ** len(WIDTHS))

    def network(self) -> Conv3dAENetwork:
        """The untrained network."""
        return Conv3dAENetwork(self.channels or 3)


class Conv3dAENetwork(ReconstructionNetwork):
    """Four 3-D convolutions that halve the side, two of them the time, and their mirror.

    A clip whose length is no multiple of 4 is continued with its last frame, and cut again.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        down: list[nn.Module] = []
        for c_in, c_out, slower in zip((channels, *WIDTHS), WIDTHS, SLOWER, strict=False):
            shape = _shape(slower)
            down += [nn.Conv3d(c_in, c_out, *shape, bias=False), nn.BatchNorm3d(c_out), nn.LeakyReLU(SLOPE)]
        up: list[nn.Module] = []
        for c_in, c_out, slower in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], SLOWER[:0:-1], strict=True):
            shape = _shape(slower)
            up += [nn.ConvTranspose3d(c_in, c_out, *shape, bias=False), nn.BatchNorm3d(c_out), nn.LeakyReLU(SLOPE)]
        self.encoder = nn.Sequential(*down)
        self.decoder = nn.Sequential(*up, nn.ConvTranspose3d(WIDTHS[0], channels, *_shape(SLOWER[0])), nn.Sigmoid())

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s d"]:
        """The codes; four frames share one."""
        return self._shared(self._encoded(x), x.shape[2])

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Reconstruct every frame."""
        maps = self._encoded(x)
        x_hat = self.decoder(maps)[:, :, : x.shape[2]]
        return Reconstruction(x_hat, code=self._shared(maps, x.shape[2]))

    def _encoded(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k u i j"]:
        gray = coloured(x, self.channels)
        missing = -x.shape[2] % PACE
        return self.encoder(torch.cat([gray, gray[:, :, -1:].expand(-1, -1, missing, -1, -1)], dim=2))

    def _shared(self, maps: Float[Tensor, "n k u i j"], frames: int) -> Float[Tensor, "n s d"]:
        codes = rearrange(maps, "n k u i j -> n u (k i j)")
        return repeat(codes, "n u d -> n (u pace) d", pace=PACE)[:, :frames]


def _shape(slower: bool) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]:
    """Kernel, stride and padding (t, h, w)."""
    return ((4, 4, 4), (2, 2, 2), (1, 1, 1)) if slower else ((3, 4, 4), (1, 2, 2), (1, 1, 1))
