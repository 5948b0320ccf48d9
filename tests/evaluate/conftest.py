"""What tests of comparisons share: two measures that are quick, and known by their definition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from vidence.evaluate.measure import Case, Measure


@dataclass(frozen=True)
class Inside(Measure):
    """Share of the positive mass that lies in the mask, of the mask's share: a toy that knows the truth."""

    aspect = "localisation"
    needs_truth = True

    def of(self, case: Case) -> float:
        positive = np.maximum(case.values, 0)
        assert case.mask is not None
        return float(positive[case.mask].sum() / max(positive.sum(), 1e-9) / case.mask.mean())


@dataclass(frozen=True)
class Peak(Measure):
    """How much the largest value stands out: a toy for which less is better, and that needs no truth."""

    scale: float = 1.0
    aspect = "complexity"
    better = "lower"

    def of(self, case: Case) -> float:
        return float(self.scale * case.values.max() / (np.abs(case.values).mean() + 1e-9))


@pytest.fixture
def toys() -> dict[str, Measure]:
    """Two measures by their lines."""
    return {"inside": Inside(), "peak(scale=2.0)": Peak(2.0)}
