"""A box of the clip hidden, and what the score loses by it; a two-stage model sees the touched frames again only."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.outputs import FOREIGN
from vidence.attribution.perturb.fills import Fill, filled_with
from vidence.attribution.progress import counted
from vidence.attribution.subject import PIXELS_AT_ONCE
from vidence.attribution.two_stage import TwoStage
from vidence.scoring.scores import Placed, ScoreFunction, has_places, pinned

Box: TypeAlias = tuple[int, int, int]  # frames, rows, columns


def hide(
    model: nn.Module,
    x: Float[Tensor, "1 c t h w"],
    score: ScoreFunction,
    corners: list[tuple[int, ...]],
    box: Box,
    fill: Fill,
    *,
    chunk: int | None = None,
) -> tuple[Float[Tensor, " 1"], Float[Tensor, " boxes"]]:
    """The score of the clip as it is, and its loss for each box hidden, by its first (frame, row, column); no gradient.

    `chunk` is how many boxes one pass of the model takes; None: as many as a fixed memory budget allows.
    """
    whole, losses, _ = _losses(model, x, score, corners, box, fill, chunk=chunk, placed=False)
    return whole, losses


def hide_frames(
    model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction, *, chunk: int | None = None
) -> tuple[Float[Tensor, " 1"], Float[Tensor, " t"]]:
    """The score as it is, and its loss for each frame that shows the clip's median instead; one frame a pass where the
    model refuses several.
    """
    t, h, w = x.shape[2:]
    frames: list[tuple[int, ...]] = [(i, 0, 0) for i in range(t)]
    try:
        return hide(model, x, score, frames, (1, h, w), "median", chunk=chunk)
    except FOREIGN:
        if chunk == 1:
            raise
    return hide(model, x, score, frames, (1, h, w), "median", chunk=1)


def hide_in_places(
    model: nn.Module,
    x: Float[Tensor, "1 c t h w"],
    score: Placed,
    corners: list[tuple[int, ...]],
    box: Box,
    fill: Fill,
    *,
    chunk: int | None = None,
) -> tuple[Float[Tensor, " boxes"], Float[Tensor, " boxes"]]:
    """The losses of `hide`, of a score that has places, and how much of each is of its density inside the box.

    The passes are the same: the density is read off their outputs. The rest of a loss is contextual: what hiding the
    box does to the score elsewhere, and to parts of the score that have no places.
    """
    _, losses, direct = _losses(model, x, score, corners, box, fill, chunk=chunk, placed=True)
    return losses, direct


def _losses(
    model: nn.Module,
    x: Tensor,
    score: ScoreFunction,
    corners: list[tuple[int, ...]],
    box: Box,
    fill: Fill,
    *,
    chunk: int | None,
    placed: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    pixels = x[0, 0].numel() if not isinstance(model, TwoStage) else box[0] * x[0, 0, 0].numel()
    at_once = chunk or max(1, PIXELS_AT_ONCE // pixels)
    losses, inside = [], []
    with torch.no_grad():
        stages = model if isinstance(model, TwoStage) else None
        features = x if stages is None else stages.encode(x)
        output = model(x) if stages is None else stages.decide(features)
        score = pinned(score, output, x)
        whole, filled = score(output, x), filled_with(x, fill, output)
        density = score.density(output, x) if placed and has_places(score) else None
        for first in counted(range(0, len(corners), at_once), label="boxes hidden"):
            part = corners[first : first + at_once]
            if stages is None:
                rows = _hidden(x, filled, part, box)
                output = model(rows)
            else:
                rows = x.expand(len(part), -1, -1, -1, -1)
                output = _decided(stages, x, features, filled, part, box)
            losses.append(whole - score(output, rows))
            if density is not None and has_places(score):
                inside.append(_inside(density - score.density(output, rows), part, box))
    direct = torch.cat(inside).float() if inside else torch.zeros(0)
    return whole.float(), torch.cat(losses).float(), direct


def _inside(values: Float[Tensor, "v t h w"], corners: list[tuple[int, ...]], box: Box) -> Float[Tensor, " v"]:
    """What each row's box sums to."""
    sums = [
        row[i : i + box[0], j : j + box[1], k : k + box[2]].sum()
        for row, (i, j, k) in zip(values, corners, strict=True)
    ]
    return torch.stack(sums)


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
