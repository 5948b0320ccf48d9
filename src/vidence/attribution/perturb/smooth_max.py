"""The mask generator of extremal perturbations: bumps of a coarse grid, joined by a smooth maximum.

Fong, Patrick & Vedaldi, ICCV 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

COLDNESS = 20.0


@dataclass(frozen=True)
class SmoothMax:
    """Masks of h x w pixels and a margin of sigma around them, from values in [0, 1] at every `step` pixels."""

    h: int
    w: int
    step: int
    sigma: float

    @property
    def grid(self) -> tuple[int, int]:
        """How many values, down and across."""
        return ceil(self.h / self.step), ceil(self.w / self.step)

    @property
    def margin(self) -> int:
        """Pixels around the picture that count as area too: a bump at the edge is not cheaper than one inside."""
        return ceil(self.sigma)

    def padded(self, values: Float[Tensor, "v t i j"]) -> Float[Tensor, "v t a b"]:
        """Masks with their margin: m(u) is the smooth maximum of k(|u - u_i| / sigma) p_i over the cells i around u."""
        around = 1 + ceil(self.sigma / self.step)
        cells = ceil(self.margin / self.step)
        spread = F.pad(values, (cells + around,) * 4)
        whole: Tensor = _Joined.apply(spread, self._kernel(around).to(values))  # type: ignore[no-untyped-call]
        first = cells * self.step - self.margin
        a, b = self.h + 2 * self.margin, self.w + 2 * self.margin
        return whole[:, :, first : first + a, first : first + b]

    def inner(self, padded: Float[Tensor, "v t a b"]) -> Float[Tensor, "v t h w"]:
        """Masks without their margin."""
        edge = self.margin
        return padded[:, :, edge : edge + self.h, edge : edge + self.w]

    def _kernel(self, around: int) -> Float[Tensor, "k k s s"]:
        """The bump of each cell around a cell, at each of its pixels."""
        cells = torch.arange(-around, around + 1)[:, None] * self.step
        pixels = torch.arange(self.step)[None] + 0.5 - self.step / 2
        along = (cells - pixels).square()  # (k, s)
        far = (along[:, None, :, None] + along[None, :, None, :]).sqrt() / self.sigma
        return torch.exp(-2 * (far - 0.5).clamp(min=0).square())


class _Joined(torch.autograd.Function):
    """sum_i v_i softmax(20 v)_i over a window of cells, one offset after another: the window is never held whole."""

    @staticmethod
    def forward(ctx: Any, spread: Float[Tensor, "v t a b"], kernel: Float[Tensor, "k k s s"]) -> Tensor:
        total, weights = torch.zeros((), device=spread.device), torch.zeros((), device=spread.device)
        for place, bump in _offsets(kernel):
            value = _window(spread, place, len(kernel)) * bump
            weight = (COLDNESS * (value - 1)).exp_()
            weights = weights + weight
            total = total + value.mul_(weight)
        joined = total / weights
        ctx.save_for_backward(spread, kernel, joined, weights)
        return rearrange(joined, "v t a b i j -> v t (a i) (b j)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        spread, kernel, joined, weights = ctx.saved_tensors
        step, k = kernel.shape[-1], len(kernel)
        given = rearrange(gradients[0], "v t (a i) (b j) -> v t a b i j", i=step, j=step) / weights
        found = torch.zeros_like(spread)
        for place, bump in _offsets(kernel):
            value = _window(spread, place, k) * bump
            weight = (COLDNESS * (value - 1)).exp_()
            part = (given * weight * (1 + COLDNESS * (value - joined)) * bump).sum(dim=(-1, -2))
            _window(found, place, k)[..., 0, 0] += part
        return found, None


def _offsets(kernel: Tensor) -> list[tuple[tuple[int, int], Tensor]]:
    size = range(len(kernel))
    return [((i, j), kernel[i, j]) for i in size for j in size]


def _window(spread: Tensor, place: tuple[int, int], k: int) -> Float[Tensor, "v t a b 1 1"]:
    """The cells at one offset from each cell, which its pixels share."""
    a, b = spread.shape[2] - k + 1, spread.shape[3] - k + 1
    return spread[:, :, place[0] : place[0] + a, place[1] : place[1] + b, None, None]
