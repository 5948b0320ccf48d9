"""A mask is optimised through the model: what a mask shows, what that scores, and how the mask steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vidence.attribution.perturb.fills import Fill, check_fill, filled_with
from vidence.attribution.progress import counted
from vidence.attribution.subject import PIXELS_AT_ONCE, Subject
from vidence.models.reconstruction import Reconstruction

FAINT = 1e-3  # share of |score| below which hiding the whole clip says nothing
PYRAMID, WIDEST = 8, 20 / 224  # levels of blur, and the widest Gaussian as a share of the clip's shorter side
Energy: TypeAlias = Callable[[Tensor, slice, int], Tensor]  # (masks of these rows, which rows, step) -> (rows,)


@dataclass(eq=False)
class MaskedClip:
    """A clip of which a mask shows part: 1 shows it, 0 shows what stands in its place, values between a mixture.

    `levels` (l, c, t, h, w) lead from the wholly hidden clip to the clip itself; a mask value lies between two of them.
    """

    subject: Subject
    levels: Float[Tensor, "l c t h w"]
    hidden: Float[Tensor, " 1"] = field(init=False)
    unit: Float[Tensor, " 1"] = field(init=False)

    def __post_init__(self) -> None:
        """One forward pass of the wholly hidden clip."""
        self.hidden = self.subject.at(self.levels[:1]).detach().float()
        change = (self.subject.whole - self.hidden).abs()
        least = FAINT * self.subject.whole.abs()
        self.unit = torch.where(change > least, change, torch.where(least > 0, least, torch.ones_like(least)))

    @property
    def flags(self) -> tuple[str, ...]:
        """What to say of a clip whose score hardly depends on what it shows, or rises when nothing is shown."""
        change, least = self.subject.whole - self.hidden, FAINT * self.subject.whole.abs()
        if change < -least:
            return ("hiding the whole clip raises the score: there is no evidence for it to delete or to keep",)
        return () if change > least else ("hiding the whole clip hardly changes the score: the mask says little",)

    def shown(self, mask: Float[Tensor, "v _ t h w"]) -> Float[Tensor, "v c t h w"]:
        """The clip under each mask; one channel of a mask serves all colours."""
        place = mask * (len(self.levels) - 1)
        below = place.detach().floor().clamp(0, len(self.levels) - 2)
        index = below.long().expand(-1, self.levels.shape[1], -1, -1, -1)
        low, high = self.levels.gather(0, index), self.levels.gather(0, index + 1)
        return low + (high - low) * (place - below)

    def share(self, rows: Float[Tensor, "v c t h w"]) -> Float[Tensor, " v"]:
        """The scores of clips above the hidden one's, in units of |score of the clip - score of the hidden clip|.

        Weights of areas and of smoothness then mean the same for logits, probabilities and errors of any size.
        """
        return (self.subject.steering(rows) - self.hidden) / self.unit

    def at_once(self, clips: int = 1) -> int:
        """How many masks one pass takes, where each makes so many `clips`."""
        budget = self.subject.chunk or PIXELS_AT_ONCE // (4 * self.subject.x[0, 0].numel())
        return max(1, budget // clips)


def masked(subject: Subject, fill: Fill | None, *, pyramid: bool = False) -> MaskedClip:
    """The clip and what hides it. None: an autoencoder's own reconstruction, and for other models the papers' blur,
    of one width or (`pyramid`) of eight.
    """
    x = subject.x
    if fill is None and not isinstance(subject.output, Reconstruction):
        widths = [WIDEST * (1 - level / (PYRAMID - 1)) for level in range(PYRAMID)] if pyramid else [WIDEST / 2, 0]
        return MaskedClip(subject, torch.cat([smoothed(x[0], width * min(x.shape[3:]))[None] for width in widths]))
    filled = filled_with(x, "reconstruction" if fill is None else fill, subject.output)
    return MaskedClip(subject, torch.cat([filled, x]))


def check_mask_fill(fill: Fill | None) -> None:
    """Raise `SpecError` for a fill that does not exist; None is the method's own."""
    if fill is not None:
        check_fill(fill)


def descend(
    masks: Float[Tensor, "v ..."],
    energy: Energy,
    optimiser: torch.optim.Optimizer,
    *,
    iterations: int,
    at_once: int,
    label: str,
) -> None:
    """Step `masks`, which `optimiser` holds, down their energies, each row by itself, and keep them in [0, 1]."""
    for step in counted(range(iterations), label=label):
        gradients = []
        for first in range(0, len(masks), at_once):
            rows = slice(first, min(first + at_once, len(masks)))
            asked = masks[rows].detach().clone().requires_grad_()
            gradients.append(torch.autograd.grad(energy(asked, rows, step).sum(), asked)[0])
        masks.grad = torch.cat(gradients)
        optimiser.step()
        with torch.no_grad():
            masks.clamp_(0, 1)


def smoothed(maps: Float[Tensor, "*m h w"], sigma: float) -> Float[Tensor, "*m h w"]:
    """Every map under a Gaussian of `sigma` pixels; edges are repeated; one too narrow does nothing."""
    if sigma < 0.25:
        return maps
    reach = ceil(3 * sigma)
    places = torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (places / sigma).square())
    kernel = kernel / kernel.sum()
    planes = F.pad(maps.reshape(-1, 1, *maps.shape[-2:]), (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(planes, kernel[None, None, :, None]), kernel[None, None, None]).view(maps.shape)


def enlarged(masks: Float[Tensor, "v t i j"], h: int, w: int) -> Float[Tensor, "v t h w"]:
    """Masks of a coarse grid in the clip's size."""
    return F.interpolate(masks, size=(h, w), mode="bilinear", align_corners=False)


def variation(
    masks: Float[Tensor, "v t i j"], power: float, in_time: float, weight: tuple[Tensor, Tensor] | None = None
) -> Float[Tensor, " v"]:
    """Mean |difference|^power between neighbours, down and across, and `in_time` times that between frames.

    `weight`, of the neighbours down and of those across, is how much each difference counts.
    """
    total = masks.new_zeros(len(masks))
    for axis, share in ((1, in_time), (2, 1.0), (3, 1.0)):
        if masks.shape[axis] > 1:
            change = masks.diff(dim=axis).abs() ** power
            if weight is not None and axis > 1:
                change = change * weight[axis - 2]
            total = total + share * change.flatten(1).mean(dim=1)
    return total
