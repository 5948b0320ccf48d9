"""How sure a mean over clips is: the clips are drawn anew, with replacement, many times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 2000


def draws(n: int, *, seed: int = 0) -> Int[np.ndarray, "r n"]:
    """`RESAMPLES` samples of `n` clips out of `n`, with replacement."""
    return np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))


def bounds(found: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """The 95 % percentile interval of what the samples gave; NaN are left out, of nothing it is NaN."""
    held = found[~np.isnan(found)]
    low, high = np.quantile(held, [0.025, 0.975]) if held.size else (np.nan, np.nan)
    return float(low), float(high)


def interval(values: Sequence[float] | Float[np.ndarray, " m"], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean over clips and its 95 % percentile-bootstrap interval."""
    held = np.asarray(values, np.float64)
    low, high = bounds(held[draws(len(held), seed=seed)].mean(axis=1))
    return float(held.mean()), low, high
