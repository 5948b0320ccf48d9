"""Detectors that know next to nothing: chance, the mean frame, the previous frame. A trained one has to beat them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vidence.errors import DataError, ShapeError
from vidence.models.predicting import PredictorSettings, check_context
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import ReconstructionSettings


@dataclass(frozen=True, kw_only=True)
class Random(ReconstructionSettings):
    """Chance: a score that has nothing to do with what is seen, yet is the same whenever the same frame is seen."""

    seed: int = 0

    def network(self) -> RandomNetwork:
        """Nothing to train."""
        return RandomNetwork(self.channels or 3, seed=self.seed)


class RandomNetwork(ReconstructionNetwork):
    """Shifts every frame by an offset in [0, 1), drawn from the seed and a digest of the frame's 8-bit pixels.

    The error is that offset everywhere, whatever the picture; so x_hat may leave [0, 1], and no gradient reaches x.
    """

    def __init__(self, channels: int, *, seed: int) -> None:
        super().__init__()
        self.channels, self.seed = channels, seed

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """(n, c, t, h, w) -> a shifted x."""
        truth = coloured(x, self.channels)
        frames = (x.detach() * 255).round().to(torch.uint8).movedim(2, 1).flatten(0, 1).cpu().numpy()  # (n t) c h w
        offsets = x.new_tensor([self._offset(frame.tobytes()) for frame in frames])
        return Reconstruction(truth + offsets.reshape(len(x), 1, -1, 1, 1))

    def _offset(self, pixels: bytes) -> float:
        digest = hashlib.sha256(f"{self.seed} ".encode() + pixels).digest()
        return int.from_bytes(digest[:4], "big") / 2**32


@dataclass(frozen=True, kw_only=True)
class MeanFrame(ReconstructionSettings):
    """How far a frame is from the mean of the training frames: what a collapsed autoencoder comes down to."""

    def network(self) -> MeanFrameNetwork:
        """A network that has yet to `learn`."""
        return MeanFrameNetwork(self.channels or 3, size=self.size)


class MeanFrameNetwork(ReconstructionNetwork):
    """Reconstructs every frame as `mean` (c, h, w): mid-gray until `learn` has seen the training frames."""

    mean: Tensor

    def __init__(self, channels: int, *, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((channels, size, size), 0.5))

    def learn(self, clips: Iterable[Float[Tensor, "1 c t h w"]]) -> None:
        """Set `mean` to that of all frames of all clips. Raises `DataError` if there are none."""
        total, frames = torch.zeros_like(self.mean, dtype=torch.float64), 0
        for x in clips:
            total += coloured(x, len(self.mean)).to(total).sum(dim=(0, 2))
            frames += x.shape[0] * x.shape[2]
        if not frames:
            raise DataError("the mean frame is learnt from normal footage; there was no clip. Give at least one.")
        self.mean.copy_(total / frames)

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """(n, c, t, h, w) -> the mean, as often as x has frames."""
        if x.shape[3:] != self.mean.shape[1:]:
            raise ShapeError(
                f"x must have the size of the mean frame, {tuple(self.mean.shape[1:])}; got {tuple(x.shape)}."
            )
        n, t = x.shape[0], x.shape[2]
        return Reconstruction(self.mean[None, :, None].to(x.dtype).expand(n, -1, t, -1, -1))


@dataclass(frozen=True, kw_only=True)
class PreviousFrame(PredictorSettings):
    """Frame differencing: how far a frame is from the one before. An image has none."""

    length: int = 9

    @property
    def context(self) -> int:
        """One frame."""
        return PreviousFrameNetwork.first_frame

    def network(self) -> PreviousFrameNetwork:
        """Nothing to train."""
        return PreviousFrameNetwork(self.channels or 3)


class PreviousFrameNetwork(ReconstructionNetwork):
    """Predicts that frame t looks as frame t - 1 did."""

    first_frame = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """(n, c, t, h, w) -> the frames 0 to t - 2, standing for 1 to t - 1. Raises `ShapeError` for one frame."""
        check_context(x, self.first_frame)
        return Reconstruction(coloured(x, self.channels)[:, :, :-1], first_frame=self.first_frame)
