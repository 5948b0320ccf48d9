"""Occlusion: hide a box and see what the score loses (Zeiler & Fergus, ECCV 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil, prod
from typing import Any, ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.perturb.boxes import Box, hide, hide_in_places
from vidence.attribution.perturb.fills import Fill, check_fill
from vidence.errors import SpecError
from vidence.scoring.score import ScoreFunction, is_sum_over_pixels

Side: TypeAlias = int | Literal["all"] | None  # a size, the whole axis, or the default
Sides: TypeAlias = tuple[Side, Side, Side]  # frames, rows, columns


@dataclass(frozen=True)
class Occlusion(Explainer):
    """Mean loss of the score over the boxes that cover a place; positive = hiding it lowers the score.

    `box` and `stride` are (frames, rows, columns), each a size, None for the default, or 'all' for the whole axis. By
    default a box is a quarter of the clip in each direction and moves by itself in time, by half in space: 196 boxes
    for 16 x 224 x 224. `box=('all', None, None)` is a tube, which says where and not when.
    `fill`: 'auto' (what an autoencoder expected; for other models the clip's mean colour), 'mean', 'blur', 'median'
    (each pixel's median over time; the median colour of fewer than three frames), 'reconstruction', or a value. In a
    two-stage model a box costs the frames it touches and the head.
    """

    box: Sides | None = None
    stride: Sides | None = None
    fill: Fill = "auto"
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse boxes without content and fills that do not exist."""
        check_fill(self.fill)
        for name, sizes in (("box", self.box), ("stride", self.stride)):
            if not all(map(_is_side, sizes or ())):
                raise SpecError(
                    f"{name} must be (frames, rows, columns), each a size of at least 1, 'all' or None (the default); "
                    f"got {sizes}."
                )
        if self.box and self.stride:
            for length, step in zip(self.box, self.stride, strict=True):
                _check_step(length, step)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, and a pass a box."""
        return Price(1 + prod(len(starts) for starts in self._grid((t, h, w))[1]))

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is the loss of each box, in the order of `extra['corners']`.

        Of a score that is a sum over pixels, `extra` has two maps that add up to the values: `direct`, what the hidden
        boxes themselves lose, and `contextual`, what the score loses elsewhere because they are hidden.
        """
        sizes = (x.shape[2], x.shape[3], x.shape[4])
        box, starts = self._grid(sizes)
        corners = list(product(*starts))
        extra: dict[str, Any] = {"corners": corners, "box": box}
        if is_sum_over_pixels(score):
            losses, direct = hide_in_places(model, x, score, corners, box, self.fill, chunk=self.chunk)
            extra["direct"] = _averaged(direct, sizes, box, starts)
            extra["contextual"] = _averaged(losses - direct, sizes, box, starts)
        else:
            _, losses = hide(model, x, score, corners, box, self.fill, chunk=self.chunk)
        return Attributions(_averaged(losses, sizes, box, starts), raw=losses[None], extra=extra)

    def _grid(self, sizes: Box) -> tuple[Box, tuple[list[int], ...]]:
        """The box in this clip, and where boxes begin along each axis."""
        box, starts = [], []
        for axis, size in enumerate(sizes):
            length = _size(self.box and self.box[axis], ceil(size / 4), size)
            usual = length if axis == 0 else ceil(length / 2)
            step = _size(self.stride and self.stride[axis], usual, size)
            if length < size:
                _check_step(length, step)
            length = min(length, size)
            box.append(length)
            starts.append(_starts(size, length, step))
        return (box[0], box[1], box[2]), tuple(starts)


def _averaged(
    losses: Float[Tensor, " boxes"], sizes: Box, box: Box, starts: tuple[list[int], ...]
) -> Float[Tensor, "1 t h w"]:
    """The mean over the boxes that cover a place: a grid of boxes is an outer product of three lists of starts."""
    covers = []
    for size, length, first in zip(sizes, box, starts, strict=True):
        place, begin = torch.arange(size), torch.tensor(first)[:, None]
        covers.append(((place >= begin) & (place < begin + length)).to(losses))
    total = torch.einsum("abc,at,bh,cw->thw", losses.view([len(each) for each in starts]), *covers)
    count = torch.einsum("t,h,w->thw", *[cover.sum(dim=0) for cover in covers])
    return (total / count)[None]


def _is_side(side: Side) -> bool:
    return side in (None, "all") or (not isinstance(side, str) and side >= 1)


def _size(side: Side, usual: int, whole: int) -> int:
    return whole if side == "all" else usual if side is None else side


def _check_step(length: Side, step: Side) -> None:
    if isinstance(length, int) and isinstance(step, int) and step > length:
        raise SpecError(f"a stride must not exceed its box: places in between would be missed; got {step} of {length}.")


@dataclass(frozen=True)
class FrameOcclusion(Explainer):
    """Loss of the score when one frame (or a run of `length`) is hidden: one value a frame, the same everywhere in it.

    A `length` above 1 averages over the runs that cover a frame, and finds evidence that several frames repeat.
    """

    measures_frames: ClassVar[bool] = True

    length: int = 1
    fill: Fill = "median"
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse empty runs and fills that do not exist."""
        check_fill(self.fill)
        if self.length < 1:
            raise SpecError(f"length must be at least 1 frame; got {self.length}.")

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, and a pass a run."""
        return Price(1 + t - min(self.length, t) + 1)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """Values (1, t, 1, 1)."""
        t, h, w = x.shape[2:]
        box = (min(self.length, t), h, w)
        _, losses = hide(model, x, score, [(i, 0, 0) for i in range(t - box[0] + 1)], box, self.fill, chunk=self.chunk)
        kernel = torch.ones(1, 1, box[0], device=losses.device)
        spread, cover = (
            F.conv_transpose1d(part[None, None], kernel)[0, 0] for part in (losses, torch.ones_like(losses))
        )
        return Attributions((spread / cover)[None, :, None, None], raw=losses[None])


def _starts(size: int, box: int, step: int) -> list[int]:
    """Where boxes begin along one axis: every `step`, and one that ends at the end."""
    return sorted({*range(0, size - box + 1, step), size - box})
