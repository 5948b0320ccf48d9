"""A box of the clip hidden, and what the score loses by it; a two-stage model sees the touched frames again only."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.perturb.fills import Fill, filled_with
from vidence.attribution.progress import counted
from vidence.attribution.two_stage import TwoStage
from vidence.scoring.scores import ScoreFunction, pinned

Box: TypeAlias = tuple[int, int, int]  # frames, rows, columns
PIXELS_AT_ONCE = 32 * 224 * 224  # in one pass of the model: bounds memory


def hide(
    model: nn.Module,
    x: Float[Tensor, "1 c t h w"],
    score: ScoreFunction,
    corners: list[tuple[int, ...]],
    box: Box,
    fill: Fill,
) -> Float[Tensor, " boxes"]:
    """Loss of the score for each box hidden, by its first (frame, row, column); no gradient."""
    at_once = max(
        1, PIXELS_AT_ONCE // (x[0, 0].numel() if not isinstance(model, TwoStage) else box[0] * x[0, 0, 0].numel())
    )
    losses = []
    with torch.no_grad():
        stages = model if isinstance(model, TwoStage) else None
        features = x if stages is None else stages.encode(x)
        output = model(x) if stages is None else stages.decide(features)
        score = pinned(score, output, x)
        whole, filled = score(output, x), filled_with(x, fill, output)
        for first in counted(range(0, len(corners), at_once), label="boxes hidden"):
            chunk = corners[first : first + at_once]
            if stages is None:
                rows = _hidden(x, filled, chunk, box)
                output = model(rows)
            else:
                rows = x.expand(len(chunk), -1, -1, -1, -1)
                output = _decided(stages, x, features, filled, chunk, box)
            losses.append(whole - score(output, rows))
    return torch.cat(losses).float()


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
