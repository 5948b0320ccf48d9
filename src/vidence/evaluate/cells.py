"""A clip cut into cells that are hidden or shown as a whole, and the order in which a map ranks them."""

from __future__ import annotations

from math import ceil
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vidence.attribution.perturb.supervoxels import segmented
from vidence.errors import SpecError

Cut: TypeAlias = Literal["grid", "supervoxels", "frames", "tubes"]
Pooling: TypeAlias = Literal["mean", "sum"]


def check_cells(cut: str, *, grid: int, depth: int) -> None:
    """Raise `SpecError` for cells that do not exist."""
    if cut not in get_args(Cut):
        raise SpecError(f"cells must be {', '.join(map(repr, get_args(Cut)))}; got {cut!r}.")
    if grid < 1 or depth < 1:
        raise SpecError(f"cells need grid and depth of 1 or more; got grid={grid}, depth={depth}.")


def cells_of(x: Float[Tensor, "1 c t h w"], cut: Cut, *, grid: int, depth: int) -> Int[np.ndarray, "t h w"]:
    """The number of each pixel's cell, 0 .. m - 1.

    'grid': `grid` x `grid` blocks a frame, `depth` frames deep, as many as there are pixels at most; 'frames': all of
    `depth` frames, so that only time counts; 'tubes': blocks through all frames, so that only place counts;
    'supervoxels': about as many as the grid has blocks, of like colour, at most `depth` frames deep.
    """
    t, h, w = x.shape[2:]
    if cut == "supervoxels":
        return segmented(x, "slic", count=grid * grid * ceil(t / depth), depth=depth).cpu().numpy()
    down, across = (1, 1) if cut == "frames" else (min(grid, h), min(grid, w))
    slabs = np.arange(t) // (t if cut == "tubes" else depth)
    rows, columns = np.arange(h) * down // h, np.arange(w) * across // w
    return (slabs[:, None, None] * down + rows[:, None]) * across + columns


def pooled(
    values: Float[np.ndarray, "t h w"], labels: Int[np.ndarray, "t h w"], by: Pooling
) -> Float[np.ndarray, " m"]:
    """What the map says of each cell: its sum there, or its mean."""
    flat = labels.reshape(-1)
    sums = np.bincount(flat, weights=values.reshape(-1).astype(np.float64))
    return sums if by == "sum" else sums / np.bincount(flat)


def ranking(strengths: Float[np.ndarray, "... m"], rng: np.random.Generator) -> Int[np.ndarray, "... m"]:
    """The cells of each row, strongest first; equal ones in random order."""
    return np.lexsort((rng.random(strengths.shape), -strengths))


def first_of(order: Int[np.ndarray, "*s m"], counts: Int[np.ndarray, " s"]) -> Bool[np.ndarray, "s m"]:
    """For each of `counts`, which cells are among that many first ones of the order; each row may have its own."""
    return np.argsort(order) < counts[:, None]
