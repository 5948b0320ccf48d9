"""Occlusion: hide a box and see what the score loses (Zeiler & Fergus, ECCV 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, TwoStage
from vidence.errors import SpecError
from vidence.scoring.scores import ScoreFunction, pinned

Box: TypeAlias = tuple[int, int, int]  # frames, rows, columns
Fill: TypeAlias = str | float
FILLS = ("mean", "blur", "median")
PIXELS_AT_ONCE = 32 * 224 * 224  # in one pass of the model: bounds memory


@dataclass(frozen=True)
class Occlusion(Explainer):
    """Mean loss of the score over the boxes that cover a place; positive = hiding it lowers the score.

    `box` and `stride` are (frames, rows, columns). By default a box is a quarter of the clip in each direction and
    moves by itself in time, by half in space: 196 boxes for 16 x 224 x 224. `fill`: 'mean' (the clip's mean colour),
    'blur', 'median' (each pixel's median over time; the median colour of fewer than three frames), or a value. In a
    two-stage model a box costs the frames it touches and the head.
    """

    box: Box | None = None
    stride: Box | None = None
    fill: Fill = "mean"

    def __post_init__(self) -> None:
        """Refuse boxes without content and fills that do not exist."""
        _check(self.fill)
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

    length: int = 1
    fill: Fill = "median"

    def __post_init__(self) -> None:
        """Refuse empty runs and fills that do not exist."""
        _check(self.fill)
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


def hide(
    model: nn.Module,
    x: Float[Tensor, "1 c t h w"],
    score: ScoreFunction,
    corners: list[tuple[int, ...]],
    box: Box,
    fill: Fill,
) -> Float[Tensor, " boxes"]:
    """Loss of the score for each box hidden, by its first (frame, row, column); no gradient."""
    filled = filled_with(x, fill)
    at_once = max(
        1, PIXELS_AT_ONCE // (x[0, 0].numel() if not isinstance(model, TwoStage) else box[0] * x[0, 0, 0].numel())
    )
    losses = []
    with torch.no_grad():
        stages = model if isinstance(model, TwoStage) else None
        features = x if stages is None else stages.encode(x)
        output = model(x) if stages is None else stages.decide(features)
        score = pinned(score, output, x)
        whole = score(output, x)
        for first in range(0, len(corners), at_once):
            chunk = corners[first : first + at_once]
            if stages is None:
                rows = _hidden(x, filled, chunk, box)
                output = model(rows)
            else:
                rows = x.expand(len(chunk), -1, -1, -1, -1)
                output = _decided(stages, x, features, filled, chunk, box)
            losses.append(whole - score(output, rows))
    return torch.cat(losses).float()


def filled_with(x: Float[Tensor, "1 c t h w"], fill: Fill) -> Float[Tensor, "1 c t h w"]:
    """What a hidden place shows."""
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


def _hidden(x: Tensor, filled: Tensor, corners: list[tuple[int, ...]], box: Box) -> Float[Tensor, "v c t h w"]:
    rows = x.repeat(len(corners), 1, 1, 1, 1)
    for row, (i, j, k) in zip(rows, corners, strict=True):
        place = (slice(None), slice(i, i + box[0]), slice(j, j + box[1]), slice(k, k + box[2]))
        row[place] = filled[0][place]
    return rows


def _decided(
    model: TwoStage, x: Tensor, features: Tensor, filled: Tensor, corners: list[tuple[int, ...]], box: Box
) -> Any:
    """Encode the frames that a box touches, and decide with the other frames' features as they were."""
    frames = torch.cat([x[:, :, i : i + box[0]] for i, _, _ in corners])
    backs = torch.cat([filled[:, :, i : i + box[0]] for i, _, _ in corners])
    for row, back, (_, j, k) in zip(frames, backs, corners, strict=True):
        place = (slice(None), slice(None), slice(j, j + box[1]), slice(k, k + box[2]))
        row[place] = back[place]
    varied = features.repeat(len(corners), 1, 1)
    for row, part, (i, _, _) in zip(varied, model.encode(frames), corners, strict=True):
        row[i : i + box[0]] = part
    return model.decide(varied)


def _starts(size: int, box: int, step: int) -> list[int]:
    """Where boxes begin along one axis: every `step`, and one that ends at the end."""
    return sorted({*range(0, size - box + 1, step), size - box})


def _check(fill: Fill) -> None:
    if isinstance(fill, str) and fill not in FILLS:
        raise SpecError(f"fill must be {', '.join(map(repr, FILLS))} or a value; got {fill!r}.")
