"""How alike two maps of one clip are."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from vidence.errors import SpecError

Map: TypeAlias = Float[np.ndarray, "t h w"]
How: TypeAlias = Literal["spearman", "ssim"]
WINDOW = 7  # pixels of a side over which SSIM looks


def check_how(how: str) -> None:
    """Raise `SpecError` for a comparison that does not exist."""
    if how not in ("spearman", "ssim"):
        raise SpecError(f"how must be 'spearman' or 'ssim'; got {how!r}.")


def similarity(first: Map, second: Map, *, how: How = "spearman", signed: bool = True) -> float | None:
    """1 for equal maps; 0 where the second is constant, None where the first is. `signed=False` compares sizes.

    `spearman`: the rank correlation over the volume. `ssim`: structural similarity (Wang et al., TIP 2004), the mean
    over frames, of maps divided by their largest size; None for frames of less than 3 pixels a side.
    """
    one, other = (np.asarray(values if signed else np.abs(values), np.float64) for values in (first, second))
    if np.ptp(one) == 0:
        return None
    if np.ptp(other) == 0:
        return 0.0
    if how == "spearman":
        return float(spearmanr(one.reshape(-1), other.reshape(-1)).statistic)
    side = min(WINDOW, *one.shape[1:])
    if side < 3:
        return None
    one, other = (values / np.abs(values).max() for values in (one, other))
    # frames as channels: each is compared by itself
    return float(
        structural_similarity(
            one, other, win_size=side - (side + 1) % 2, data_range=2.0 if signed else 1.0, channel_axis=0
        )
    )
