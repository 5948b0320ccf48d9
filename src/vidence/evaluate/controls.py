"""Maps that explain nothing: what chance, framing and motion alone reach. They stand beside every explainer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.residual import Residual
from vidence.scoring.score import ScoreFunction, has_places

WIDTH = 0.25  # standard deviation of the centre map, as a share of each side


@dataclass(frozen=True)
class RandomMap(Explainer):
    """Independent uniform noise: what chance reaches."""

    seed: int = 0

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The model is not asked."""
        return Price(0)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """Noise in [0, 1)."""
        drawn = torch.rand((1, *x.shape[2:]), generator=torch.Generator().manual_seed(self.seed))
        return Attributions(drawn.to(x.device))


@dataclass(frozen=True)
class CentreMap(Explainer):
    """A Gaussian at the centre of every frame, a quarter of each side wide: what framing alone reaches."""

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The model is not asked."""
        return Price(0)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """The same picture in every frame, at most 1."""
        t, h, w = x.shape[2:]
        y, z = (((torch.arange(side) + 0.5) / side - 0.5) ** 2 for side in (h, w))
        picture = torch.exp(-(y[:, None] + z) / (2 * WIDTH**2))
        return Attributions(picture.expand(1, t, h, w).to(x.device))


@dataclass(frozen=True)
class FrameDifference(Explainer):
    """Absolute difference of the grey picture to the frame before (first frame: to the next): motion alone."""

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The model is not asked."""
        return Price(0)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """In grey levels of [0, 1]; zero for a picture."""
        grey = x.detach().float().mean(dim=1)  # (1, t, h, w)
        steps = grey.diff(dim=1).abs()
        return Attributions(torch.cat([steps[:, :1], steps], dim=1) if steps.shape[1] else torch.zeros_like(grey))


CONTROLS: dict[str, type[Explainer]] = {
    "random-map": RandomMap,
    "centre-map": CentreMap,
    "frame-difference": FrameDifference,
}


def controls(score: ScoreFunction, *, seed: int = 0) -> dict[str, Explainer]:
    """The controls of one clip: noise drawn by `seed`, centre, motion, and the residual where the score has places."""
    made: dict[str, Explainer] = {key: control() for key, control in CONTROLS.items()}
    made["random-map"] = RandomMap(seed=seed)
    return made | ({"residual": Residual()} if has_places(score) else {})
