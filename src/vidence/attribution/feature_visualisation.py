"""What a channel looks for: the clip that drives it most (activation maximisation; Olah et al., Distill 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.hooks import frozen, last_convolution, on_device, recorded
from vidence.errors import SpecError

# square root of the correlation of colours in natural images, columns scaled to unit norm at most (lucid, lucent)
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
JITTER = 8  # pixels


@dataclass(frozen=True)
class FeatureVisualisation:
    """max over x of mean A_k(x) - `smooth` TV(x), Adam on the clip's Fourier coefficients, decorrelated colours.

    `layer` names a module (None: the last convolution the model owns). One frame shows what is liked at rest, more what
    is liked in motion. It shows a unit, not a decision.
    """

    layer: str | None = None
    size: int = 128
    frames: int = 1
    steps: int = 128
    rate: float = 0.05
    smooth: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if min(self.size, self.frames, self.steps) < 1 or self.rate <= 0 or self.smooth < 0:
            raise SpecError(
                f"size, frames and steps must be at least 1, rate positive, smooth not negative; got {self}."
            )

    def __call__(self, model: nn.Module, channels: list[int]) -> Float[Tensor, "m 3 t h w"]:
        """One clip in [0, 1] for each channel, all optimised in one batch of clips."""
        if self.frames > 1 and len(channels) > 1:  # how a model folds clips and frames into one batch is its own affair
            return torch.cat([self(model, [channel]) for channel in channels])
        layer = self.layer or last_convolution(model)
        generator = torch.Generator().manual_seed(self.seed)
        half = self.size // 2 + 1
        shape = (len(channels), 3, self.frames, self.size, half, 2)
        with frozen(model), torch.inference_mode(False), torch.enable_grad():
            spectrum = on_device(model, torch.randn(shape, generator=generator) * 0.01).requires_grad_()
            adam = torch.optim.Adam([spectrum], lr=self.rate)
            for _ in range(self.steps):
                x = self._picture(spectrum)
                shift = torch.randint(-JITTER, JITTER + 1, (2,), generator=generator).tolist()
                with recorded(model, layer) as outputs:
                    model(x.roll(shift, dims=(3, 4)))
                liked = _liking(torch.cat(outputs), channels)
                (spectrum.grad,) = torch.autograd.grad(self.smooth * _variation(x) - liked, spectrum)
                adam.step()
            return self._picture(spectrum).detach()

    def _picture(self, spectrum: Tensor) -> Float[Tensor, "m 3 t h w"]:
        across = torch.fft.rfftfreq(self.size, device=spectrum.device)
        down = torch.fft.fftfreq(self.size, device=spectrum.device)[:, None]
        scale = (across**2 + down**2).sqrt().clamp(min=1 / self.size).reciprocal()
        waves = torch.view_as_complex(spectrum) * scale
        flat = torch.fft.irfft2(waves, s=(self.size, self.size), norm="ortho") / 4
        colours = torch.tensor(COLOURS, device=flat.device)
        return torch.einsum("dc,mcthw->mdthw", colours / colours.norm(dim=0).max(), flat).sigmoid()


def _liking(maps: Tensor, channels: list[int]) -> Tensor:
    """Sum over clips of the mean of each one's channel; `maps` (m, k, ...), or all rows of the only clip."""
    if max(channels) >= maps.shape[1] or min(channels) < 0:
        raise SpecError(f"channels of this layer are 0..{maps.shape[1] - 1}; got {channels}.")
    if len(channels) == 1:
        return maps[:, channels[0]].mean()
    return torch.stack([part[channel].mean() for part, channel in zip(maps, channels, strict=True)]).sum()


def _variation(x: Float[Tensor, "m c t h w"]) -> Tensor:
    """Mean absolute difference of neighbours in space and time, summed over the clips."""
    parts = [x.diff(dim=dim).abs().mean() for dim in (2, 3, 4) if x.shape[dim] > 1]
    return torch.stack(parts).sum() * len(x)
