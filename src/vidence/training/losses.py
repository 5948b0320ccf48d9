"""What a reconstruction costs: squared error, structural dissimilarity, or both."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vidence.errors import ShapeError
from vidence.models.reconstruction import SSIM_SIDE, Reconstruction, parts, shown, ssim_map
from vidence.models.reconstruction_detector import Loss


def reconstruction_loss(
    output: Reconstruction, x: Float[Tensor, "n c t h w"], loss: Loss, *, weights: tuple[float, float] = (0.5, 0.5)
) -> Float[Tensor, ""]:
    """The loss of the frames that a network reconstructs or predicts, in float32; two heads count the same.

    `mse` is the mean over all values, `ssim` is 1 - SSIM (see `similarity`), `compound` the sum of both times
    `weights` (Ravi's thesis, eq. 3.10, with eta = .5; the released code weighs both with 1).
    """
    with torch.autocast(x.device.type, enabled=False):
        costs = [_cost(shown(part, x).float(), part.x_hat.float(), loss, weights) for part in parts(output)]
    return torch.stack(costs).mean()


def _cost(truth: Tensor, found: Tensor, loss: Loss, weights: tuple[float, float]) -> Float[Tensor, ""]:
    if loss == "mse":
        return F.mse_loss(found, truth)
    unlike = 1 - similarity(found, truth)
    return unlike if loss == "ssim" else weights[0] * F.mse_loss(found, truth) + weights[1] * unlike


def similarity(a: Float[Tensor, "n c t h w"], b: Float[Tensor, "n c t h w"]) -> Float[Tensor, ""]:
    """The mean SSIM: of each frame and channel over the pixels whose 11 x 11 window lies inside, negative means
    as 0. Raises `ShapeError` for frames smaller than that window.
    """
    if min(a.shape[3:]) < SSIM_SIDE:
        raise ShapeError(
            f"SSIM compares windows of {SSIM_SIDE} x {SSIM_SIDE} pixels; got frames of {a.shape[3]} x {a.shape[4]}. "
            "Use loss='mse'."
        )
    frames = (rearrange(each, "n c t h w -> (n t) c h w") for each in (a, b))
    edge = SSIM_SIDE // 2
    inside = ssim_map(*frames)[:, :, edge:-edge, edge:-edge]
    return inside.mean(dim=(2, 3)).relu().mean()
