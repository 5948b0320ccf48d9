"""How alike two maps of one clip are."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy.stats import spearmanr
from skimage.feature import hog
from skimage.metrics import structural_similarity

from vidence.errors import SpecError
from vidence.evaluate.localisation import Map

How: TypeAlias = Literal["spearman", "ssim", "hog"]
WINDOW = 7  # pixels of a side over which SSIM looks
CELL, BLOCK = 8, 3  # pixels a side of a cell of gradients, cells a side of a block in which they are normalised


def check_how(how: str) -> None:
    """Raise `SpecError` for a comparison that does not exist."""
    if how not in get_args(How):
        raise SpecError(f"how must be {', '.join(map(repr, get_args(How)))}; got {how!r}.")


def similarity(first: Map, second: Map, *, how: How = "spearman", signed: bool = True) -> float | None:
    """1 for equal maps; 0 where the second is constant, None where the first is. `signed=False` compares sizes.

    `spearman`: the rank correlation over the volume. `ssim`: structural similarity (Wang et al., TIP 2004), the mean
    over frames, of maps divided by their largest size. `hog`: Pearson's correlation of the histograms of oriented
    gradients (Dalal & Triggs, CVPR 2005) of all frames: shapes alone. The last two are None for frames of less than 3
    pixels a side.
    """
    one, other = (np.asarray(values if signed else np.abs(values), np.float64) for values in (first, second))
    if np.ptp(one) == 0:
        return None
    if np.ptp(other) == 0:
        return 0.0
    if how == "spearman":
        return float(spearmanr(one.reshape(-1), other.reshape(-1)).statistic)
    if min(one.shape[1:]) < 3:
        return None
    one, other = (values / np.abs(values).max() for values in (one, other))
    return _structural(one, other, signed=signed) if how == "ssim" else _shapes(one, other)


def _structural(one: Map, other: Map, *, signed: bool) -> float:
    side = min(WINDOW, *one.shape[1:])
    # frames as channels: each is compared by itself
    return float(
        structural_similarity(
            one, other, win_size=side - (side + 1) % 2, data_range=2.0 if signed else 1.0, channel_axis=0
        )
    )


def _shapes(one: Map, other: Map) -> float | None:
    """None for a map whose frames have no gradient; 0 where only the other's have none."""
    cell = min(CELL, *one.shape[1:])
    block = min(BLOCK, *(side // cell for side in one.shape[1:]))
    drawn = [
        np.concatenate([hog(frame, pixels_per_cell=(cell, cell), cells_per_block=(block, block)) for frame in values])
        for values in (one, other)
    ]
    if np.ptp(drawn[0]) == 0:
        return None
    return 0.0 if np.ptp(drawn[1]) == 0 else float(np.corrcoef(np.stack(drawn))[0, 1])
