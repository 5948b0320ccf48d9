"""How much each channel of a backbone moves, and how fast it changes for good: what carries a fight, a fall, a rush.

[own method, chosen by measurement: docs/results.md]
"""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

FLOOR = 1e-3  # of a difference in feature units: keeps the logarithm of a still picture finite


class MotionEnergy(nn.Module):
    """Log running RMS over time of the largest change in the picture, per channel, and log ratios between lags.

    The largest change over the `cells` of a frame's map lets motion in one place count; the RMS before the logarithm
    keeps short bursts; the ratio of lags says whether a change persists or flickers. The first lag's energy is given,
    then the log ratio of each lag to the next.
    """

    def __init__(self, *, cells: int, lags: tuple[int, ...] = (1, 4)) -> None:
        super().__init__()
        self.cells, self.lags = cells, lags

    def forward(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n s g"]:
        """(n, t, c * cells) -> (n, max(t - 1, 1), c * lags): a step per change, one of rest for an image."""
        maps = rearrange(features, "n t (c s) -> n t c s", s=self.cells)
        if maps.shape[1] == 1:
            maps = maps.expand(-1, 2, -1, -1)
        energies = [self._energy(maps, min(lag, maps.shape[1] - 1)) for lag in self.lags]
        ratios = [one - other for one, other in pairwise(energies)]
        return torch.cat([energies[0], *ratios], dim=2)

    def _energy(self, maps: Float[Tensor, "n t c s"], lag: int) -> Float[Tensor, "n u c"]:
        """One lag; the steps before its first difference repeat it."""
        change = (maps[:, lag:] - maps[:, :-lag]).abs().amax(dim=3)
        change = torch.cat([change[:, :1].expand(-1, lag - 1, -1), change], dim=1)
        steps = torch.arange(1, change.shape[1] + 1, device=maps.device, dtype=maps.dtype)[None, :, None]
        mean = change.square().cumsum(dim=1) / steps
        return torch.log(mean.clamp_min(1e-8).sqrt() + FLOOR)


class PrincipalDirections(nn.Module):
    """Standardises and projects on the principal directions of the training clips, which are kept as buffers.

    With few clips a fixed projection generalises where a learned one overfits. The directions keep their relative
    spread; the first has a standard deviation of `SPREAD`.
    """

    SPREAD = 3.0
    mean: Float[Tensor, " f"]
    std: Float[Tensor, " f"]
    basis: Float[Tensor, "f g"]

    def __init__(self, features: int, directions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.register_buffer("basis", torch.zeros(features, directions))

    def forward(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n t g"]:
        """(n, t, f) -> (n, t, directions)."""
        return ((features - self.mean) / self.std) @ self.basis

    @torch.no_grad()
    def fit(self, means: Float[Tensor, "n f"]) -> None:
        """Learn from one mean over time per training window; directions beyond what n windows span stay zero."""
        self.mean.copy_(means.mean(dim=0))
        self.std.copy_(means.std(dim=0).clamp_min(1e-3) if len(means) > 1 else torch.ones_like(self.std))
        standard = (means - self.mean) / self.std
        found = torch.linalg.svd(standard, full_matrices=False).Vh[: self.basis.shape[1]].T
        spread = (standard @ found[:, 0]).std().clamp_min(1e-6) if len(means) > 1 else 1.0
        self.basis.zero_()
        self.basis[:, : found.shape[1]] = found * self.SPREAD / spread
