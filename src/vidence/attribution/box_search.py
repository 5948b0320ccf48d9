"""Boxes in a clip: all on a grid, their sums in one go, the promising ones, and how one is made smaller.

A box is (first, last, top, left, bottom, right), frames and pixels, the last frame, row and column excluded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Size: TypeAlias = tuple[int, int, int]  # frames, rows, columns
Boxes: TypeAlias = Int[Tensor, "v 6"]
SIDES = ((0, 1), (2, 4), (3, 5))  # where a box has its first and last frame, row, column


def grid_boxes(size: Size, cells: int) -> Boxes:
    """Every box whose ends lie on a grid of at most `cells` cells an axis."""
    spans = []
    for length in size:
        ends = torch.linspace(0, length, min(cells, length) + 1).round().long()
        spans.append(torch.combinations(ends, 2))
    frames, rows, columns = (
        each[place] for each, place in zip(spans, _places([len(each) for each in spans]), strict=True)
    )
    return torch.stack([frames[:, 0], frames[:, 1], rows[:, 0], columns[:, 0], rows[:, 1], columns[:, 1]], dim=1)


def sliding_boxes(size: Size, box: Size) -> Boxes:
    """Boxes of one size, moved by themselves in time and by half in space, the last ones ending at the end."""
    steps = (box[0], -(-box[1] // 2), -(-box[2] // 2))
    starts = [
        torch.tensor(sorted({*range(0, length - side + 1, step), length - side}))
        for length, side, step in zip(size, box, steps, strict=True)
    ]
    t, h, w = (each[place] for each, place in zip(starts, _places([len(each) for each in starts]), strict=True))
    return torch.stack([t, t + box[0], h, w, h + box[1], w + box[2]], dim=1)


def volumes(boxes: Boxes) -> Int[Tensor, " v"]:
    """How many pixels of all frames a box holds."""
    sides = [boxes[:, last] - boxes[:, first] for first, last in SIDES]
    return sides[0] * sides[1] * sides[2]


def inside(boxes: Boxes, size: Size) -> Bool[Tensor, "v t h w"]:
    """Which places of a clip each box holds."""
    t, h, w = (
        (torch.arange(length, device=boxes.device) >= boxes[:, first, None])
        & (torch.arange(length, device=boxes.device) < boxes[:, last, None])
        for length, (first, last) in zip(size, SIDES, strict=True)
    )
    return t[:, :, None, None] & h[:, None, :, None] & w[:, None, None, :]


def box_sums(values: Float[Tensor, "t h w"], boxes: Boxes) -> Float[Tensor, " v"]:
    """The sum of the values in each box, by a summed-area table in float64."""
    table = F.pad(values.double(), (1, 0, 1, 0, 1, 0)).cumsum(0).cumsum(1).cumsum(2)
    total = torch.zeros(len(boxes), dtype=torch.float64, device=values.device)
    for corner in range(8):
        last = [bool(corner >> axis & 1) for axis in range(3)]
        place = [boxes[:, side[end]] for side, end in zip(SIDES, last, strict=True)]
        total += table[place[0], place[1], place[2]] * (1 if sum(last) % 2 else -1)
    return total


def promising(sums: Float[Tensor, " v"], sizes: Int[Tensor, " v"], count: int) -> Int[Tensor, " k"]:
    """At most `count` boxes, smallest first, that hold more than every smaller one; if those are more, an even choice
    among them that keeps the largest.
    """
    order = sums.argsort(descending=True, stable=True)
    order = order[sizes[order].argsort(stable=True)]
    best = sums[order].cummax(dim=0).values
    rising = torch.ones(len(order), dtype=torch.bool, device=sums.device)
    rising[1:] = sums[order][1:] > best[:-1]
    front = order[rising]
    if len(front) <= count:
        return front
    return front[torch.linspace(0, len(front) - 1, count).round().long().to(front.device)]


def narrowed(box: Int[Tensor, " 6"], steps: Size) -> Boxes:
    """The box with one of its sides moved in, each in turn; what holds nothing is left out."""
    moves = torch.zeros(6, 6, dtype=box.dtype, device=box.device)
    for (first, last), step in zip(SIDES, steps, strict=True):
        moves[first, first], moves[last, last] = step, -step
    tried = box + moves
    return tried[torch.stack([tried[:, last] > tried[:, first] for first, last in SIDES]).all(dim=0)]


def shrunk(
    box: Int[Tensor, " 6"], steps: Size, budget: int, holds: Callable[[Boxes], Bool[Tensor, " v"]]
) -> Int[Tensor, " 6"]:
    """The box made smaller side by side, by `steps` and then halves of them, as long as `holds` says of it that it will
    do; `holds` is asked of at most `budget` boxes.
    """
    while True:
        tried = narrowed(box, steps)
        if len(tried) > budget:
            return box
        budget -= len(tried)
        kept = tried[holds(tried)] if len(tried) else tried
        if len(kept):
            box = kept[volumes(kept).argmin()]
        elif max(steps) == 1:
            return box
        else:
            steps = ((steps[0] + 1) // 2, (steps[1] + 1) // 2, (steps[2] + 1) // 2)


def _places(lengths: list[int]) -> tuple[Tensor, ...]:
    """Every combination of places of three lists."""
    grids = torch.meshgrid(*(torch.arange(length) for length in lengths), indexing="ij")
    return tuple(each.flatten() for each in grids)
