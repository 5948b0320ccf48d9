"""The gradient under noise: its mean, its mean square, its variance.

A gradient fluctuates from pixel to pixel; what survives noise on the input is less an accident of one point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.gradient import FLAT, Reduction, check_reduction, reduced
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction


def noise(
    x: Float[Tensor, "1 c t h w"], *, spread: float, seed: int, shared: bool = False
) -> Iterator[Float[Tensor, "1 c t h w"]]:
    """Gaussian noise like x, one draw after another; its deviation is `spread` times the range of the clip's values.

    Drawn on the CPU and one clip at a time: the same seed gives the same noise on any device and in chunks of any size.
    `shared`: every frame gets the same noise, so that none of it moves.
    """
    generator = torch.Generator().manual_seed(seed)
    deviation = spread * (x.max() - x.min())
    shape = (*x.shape[:2], 1 if shared else x.shape[2], *x.shape[3:])
    while True:
        yield (torch.randn(shape, generator=generator).to(x) * deviation).expand_as(x)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Mean and unbiased variance (of a single row 0) over rows."""

    mean: Tensor
    variance: Tensor


def moments(chunks: Iterable[Float[Tensor, "v ..."]]) -> Moments:
    """Mean and variance over rows that come in chunks, without the cancellation of a sum of squares.

    A deviation that the mean's own rounding can make up is none.
    """
    seen, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for rows in chunks:
        count, middle = len(rows), rows.mean(dim=0)
        apart = middle - (mean if seen else middle)
        squares = squares + (rows - middle).square().sum(dim=0) + apart.square() * (seen * count / (seen + count))
        mean = middle - apart * (seen / (seen + count))
        seen += count
    variance = squares / max(1, seen - 1)
    return Moments(mean, torch.where(variance > (4 * torch.finfo(mean.dtype).eps * mean).square(), variance, 0.0))


@dataclass(frozen=True)
class _UnderNoise(Explainer, ABC):
    """`n` gradients of the clip under Gaussian noise whose deviation is `spread` times the range of its values.

    `shared` gives all frames the same noise, which leaves motion untouched. Noise raises the error of an autoencoder
    by itself: `extra` holds the score as it is and its mean under noise.
    """

    n: int = 25
    spread: float = 0.15
    shared: bool = False
    channels: Reduction = "abs_max"
    seed: int = 0
    chunk: int | None = None
    least: ClassVar[int] = 1
    nothing: ClassVar[str] = FLAT

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_reduction(self.channels)
        if self.n < self.least or self.spread < 0:
            raise SpecError(f"n must be at least {self.least} and spread at least 0; got {self.n}, {self.spread}.")

    @classmethod
    def quick(cls) -> Self:
        """Four draws."""
        return cls(n=4)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """A forward and a backward pass for each draw, and the clip as it is."""
        return Price(1 + self.n, self.n)

    @abstractmethod
    def taken(self, gradients: Iterator[Float[Tensor, "v c t h w"]]) -> Float[Tensor, "c t h w"]:
        """What the method makes of the gradients, which come in chunks."""

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, c, t, h, w) before channels are reduced."""
        subject = Subject(model, x, score, chunk=self.chunk)
        drawn = noise(x, spread=self.spread, seed=self.seed, shared=self.shared)
        noisy: list[Tensor] = []

        def gradients() -> Iterator[Tensor]:
            for _, scores, gradient in subject.gradients(
                lambda first, last: torch.cat([x + next(drawn) for _ in range(first, last)]), self.n, label="gradients"
            ):
                noisy.append(scores)
                yield gradient

        raw = self.taken(gradients())[None]
        extra = {"score": subject.whole, "noisy_score": torch.cat(noisy).mean()[None].float()}
        flags = () if raw.any() else (self.nothing,)
        values = reduced(raw, self.channels).float()
        return Attributions(values, raw=raw, certificate=Certificate(flags=flags), extra=extra)


@dataclass(frozen=True)
class SmoothGrad(_UnderNoise):
    """The mean gradient under noise (Smilkov et al., 2017); `channels='sum'` keeps its sign."""

    def taken(self, gradients: Iterator[Float[Tensor, "v c t h w"]]) -> Float[Tensor, "c t h w"]:
        """E g."""
        return moments(gradients).mean


@dataclass(frozen=True)
class SmoothGradSquared(_UnderNoise):
    """The mean squared gradient under noise (Hooker et al., NeurIPS 2019): a size, gradients that flip add up."""

    def taken(self, gradients: Iterator[Float[Tensor, "v c t h w"]]) -> Float[Tensor, "c t h w"]:
        """E g^2."""
        return moments(gradient.square() for gradient in gradients).mean


@dataclass(frozen=True)
class VarGrad(_UnderNoise):
    """The variance of the gradient under noise (Adebayo et al., 2018), unbiased: where the model is not linear.

    Zero for a linear model, whatever it uses.
    """

    least: ClassVar[int] = 2
    nothing: ClassVar[str] = "the gradient does not vary under this noise: the map is zero"

    def taken(self, gradients: Iterator[Float[Tensor, "v c t h w"]]) -> Float[Tensor, "c t h w"]:
        """Var g."""
        return moments(gradients).variance
