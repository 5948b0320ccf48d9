"""An autoencoder that is trained against a discriminator and encodes its own output again: `ganomaly`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from vidence.errors import SpecError
from vidence.models.halving import SLOPE, check_size, doublings, halvings
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured, shown
from vidence.models.reconstruction_detector import ReconstructionSettings

WIDTHS = (32, 64, 64, 64)


@dataclass(frozen=True, kw_only=True)
class GANomaly(ReconstructionSettings):
    """GANomaly (Akcay et al., ACCV 2018), small: encoder, decoder, encoder, and a discriminator.

    `latent`: the code's length; `adversarial`: the weight of feature matching, of the latent loss and of the
    discriminator's loss against the reconstruction's (1 : 50 in the paper). The score is the squared distance between
    a frame's code and its reconstruction's. `size` is a multiple of 16.
    """

    score: str = "centre-distance"
    latent: int = 128
    adversarial: float = 0.02

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved, and a second meaning of `distance`."""
        super().__post_init__()
        check_size("ganomaly", self.size, multiple=2 ** len(WIDTHS))
        if self.latent < 1 or not self.adversarial > 0:
            raise SpecError(
                f"ganomaly: latent must be at least 1, adversarial positive; got {self.latent}, {self.adversarial}."
            )
        if self.svdd != "none":
            raise SpecError(
                "ganomaly: it has a distance already, so svdd must be 'none'. Use svdd with an autoencoder."
            )

    def network(self) -> GANomalyNetwork:
        """The untrained network."""
        return GANomalyNetwork(self.channels or 3, size=self.size, latent=self.latent, weight=self.adversarial)


class GANomalyNetwork(ReconstructionNetwork):
    """`encoder`, `decoder` and `encoder_again` of single frames; `discriminator` serves training only."""

    def __init__(self, channels: int, *, size: int, latent: int, weight: float) -> None:
        super().__init__()
        self.channels, self.weight = channels, weight
        side = size // 2 ** len(WIDTHS)
        self.encoder, self.encoder_again = (
            nn.Sequential(*halvings((channels, *WIDTHS)), nn.Conv2d(WIDTHS[-1], latent, side), nn.Flatten())
            for _ in range(2)
        )
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (latent, 1, 1)),
            *(nn.ConvTranspose2d(latent, WIDTHS[-1], side, bias=False), nn.BatchNorm2d(WIDTHS[-1]), nn.ReLU()),
            *doublings((*WIDTHS[::-1], channels)),
        )
        self.discriminator = Discriminator(channels, side=side)

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s d"]:
        """The frames' codes."""
        frames = rearrange(coloured(x, self.channels), "n c t h w -> (n t) c h w")
        return rearrange(self.encoder(frames), "(n t) d -> n t d", n=len(x))

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Reconstruct every frame, and say how far its code moved by that."""
        code = self.embed(x)
        made = self.decoder(code.flatten(0, 1))
        distance = (code - self.encoder_again(made).reshape(code.shape)).square().sum(dim=-1)
        return Reconstruction(rearrange(made, "(n t) c h w -> n c t h w", n=len(x)), code=code, distance=distance)

    def penalty(self, output: Reconstruction, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, ""]:
        """The losses of the paper besides the reconstruction's, for one optimiser of all parameters.

        The generator's terms see the discriminator as a constant, the discriminator's see the reconstruction as one;
        so each part gets the gradient that it would get from an optimiser of its own.
        """
        real, made = (rearrange(each, "n c t h w -> (n t) c h w") for each in (shown(output, x), output.x_hat))
        fixed = {name: held.detach() for name, held in self.discriminator.named_parameters()}
        wanted, found = (functional_call(self.discriminator, fixed, (each,))[0] for each in (real, made))
        matching = F.mse_loss(found, wanted)
        latent = (
            0.0 if output.distance is None or output.code is None else output.distance.mean() / output.code.shape[-1]
        )
        (_, on_real), (_, on_made) = self.discriminator(real), self.discriminator(made.detach())
        told = F.binary_cross_entropy_with_logits(on_real, torch.ones_like(on_real))
        told = told + F.binary_cross_entropy_with_logits(on_made, torch.zeros_like(on_made))
        return self.weight * (matching + latent + told / 2)


class Discriminator(nn.Module):
    """Real or made: four halvings without batch norm, whose running statistics would mix the two kinds."""

    def __init__(self, channels: int, *, side: int) -> None:
        super().__init__()
        steps = zip((channels, *WIDTHS), WIDTHS, strict=False)
        self.features = nn.Sequential(
            *(layer for c_in, c_out in steps for layer in (nn.Conv2d(c_in, c_out, 4, 2, 1), nn.LeakyReLU(SLOPE)))
        )
        self.head = nn.Conv2d(WIDTHS[-1], 1, side)

    def forward(self, frames: Float[Tensor, "m c h w"]) -> tuple[Float[Tensor, "m k i j"], Float[Tensor, " m"]]:
        """The features that are to be matched, and the logit of being real."""
        features = self.features(frames)
        return features, self.head(features).flatten()
