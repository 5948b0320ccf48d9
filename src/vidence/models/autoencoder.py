"""Ravi's convolutional autoencoders of single frames, all from one definition: `cae` and its presets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.plans import Activation, Layer, Plan, check_size, plan_of
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import ReconstructionSettings

PlanName = Literal["bcae1", "bcae2", "ks", "bcae1-text"]


@dataclass(frozen=True, kw_only=True)
class Cae(ReconstructionSettings):
    """Convolutional autoencoder of single frames (Ravi's thesis, chapters 3 and 4).

    `plan`: which layers, see `plans.py`; each fits pictures of 128 x 128.
    """

    plan: PlanName = "bcae1"

    def __post_init__(self) -> None:
        """Refuse sizes that the plan does not give back."""
        super().__post_init__()
        if self.plan not in get_args(PlanName):
            raise SpecError(f"plan must be one of {', '.join(get_args(PlanName))}; got {self.plan!r}.")
        check_size(self.plan, plan_of(self.plan), self.size)

    def network(self) -> CaeNetwork:
        """The untrained network."""
        return CaeNetwork(plan_of(self.plan), self.channels or 3)


@dataclass(frozen=True, kw_only=True)
class Bcae1(Cae):
    """BCAE1, the baseline of the thesis: a code of 1536 values a frame."""


class CaeNetwork(ReconstructionNetwork):
    """Encoder and decoder of a plan; frames are folded into the batch, channels last in memory."""

    def __init__(self, plan: Plan, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.encoder = _stack(plan.encoder, channels, channels)
        self.decoder = _stack(plan.decoder, plan.encoder[-1].filters or channels, channels)
        self.to(memory_format=torch.channels_last)

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n t d"]:
        """The frames' codes, without decoding them."""
        return _codes(self.encoder(self._frames(x)), len(x))

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Reconstruct every frame by itself."""
        maps = self.encoder(self._frames(x))
        x_hat = rearrange(self.decoder(maps), "(n t) c h w -> n c t h w", n=len(x))
        return Reconstruction(x_hat, code=_codes(maps, len(x)))

    def _frames(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "m c h w"]:
        frames = rearrange(coloured(x, self.channels), "n c t h w -> (n t) c h w")
        return frames.contiguous(memory_format=torch.channels_last)


def _codes(maps: Float[Tensor, "m k i j"], clips: int) -> Float[Tensor, "n t d"]:
    return rearrange(maps, "(n t) k i j -> n t (k i j)", n=clips)


def _stack(layers: Iterable[Layer], c_in: int, channels: int) -> nn.Sequential:
    """One child a layer, each convolution, batch norm, activation."""
    made = []
    for layer in layers:
        c_out = layer.filters or channels
        made.append(nn.Sequential(*_convolution(layer, c_in, c_out), _activation(layer.activation)))
        c_in = c_out
    return nn.Sequential(*made)


def _convolution(layer: Layer, c_in: int, c_out: int) -> list[nn.Module]:
    shape = (c_in, c_out, layer.kernel, layer.stride, layer.padding)
    convolution = nn.ConvTranspose2d(*shape, layer.output_padding) if layer.transposed else nn.Conv2d(*shape)
    return [convolution, nn.BatchNorm2d(c_out)] if layer.norm else [convolution]


def _activation(name: Activation) -> nn.Module:
    made: dict[str, nn.Module] = {
        "relu": nn.ReLU(inplace=True),
        "leaky": nn.LeakyReLU(0.01, inplace=True),
        "leakier": nn.LeakyReLU(0.2, inplace=True),
        "tanh": nn.Tanh(),
        "sigmoid": nn.Sigmoid(),
    }
    return made[name]
