"""Which differences between settings exceed the noise of repeated runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import ttest_rel

from vidence.errors import DataError


@dataclass(frozen=True)
class Difference:
    """`second` minus `first`, as means over seeds; `p` two-sided, `p_holm` after Holm's correction over all pairs."""

    first: Any
    second: Any
    mean: float
    p: float
    p_holm: float

    def exceeds_noise(self, level: float = 0.05) -> bool:
        """Whether the corrected p lies below `level`."""
        return self.p_holm < level


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): the i-th smallest of m times m - i + 1, kept monotone, at most 1."""
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected.tolist()


def differences(runs: Mapping[Any, Sequence[float]]) -> list[Difference]:
    """All pairs of settings, by paired t-tests. `runs` maps a setting to its values over seeds: run i of each setting
    shares seed and split with run i of the others.

    Raises `DataError` below two runs a setting, and for unlike numbers of them.
    """
    counts = {setting: len(values) for setting, values in runs.items()}
    if min(counts.values(), default=0) < 2 or len(set(counts.values())) > 1:
        raise DataError(f"differences need two runs a setting or more, and as many of each; got {counts}.")
    pairs = list(combinations(runs, 2))
    values = [_p(np.asarray(runs[a], float), np.asarray(runs[b], float)) for a, b in pairs]
    return [
        Difference(a, b, float(np.mean(runs[b]) - np.mean(runs[a])), p, corrected)
        for (a, b), p, corrected in zip(pairs, values, holm(values), strict=True)
    ]


def _p(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    """The t-test's p-value, or, where runs do not vary at all and t is infinite, the smallest of a permutation test."""
    if np.ptp(second - first) <= 1e-12:
        return 1.0 if np.isclose(first.mean(), second.mean()) else 2.0 ** (1 - len(first))
    return float(ttest_rel(second, first).pvalue)
