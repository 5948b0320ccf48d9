"""How sure a mean over clips is: sources are drawn anew, with replacement, and clips of each, many times.

Windows of one film are not independent: drawn one by one, they would make an interval too narrow (two-stage bootstrap,
Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 2000


def draws(sources: Sequence[Hashable], *, seed: int = 0) -> Int[np.ndarray, "r n"]:
    """How often each clip is in each of `RESAMPLES` samples; `sources` names the source of each clip.

    As many sources as there are come with replacement, and of each as many clips as it has, with replacement: of one
    clip a source it is the plain bootstrap over clips, of a single source too.
    """
    rng = np.random.default_rng(seed)
    names = {name: place for place, name in enumerate(dict.fromkeys(sources))}
    owners = np.array([names[source] for source in sources])
    chosen = rng.integers(0, len(names), (RESAMPLES, len(names)))
    found = np.zeros((RESAMPLES, len(owners)), dtype=int)
    for place in range(len(names)):
        clips = np.flatnonzero(owners == place)
        times = (chosen == place).sum(axis=1)
        found[:, clips] = rng.multinomial(times * len(clips), np.full(len(clips), 1 / len(clips)))
    return found


def means(values: Float[np.ndarray, "n ..."], counts: Int[np.ndarray, "r n"]) -> Float[np.ndarray, "r ..."]:
    """The mean over the clips of each sample."""
    sizes = counts.sum(axis=1).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(np.tensordot(counts, values, axes=1) / sizes)


def bounds(found: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """The 95 % percentile interval of what the samples gave; NaN are left out, of nothing it is NaN."""
    held = found[~np.isnan(found)]
    low, high = np.quantile(held, [0.025, 0.975]) if held.size else (np.nan, np.nan)
    return float(low), float(high)


def interval(
    values: Sequence[float] | Float[np.ndarray, " m"], sources: Sequence[Hashable] | None = None, *, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over clips and its 95 % percentile-bootstrap interval; without `sources` each clip has one of its own."""
    held = np.asarray(values, np.float64)
    low, high = bounds(means(held, draws(range(len(held)) if sources is None else sources, seed=seed)))
    return float(held.mean()), low, high
