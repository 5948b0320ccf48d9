"""Which frames to hide, what then stands in their place, and what the measured effects say of each frame."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import spearmanr
from torch import Tensor


def hidden_runs(t: int, *, growth: int = 2, overlap: int = 1) -> Bool[Tensor, "v t"]:
    """Runs of 1, `growth`, `growth`^2, ... frames that leave one to see, True where hidden; single frames first.

    Runs of one length begin a length / `overlap` apart, and one ends at the end.
    """
    place, rows, length = torch.arange(t), [torch.zeros(0, t, dtype=torch.bool)], 1
    while length < t:
        first = torch.tensor(sorted({*range(0, t - length + 1, max(1, length // overlap)), t - length}))[:, None]
        rows.append((place >= first) & (place < first + length))
        length *= growth
    return torch.cat(rows)


def hiding_orders(t: int, orders: int, seed: int) -> Int[Tensor, "orders t"]:
    """Random orders of frames, each followed (half the rows on) by its reverse."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.stack([torch.randperm(t, generator=generator) for _ in range(orders // 2)])
    return torch.cat([drawn, drawn.flip(1)])


def bridged(features: Float[Tensor, "t f"], hidden: Bool[Tensor, "v t"]) -> Float[Tensor, "v t f"]:
    """Hidden frames interpolated between the nearest ones that are seen, held at the ends; each row sees one at least.

    A model that takes differences of consecutive features then sees no jump that is not in the clip.
    """
    t = hidden.shape[1]
    place = torch.arange(t, device=hidden.device).expand_as(hidden)
    before = torch.where(hidden, -1, place).cummax(dim=1).values
    after = torch.where(hidden, t, place).flip(1).cummin(dim=1).values.flip(1)
    first = torch.where(before < 0, after, before)
    last = torch.where(after >= t, before, after)
    part = ((place - first) / (last - first).clamp(min=1))[..., None].to(features)
    seen = torch.eye(t, dtype=features.dtype, device=features.device)
    mixing = (
        seen[first] * (1 - part) + seen[last] * part
    )  # (v, t, t): one product instead of two copies of all features
    return mixing @ features


def mean_over_runs(effects: Float[Tensor, " v"], runs: Bool[Tensor, "v t"]) -> Float[Tensor, " t"]:
    """Mean effect per hidden frame over the runs that cover a frame."""
    cover = runs.to(effects)
    return (effects / cover.sum(dim=1)) @ cover / cover.sum(dim=0).clamp(min=1)


def shapley(
    whole: Float[Tensor, " 1"], scores: Float[Tensor, " v"], empty: Float[Tensor, " 1"], orders: Int[Tensor, "m t"]
) -> Float[Tensor, " t"]:
    """Mean drop of the score when a frame is hidden after those before it; sums to `whole - empty`.

    `scores` of m orders, row-major, after hiding 1 .. t - 1 frames.
    """
    m = len(orders)
    curve = torch.cat([whole.expand(m, 1), scores.view(m, -1), empty.expand(m, 1)], dim=1)
    return (curve[:, :-1] - curve[:, 1:]).gather(1, orders.argsort(dim=1)).mean(dim=0)


def agreement(
    weights: Float[Tensor, " t"], effects: Float[Tensor, " v"], runs: Bool[Tensor, "v t"], *, least: float
) -> tuple[float | None, bool | None]:
    """Rank correlation of measured effects with the sums of weights over runs, and whether both name one frame.

    None where hiding says nothing: no effect differs, or no single frame's effect reaches `least`.
    """
    expected = runs.to(weights) @ weights
    rank = None
    if len(runs) > 2 and all(bool((each != each[0]).any()) for each in (effects, expected)):
        rank = float(spearmanr(expected.cpu().numpy(), effects.cpu().numpy()).statistic)
    single = effects[: len(weights)]
    if len(single) < 2 or float(single.abs().max()) <= least:
        return rank, None
    return rank, int(single.abs().argmax()) == int(weights.abs().argmax())
