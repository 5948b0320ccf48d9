"""What a mask pays for an area other than asked for (Fong et al., 2019), and for lying scattered (Li et al., 2021).

Every function takes masks (v, t, a, b) in [0, 1] and areas (v,) in (0, 1), and gives one loss a mask.
"""

from __future__ import annotations

from math import pi

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def area_loss(
    masks: Float[Tensor, "v t a b"],
    areas: Float[Tensor, " v"],
    *,
    by_frame: bool = False,
    order: Int[Tensor, " voxels"] | None = None,
) -> Float[Tensor, " v"]:
    """Mean square of the sorted mask less the sorted binary mask of that area; over all frames, or each (`by_frame`).

    `order` shuffles the voxels before they are sorted: among equal ones, chance decides which are pushed down.
    """
    values = masks.flatten(2) if by_frame else masks.flatten(1)[:, None]
    if order is not None:
        values = values[:, :, order]
    size = values.shape[2]
    place = torch.arange(size, device=masks.device)
    wanted = (place >= ((1 - areas) * size).round()[:, None, None]).to(masks)
    return (values.sort(dim=2, stable=True).values - wanted).square().mean(dim=(1, 2))


def ellipsoid(frames: int, side: int) -> Float[Tensor, "k s s"]:
    """The binary ellipsoid that fits into a box of `frames` x `side` x `side`."""
    along = [(2 * (torch.arange(size) + 0.5) / size - 1).square() for size in (frames, side, side)]
    return (along[0][:, None, None] + along[1][:, None] + along[2] <= 1).float()


def core_loss(
    masks: Float[Tensor, "v t a b"], areas: Float[Tensor, " v"], kernel: Float[Tensor, "k s s"]
) -> Float[Tensor, " v"]:
    """The mask's means under the kernel, side by side in space and at every frame: the highest, as many as the area
    holds kernels, are pulled to 1 and the others to 0.
    """
    frames, side = kernel.shape[:2]
    weight = (kernel / kernel.sum())[None, None]
    means = F.conv3d(masks[:, None], weight, stride=(1, side, side)).flatten(1).sort(dim=1, descending=True).values
    volume = max(1, int(frames * side * side * pi / 6))
    count = (areas * masks[0].numel() / volume).ceil().clamp(1, means.shape[1])[:, None]
    inside = (torch.arange(means.shape[1], device=masks.device) < count).to(masks)
    core = (inside * (1 - means).square()).sum(dim=1) / inside.sum(dim=1)
    rest = ((1 - inside) * means.square()).sum(dim=1) / (1 - inside).sum(dim=1).clamp(min=1)
    return core + rest
