"""Networks whose backbone sees each frame alone: `encode` for frames, `decide` for everything that mixes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError
from vidence.models.backbones import map_shape, shortened
from vidence.models.detector_folder import state_digest

FRAMES_AT_ONCE = 16  # frames in one pass of the backbone where no gradient is kept: bounds memory, costs no time


class FramewiseNetwork(nn.Module, ABC):
    """A backbone over frames of `size` pixels, whose maps become features.

    `grid` cells a side: 1 averages a frame's maps over space, more pools them to so many cells, None keeps all.
    `stages` shortens the backbone (0: whole). A subclass has `decide`.
    """

    def __init__(self, backbone: nn.Module, *, size: int, grid: int | None, stages: int = 0) -> None:
        super().__init__()
        self.backbone = shortened(backbone, stages)
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.channels, side = map_shape(self.backbone, size)
        self.grid = grid or side
        self.pooled = grid is not None

    def encode(self, x: Float[Tensor, "n c t h w"], *, bf16: bool = False) -> Float[Tensor, "n t f"]:
        """Features of each frame alone, float32; `bf16` computes in bfloat16 (for training and caches, not for scores).

        Where no gradient is recorded, at most `FRAMES_AT_ONCE` frames go through the backbone at a time.
        """
        if x.ndim != 5 or x.shape[1] != 3 or 0 in x.shape or not x.is_floating_point():
            raise ShapeError(
                f"x must be float RGB (n, 3, t, h, w) in [0, 1]; got {x.dtype} {tuple(x.shape)}. "
                "Use prepare(clip), or put channels second and divide pixels by 255."
            )
        frames = rearrange(x, "n c t h w -> (n t) c h w")
        chunks = (frames,) if torch.is_grad_enabled() else torch.split(frames, FRAMES_AT_ONCE)
        precision = torch.autocast(x.device.type, dtype=torch.bfloat16) if bf16 else nullcontext()
        with precision:
            features = torch.cat([self._frame_features(chunk) for chunk in chunks])
        return rearrange(features, "(n t) f -> n t f", n=len(x))

    @abstractmethod
    def decide(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n k"]:
        """Logits from the features of all frames."""

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k"]:
        """(n, 3, t, h, w) in [0, 1] -> logits (n, k)."""
        return self.decide(self.encode(x))

    @property
    def feature_identity(self) -> str:
        """Names what `encode` computes: backbone, its weights, what is made of its maps."""
        kept = f"{self.grid} cells" if self.pooled else "all cells"
        return f"{type(self.backbone).__name__} {state_digest(self.backbone)} {kept}"

    def _frame_features(self, frames: Float[Tensor, "m c h w"]) -> Float[Tensor, "m f"]:
        maps = self.backbone(frames.contiguous(memory_format=torch.channels_last)).float()
        if self.pooled:
            maps = maps.mean((2, 3), keepdim=True) if self.grid == 1 else F.adaptive_avg_pool2d(maps, self.grid)
        elif tuple(maps.shape[2:]) != (self.grid, self.grid):
            raise ShapeError(
                f"features='flatten' fixes the input's size: maps must be {self.grid} x {self.grid}; frames of "
                f"{tuple(frames.shape[2:])} pixels give {tuple(maps.shape[2:])}. Resize them, or use 'spatial'."
            )
        return rearrange(maps, "m c i j -> m (c i j)")
