"""An autoencoder that takes ten frames for the channels of one picture: `conv-ae`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError
from vidence.frames.windows import Partial
from vidence.models.halving import check_size
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import ReconstructionSettings

WIDTHS = (128, 64, 32)  # a quarter of the paper's


@dataclass(frozen=True, kw_only=True)
class ConvAE(ReconstructionSettings):
    """A convolutional autoencoder of stacked gray frames (Hasan et al., Learning Temporal Regularity in Video
    Sequences, CVPR 2016): its layers with a quarter of the filters. `size` is a multiple of 16.
    """

    partial: ClassVar[Partial] = "shift"  # the network takes whole windows only
    length: int = 10
    channels: int | None = 1

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be pooled."""
        super().__post_init__()
        check_size("conv-ae", self.size, multiple=16)

    def network(self) -> ConvAENetwork:
        """The untrained network."""
        return ConvAENetwork(self.channels or 3, length=self.length)


class ConvAENetwork(ReconstructionNetwork):
    """Convolutions k11 s4, k5, k3 with two poolings in between, and their mirror; tanh inside, a sigmoid at the end.

    Takes clips of `length` frames, all of which share a code. Raises `ShapeError` for others.
    """

    def __init__(self, channels: int, *, length: int) -> None:
        super().__init__()
        self.channels, self.length = channels, length
        wide, middle, narrow = WIDTHS
        self.encoder = nn.Sequential(
            *(nn.Conv2d(channels * length, wide, 11, 4, 4), nn.Tanh(), nn.MaxPool2d(2)),
            *(nn.Conv2d(wide, middle, 5, 1, 2), nn.Tanh(), nn.MaxPool2d(2)),
            *(nn.Conv2d(middle, narrow, 3, 1, 1), nn.Tanh()),
        )
        self.decoder = nn.Sequential(
            *(nn.ConvTranspose2d(narrow, middle, 3, 1, 1), nn.Tanh(), nn.Upsample(scale_factor=2)),
            *(nn.ConvTranspose2d(middle, wide, 5, 1, 2), nn.Tanh(), nn.Upsample(scale_factor=2)),
            *(nn.ConvTranspose2d(wide, channels * length, 11, 4, 4, output_padding=1), nn.Sigmoid()),
        )

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s d"]:
        """The clip's code, once per frame."""
        return self._shared(self._encoded(x))

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Reconstruct all frames at once."""
        maps = self._encoded(x)
        x_hat = rearrange(self.decoder(maps), "n (t c) h w -> n c t h w", t=self.length)
        return Reconstruction(x_hat, code=self._shared(maps))

    def _encoded(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k i j"]:
        if x.shape[2] != self.length:
            raise ShapeError(
                f"this network takes clips of {self.length} frames as one picture; got {x.shape[2]} frames. "
                "Cut windows of that length."
            )
        return self.encoder(rearrange(coloured(x, self.channels), "n c t h w -> n (t c) h w"))

    def _shared(self, maps: Float[Tensor, "n k i j"]) -> Float[Tensor, "n s d"]:
        return repeat(maps, "n k i j -> n t (k i j)", t=self.length)
