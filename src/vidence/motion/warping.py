"""Looking up in the next frame what a pixel has become, along the optical flow, where the flow can be trusted."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

RELATIVE, ABSOLUTE = 0.01, 0.5  # of the forward-backward check (Sundaram, Brox and Keutzer, ECCV 2010)


def looked_up(maps: Float[Tensor, "s c h w"], flow: Float[Tensor, "s 2 h w"]) -> Float[Tensor, "s c h w"]:
    """The maps at each pixel's place plus `flow` (rows and columns in pixels), bilinearly; 0 beyond the frame."""
    place = _places(flow)
    last = torch.tensor(flow.shape[2:], device=flow.device).sub(1).clamp(min=1).view(1, 2, 1, 1)
    grid = (2 * place / last - 1).flip(1).movedim(1, -1)  # (s, h, w, 2), columns first
    return F.grid_sample(maps, grid.to(maps), mode="bilinear", padding_mode="zeros", align_corners=True)


def reliable(forward: Float[Tensor, "s 2 h w"], backward: Float[Tensor, "s 2 h w"]) -> Bool[Tensor, "s h w"]:
    """Which pixels stay in the frame and come back: the flow there and the flow back there nearly cancel.

    |f + b|^2 < .01 (|f|^2 + |b|^2) + .5, with b = `backward` (from each next frame to this one) where f leads.
    """
    place = _places(forward)
    size = torch.tensor(forward.shape[2:], device=forward.device).view(1, 2, 1, 1)
    inside = ((place >= 0) & (place <= size - 1)).all(dim=1)
    back = looked_up(backward, forward)
    lengths = (forward**2).sum(dim=1) + (back**2).sum(dim=1)
    return inside & (((forward + back) ** 2).sum(dim=1) < RELATIVE * lengths + ABSOLUTE)


def _places(flow: Float[Tensor, "s 2 h w"]) -> Float[Tensor, "s 2 h w"]:
    """Row and column that each pixel moves to."""
    rows, columns = (torch.arange(side, device=flow.device, dtype=flow.dtype) for side in flow.shape[2:])
    return flow + torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
