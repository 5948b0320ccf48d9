"""A clip cut into segments that are hidden as a whole: SLIC in space-time (Achanta et al., TPAMI 2012) and others."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Literal, TypeAlias, get_args

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from vidence.errors import SpecError
from vidence.motion.flow import carried, dense_flow

Kind: TypeAlias = Literal["slic", "tracked", "frames", "grid"]
COMPACTNESS, SMOOTHING = 20.0, 1.0  # of SLIC; smoothing in pixels, in space only: without it noise is one segment


def check_kind(kind: str) -> None:
    """Raise `SpecError` for segments that do not exist."""
    if kind not in get_args(Kind):
        raise SpecError(f"segments must be {', '.join(map(repr, get_args(Kind)))}; got {kind!r}.")


def segmented(
    x: Float[Tensor, "1 c t h w"], kind: Kind, *, count: int, depth: int | None = None
) -> Int[Tensor, "t h w"]:
    """Labels 0 .. m - 1 of about `count` segments, none of which is deeper than `depth` frames.

    'slic': supervoxels of like colour, in slabs of a quarter of the clip unless `depth` is given: SLIC alone spreads a
    hundred seeds over one frame of a short clip, and would never say when. 'tracked': superpixels of a slab's first
    frame that go with the optical flow, the whole clip unless `depth` is given. 'frames': each frame is one. 'grid':
    blocks.
    """
    t, h, w = x.shape[2:]
    if kind == "frames":
        return torch.arange(t, device=x.device)[:, None, None].expand(t, h, w)
    depth = min(depth or (t if kind == "tracked" else ceil(t / 4)), t)
    slabs = torch.split(x[0], depth, dim=1)
    each = max(1, round(count / len(slabs)))
    found = [_cut(slab, kind, each) for slab in slabs]
    firsts = [sum(int(labels.max()) + 1 for labels in found[:i]) for i in range(len(found))]
    return torch.cat([labels + first for labels, first in zip(found, firsts, strict=True)])


def _cut(slab: Float[Tensor, "c d h w"], kind: Kind, count: int) -> Int[Tensor, "d h w"]:
    if kind == "grid":
        return _blocks(slab, count)
    if kind == "slic":
        return _slic(slab, count)
    first = _slic(slab[:, :1], count)[0]
    labels = carried(first, dense_flow(slab.flip(1)).flip(0))
    return torch.unique(labels, return_inverse=True)[1]  # as some leave the frame


def _blocks(slab: Tensor, count: int) -> Int[Tensor, "d h w"]:
    d, h, w = slab.shape[1:]
    side = sqrt(h * w / count)
    down, across = min(h, max(1, round(h / side))), min(w, max(1, round(w / side)))
    rows, columns = torch.arange(h) * down // h, torch.arange(w) * across // w
    return (rows[:, None] * across + columns).to(slab.device).expand(d, h, w)


def _slic(slab: Tensor, count: int) -> Int[Tensor, "d h w"]:
    from skimage.segmentation import slic  # takes a third of a second to import

    volume = rearrange(slab.detach().float().cpu(), "c d h w -> d h w c").contiguous().numpy()
    labels = slic(
        volume, count, compactness=COMPACTNESS, sigma=(0, SMOOTHING, SMOOTHING), start_label=0, channel_axis=-1
    )
    return torch.unique(torch.from_numpy(labels), return_inverse=True)[1].to(slab.device)
