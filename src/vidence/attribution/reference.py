"""What a clip is compared with: its own background, as a layer's maps, as features, and in the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Kind = Literal["time", "space"]
ABSENT = ("reference", "baseline", "baselines", "fill", "perturb")  # settings that say what stands for "absent"
SHORT = 32  # frames; above, sorting all of them pairwise costs more than selecting one


def absent(explainer: Any, extra: Mapping[str, Any]) -> str | None:
    """What stood for "absent", as ``setting=value``; `extra` is the map's, which may say what 'auto' came to. None: the
    explainer hides nothing and starts from nothing.
    """
    name = next((each for each in ABSENT if each in extra or hasattr(explainer, each)), None)
    return None if name is None else f"{name}={extra[name] if name in extra else getattr(explainer, name)!r}"


def reference_maps(maps: Float[Tensor, "s k h w"], kind: Kind) -> Float[Tensor, "s k h w"]:
    """Each channel's median over time at each place (`time`), or over the places of each frame (`space`)."""
    if kind == "time":
        return median_over_time(maps).expand_as(maps)
    return maps.flatten(2).median(dim=2).values[..., None, None].expand_as(maps)


def median_over_time(maps: Float[Tensor, "s ..."]) -> Float[Tensor, "1 ..."]:
    """The lower median over the first axis, as `torch.median` gives; a sorting network is faster for short clips."""
    if len(maps) > SHORT:
        return maps.median(dim=0, keepdim=True).values
    rows = list(maps.unbind(0))
    for turn in range(len(rows)):
        for i in range(turn % 2, len(rows) - 1, 2):
            rows[i], rows[i + 1] = torch.minimum(rows[i], rows[i + 1]), torch.maximum(rows[i], rows[i + 1])
    return rows[(len(rows) - 1) // 2][None]


def reference_features(
    features: Float[Tensor, "1 t f"], leaves: list[Tensor], standing_out: list[Tensor]
) -> Float[Tensor, "1 t f"]:
    """The features of the reference maps: features - J (maps - reference), J the derivative at the maps.

    Exact where pooling is linear. The product with J comes from differentiating the product with its transpose, so no
    function of the model has to be called again.
    """
    if not features.requires_grad:
        return features.detach()
    probe = torch.zeros_like(features, requires_grad=True)
    back = torch.autograd.grad(features, leaves, probe, create_graph=True, allow_unused=True, materialize_grads=True)
    linear = [(one, part) for one, part in zip(back, standing_out, strict=True) if one.requires_grad]
    change = torch.autograd.grad([one for one, _ in linear], probe, [part for _, part in linear])[0]
    return (features - change).detach()


def distributed(places: Float[Tensor, "t h w"], weights: Float[Tensor, " t"]) -> Float[Tensor, "t h w"]:
    """Each frame's weight spread over the places whose sign agrees with it, evenly where none does."""
    agreeing = (places * weights.sign()[:, None, None]).clamp(min=0)
    total = agreeing.sum(dim=(1, 2), keepdim=True)
    even = torch.full_like(places, 1 / places[0].numel())
    return torch.where(total > 0, agreeing / total, even) * weights[:, None, None]


def regrouped(weights: Float[Tensor, " s"], count: int) -> Float[Tensor, " count"]:
    """Weights of s equal parts of the clip as those of `count`: each goes where its part of the time lies.

    Their sum stays, also where weights of both signs all but cancel: nothing is divided by it.
    """
    ends = torch.arange(len(weights) + 1, dtype=torch.float64) / len(weights)
    others = torch.arange(count + 1, dtype=torch.float64) / count
    shared = torch.minimum(ends[1:], others[1:, None]) - torch.maximum(ends[:-1], others[:-1, None])
    return (shared.clamp(min=0) * len(weights)).to(weights) @ weights


def detailed(values: Float[Tensor, "t h w"], x: Float[Tensor, "c t y x"], times: int) -> Float[Tensor, "t i j"]:
    """The map on a finer grid: around a cell its weight goes where the pixels differ from their median over time.

    Only a difference in the pixels can have made the features differ. The sums of sizes over frames stay.
    """
    size = (min(values.shape[1] * times, x.shape[2]), min(values.shape[2] * times, x.shape[3]))
    small = F.adaptive_avg_pool2d(x.transpose(0, 1), size)  # (t, c, i, j)
    change = (small - median_over_time(small)).abs().amax(dim=1) + 1e-6
    fine = F.interpolate(values[:, None], size=size, mode="bilinear", align_corners=False)[:, 0] * change
    total = fine.abs().sum(dim=(1, 2), keepdim=True).clamp(min=1e-30)
    return fine / total * values.abs().sum(dim=(1, 2), keepdim=True)
