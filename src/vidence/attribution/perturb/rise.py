"""RISE: random grids shown through, weighted by the score they leave (Petsiuk, Das & Saenko, BMVC 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.perturb.fills import Fill, check_fill, filled_with, shown_through
from vidence.attribution.subject import PIXELS_AT_ONCE, Subject
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction


@dataclass(frozen=True)
class RISE(Explainer):
    """Mean score of the clips that show a place, less the mean of all: positive = showing it raises the score.

    `n` grids of `frames` x `cells` x `cells` (a cell in time is four frames deep unless given), each cell shown with
    probability `share`, are made smooth and shifted at random in time and space, and hidden places show `fill`.
    `centred=False` is the paper's form, which lacks the "less the mean": a constant more, and positive almost
    everywhere. A map of few grids is noise: `extra['standard_error']` has the size of a map and says how much, and the
    certificate is flagged where the noise is at least as large as what the map shows.
    """

    n: int = 1000
    cells: int = 7
    frames: int | None = None
    share: float = 0.5
    centred: bool = True
    fill: Fill = "auto"
    seed: int = 0
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse grids that hide everything or nothing, and fills that do not exist."""
        check_fill(self.fill)
        if self.n < 2 or self.cells < 1 or (self.frames is not None and self.frames < 1):
            raise SpecError(
                f"rise needs at least 2 grids of at least 1 cell along each axis; got n={self.n}, cells={self.cells}, "
                f"frames={self.frames}."
            )
        if not 0 < self.share < 1:
            raise SpecError(f"share is the part of the cells that is shown, between 0 and 1; got {self.share}.")

    @classmethod
    def quick(cls) -> Self:
        """64 coarse grids: a rough map that says so."""
        return cls(n=64, cells=4)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, and a pass a grid."""
        return Price(1 + self.n)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is the score of each grid, (1, n)."""
        subject = Subject(model, x, score, chunk=self.chunk)
        filled = filled_with(x, self.fill, subject.output)
        t, h, w = x.shape[2:]
        grids = _Grids.drawn(self, (t, h, w), x.device)
        scores = subject.scores(
            lambda first, last: shown_through(x, filled, grids.masks(first, last)), self.n, label="grids shown"
        )
        mean = scores.mean()
        step = self.chunk or max(1, PIXELS_AT_ONCE // (t * h * w))
        centred, error = _weighted(grids, scores - mean, step, centred=self.centred)
        values = (centred if self.centred else centred + mean).view(t, h, w)
        noise, spread = float(error.square().mean().sqrt()), float(centred.std(correction=0))
        flags: tuple[str, ...] = ()
        if spread <= sqrt(2) * noise:  # the spread holds the noise too: what is left is no larger than the noise
            flags = (f"{self.n} grids are too few: the map's noise is as large as what it shows; raise n",)
        return Attributions(
            values[None],
            raw=scores[None],
            certificate=Certificate(flags=flags),
            extra={"standard_error": error.view(t, h, w)[None]},
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Grids:
    """Random grids, and where each is cut out of the enlarged one; a mask is made when it is asked for."""

    cells: Float[Tensor, "n a b d"]
    across: tuple[Float[Tensor, "n t a"], Float[Tensor, "n h b"], Float[Tensor, "n w d"]]

    @classmethod
    def drawn(cls, settings: RISE, sizes: tuple[int, int, int], device: torch.device) -> Self:
        """Cells first, then the shifts of each axis: all before any pass, so that chunks change nothing."""
        generator = torch.Generator().manual_seed(settings.seed)
        counts = (settings.frames or ceil(sizes[0] / 4), settings.cells, settings.cells)
        cells = (torch.rand(settings.n, *counts, generator=generator) < settings.share).float()
        across = []
        for count, size in zip(counts, sizes, strict=True):
            side = ceil(size / count)
            shift = torch.randint(side, (settings.n, 1), generator=generator)
            across.append(_interpolation(count, (count + 1) * side, shift + torch.arange(size)).to(device))
        return cls(cells.to(device), (across[0], across[1], across[2]))

    def masks(self, first: int, last: int) -> Float[Tensor, "v t h w"]:
        """How much of each place the grids show, in [0, 1]."""
        frames, rows, columns = (each[first:last] for each in self.across)
        coarse = torch.einsum("vta,vabd->vtbd", frames, self.cells[first:last])
        return torch.einsum("vhb,vtbd,vwd->vthw", rows, coarse, columns)


def _interpolation(count: int, enlarged: int, places: Tensor) -> Float[Tensor, "n s a"]:
    """Weights of `count` cells at `places` (n, s) of an axis that was enlarged linearly, pixel centres aligned."""
    at = ((places + 0.5) * count / enlarged - 0.5).clamp(0, count - 1)
    return (1 - (at[..., None] - torch.arange(count)).abs()).clamp(min=0)


def _weighted(
    grids: _Grids, scores: Float[Tensor, " n"], step: int, *, centred: bool
) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    """Mean of `scores`, which sum to 0, weighted by how much a grid shows of each place, and its standard error.

    The error is that of a ratio of two means, by its first-order expansion; the centred form's also holds that of the
    mean that was taken off.
    """
    n = len(scores)
    powers = torch.stack([torch.ones_like(scores), scores, scores**2])
    sums, squares = scores.new_zeros(()), scores.new_zeros(())
    for first in range(0, n, step):
        masks = grids.masks(first, min(first + step, n)).flatten(1)  # (v, t h w)
        sums = sums + powers[:, first : first + step] @ masks
        squares = squares + powers[:, first : first + step] @ masks.square()
    shown = sums[0].clamp(min=torch.finfo(sums.dtype).tiny)  # with few grids a place may never be shown
    found = sums[1] / shown
    scale = n / shown
    variance = scale**2 * (squares[2] - 2 * found * squares[1] + found**2 * squares[0])
    if centred:
        variance = variance - 2 * scale * (sums[2] - found * sums[1]) + scores.square().sum()
    return found, variance.clamp(min=0).sqrt() / n
