"""Occlusion: hide a box and see what the score loses (Zeiler & Fergus, ECCV 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.perturb.boxes import Box, hide
from vidence.attribution.perturb.fills import Fill, check_fill
from vidence.errors import SpecError
from vidence.scoring.scores import ScoreFunction


@dataclass(frozen=True)
class Occlusion(Explainer):
    """Mean loss of the score over the boxes that cover a place; positive = hiding it lowers the score.

    `box` and `stride` are (frames, rows, columns). By default a box is a quarter of the clip in each direction and
    moves by itself in time, by half in space: 196 boxes for 16 x 224 x 224; a box as deep as the clip is a tube.
    `fill`: 'mean' (the clip's mean colour), 'blur', 'median' (each pixel's median over time; the median colour of fewer
    than three frames), 'reconstruction' (what an autoencoder expected), 'auto' (that, or the mean for other models), or
    a value. In a two-stage model a box costs the frames it touches and the head.
    """

    box: Box | None = None
    stride: Box | None = None
    fill: Fill = "mean"

    def __post_init__(self) -> None:
        """Refuse boxes without content and fills that do not exist."""
        check_fill(self.fill)
        for name, sizes in (("box", self.box), ("stride", self.stride)):
            if sizes is not None and (len(sizes) != 3 or min(sizes) < 1):
                raise SpecError(f"{name} must be three sizes of at least 1 (frames, rows, columns); got {sizes}.")
        if self.box and self.stride and any(s > b for s, b in zip(self.stride, self.box, strict=True)):
            raise SpecError(f"stride {self.stride} must not exceed box {self.box}: places in between would be missed.")

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is the loss of each box, in the order of `extra['corners']`."""
        t, h, w = sizes = x.shape[2:]
        given = self.box or (ceil(t / 4), ceil(h / 4), ceil(w / 4))
        box: Box = (min(given[0], t), min(given[1], h), min(given[2], w))
        step = self.stride or (box[0], ceil(box[1] / 2), ceil(box[2] / 2))
        corners = list(product(*(_starts(n, b, s) for n, b, s in zip(sizes, box, step, strict=True))))
        losses = hide(model, x, score, corners, box, self.fill)
        total, count = torch.zeros(2, t, h, w, device=x.device)
        for (i, j, k), loss in zip(corners, losses, strict=True):
            place = (slice(i, i + box[0]), slice(j, j + box[1]), slice(k, k + box[2]))
            total[place] += loss
            count[place] += 1
        return Attributions((total / count)[None], raw=losses[None], extra={"corners": corners, "box": box})


@dataclass(frozen=True)
class FrameOcclusion(Explainer):
    """Loss of the score when one frame (or a run of `length`) is hidden: one value a frame, the same everywhere in it.

    A `length` above 1 averages over the runs that cover a frame, and finds evidence that several frames repeat.
    """

    measures_frames: ClassVar[bool] = True

    length: int = 1
    fill: Fill = "median"

    def __post_init__(self) -> None:
        """Refuse empty runs and fills that do not exist."""
        check_fill(self.fill)
        if self.length < 1:
            raise SpecError(f"length must be at least 1 frame; got {self.length}.")

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """Values (1, t, 1, 1)."""
        t, h, w = x.shape[2:]
        box = (min(self.length, t), h, w)
        losses = hide(model, x, score, [(i, 0, 0) for i in range(t - box[0] + 1)], box, self.fill)
        kernel = torch.ones(1, 1, box[0], device=losses.device)
        spread, cover = (
            F.conv_transpose1d(part[None, None], kernel)[0, 0] for part in (losses, torch.ones_like(losses))
        )
        return Attributions((spread / cover)[None, :, None, None], raw=losses[None])


def _starts(size: int, box: int, step: int) -> list[int]:
    """Where boxes begin along one axis: every `step`, and one that ends at the end."""
    return sorted({*range(0, size - box + 1, step), size - box})
