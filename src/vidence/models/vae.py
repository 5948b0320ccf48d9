"""A variational autoencoder of single frames: `vae`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.halving import check_size, doublings, halvings
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import ReconstructionSettings

WIDTHS = (32, 64, 64, 64)
LOG_VARIANCE = (-10.0, 10.0)  # kept within, or an early step could overflow


@dataclass(frozen=True, kw_only=True)
class VAE(ReconstructionSettings):
    """A variational autoencoder (Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014), small.

    `latent`: the code's length; `beta`: the weight of the divergence from the prior, in units of a frame's summed
    squared error. The score 'centre-distance' is that divergence. `size` is a multiple of 16.
    """

    latent: int = 128
    beta: float = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved, and a second meaning of `distance`."""
        super().__post_init__()
        check_size("vae", self.size, multiple=2 ** len(WIDTHS))
        if self.latent < 1 or not self.beta >= 0:
            raise SpecError(f"vae: latent must be at least 1, beta not negative; got {self.latent}, {self.beta}.")
        if self.svdd != "none":
            raise SpecError("vae: its code has a prior already, so svdd must be 'none'. Use svdd with an autoencoder.")

    def network(self) -> VAENetwork:
        """The untrained network."""
        return VAENetwork(self.channels or 3, size=self.size, latent=self.latent, beta=self.beta)


class VAENetwork(ReconstructionNetwork):
    """Four halvings to a mean and a log variance per frame, and back.

    Training draws the code, eval takes its mean. `distance` is each frame's Kullback-Leibler divergence from the
    standard normal prior, in nats.
    """

    def __init__(self, channels: int, *, size: int, latent: int, beta: float) -> None:
        super().__init__()
        self.channels, self.beta = channels, beta
        side = size // 2 ** len(WIDTHS)
        inner = WIDTHS[-1] * side**2
        self.encoder = nn.Sequential(*halvings((channels, *WIDTHS)), nn.Flatten(), nn.Linear(inner, 2 * latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent, inner),
            nn.Unflatten(1, (WIDTHS[-1], side, side)),
            *doublings((*WIDTHS[::-1], channels)),
        )

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s d"]:
        """The means of the frames' codes."""
        return self._encoded(x)[0]

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Reconstruct every frame."""
        mean, log_variance = self._encoded(x)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        x_hat = rearrange(self.decoder(z.flatten(0, 1)), "(n t) c h w -> n c t h w", n=len(x))
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1) / 2
        return Reconstruction(x_hat, code=mean, distance=divergence)

    def penalty(self, output: Reconstruction, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, ""]:
        """The divergence per value of a frame: the reconstruction loss is a mean over values, too."""
        if output.distance is None:
            return super().penalty(output, x)
        return self.beta * output.distance.mean() / output.x_hat[0, :, 0].numel()

    def _encoded(self, x: Float[Tensor, "n c t h w"]) -> tuple[Float[Tensor, "n s d"], Float[Tensor, "n s d"]]:
        frames = rearrange(coloured(x, self.channels), "n c t h w -> (n t) c h w")
        codes = rearrange(self.encoder(frames), "(n t) d -> n t d", n=len(x))
        mean, log_variance = codes.chunk(2, dim=-1)
        return mean, log_variance.clamp(*LOG_VARIANCE)
