"""What a hidden place shows instead."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vidence.errors import ExplainError, SpecError
from vidence.models.reconstruction import Reconstruction, parts

Fill: TypeAlias = str | float
FILLS = ("auto", "mean", "blur", "median", "reconstruction")


def check_fill(fill: Fill) -> None:
    """Raise `SpecError` for a fill that does not exist."""
    if isinstance(fill, str) and fill not in FILLS:
        raise SpecError(f"fill must be {', '.join(map(repr, FILLS))} or a value; got {fill!r}.")


def filled_with(x: Float[Tensor, "1 c t h w"], fill: Fill, output: Any = None) -> Float[Tensor, "1 c t h w"]:
    """The clip with every place hidden; `output` is the model's of x, for 'reconstruction' and 'auto'.

    Grey and blur are no neutral fills for an autoencoder, which takes the one for an anomaly and finds the other easy:
    `auto` takes its own reconstruction there, and the mean colour elsewhere.
    """
    if fill == "auto":
        fill = "reconstruction" if isinstance(output, Reconstruction) else "mean"
    if fill == "reconstruction":
        return _expected(x, output)
    if fill == "mean":
        return x.mean(dim=(2, 3, 4), keepdim=True).expand_as(x)
    if fill == "median" and x.shape[2] < 3:  # no majority in time to trust: the median colour
        return x.flatten(2).median(dim=2).values[..., None, None, None].expand_as(x)
    if fill == "median":
        return x.median(dim=2, keepdim=True).values.expand_as(x)
    if fill == "blur":
        radius = max(1, min(x.shape[3:]) // 8)
        frames, size = x[0].transpose(0, 1), 2 * radius + 1
        for _ in range(2):  # twice a box is close to a Gaussian
            padded = F.pad(frames, (radius,) * 4, mode="replicate")
            frames = F.avg_pool2d(padded, size, stride=1)
        return frames.transpose(0, 1)[None]
    return torch.full_like(x, float(fill))


def shown_through(
    x: Float[Tensor, "1 c t h w"], filled: Float[Tensor, "1 c t h w"], keep: Float[Tensor, "v t h w"]
) -> Float[Tensor, "v c t h w"]:
    """Variants of the clip: x where `keep` is 1, `filled` where it is 0, and a blend in between."""
    return torch.lerp(filled, x, keep[:, None].to(x))


def _expected(x: Tensor, output: Any) -> Float[Tensor, "1 c t h w"]:
    """The reconstruction in the clip's channels; frames that have none stay as they are."""
    if not isinstance(output, Reconstruction):
        raise ExplainError(
            f"fill='reconstruction' needs a network that returns a Reconstruction; got {type(output).__name__}. "
            "Take fill='mean', 'median' or 'blur'."
        )
    shown = x.clone()
    for part in reversed(parts(output)):  # what is reconstructed wins over what is predicted
        frames = slice(part.first_frame, part.first_frame + part.x_hat.shape[2])
        shown[:, :, frames] = part.x_hat[:1].detach().expand(-1, x.shape[1], -1, -1, -1)
    return shown
